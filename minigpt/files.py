"""Writing a file so that it is there whole or not at all."""

import os
import tempfile
from pathlib import Path

from minigpt.errors import InputError


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside `path`, make sure it is on the disk, then rename it into place.

    Raises:
        InputError: the folder does not exist, is not writable, or the disk is full. An older file
            at `path` is untouched then, and nothing is left behind.
    """
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())  # mkstemp's files are for the owner alone
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` survive a power loss; Windows has no such call and needs none."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def refuse_to_overwrite(path: Path, *, force: bool) -> None:
    """Check an output path before hours of work, not after.

    Raises:
        InputError: something is there and `force` is not set, or its folder cannot be written to.
    """
    if path.exists() and not force:
        raise InputError(f"{path} exists; choose another name, or add --force to replace it")
    if not path.parent.is_dir():
        raise InputError(f"the folder {path.parent} does not exist; create it first")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"the folder {path.parent} is not writable; choose another one")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
