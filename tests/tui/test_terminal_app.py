"""The command in a real (pseudo) terminal: how it ends, and what it leaves behind."""

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from minigpt.runtime.library import shipped_model
from minigpt.runtime.onnx_file import CARD_KEY
from minigpt.runtime.onnx_walk import Walk
from minigpt_tui import app
from minigpt_tui.sessions import Sessions
from tests.runtime.fuzz_door import sealed

if os.name == "nt":
    pytest.skip("pseudo terminals are for Unix", allow_module_level=True)
import pty
import termios

COMMAND = [sys.executable, "-c", "import sys; from minigpt_tui.app import main; sys.exit(main())"]
F4 = b"\x1bOS"
LEAVE_ALTERNATE_SCREEN = b"\x1b[?1049l"
KEPT_MODES = {7, 25}
"""What is on in a terminal at rest: lines wrap, the cursor shows."""


class Terminal:
    """A child on a pseudo terminal, and all that it has drawn."""

    def __init__(self, handle: int, child: subprocess.Popen[bytes]) -> None:
        self.handle = handle
        self.child = child
        self.drawn = b""
        self._seen = 0

    def until(self, words: bytes) -> None:
        """Read what it draws until `words` are there, behind those waited for before."""
        deadline = time.monotonic() + 300
        while (at := self.drawn.find(words, self._seen)) < 0:
            assert time.monotonic() < deadline, self.drawn[-2000:]
            self._read()
        self._seen = at + len(words)

    def type(self, keys: bytes) -> None:
        os.write(self.handle, keys)

    def resize(self, width: int, height: int) -> None:
        termios.tcsetwinsize(self.handle, (height, width))
        self.child.send_signal(signal.SIGWINCH)

    def search(self, pattern: bytes, start: int) -> re.Match[bytes]:
        """Read what it draws until `pattern` is there, after the first `start` bytes."""
        deadline = time.monotonic() + 300
        while (found := re.compile(pattern).search(self.drawn, start)) is None:
            assert time.monotonic() < deadline, self.drawn[-2000:]
            self._read()
        return found

    def copied(self) -> str:
        """The whole text, as it is when F4 copies it."""
        start = len(self.drawn)
        os.write(self.handle, F4)
        return b64decode(self.search(rb"\x1b\]52;c;([^\a]*)\a", start)[1]).decode()

    def read_for(self, seconds: float) -> None:
        """Let it draw for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._read()

    def end(self) -> int:
        """Read until it is gone; returns its exit code."""
        deadline = time.monotonic() + 300
        while self.child.poll() is None:
            assert time.monotonic() < deadline
            self._read()
        self._read()
        return self.child.returncode

    @property
    def modes(self) -> set[int]:
        """The private modes (mouse, pasting in brackets, ...) that it has left on."""
        last = dict(re.findall(rb"\x1b\[\?(\d+)([hl])", self.drawn))
        return {int(mode) for mode, state in last.items() if state == b"h"}

    def _read(self) -> None:
        if select.select([self.handle], [], [], 0.1)[0]:
            try:
                self.drawn += os.read(self.handle, 65536)
            except OSError:  # what Linux says when the other end is closed
                return


@contextmanager
def terminal(*arguments: str, size: tuple[int, int] = (80, 24)) -> Iterator[Terminal]:
    handle, other = pty.openpty()
    width, height = size
    termios.tcsetwinsize(handle, (height, width))
    # COLUMNS and LINES would be believed over the terminal itself
    environment = {k: os.environ[k] for k in os.environ if k not in {"COLUMNS", "LINES"}}
    child = subprocess.Popen(
        [*COMMAND, *arguments], stdin=other, stdout=other, stderr=other,
        env=environment | {"TERM": "xterm-256color"}, start_new_session=True,
    )  # fmt: skip
    os.close(other)
    try:
        yield Terminal(handle, child)
    finally:
        child.kill()
        child.wait()
        os.close(handle)


@pytest.fixture
def endless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written goes on until it is stopped, however slowly the machine looks."""
    config = tmp_path / "config.toml"
    config.write_text("[sampling]\nmax_new_tokens = 1000000\n", encoding="utf-8")
    monkeypatch.setenv("MINIGPT_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("MINIGPT_HOME", str(tmp_path))


@pytest.mark.usefixtures("endless")
def test_a_sitting_from_the_first_key_to_the_last() -> None:
    with terminal() as t:
        before = termios.tcgetattr(t.handle)
        t.until(b"ready")
        t.type(b"ROMEO:\r")
        t.until(b"writing")
        t.until(b"tok/s")
        t.type(b"\x1b")
        t.until(b"ready")
        t.resize(120, 40)
        t.until(b"\x1b[40;1H")  # it draws the last of the new rows
        t.type(b"\r")
        t.until(b"writing")
        t.resize(30, 8)  # in the middle of the stream
        t.type(b"\x1b")
        t.type(b"\x11")
        assert t.end() == 0
        assert LEAVE_ALTERNATE_SCREEN in t.drawn
        assert t.modes == KEPT_MODES
        keyboards = [len(re.findall(code, t.drawn)) for code in (rb"\x1b\[>\d+u", rb"\x1b\[<u")]
        assert keyboards == [1, 1]  # the keyboard's own mode, begun and ended
        assert termios.tcgetattr(t.handle) == before


def test_below_the_command_line_it_leaves_the_screen_alone() -> None:
    with terminal("--inline", size=(80, 40)) as t:
        t.until(b"ready")
        t.type(b"ROMEO:\r")
        t.until(b"tok/s")
        t.type(b"\x11")
        assert t.end() == 0
        assert b"\x1b[?1049h" not in t.drawn
        assert b"\x1b[21;1H" not in t.drawn  # nothing below its 20 rows
        assert t.modes <= KEPT_MODES


def test_what_a_stranger_writes_into_a_model_file_commands_nothing(tmp_path: Path) -> None:
    found = Walk().model(memoryview(shipped_model().read_bytes()))
    assert found.graph is not None
    card = json.loads(found.metadata[CARD_KEY])
    card |= {"name": "a\x1b]0;owned\x07\x9b31m"}
    path = tmp_path / "hostile.onnx"
    path.write_bytes(sealed(bytes(found.graph), {**found.metadata, CARD_KEY: json.dumps(card)}))
    with terminal(str(path)) as t:
        t.until("a␛]0;owned␇�31m".encode())
        t.until(b"ready")
        t.type("\x1b[200~\x1b[0m\r/quit\r\x1b]0;owned\x07漢\x1b[201~".encode())
        t.until("漢".encode())
        t.type(b"\x11")
        assert t.end() == 0
        assert b"\x1b]0;owned" not in t.drawn


def test_two_texts_have_an_engine_each() -> None:
    with terminal() as t:
        t.until(b"ready")
        os.write(t.handle, b"\x1b[21~")  # F10: another engine, from inside the app
        t.until(b"seed 1337 for both")
        os.write(t.handle, b"\r")
        t.until(b"The same for")  # until the settings part them
        os.write(t.handle, b"\x11")
        assert t.end() == 0
        assert LEAVE_ALTERNATE_SCREEN in t.drawn


def test_a_terminated_app_leaves_the_terminal_as_it_was() -> None:
    with terminal() as t:
        t.until(b"ready")
        t.child.send_signal(signal.SIGTERM)
        assert t.end() == 143
        assert LEAVE_ALTERNATE_SCREEN in t.drawn
        assert t.modes == KEPT_MODES


@pytest.mark.usefixtures("endless")
def test_a_kill_in_mid_stream_loses_at_most_a_second_of_text(tmp_path: Path) -> None:
    with terminal() as t:
        t.until(b"ready")
        os.write(t.handle, b"\r")
        t.until(b"tok/s")
        a_second_ago = t.copied()
        t.read_for(1)
        now = t.copied()  # so a machine that stood still has not shortened the second
        t.child.kill()
        t.child.wait()
    sessions = Sessions(tmp_path / "sessions.db")
    (info,) = sessions.list()
    document = sessions.load(info.id)
    sessions.close()
    assert len(a_second_ago) < len(now)
    assert document.text.startswith(a_second_ago)
    assert document.text[: len(now)] == now[: len(document)]
    (run,) = document.runs
    assert document.text == document.text_of(run.head) + document.text_of_run(run)


def test_a_damaged_model_is_one_sentence_and_exit_code_2(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(shipped_model().read_bytes()[:-99])
    with terminal(str(damaged)) as t:
        assert t.end() == 2
        after = t.drawn.split(LEAVE_ALTERNATE_SCREEN)[-1]
        assert b"damaged.onnx is not a complete .onnx file" in after


def test_without_a_terminal_it_says_what_to_use() -> None:
    done = subprocess.run(COMMAND, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert done.returncode == 2
    assert done.stdout == b""
    assert done.stderr == (
        b"minigpt-tui needs a terminal to draw in; in a pipe use: minigpt generate\n"
    )


def test_where_only_stderr_is_no_terminal_it_says_that() -> None:
    outer, inner = pty.openpty()
    done = subprocess.run(COMMAND, stdin=inner, stdout=inner, stderr=subprocess.PIPE, check=False)
    os.close(inner)
    os.close(outer)
    assert done.returncode == 2
    assert done.stderr == (
        b"minigpt-tui needs a terminal to draw in; it draws on stderr: let that be one\n"
    )


def test_on_windows_it_is_not_drawn_below_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(app, "_IS_WINDOWS", True)
    assert app.main(["--inline"]) == 2
    assert "not possible on Windows" in capsys.readouterr().err
