"""`minigpt-tui --serve`: a page, a web socket, and the app behind it."""

import asyncio
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
from base64 import b64decode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from minigpt_tui.app import main

if TYPE_CHECKING:
    from aiohttp import ClientWebSocketResponse

COMMAND = [sys.executable, "-m", "minigpt_tui"]
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@dataclass
class Served:
    """A server that runs."""

    child: "subprocess.Popen[str]"
    page: str
    """Its address."""


@pytest.fixture
def server() -> Iterator[Served]:
    pytest.importorskip("textual_serve", reason="the extra `serve` is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    child = subprocess.Popen(
        [*COMMAND, "--serve", "--port", str(port)], stderr=subprocess.PIPE, text=True
    )
    assert child.stderr is not None
    found = re.search(r"http://127\.0\.0\.1:\d+/\S+/", child.stderr.readline())
    assert found
    while True:  # it listens a moment later
        assert child.poll() is None
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            break
    yield Served(child, found[0])
    child.send_signal(signal.SIGINT)
    assert child.wait(300) == 0
    assert child.stderr.read() == ""


@pytest.fixture
def page(server: Served) -> str:
    """The address of a server that runs."""
    return server.page


def test_without_the_extra_it_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["--serve"]) == 2
    assert '".[serve]"' in capsys.readouterr().err


@pytest.mark.parametrize("port", ["99999", "-1", "0"])
def test_a_port_that_is_none_is_told(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("textual_serve", reason="the extra `serve` is not installed")
    assert main(["--serve", "--port", port]) == 2
    assert "as in --port 8001" in capsys.readouterr().err


def test_a_port_that_is_taken_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("textual_serve", reason="the extra `serve` is not installed")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["--serve", "--port", str(taken.getsockname()[1])]) == 2
    assert "cannot listen on port" in capsys.readouterr().err


async def test_the_page_writes_with_the_model(page: str) -> None:
    from aiohttp import ClientSession

    async with asyncio.timeout(300), ClientSession() as web:
        async with web.get(page) as answer:
            assert answer.status == 200
            assert "connect-src ws://127.0.0.1" in answer.headers["Content-Security-Policy"]
        async with web.ws_connect(f"{page}ws?width=80&height=24") as app:
            drawn = b""

            async def sees(words: bytes) -> None:
                nonlocal drawn
                while words not in drawn:
                    drawn += await app.receive_bytes()

            await sees(b"ready")
            await app.send_json(["stdin", "ROMEO:"])
            await sees(b"bits a character")  # it reads along
            await app.send_json(["stdin", "\r"])
            await sees(b"tok/s")
            await app.send_json(["stdin", "\x11"])  # Ctrl+Q
            while not app.closed:
                await app.receive()


async def test_strangers_are_not_let_in(page: str) -> None:
    from aiohttp import ClientSession, WSServerHandshakeError

    origin = page[: page.index("/", len("http://"))]
    async with ClientSession() as web:
        for path in ("/", "/ws", "/static/js/textual.js", "/guessed/", "/guessed/ws"):
            async with web.get(origin + path) as answer:
                assert answer.status == 404
        with pytest.raises(WSServerHandshakeError):
            await web.ws_connect(f"{origin}/ws", headers={"Origin": origin})


async def test_the_end_comes_also_while_somebody_looks_on(server: Served) -> None:
    from aiohttp import ClientSession

    async with asyncio.timeout(300), ClientSession() as web:
        app = await web.ws_connect(f"{server.page}ws?width=80&height=24")
        await app.receive_bytes()
        server.child.send_signal(signal.SIGTERM)
        while not app.closed:
            await app.receive()
        while server.child.poll() is None:
            await asyncio.sleep(0.05)


class Tab:
    """A tab of a browser, through the browser's own protocol: so little of it needs no library."""

    def __init__(self, tools: "ClientWebSocketResponse") -> None:
        self._tools = tools
        self._number = 0
        self.received = b""
        """What the page has got through its web sockets."""

    async def ask(self, method: str, **params: object) -> dict[str, Any]:
        self._number += 1
        await self._tools.send_json({"id": self._number, "method": method, "params": params})
        while (said := await self._tools.receive_json()).get("id") != self._number:
            if said["method"] == "Network.webSocketFrameReceived":
                frame = said["params"]["response"]
                is_text = frame["opcode"] == 1
                data = frame["payloadData"]
                self.received += data.encode() if is_text else b64decode(data)
        result: dict[str, Any] = said["result"]
        return result

    async def sees(self, words: bytes) -> None:
        while words not in self.received:
            await self.ask("Runtime.evaluate", expression="1")  # what came meanwhile comes first
            await asyncio.sleep(0.05)

    async def colours(self) -> int:
        """How many are on the screen, of every 50th pixel."""
        shot = await self.ask("Page.captureScreenshot", format="png")
        code = f"""(async () => {{
            const picture = new Image();
            picture.src = 'data:image/png;base64,{shot["data"]}';
            await picture.decode();
            const canvas = new OffscreenCanvas(picture.width, picture.height);
            const pen = canvas.getContext('2d');
            pen.drawImage(picture, 0, 0);
            const pixels = new Uint32Array(
                pen.getImageData(0, 0, picture.width, picture.height).data.buffer);
            return new Set(pixels.filter((_, i) => i % 50 == 0)).size;
        }})()"""
        found = await self.ask(
            "Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True
        )
        n_colours: int = found["result"]["value"]
        return n_colours


@asynccontextmanager
async def tab(folder: Path) -> AsyncIterator[Tab]:
    from aiohttp import ClientSession

    assert BROWSER is not None
    browser = subprocess.Popen(
        [
            BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--remote-debugging-port=0", f"--user-data-dir={folder}", "--window-size=1000,600",
        ],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        found = folder / "DevToolsActivePort"
        while not found.exists() or len(found.read_text().split()) < 2:
            assert browser.poll() is None
            await asyncio.sleep(0.05)
        address = f"http://localhost:{found.read_text().split()[0]}"
        async with ClientSession() as web:
            async with web.get(f"{address}/json") as answer:
                targets = json.loads(await answer.text())
            target = next(target for target in targets if target["type"] == "page")
            async with web.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as tools:
                yield Tab(tools)
    finally:
        browser.kill()
        browser.wait()


@pytest.mark.skipif(BROWSER is None, reason="neither chromium nor google-chrome is installed")
async def test_a_browser_shows_it(page: str, tmp_path: Path) -> None:
    async with asyncio.timeout(300), tab(tmp_path) as browser:
        await browser.ask("Network.enable")
        await browser.ask("Page.navigate", url=page)
        await browser.sees(b"ready")
        focus = "document.querySelector('.xterm-helper-textarea').focus()"
        await browser.ask("Runtime.evaluate", expression=focus)
        await browser.ask("Input.insertText", text="ROMEO:")
        await browser.sees(b"bits a character")
        while await browser.colours() < 20:  # letters, smoothed, in the colours of the theme
            await asyncio.sleep(0.05)
