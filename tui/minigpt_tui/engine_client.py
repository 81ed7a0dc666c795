"""The interface's end of the engine process: starts it, talks to it, notices its death."""

import os
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable
from typing import IO

from minigpt.errors import NO_VISUAL_C
from minigpt_tui.protocol import (
    Died,
    Engine,
    Generate,
    Open,
    Opened,
    Reply,
    Request,
    decode_reply,
    encode,
)


class EngineClient(Engine):
    """An `Engine` in a child process, which starts with this object.

    Start it before Textual owns the terminal. The child has pipes of its own; what it or native
    code in it prints to stderr goes to a file, of which a crash quotes the last line.
    """

    def __init__(self) -> None:
        self._replies: deque[Reply] = deque()
        self._wake: Callable[[], None] = _nobody
        self._opened: Open | None = None
        self._closing = False
        self._start()

    @property
    def pid(self) -> int:
        """Of the child that runs now."""
        return self._child.pid

    def send(self, request: Request) -> None:
        if self._closing:
            return
        try:
            self._write(request)
        except OSError:  # it died, which is told as soon as its last words are read
            if isinstance(request, Open | Generate):
                self._start()
                # until the new child says that it is open, too: it may be what kills
                opened, self._opened = self._opened, None
                if opened is not None and opened != request:
                    self._write(opened)  # also what stays open if another one is refused
                self._write(request)

    def receive(self) -> list[Reply]:
        said = []
        while self._replies:
            said.append(self._replies.popleft())
        return said

    def listen(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        if self._replies:
            wake()

    def close(self) -> None:
        self._closing = True
        self._child.kill()
        self._child.wait()

    def _start(self) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        self._child = subprocess.Popen(
            # -P: modules that lie about in the user's folder are not for us to import
            [sys.executable, "-P", "-m", "minigpt_tui.engine_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            # numpy's BLAS would start threads, which takes 50 ms, for nothing
            env={"OPENBLAS_NUM_THREADS": "1", **os.environ},
            start_new_session=True,  # Ctrl+C in the terminal is for the interface alone
        )
        threading.Thread(target=self._read, args=(self._child, self._errors), daemon=True).start()

    def _write(self, request: Request) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write(encode(request))
        self._child.stdin.flush()

    def _read(self, child: subprocess.Popen[bytes], errors: IO[bytes]) -> None:
        assert child.stdout is not None
        for line in child.stdout:
            if not line.endswith(b"\n"):  # its death has cut it off
                break
            reply = decode_reply(line)
            if isinstance(reply, Opened):
                self._opened = Open(reply.path)  # what a new child would have to open
            self._hand_over(reply)
        code = child.wait()
        # of a child that another one has replaced already, there is nothing to tell
        if not self._closing and child is self._child:
            self._hand_over(Died(_obituary(code, errors)))

    def _hand_over(self, reply: Reply) -> None:
        self._replies.append(reply)
        self._wake()


def _nobody() -> None:
    """Until someone listens."""


def _obituary(code: int, errors: IO[bytes]) -> str:
    errors.seek(0)
    lines = errors.read().decode(errors="replace").strip().splitlines()
    last = lines[-1][:200] if lines else f"exit code {code}"
    if "DLL load failed" in last:
        last = NO_VISUAL_C
    return f"the engine stopped unexpectedly ({last}); press Enter to start it again"
