import errno
import os
from functools import partial
from pathlib import Path

import pytest

import minigpt.files
from minigpt.errors import InputError
from minigpt.files import refuse_to_overwrite, write_atomically, write_folder_atomically


def test_a_file_is_written_whole(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", b"one")
    write_atomically(tmp_path / "a", b"two")
    assert (tmp_path / "a").read_bytes() == b"two"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failing_disk_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    write_atomically(tmp_path / "a", b"old")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    owner = os if call == "fsync" else Path
    with monkeypatch.context() as patch:
        patch.setattr(owner, call, fail)
        with pytest.raises(InputError, match="No space left"):
            write_atomically(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_folder_is_written_whole(tmp_path: Path) -> None:
    for files in ({"a": b"1", "b/c": b"2"}, {"a": b"3", "b/c": b"4"}):
        write_folder_atomically(tmp_path / "d", files)
        assert contents(tmp_path) == {f"d/{name}": content for name, content in files.items()}
    assert [p.name for p in tmp_path.iterdir()] == ["d"]


def test_what_is_not_replaced_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / "d" / "b").mkdir(parents=True)
    (tmp_path / "d" / "b" / "mine").write_bytes(b"1")
    with pytest.raises(InputError, match="'mine' too"):
        write_folder_atomically(tmp_path / "d", {"a": b"1"})
    (tmp_path / "file").write_bytes(b"2")
    with pytest.raises(InputError, match="is a file"):
        write_folder_atomically(tmp_path / "file", {"a": b"1"})
    assert contents(tmp_path) == {"d/b/mine": b"1", "file": b"2"}


@pytest.mark.parametrize("fails_at", range(4))
def test_a_failing_disk_leaves_the_old_folder_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    """Four renames write it: two files, the old folder away, the new one into its place."""
    write_folder_atomically(tmp_path / "d", {"a": b"old", "b": b"old"})
    rename, calls = Path.replace, iter(range(10))

    def fail(path: Path, target: Path) -> Path:
        if next(calls) == fails_at:
            raise OSError(errno.ENOSPC, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(InputError, match="No space left"):
        write_folder_atomically(tmp_path / "d", {"a": b"new", "b": b"new"})
    assert contents(tmp_path) == {"d/a": b"old", "d/b": b"old"}
    assert [p.name for p in tmp_path.iterdir()] == ["d"]


def test_an_existing_file_is_refused_without_force(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch()
    with pytest.raises(InputError, match="--force"):
        refuse_to_overwrite(path, force=False)
    refuse_to_overwrite(path, force=True)


def test_a_folder_that_is_not_to_be_written_to_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(InputError, match=r"cannot write to the folder .* \(Permission denied\)"):
        refuse_to_overwrite(tmp_path / "a", force=True)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes with names")
def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for path in (pipe, link):
        for force in (False, True):
            with pytest.raises(InputError, match="it is not a regular file; choose another"):
                refuse_to_overwrite(path, force=force)
        with pytest.raises(InputError, match="it is not a regular file; choose another"):
            write_atomically(path, b"")
    with pytest.raises(InputError, match="is a file, not a folder"):
        refuse_to_overwrite(pipe, force=True, folder=True)
    assert pipe.is_fifo()
    assert link.is_symlink()
    assert {path.name for path in tmp_path.iterdir()} == {"pipe", "link"}


@pytest.mark.skipif(os.name == "nt", reason="there a link needs a right of its own")
def test_a_circle_of_links_is_not_written_to(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(InputError, match=r"cannot write .*loop: "):
        write_atomically(loop, b"")
    assert [path.name for path in tmp_path.iterdir()] == ["loop"]


@pytest.mark.parametrize("name", [".", "/"])
def test_a_folder_is_no_name_for_a_file(name: str) -> None:
    for write in (partial(refuse_to_overwrite, force=True), partial(write_atomically, content=b"")):
        with pytest.raises(InputError, match=r"cannot write .*: it is a folder"):
            write(Path(name))


def test_a_colon_names_no_file_on_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There it would be written behind a file of no bytes."""
    monkeypatch.setattr(minigpt.files, "_IS_WINDOWS", True)
    with pytest.raises(InputError, match=r"ROMEO: a scene.txt: Windows takes none of"):
        write_atomically(tmp_path / "ROMEO: a scene.txt", b"")
    write_atomically(tmp_path / "ROMEO.txt", b"")
    assert [p.name for p in tmp_path.iterdir()] == ["ROMEO.txt"]


@pytest.mark.parametrize("busy_for", [0.3, 60.0])
def test_a_file_that_somebody_reads_is_replaced_when_it_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, busy_for: float
) -> None:
    """As on Windows, where a rename fails meanwhile."""
    write_atomically(tmp_path / "a", b"old")
    clock, rename = [0.0], Path.replace

    def replace(path: Path, target: Path) -> Path:
        if clock[0] < busy_for:
            raise PermissionError(errno.EACCES, "The process cannot access the file")
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr(minigpt.files, "_PATIENCE_S", 2.0)
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    monkeypatch.setattr("time.sleep", lambda s: clock.__setitem__(0, clock[0] + s))
    if busy_for > 2:
        with pytest.raises(InputError, match="cannot access the file"):
            write_atomically(tmp_path / "a", b"new")
    else:
        write_atomically(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == (b"old" if busy_for > 2 else b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        refuse_to_overwrite(tmp_path / "no" / "a", force=False)
