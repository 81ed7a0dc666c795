"""How many processors there are for us, and whether anybody else is at work."""

import contextlib
import math
import os
import time
from pathlib import Path

_PROC = Path("/proc")
_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")


def usable_cores() -> int:
    """Those that this process may use: a container may own two of sixty-four, or so much time."""
    n = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        n = len(os.sched_getaffinity(0))
    try:
        quota, period = _CPU_MAX.read_text(encoding="ascii").split()  # of a container's group
        return max(1, min(n, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError, ZeroDivisionError):  # "max", where there is no limit
        return n


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
    running = (_PROC / "loadavg").read_text(encoding="ascii").split()[3]  # such as 2/80
    n_ours = 0
    for task in (_PROC / "self" / "task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended since
            stat = (task / "stat").read_text(encoding="utf-8")
            n_ours += stat.rpartition(")")[2].split()[0] == "R"
    return int(running.partition("/")[0]) - n_ours
