import errno
import os
from pathlib import Path

import pytest

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


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        refuse_to_overwrite(tmp_path / "no" / "a", force=False)
