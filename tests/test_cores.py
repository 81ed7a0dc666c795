import os
import sys
from pathlib import Path

import pytest

from minigpt import cores


def make_proc(folder: Path, loadavg: str, tasks: str) -> Path:
    """What Linux tells of the processes, ours with a thread for each letter."""
    for i, state in enumerate(tasks):
        task = folder / "proc" / "self" / "task" / str(i)
        task.mkdir(parents=True)
        (task / "stat").write_text(f"{i} (R ) R) {state} 1 2 3\n", encoding="utf-8")
    (folder / "proc" / "loadavg").write_text(loadavg, encoding="ascii")
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
    monkeypatch.setattr(cores, "_ROOT", proc)
    assert cores.free_cores() == free


def test_what_runs_for_a_moment_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([2, 3, 0, 9])
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(cores, "usable_cores", lambda: 4)
    monkeypatch.setattr(cores, "_n_others", lambda: next(looks))
    assert cores.free_cores() == 4
    assert list(looks) == [9]
    looks = iter([0, 9])
    assert cores.free_cores() == 4
    assert list(looks) == [9]  # where nothing else runs, one look is enough


@pytest.mark.parametrize(
    ("free", "environment", "asleep"),
    [
        (1, {}, True),
        (2, {}, False),
        (None, {}, False),
        (0, {"OMP_WAIT_POLICY": "active"}, False),
        (0, {"GOMP_SPINCOUNT": "5"}, False),
        (0, {"OMP_NUM_THREADS": "1"}, False),
        (0, {"OMP_NUM_THREADS": "2"}, True),
        (0, {"WORLD_SIZE": "2"}, False),
    ],
)
def test_threads_sleep_beside_others_unless_the_user_chose(
    monkeypatch: pytest.MonkeyPatch, free: int | None, environment: dict[str, str], asleep: bool
) -> None:
    monkeypatch.setattr(os, "environ", dict(environment))
    monkeypatch.setattr(cores, "usable_cores", lambda: 2)
    monkeypatch.setattr(cores, "free_cores", lambda **_: free)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert cores.wait_asleep_beside_others() is asleep
    expected = {"OMP_WAIT_POLICY": "passive"} if asleep else {}
    assert os.environ == environment | expected
    monkeypatch.setitem(sys.modules, "torch", sys)
    monkeypatch.setattr(os, "environ", dict(environment))
    assert not cores.wait_asleep_beside_others()  # it would come too late


@pytest.mark.parametrize("content", ["", "1 2 3", "1 2 3 many/80 1"])
def test_where_nobody_counts_it_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(cores, "usable_cores", lambda: 4)
    monkeypatch.setattr(cores, "_ROOT", tmp_path / "nowhere")
    assert cores.free_cores() is None
    monkeypatch.setattr(cores, "_ROOT", make_proc(tmp_path, content, "R"))
    assert cores.free_cores() is None


@pytest.mark.parametrize(
    ("limit", "usable"), [("150000 100000", 2), ("5000 100000", 1), ("900000 100000", 4),
                          ("max 100000", 4), ("", 4), ("1 0", 4)]
)  # fmt: skip
def test_a_container_may_have_the_time_of_fewer_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, usable: int
) -> None:
    check_usable(tmp_path, monkeypatch, "0::/", {"cpu.max": limit}, usable)


@pytest.mark.parametrize(
    ("groups", "files", "usable"),
    [
        # of a group inside another, the tighter counts
        ("0::/a/b", {"a/b/cpu.max": "max 100000", "a/cpu.max": "200000 100000"}, 2),
        ("0::/a/b", {"a/b/cpu.max": "100000 100000", "a/cpu.max": "200000 100000"}, 1),
        # the first version, beside which the second has other controllers
        (
            "4:memory:/m\n1:cpu,cpuacct:/a\n0::/",
            {"cpu/a/cpu.cfs_quota_us": "250000", "cpu/a/cpu.cfs_period_us": "100000"},
            3,
        ),
        ("1:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 4),
        # inside a container: its group is the topmost there
        (
            "1:cpu:/docker/f00",
            {"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"},
            2,
        ),
    ],
)
def test_the_time_that_groups_leave(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    groups: str,
    files: dict[str, str],
    usable: int,
) -> None:
    check_usable(tmp_path, monkeypatch, groups, files, usable)


def check_usable(
    root: Path, monkeypatch: pytest.MonkeyPatch, groups: str, files: dict[str, str], usable: int
) -> None:
    files = {f"sys/fs/cgroup/{name}": content for name, content in files.items()}
    for name, content in {**files, "proc/self/cgroup": groups}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{content}\n", encoding="ascii")
    monkeypatch.setattr(cores, "_ROOT", root)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3}, raising=False)
    assert cores.usable_cores() == usable
