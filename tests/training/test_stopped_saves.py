"""A save that is stopped, or fails, at each thing it asks of the operating system in turn."""

import errno
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("torch")

from minigpt.errors import InputError
from minigpt.files import remove_leftovers
from minigpt.training.checkpoint import BEST, LAST, PREVIOUS, TO_GO_ON, load_first, save
from tests.stops import at_operation, in_child, operations
from tests.training.test_checkpoint import checkpoint, save_last

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
NEW = checkpoint(3.0)


@dataclass(frozen=True)
class Save:
    """A folder before and after one save, and what that save asks of the operating system."""

    before: Mapping[str, bytes]
    after: Mapping[str, bytes]
    asked: list[str]

    def fresh(self, folder: Path) -> Path:
        folder.mkdir()
        for name, content in self.before.items():
            (folder / name).write_bytes(content)
        return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Save:
    folder = tmp_path_factory.mktemp("saves") / "run"  # as deep as the tests' own: each level asks
    folder.mkdir()
    save_last(checkpoint(1.0), folder)
    save_last(checkpoint(2.0), folder)
    before = contents(folder)
    asked = operations(lambda: save_last(NEW, folder))
    return Save(before, contents(folder), asked)


def test_what_a_save_asks_of_the_system(one: Save) -> None:
    """Were this list short, the tests below would prove little."""
    assert {"open", "write", "flush", "fsync", "stat", "unlink"} <= set(one.asked)
    assert one.asked.count("replace") == 3


@forks
def test_a_save_stopped_anywhere_leaves_a_whole_checkpoint(tmp_path: Path, one: Save) -> None:
    for n, name in enumerate(one.asked):
        folder = one.fresh(tmp_path / str(n))
        do = partial(save_last, NEW, folder)
        assert in_child(partial(at_operation, n, partial(os._exit, 99), do)) == 99
        found, refused = load_first(folder, TO_GO_ON)
        assert refused == [], name
        assert found.best_val_loss in {2.0, 3.0}, name
        remove_leftovers(folder / LAST)
        left = contents(folder)
        assert set(left) <= set(TO_GO_ON), name
        assert set(left.values()) <= {*one.before.values(), *one.after.values()}, name
        save_last(NEW, folder)  # the next save works, and `previous` is the one before
        assert load_first(folder, [PREVIOUS])[0].best_val_loss == found.best_val_loss


@forks
def test_a_best_one_stopped_anywhere_is_the_old_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / BEST
    save(NEW, path)
    new = path.read_bytes()
    asked = operations(partial(save, NEW, path))
    assert {"write", "fsync", "replace"} <= set(asked)
    for n, name in enumerate(asked):
        path.write_bytes(b"old")
        assert (
            in_child(partial(at_operation, n, partial(os._exit, 99), lambda: save(NEW, path))) == 99
        )
        assert path.read_bytes() in {b"old", new}, name


@forks
@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="needs a limit on file sizes")
@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_a_save_killed_within_a_write_leaves_what_was(
    tmp_path: Path, one: Save, share: float
) -> None:
    import resource

    folder = one.fresh(tmp_path / "run")
    size = int(len(one.after[LAST]) * share)

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        save_last(NEW, folder)

    assert in_child(limited) == -signal.SIGXFSZ
    torn = [content for name, content in contents(folder).items() if name not in one.before]
    assert [len(content) for content in torn] == [size]
    remove_leftovers(folder / LAST)
    assert contents(folder) == one.before


def fail(number: int) -> None:
    raise OSError(number, os.strerror(number))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
def test_a_failing_save_changes_nothing_and_is_one_sentence(
    tmp_path: Path, one: Save, number: int
) -> None:
    must_not_fail = {"open", "write", "flush", "fsync", "chmod", "replace"}
    last_rename = max(n for n, name in enumerate(one.asked) if name == "replace")
    for n, name in enumerate(one.asked):
        folder = one.fresh(tmp_path / str(n))
        said = ""
        try:
            at_operation(n, partial(fail, number), partial(save_last, NEW, folder))
        except InputError as error:
            said = str(error)
        if said:
            assert said == f"cannot write {folder / LAST}: {os.strerror(number)}"
            assert contents(folder) == one.before, name
        else:
            assert name not in must_not_fail or n > last_rename, name
            remove_leftovers(folder / LAST)
            assert contents(folder) == one.after, name


@forks
def test_a_full_disk_for_real(tmp_path: Path, one: Save) -> None:
    resource = pytest.importorskip("resource")
    folder = one.fresh(tmp_path / "run")

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        with pytest.raises(InputError, match=r"cannot write .*last\.safetensors: File too large"):
            save_last(NEW, folder)

    assert in_child(limited) == 0
    assert contents(folder) == one.before
