"""How many processors there are for us, and whether anybody else is at work."""

import contextlib
import math
import os
import sys
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


def free_cores(looks: int = 3, pause_s: float = 0.0005) -> int | None:
    """How many of those no other process wants just now; None: it is not known.

    Linux counts, for the whole machine; where some of its cores are not for us, it does not say on
    which the others run.

    Args:
        looks: the least of so many counts, as something runs for a moment on any machine.
        pause_s: seconds between two of them.
    """
    cores = os.cpu_count() or 1
    if usable_cores() < cores:
        return None
    others = []
    try:
        for look in range(looks):
            if look:
                time.sleep(pause_s)
            others.append(_n_others())
            if not others[-1]:
                break
    except (OSError, ValueError, IndexError):
        return None
    return max(0, cores - min(others))


def wait_asleep_beside_others() -> bool:
    """Let PyTorch's threads sleep while they wait for each other, if others want the cores.

    GNU OpenMP, which they belong to, lets them spin. Alone on two cores that halves a step; but
    beside another process a thread that spins may hold the core that the awaited one needs, and a
    step takes the scheduler's time slices: of `laptop` 516 ms in the mean beside one busy process,
    58 asleep (`python -m benchmarks.beside_others`). One thread alone is as good and loses less
    when the other ends, but it calculates other last digits, where a run is to be repeated to the
    byte. What the user has set is left alone.

    To be called before torch is imported, as it reads the environment then. Another process must
    run for half a second: asleep for nothing, a training would take twice as long.

    Returns:
        Whether they will sleep.
    """
    chosen = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "WORLD_SIZE"} & set(os.environ)
    if chosen or "torch" in sys.modules or os.environ.get("OMP_NUM_THREADS") == "1":
        return False
    free = free_cores(looks=10, pause_s=0.05)
    if free is None or free >= usable_cores():
        return False
    os.environ["OMP_WAIT_POLICY"] = "passive"
    return True


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
