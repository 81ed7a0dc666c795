"""Reading regular files only; writing a file or a folder that is never there in part."""

import contextlib
import os
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from minigpt.errors import InputError

_IS_WINDOWS = os.name == "nt"
_NOT_IN_NAMES = '<>:"|?*'
_PATIENCE_S = 2.0 if _IS_WINDOWS else 0.0
"""Windows renames no file that a virus scanner, an indexer or a reader has open just now."""


def read_bytes(path: Path, wanted: str, max_bytes: int | None = None) -> bytes:
    """The content of a regular file; arguments and errors are those of `open_regular`."""
    with open_regular(path, wanted, max_bytes) as file:
        return file.read()


@contextlib.contextmanager
def open_regular(path: Path, wanted: str, max_bytes: int | None = None) -> Iterator[BinaryIO]:
    """Open a regular file to read it: a pipe or a device could go on for ever.

    Args:
        path: the file.
        wanted: what the user should have given, for the message.
        max_bytes: the largest size that is read.

    Raises:
        InputError: there is no such file, or it cannot be read.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            what = "a folder" if stat.S_ISDIR(found.st_mode) else "not a regular file"
            raise InputError(f"{path} is {what}; give {wanted}")
        if max_bytes is not None and found.st_size > max_bytes:
            raise InputError(f"{path} has more than {max_bytes} bytes, which is too much")
        with path.open("rb") as file:
            yield file
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path} does not exist; give {wanted}") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None


def matching(path: Path) -> list[Path]:
    """What a pattern such as *.txt stands for, in order; the path itself where it is none."""
    import glob

    if not set(str(path)) & set("*?") or path.exists():
        return [path]
    # not Path.glob, which takes no "..", no drive and no root
    return sorted(map(Path, glob.glob(str(path)))) or [path]  # noqa: PTH207


def write_atomically(path: Path, content: bytes, *, keep_old_as: Path | None = None) -> None:
    """Write a whole file: `open_atomically`, which see, for what is in memory."""
    with open_atomically(path, keep_old_as=keep_old_as) as file:
        file.write(content)


@contextlib.contextmanager
def open_atomically(path: Path, *, keep_old_as: Path | None = None) -> Iterator[BinaryIO]:
    """A file beside `path` to write to; at the end it is put on the disk and renamed into place.

    Args:
        path: the file; a link is followed.
        keep_old_as: where the file that was at `path` goes, instead of away.

    Raises:
        InputError: the folder does not exist, is not writable, or the disk is full, or the system
            has no such names, or what is at `path` is no file. Whatever is at `path` and
            `keep_old_as` is untouched then, and nothing is left behind.
    """
    temporary: Path | None = None
    if is_no_name(path.name):
        raise InputError(f"cannot write {path}: Windows takes none of {_NOT_IN_NAMES} in a name")
    try:
        path = _resolved(path)
        _refuse_no_file(path)
        with _beside(path).open("x+b") as file:
            temporary = Path(file.name)
            yield file
            file.flush()
            os.fsync(file.fileno())
        if keep_old_as is not None and _is_there(path):
            _rotate(temporary, path, keep_old_as)
        else:
            _move(temporary, path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from None
    finally:
        if temporary is not None:
            _unlink(temporary)
    sync_folder(path.parent)


def _rotate(new: Path, path: Path, old: Path) -> None:
    """`path` becomes `old` and `new` becomes `path`; where a rename fails, none of them does.

    Stopped dead at any point, one of `path` and `old` is there.
    """
    oldest = new.with_suffix(".old.tmp")
    done: list[tuple[Path, Path]] = []
    try:
        for source, target in ((old, oldest), (path, old), (new, path)):
            if _is_there(source):
                _move(source, target)
                done.append((source, target))
    except BaseException:
        for source, target in reversed(done):
            _move(target, source)
        raise
    _unlink(oldest)


def is_no_name(name: str) -> bool:
    """Whether Windows has no files of that name: after a colon it would write behind a file."""
    return _IS_WINDOWS and not set(_NOT_IN_NAMES).isdisjoint(name)


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except RuntimeError:  # until Python 3.12; later, looking at it fails
        raise InputError(f"cannot write {path}: its links lead in a circle") from None


def _refuse_no_file(path: Path) -> None:
    """Refuse to replace a folder, a pipe or a device: root would lose /dev/null."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
        raise InputError(f"cannot write {path}: it is {what}; choose another name")


