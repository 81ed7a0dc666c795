"""How many processors there are for us, and whether anybody else is at work."""

import os
import time
from pathlib import Path

_PROC = Path("/proc")


def usable_cores() -> int:
    """Those that this process may use: a container may own two cores of sixty-four."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def free_cores() -> int | None:
    """How many of those no other process wants just now; None: nobody counts.

    Linux does. The least of three looks, as something runs for a moment on any machine; they take
    1 ms.
    """
    looks = []
    try:
        for pause_s in (0, 0.0005, 0.0005):
            time.sleep(pause_s)
            looks.append(_n_others())
    except (OSError, ValueError, IndexError):
        return None
    return max(0, min(usable_cores(), (os.cpu_count() or 1) - min(looks)))


def _n_others() -> int:
    """Threads of other processes that run or want to.

    Of our own there are some that numpy's BLAS leaves spinning for a tenth of a second after its
    import.
    """
    running = (_PROC / "loadavg").read_text(encoding="ascii").split()[3]  # such as 2/80
    states = [
        (task / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        for task in (_PROC / "self" / "task").iterdir()
    ]
    return int(running.partition("/")[0]) - states.count("R")
