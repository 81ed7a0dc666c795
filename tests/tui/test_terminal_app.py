"""The command in a real (pseudo) terminal: how it ends, and what it leaves behind."""

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
from minigpt_tui.sessions import Sessions

if os.name == "nt":
    pytest.skip("pseudo terminals are for Unix", allow_module_level=True)

COMMAND = [sys.executable, "-c", "import sys; from minigpt_tui.app import main; sys.exit(main())"]
F4 = b"\x1bOS"
LEAVE_ALTERNATE_SCREEN = b"\x1b[?1049l"


class Terminal:
    """A child on a pseudo terminal, and all that it has drawn."""

    def __init__(self, handle: int, child: subprocess.Popen[bytes]) -> None:
        self.handle = handle
        self.child = child
        self.drawn = b""

    def until(self, pattern: bytes, start: int = 0) -> re.Match[bytes]:
        """Read what it draws until `pattern` is there, after the first `start` bytes."""
        deadline = time.monotonic() + 30
        while (found := re.compile(pattern).search(self.drawn, start)) is None:
            assert time.monotonic() < deadline, self.drawn[-2000:]
            self._read()
        return found

    def copied(self) -> str:
        """The whole text, as it is when F4 copies it."""
        start = len(self.drawn)
        os.write(self.handle, F4)
        return b64decode(self.until(rb"\x1b\]52;c;([^\a]*)\a", start)[1]).decode()

    def read_for(self, seconds: float) -> None:
        """Let it draw for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._read()

    def end(self) -> int:
        """Read until it is gone; returns its exit code."""
        deadline = time.monotonic() + 30
        while self.child.poll() is None:
            assert time.monotonic() < deadline
            self._read()
        self._read()
        return self.child.returncode

    def _read(self) -> None:
        if select.select([self.handle], [], [], 0.1)[0]:
            try:
                self.drawn += os.read(self.handle, 65536)
            except OSError:  # what Linux says when the other end is closed
                return


@contextmanager
def terminal(*arguments: str) -> Iterator[Terminal]:
    import pty

    handle, other = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
    child = subprocess.Popen(
        [*COMMAND, *arguments], stdin=other, stdout=other, stderr=other, env=environment,
        start_new_session=True,
    )  # fmt: skip
    os.close(other)
    try:
        yield Terminal(handle, child)
    finally:
        child.kill()
        child.wait()
        os.close(handle)


def test_it_writes_and_quits() -> None:
    with terminal() as t:
        t.until(b"ready")
        os.write(t.handle, b"\r")
        t.until(b"tok/s")
        os.write(t.handle, b"\x11")
        assert t.end() == 0
        assert LEAVE_ALTERNATE_SCREEN in t.drawn


def test_a_terminated_app_leaves_the_terminal_as_it_was() -> None:
    with terminal() as t:
        t.until(b"ready")
        t.child.send_signal(signal.SIGTERM)
        assert t.end() == 143
        assert LEAVE_ALTERNATE_SCREEN in t.drawn


def test_a_kill_in_mid_stream_loses_at_most_a_second_of_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.toml").write_text(
        "[sampling]\nmax_new_tokens = 1000000\n", encoding="utf-8"
    )
    monkeypatch.setenv("MINIGPT_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("MINIGPT_HOME", str(tmp_path))
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
