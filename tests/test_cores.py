import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from minigpt import cores


@pytest.mark.parametrize(
    ("counts", "usable", "free"),
    [
        ("111", 4, 4),
        ("131", 4, 4),  # something ran for a moment
        ("222", 4, 3),  # another process
        ("222", 2, 2),  # it has other cores to run on
        ("777", 4, 0),
    ],
)
def test_cores_are_free_where_nobody_else_wants_them(
    monkeypatch: pytest.MonkeyPatch, counts: str, usable: int, free: int
) -> None:
    looks: Iterator[str] = iter(counts)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(cores, "usable_cores", lambda: usable)
    monkeypatch.setattr(
        Path, "read_text", lambda path, encoding: f"0.74 1.16 1.29 {next(looks)}/80 6158\n"
    )
    assert cores.free_cores() == free
    assert next(looks, None) is None


@pytest.mark.parametrize("content", [None, "", "1 2 3", "1 2 3 many/80 1"])
def test_where_nobody_counts_it_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    path = tmp_path / "loadavg"
    if content is not None:
        path.write_text(content, encoding="ascii")
    monkeypatch.setattr(cores, "_LOADAVG", path)
    assert cores.free_cores() is None
