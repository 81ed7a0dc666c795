"""textual-serve's server, closed to strangers."""

from aiohttp import web
from textual_serve.server import Server


class WebServer(Server):
    """Lets only its own page talk to the app, and that page only to this server.

    A browser sends what any page asks for to localhost too: without a look at where a request comes
    from, every site that is open beside could type into the app. The page itself would fetch a font
    from far away.
    """

    async def _make_app(self) -> web.Application:
        app = await super()._make_app()
        app.on_response_prepare.append(self._keep_at_home)
        return app

    def initialize_logging(self) -> None:
        """Leave out a line for each request; trouble still goes to stderr."""

    async def on_startup(self, app: web.Application) -> None:
        """Without the banner."""

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """Start an app for the page, and for nobody else."""
        if request.headers.get("Origin") != self.public_url:
            raise web.HTTPForbidden(text="this is for minigpt's own page only")
        return await super().handle_websocket(request)

    async def _keep_at_home(self, _: web.Request, response: web.StreamResponse) -> None:
        address = self.public_url.removeprefix("http")
        response.headers["Content-Security-Policy"] = (
            f"default-src 'self' 'unsafe-inline' data: blob:; connect-src 'self' ws{address}; "
            "frame-ancestors 'none'"
        )
