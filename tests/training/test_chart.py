import re
from itertools import pairwise
from typing import Any

import pytest
from rich.text import Text

from minigpt.training.chart import chart


def draw(
    curve: list[tuple[float, float]],
    marks: list[tuple[float, float]] | None = None,
    levels: dict[str, float] | None = None,
    width: int = 40,
    height: int = 11,
    **options: Any,
) -> list[str]:
    axes: dict[str, Any] = {"right": 100, "bounds": (0, 1), "width": width, "height": height}
    lines = chart(curve, marks or [], levels or {}, **(axes | options))
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


def test_the_axis_may_begin_late() -> None:
    whole, late = (
        draw([(0, 1), (50, 0)]),
        draw([(12_300, 1), (12_350, 0)], left=12_300, right=12_400),
    )
    assert dots(whole) == dots(late)
    assert late[-1].split() == ["└12,300", late[-1].split()[1], "12,400", "steps"]
    wide = draw([], left=12_300, right=12_400, width=90)[-1]
    assert re.search("└12,300 ─+ 12,350 ─+ 12,400 steps$", wide)


def test_on_a_log_axis_doublings_are_equally_wide() -> None:
    lines = draw([], [(1, 0.5), (10, 0.5), (100, 0.5), (1000, 0.5)], width=80, log=True, right=1000)
    row = next(line for line in lines if "●" in line)
    places = [i for i, char in enumerate(row) if char == "●"]
    widths = [b - a for a, b in pairwise(places)]
    assert max(widths) - min(widths) <= 1
    assert re.search("1 └─+ 10 ─+ 100 ─+ 1,000 steps$", lines[-1])


def test_a_log_axis_of_few_steps_is_filled_too() -> None:
    lines = draw([], [(4184, 0.5), (4200, 0.5)], log=True, left=4184, right=4200)
    row = next(line for line in lines if "●" in line)
    assert row.rindex("●") == 38  # of 40 columns; behind it is room for names
    assert "●" in draw([], [(1, 0.5)], log=True, right=1)[5]


def test_a_chosen_mark_is_another_sign_over_its_neighbours() -> None:
    crowd = [(50.0, 0.5), (50.1, 0.5), (50.2, 0.5), (90.0, 0.5)]
    (row,) = [line for line in draw([], crowd, chosen=50.0) if "◆" in line]
    assert (row.count("◆"), row.count("●")) == (1, 1)


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("width", [30, 31, 77, 200])
@pytest.mark.parametrize("height", [3, 5, 40])
@pytest.mark.parametrize("bounds", [(1.0, 1.0), (1.5, 4.2), (-3.0, 1e9), (0.0, 1e-5)])
def test_nothing_leaves_the_frame(
    width: int, height: int, bounds: tuple[float, float], log: bool
) -> None:
    curve = [(0.0, 1e30), (10.0, -1e30), (20.0, 2.0), (500.0, 2.0)]
    lines = chart(
        curve, curve, {"level": 1.6},
        right=20, bounds=bounds, width=width, height=height, log=log, left=5 * log,
    )  # fmt: skip
    assert len(lines) == height
    assert max(map(Text.__len__, lines)) <= width
