"""One run in one folder at a time; and which half-written files nobody writes any more.

The locks are the kernel's, so a process that is killed leaves none behind. A folder's is on a file
in it that only says whose it is, and goes when the run ends.
"""

import contextlib
import errno
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from minigpt.errors import InputError

LOCK = ".lock"

_HELD = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
_GLANCES = 3
"""So often a folder is tried: somebody else's `is_locked` holds its lock for some microseconds."""
_FAR = 2**20  # on Windows nobody else can read the byte that is locked


@contextlib.contextmanager
def lock_folder(folder: Path) -> Iterator[bool]:
    """Hold a folder's lock.

    Yields:
        Whether it is held: some network file systems have no locks.

    Raises:
        InputError: another run holds it, or the folder cannot be written to.
    """
    path = folder / LOCK
    with _writing_to(folder):
        handle, held = _open_and_lock(path)
    try:
        with _writing_to(folder):
            os.lseek(handle, 0, os.SEEK_SET)
            os.write(handle, f"{os.getpid():<10}\n".encode())
        yield held
    finally:
        if os.name == "nt":  # which removes no open file
            os.close(handle)
            _remove(path)
        else:  # before another run can lock it: that one would hold a file that is gone
            _remove(path)
            os.close(handle)


def is_locked(folder: Path) -> bool:
    """Whether a run is writing there now; on a file system without locks, whether one began to."""
    try:
        handle = os.open(folder / LOCK, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    try:
        _lock(handle, shared=True)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def claim(file: BinaryIO) -> None:
    """Let `remove_abandoned` leave a file alone for as long as this process has it open."""
    if os.name != "nt":  # which removes no open file
        with contextlib.suppress(OSError):  # no locks here: then nothing is removed either
            _lock(file.fileno())


def remove_abandoned(paths: Iterable[Path]) -> None:
    """Remove those of some files, all claimed when they were made, that nobody has open now."""
    for path in paths:
        with contextlib.suppress(OSError):
            if os.name != "nt":
                with path.open("rb") as file:
                    _lock(file.fileno())
            path.unlink()


@contextlib.contextmanager
def _writing_to(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}") from None


def _open_and_lock(path: Path) -> tuple[int, bool]:
    glances = 0
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(handle)
        except OSError as error:
            if error.errno not in _HELD:
                return handle, False
            glances += 1
            if glances < _GLANCES:
                os.close(handle)
                time.sleep(0.01)
                continue
            os.lseek(handle, 0, os.SEEK_SET)
            owner = os.read(handle, 10).decode("ascii", "replace").strip()
            os.close(handle)
            raise InputError(
                f"another run is writing to {path.parent} (process {owner or 'unknown'}); "
                "wait for it, stop it, or choose another --out"
            ) from None
        if os.fstat(handle).st_nlink > 0:
            return handle, True
        os.close(handle)  # its run ended, and removed it, between our opening and our locking


def _lock(handle: int, *, shared: bool = False) -> None:
    """Lock at once or fail; closing the handle, or the death of the process, unlocks.

    Args:
        handle: of the lock's file.
        shared: beside others that share it; Windows has no such locks.
    """
    if sys.platform == "win32":
        import msvcrt

        os.lseek(handle, _FAR, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