def _refuse_no_folder(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file, not a folder; choose another name")


def _beside(path: Path) -> Path:
    """A name that nobody else has, for what will be renamed to `path`.

    Not by `tempfile`, which on Windows tries two thousand million names in a folder that is not to
    be written to (python/cpython#66305).
    """
    return path.parent / f".{path.name}.{os.urandom(4).hex()}.tmp"


def _move(source: Path, target: Path) -> None:
    """Rename in the target's place, as soon as that can be done."""
    patient_until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            source.replace(target)
            return
        except PermissionError:
            if time.monotonic() >= patient_until:
                raise
        time.sleep(0.05)


def _is_there(path: Path) -> bool:
    """`exists`, which from Python 3.14 on would take a disk that fails for a missing file."""
    try:
        path.stat()
    except FileNotFoundError:
        return False
    return True


def _unlink(temporary: Path) -> None:
    """Remove what a later run would remove too: no reason to fail."""
    with contextlib.suppress(OSError):
        temporary.unlink(missing_ok=True)


def remove_leftovers(path: Path) -> None:
    """Remove what writing `path` left beside it when it was killed.

    Only where nobody else can be writing it just now.
    """
    for temporary in path.parent.glob(f".{path.name}.*.tmp"):
        _unlink(temporary)


def write_folder_atomically(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a whole folder beside `folder`, then rename it into place.

    Stopped dead between the two renames that replace an older one, it leaves nothing at `folder`:
    old and new are then beside it, in `.NAME.*.tmp`.

    Args:
        folder: replaced if it is there, but nothing is deleted that `files` does not replace.
        files: paths below it, and their contents.

    Raises:
        InputError: it cannot be written, or something else is in it. An older folder is untouched
            then, and nothing is left behind.
    """
    import shutil

    folder = _resolved(folder)
    _refuse_no_folder(folder)
    for path in folder.rglob("*"):
        if not path.is_dir() and path.relative_to(folder).as_posix() not in files:
            raise InputError(
                f"{folder} holds {path.name!r:.40} too, which would be lost; choose another name"
            )
    work = _beside(folder)
    try:
        work.mkdir()
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror}") from None
    try:
        new, old = work / "new", work / "old"
        new.mkdir()
        for name, content in files.items():
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(new / name, content)
        try:
            if folder.exists():
                _move(folder, old)
            _move(new, folder)
        except BaseException:
            if old.exists():
                _move(old, folder)
            raise
        sync_folder(folder.parent)
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror}") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)


def refuse_lost_folder() -> None:
    """To be asked before PyTorch is imported: where the folder it is in is gone, it may abort.

    Raises:
        InputError: the folder was deleted, or is out of reach.
    """
    try:
        Path.cwd()
    except OSError as error:
        raise InputError(
            f"the folder that this was started in is gone ({error.strerror}); go to another one"
        ) from None


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` survive a power loss; Windows has no such call and needs none.

    Some network file systems cannot do it. The files are in their places already, so that is no
    error; SQLite sees it so too.
    """
    if _IS_WINDOWS:
        return
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def refuse_to_overwrite(path: Path, *, force: bool, folder: bool = False) -> None:
    """Check an output path before hours of work, not after.

    Args:
        path: what will be written.
        force: whether an older one may be replaced.
        folder: whether it will be a folder, not a file.

    Raises:
        InputError: one is there and `force` is not set, or something else is there, or its folder
            cannot be written to.
    """
    if _resolved(path).exists():
        (_refuse_no_folder if folder else _refuse_no_file)(path)
        if not force:
            raise InputError(f"{path} exists; choose another name, or add --force to replace it")
    if not path.parent.is_dir():
        raise InputError(f"the folder {path.parent} does not exist; create it first")
    probe = _beside(path.parent / "minigpt")
    try:  # `os.access` knows nothing of Windows' access rights
        probe.touch()
    except OSError as error:
        raise InputError(
            f"cannot write to the folder {path.parent} ({error.strerror}); choose another one"
        ) from None
    _unlink(probe)
