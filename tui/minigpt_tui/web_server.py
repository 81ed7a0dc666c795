"""textual-serve's server, closed to strangers."""

import asyncio

import aiohttp_jinja2
import jinja2
from aiohttp import web
from textual_serve.server import Server


class WebServer(Server):
    """Serves the app under an address that nobody can guess, and lets its page ask nobody else.

    Without that, every user of this machine, and every page that is open beside, could type into
    the app; and the page would fetch a font from far away.
    """

    def __init__(self, command: str, host: str, port: int, *, secret: str) -> None:
        super().__init__(command, host, port, "minigpt", public_url=f"http://{host}:{port}")
        self._home = f"/{secret}"
        self._visits: set[asyncio.Task[object]] = set()

    @property
    def address(self) -> str:
        """Of the page."""
        return f"{self.public_url}{self._home}/"

    async def _make_app(self) -> web.Application:
        """As textual-serve's, with a secret before everything but what is secret itself."""
        app = web.Application()
        aiohttp_jinja2.setup(app, loader=jinja2.FileSystemLoader(self.templates_path))
        app.add_routes([
            web.get(f"{self._home}/", self.handle_index, name="index"),
            web.get(f"{self._home}/ws", self.handle_websocket, name="websocket"),
            web.static(f"{self._home}/static", self.statics_path, name="static"),
            web.get("/download/{key}", self.handle_download, name="download"),
        ])  # fmt: skip
        app.on_response_prepare.append(self._keep_at_home)
        app.on_shutdown.append(self._end_visits)
        return app

    def initialize_logging(self) -> None:
        """Leave out a line for each request; trouble still goes to stderr."""

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """Start an app for the page."""
        visit = asyncio.current_task()
        assert visit is not None
        self._visits.add(visit)
        try:
            return await super().handle_websocket(request)
        finally:
            self._visits.discard(visit)

    async def _end_visits(self, _: web.Application) -> None:
        """Leave no app behind; aiohttp would wait a minute for each to end by itself."""
        for visit in self._visits:
            visit.cancel()
        await asyncio.gather(*self._visits, return_exceptions=True)

    async def _keep_at_home(self, _: web.Request, response: web.StreamResponse) -> None:
        socket = self.public_url.replace("http", "ws", 1)
        response.headers["Content-Security-Policy"] = (
            f"default-src {self.public_url} 'unsafe-inline' data: blob:; connect-src {socket}; "
            "frame-ancestors 'none'"
        )
        response.headers["Referrer-Policy"] = "no-referrer"
