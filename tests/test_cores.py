import os
from pathlib import Path

import pytest

from minigpt import cores


def make_proc(folder: Path, loadavg: str, tasks: str) -> Path:
    """What Linux tells of the processes, ours with a thread for each letter."""
    for i, state in enumerate(tasks):
        task = folder / "self" / "task" / str(i)
        task.mkdir(parents=True)
        (task / "stat").write_text(f"{i} (R ) R) {state} 1 2 3\n", encoding="utf-8")
    (folder / "loadavg").write_text(loadavg, encoding="ascii")
    return folder


@pytest.mark.parametrize(
    ("running", "tasks", "usable", "free"),
    [
        (1, "R", 4, 4),
        (2, "RSR", 4, 4),  # a thread of our own
        (2, "RSS", 4, 3),  # another process
        (2, "R", 2, None),  # it may run on ours, or not
        (9, "RS", 4, 0),
    ],
)
def test_cores_are_free_that_no_other_process_wants(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    running: int,
    tasks: str,
    usable: int,
    free: int | None,
) -> None:
    proc = make_proc(tmp_path, f"0.74 1.16 1.29 {running}/80 6158\n", tasks)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(cores, "usable_cores", lambda: usable)
    monkeypatch.setattr(cores, "_PROC", proc)
    assert cores.free_cores() == free


def test_what_runs_for_a_moment_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([0, 2, 3])
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(cores, "usable_cores", lambda: 4)
    monkeypatch.setattr(cores, "_n_others", lambda: next(looks))
    assert cores.free_cores() == 4
    assert next(looks, None) is None


@pytest.mark.parametrize("content", ["", "1 2 3", "1 2 3 many/80 1"])
def test_where_nobody_counts_it_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(cores, "usable_cores", lambda: 4)
    monkeypatch.setattr(cores, "_PROC", tmp_path / "nowhere")
    assert cores.free_cores() is None
    monkeypatch.setattr(cores, "_PROC", make_proc(tmp_path, content, "R"))
    assert cores.free_cores() is None


@pytest.mark.parametrize(
    ("limit", "usable"), [("150000 100000", 2), ("5000 100000", 1), ("900000 100000", 4),
                          ("max 100000", 4), ("", 4), ("1 0", 4)]
)  # fmt: skip
def test_a_container_may_have_the_time_of_fewer_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, usable: int
) -> None:
    path = tmp_path / "cpu.max"
    path.write_text(limit, encoding="ascii")
    monkeypatch.setattr(cores, "_CPU_MAX", path)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3}, raising=False)
    assert cores.usable_cores() == usable
