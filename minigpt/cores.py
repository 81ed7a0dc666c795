"""How many processors there are for us."""

import os


def usable_cores() -> int:
    """Those that this process may use: a container may own two cores of sixty-four."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
