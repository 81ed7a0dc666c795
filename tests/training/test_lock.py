import errno
import os
import signal
from pathlib import Path

import pytest

pytest.importorskip("torch")

from minigpt.errors import InputError
from minigpt.training import lock
from minigpt.training.lock import LOCK, is_locked, lock_folder
from tests.stops import leave_after


def test_the_second_one_is_refused_and_told_of_the_first(tmp_path: Path) -> None:
    with lock_folder(tmp_path) as held:
        assert held
        assert is_locked(tmp_path)
        for _ in range(2):  # the refused one takes nothing away
            with pytest.raises(InputError, match=f"process {os.getpid()}"), lock_folder(tmp_path):
                pass
    assert list(tmp_path.iterdir()) == []
    assert not is_locked(tmp_path)
    assert not is_locked(tmp_path / "nowhere")
    with lock_folder(tmp_path) as held:
        assert held


def test_who_only_looks_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / LOCK).touch()
    looking = os.open(tmp_path / LOCK, os.O_RDONLY)
    lock._lock(looking, shared=True)
    monkeypatch.setattr("minigpt.training.lock.time.sleep", lambda seconds: os.close(looking))
    with lock_folder(tmp_path) as held:
        assert held


def test_the_lock_of_a_killed_run_is_free(tmp_path: Path) -> None:
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    read_end, write_end = os.pipe()

    def hold() -> None:
        with lock_folder(tmp_path):
            os.write(write_end, b"locked")
            signal.pause()

    pid = os.fork()
    if pid == 0:
        leave_after(hold)
    assert os.read(read_end, 10) == b"locked"
    with pytest.raises(InputError, match=f"process {pid}"), lock_folder(tmp_path):
        pass
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert (tmp_path / LOCK).exists()
    assert not is_locked(tmp_path)
    with lock_folder(tmp_path) as held:
        assert held
    assert not (tmp_path / LOCK).exists()


def test_a_lock_that_went_while_we_waited_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run that held it ends between our opening of its file and our locking."""
    really = lock._lock
    calls: list[int] = []

    def late(handle: int) -> None:
        if not calls:
            (tmp_path / LOCK).unlink()
        calls.append(handle)
        really(handle)

    monkeypatch.setattr(lock, "_lock", late)
    with lock_folder(tmp_path):
        assert len(calls) == 2
        with pytest.raises(InputError, match="another run"), lock_folder(tmp_path):
            pass


def test_a_file_system_without_locks_is_no_reason_to_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_here(handle: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock, "_lock", none_here)
    with lock_folder(tmp_path) as held:
        assert not held


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match="cannot write to"),
        lock_folder(tmp_path / "a"),
    ):
        pass


def test_a_full_disk_leaves_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("minigpt.training.lock.os.write", full)
        with pytest.raises(InputError, match="No space left"), lock_folder(tmp_path):
            pass
    assert list(tmp_path.iterdir()) == []
    with lock_folder(tmp_path) as held:
        assert held
