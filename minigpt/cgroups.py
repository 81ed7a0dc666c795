"""The control groups of this process: by them Linux limits it, and so does a container."""

from collections.abc import Iterator
from pathlib import Path


def control_groups(controller: str, root: Path = Path("/")) -> Iterator[tuple[int, Path]]:
    """The groups that a controller has this process in: its own, then those above it.

    https://docs.kernel.org/admin-guide/cgroup-v2.html, or the first version of it; a machine may
    have some controllers in one and some in the other. Inside a container its own group may appear
    as the topmost, whatever it is called outside: then folders are named that are not there.

    Args:
        controller: "cpu" or "memory".
        root: where /proc and /sys are.

    Yields:
        The version, 1 or 2, and a folder with that group's numbers.
    """
    for line in lines_of(root / "proc/self/cgroup"):
        _, controllers, name = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        highest = root / "sys/fs/cgroup" / (controller if controllers else "")
        group = highest / name.lstrip("/")
        for folder in (group, *group.parents[: len(group.parts) - len(highest.parts)]):
            yield (1 if controllers else 2), folder


def lines_of(file: Path) -> list[str]:
    """Of one of the system's own files; none where there is no such file."""
    try:
        return file.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []
