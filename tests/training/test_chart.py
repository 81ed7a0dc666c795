import re

import pytest
from rich.text import Text

from minigpt.training.chart import chart


def draw(
    curve: list[tuple[float, float]],
    marks: list[tuple[float, float]] | None = None,
    levels: dict[str, float] | None = None,
    width: int = 40,
    height: int = 11,
) -> list[str]:
    lines = chart(
        curve, marks or [], levels or {}, right=100, bounds=(0, 1), width=width, height=height
    )
    return [line.plain for line in lines]


def dots(lines: list[str]) -> set[tuple[int, int]]:
    """Column and row of every dot that is set, counted from the top left of the text."""
    bits = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3)]
    return {
        (2 * x + dx, 4 * y + dy)
        for y, line in enumerate(lines)
        for x, char in enumerate(line)
        for bit, (dx, dy) in enumerate(bits)
        if "\u2800" <= char <= "\u28ff" and (ord(char) - 0x2800) >> bit & 1
    }


def test_a_diagonal_goes_from_corner_to_corner() -> None:
    lines = draw([(0, 1), (100, 0)])
    axis = lines[0].index("┤") + 1
    found = {(x - 2 * axis, y) for x, y in dots(lines)}
    width, height = 2 * (39 - axis), 40
    assert {(0, 0), (width - 1, height - 1)} <= found
    # against the line itself: every dot is the nearest one in its column or its row
    slope = (height - 1) / (width - 1)
    assert all(abs(y - slope * x) <= 1 for x, y in found)
    assert {x for x, _ in found} == set(range(width))


def test_a_point_is_a_mark_and_a_level_a_dashed_line_with_its_name() -> None:
    lines = draw([], [(50, 0.5)], {"5-gram": 0.1, "beyond": 1.5})
    row = next(line for line in lines if "●" in line)
    assert 17 <= row.index("●") <= 22
    assert lines.index(row) in (4, 5)
    level = next(line for line in lines if "5-gram" in line)
    assert level.endswith("5-gram")
    assert re.search("([⠁-⣿] ){5}", level)
    assert lines.index(level) == 9 - 1
    assert "beyond" not in "".join(lines)


def test_levels_at_one_height_are_both_named() -> None:
    named = [line.split()[-1] for line in draw([], [], {"bigram": 0.5, "5-gram": 0.51})]
    assert named.index("bigram") == named.index("5-gram") + 1


def test_both_axes_have_numbers() -> None:
    lines = draw([])
    numbers = [float(line.split("┤")[0]) for line in lines if "┤" in line]
    assert numbers == sorted(numbers, reverse=True)
    assert numbers[0] - numbers[-1] == 1
    assert 3 <= len(numbers) <= 6
    assert lines[-1].split()[0] == "0"
    assert lines[-1].endswith("100 steps")


@pytest.mark.parametrize("width", [30, 31, 77, 200])
@pytest.mark.parametrize("height", [3, 5, 40])
@pytest.mark.parametrize("bounds", [(1.0, 1.0), (1.5, 4.2), (-3.0, 1e9), (0.0, 1e-5)])
def test_nothing_leaves_the_frame(width: int, height: int, bounds: tuple[float, float]) -> None:
    curve = [(0.0, 1e30), (10.0, -1e30), (20.0, 2.0), (500.0, 2.0)]
    lines = chart(curve, curve, {"level": 1.6}, right=20, bounds=bounds, width=width, height=height)
    assert len(lines) == height
    assert max(map(Text.__len__, lines)) <= width
