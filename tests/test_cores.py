import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from minigpt import cores


@pytest.mark.parametrize(
    ("counts", "n", "free"),
    [
        ("111", 4, True),
        ("131", 4, True),  # something ran for a moment
        ("222", 4, False),  # another process
        ("222", 3, True),
        ("555", 1, False),
    ],
)
def test_cores_are_free_where_nobody_else_wants_them(
    monkeypatch: pytest.MonkeyPatch, counts: str, n: int, free: bool
) -> None:
    looks: Iterator[str] = iter(counts)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(
        Path, "read_text", lambda path, encoding: f"0.74 1.16 1.29 {next(looks)}/80 6158\n"
    )
    assert cores.are_free(n) is free
    assert next(looks, None) is None


@pytest.mark.parametrize("content", [None, "", "1 2 3", "1 2 3 many/80 1"])
def test_where_nobody_counts_no_core_is_known_to_be_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    path = tmp_path / "loadavg"
    if content is not None:
        path.write_text(content, encoding="ascii")
    monkeypatch.setattr(cores, "_LOADAVG", path)
    assert not cores.are_free(1)
