"""How many processors there are for us, and whether anybody else is at work."""

import os
import time
from pathlib import Path

_LOADAVG = Path("/proc/loadavg")


def usable_cores() -> int:
    """Those that this process may use: a container may own two cores of sixty-four."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def free_cores() -> int | None:
    """How many of those nobody else wants just now; None: nobody counts.

    Linux counts what runs or wants to ("0.74 1.16 1.29 2/80 6158": two of 80). The least of three
    looks, as something runs for a moment on any machine. It takes 2 ms.
    """
    counts = []
    try:
        for pause_s in (0, 0.001, 0.001):
            time.sleep(pause_s)
            counts.append(int(_LOADAVG.read_text(encoding="ascii").split()[3].partition("/")[0]))
    except (OSError, ValueError, IndexError):
        return None
    others = min(counts) - 1  # without us
    return max(0, min(usable_cores(), (os.cpu_count() or 1) - others))
