"""Stopping a process, or failing it, at a chosen call: no sleeping, the same place every time."""

import io
import os
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

_CANNOT_FAIL = ("fspath", "getpid", "umask", "text_encoding", "_path_normpath")

Profile = Callable[[FrameType, str, Any], None]


def operations(work: Callable[[], object]) -> list[str]:
    """What `work` asks of the operating system, in order, by name: open, write, fsync, replace."""
    asked: list[str] = []

    def note(frame: FrameType, event: str, called: Any) -> None:
        if event == "c_call" and _is_operation(called):
            asked.append(called.__name__)

    _profiled(note, work)
    return asked


def at_operation(n: int, do: Callable[[], object], work: Callable[[], object]) -> None:
    """Run `work`, and `do` instead of its n-th operation if that raises, before it if not."""
    left = n

    def count(frame: FrameType, event: str, called: Any) -> None:
        nonlocal left
        if event == "c_call" and _is_operation(called):
            left -= 1
            if left < 0:
                sys.setprofile(None)
                do()

    _profiled(count, work)


def at_call(n: int, do: Callable[[], object], work: Callable[[], object]) -> None:
    """Run `work`, and `do` as the n-th function is called in it, of Python or of C."""
    left = n

    def count(frame: FrameType, event: str, called: Any) -> None:
        nonlocal left
        if event in ("call", "c_call"):
            left -= 1
            if left < 0:
                sys.setprofile(None)
                do()

    _profiled(count, work)


def _profiled(profile: Profile, work: Callable[[], object]) -> None:
    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)


def _is_operation(called: Any) -> bool:
    if called.__name__ in _CANNOT_FAIL:
        return False
    of_os = getattr(called, "__module__", None) in ("posix", "nt", "io", "_io")
    return of_os or isinstance(getattr(called, "__self__", None), io.IOBase)


def in_child(work: Callable[[], object]) -> int:
    """Run `work` in a forked process that then ends at once; what `os.waitpid` says of it.

    0: it returned. A traceback, if any, is on stderr and the status is 1.
    """
    pid = os.fork()
    if pid == 0:
        leave_after(work)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def leave_after(work: Callable[[], object]) -> NoReturn:
    """End a forked process: nothing of what the parent would still do happens here."""
    code = 1
    try:
        work()
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
        raise
    finally:
        os._exit(code)
