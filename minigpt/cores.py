"""How many processors there are for us, and whether anybody else is at work."""

import contextlib
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path

from minigpt.cgroups import control_groups, lines_of

_ROOT = Path("/")
"""Where /proc and /sys are."""


def usable_cores() -> int:
    """Those that this process may use: a container may own two of sixty-four, or so much time."""
    n = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        n = len(os.sched_getaffinity(0))
    return max(1, min([n, *(math.ceil(time) for time in _allowed())]))


def _allowed() -> Iterator[float]:
    """Seconds of a core in each second that the control groups of this process leave it."""
    for version, group in control_groups("cpu", _ROOT):
        names = ("cpu.max",) if version == 2 else ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        numbers = " ".join(line for name in names for line in lines_of(group / name)).split()
        with contextlib.suppress(ValueError, ZeroDivisionError):  # "max", or nothing at all
            quota, period = (int(number) for number in numbers)
            if quota > 0:  # -1 in the first version: no limit
                yield quota / period


def free_cores() -> int | None:
    """How many of those no other process wants just now; None: it is not known.

    Linux counts, for the whole machine; where some of its cores are not for us, it does not say on
    which the others run. The least of three looks, as something runs for a moment on any machine;
    they take 1 ms.
    """
    cores = os.cpu_count() or 1
    if usable_cores() < cores:
        return None
    looks = []
    try:
        for pause_s in (0, 0.0005, 0.0005):
            time.sleep(pause_s)
            looks.append(_n_others())
    except (OSError, ValueError, IndexError):
        return None
    return max(0, cores - min(looks))


def _n_others() -> int:
    """Threads of other processes that run or want to.

    Of our own there are some that numpy's BLAS leaves spinning for a tenth of a second after its
    import.
    """
    running = (_ROOT / "proc/loadavg").read_text(encoding="ascii").split()[3]  # such as 2/80
    n_ours = 0
    for task in (_ROOT / "proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended since
            stat = (task / "stat").read_text(encoding="utf-8")
            n_ours += stat.rpartition(")")[2].split()[0] == "R"
    return int(running.partition("/")[0]) - n_ours
