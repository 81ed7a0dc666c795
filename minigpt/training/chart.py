"""Curves as text: braille characters, each of two by four dots, so that 70 columns are 140 dots.

Drawn here rather than by a plotting library: labels beside dashed lines and marks over curves are
most of the work, and four times a second it has to cost little (1 to 4 ms).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from rich.text import Text

Points = Sequence[tuple[float, float]]
"""(x, y) pairs, x rising."""

# The bit of each dot of a braille character (Unicode, from U+2800 on): by row, then column.
_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))

CURVE, MARK, LEVEL, AXIS = "cyan", "bold yellow", "green", "dim"
"""Styles; by the terminal's own palette, so that they suit light and dark."""

ASCII = {
    **dict.fromkeys(range(0x2800, 0x2900), "*"),
    **{ord(a): b for a, b in zip("┤│└─━╸●…", "||+-#>o~", strict=True)},
}
"""For `str.translate`, where a terminal has no such characters."""


def chart(
    curve: Points,
    marks: Points,
    levels: Mapping[str, float],
    *,
    right: float,
    bounds: tuple[float, float],
    width: int,
    height: int,
) -> list[Text]:
    """Draw a curve, single points and labelled dashed lines within the same axes.

    Args:
        curve: joined by a line.
        marks: each shown as ●.
        levels: heights of the dashed lines, by name; left out where outside of the bounds.
        right: where the x axis, which begins at 0, ends.
        bounds: lowest and highest y; the ends of the axis are rounded outwards.
        width: of every line, in columns; at least 30.
        height: number of lines, the last of which is the x axis; at least 3.
    """
    rows = height - 1
    lowest, highest = bounds[0], max(bounds[1], bounds[0] + 0.01)
    step, decimals = _tick_step(lowest, highest, most=max(3, min(rows * 2 // 3, 10)))
    # rounded, so that the picture does not swim with each new point; less coarsely than the ticks
    grain = step / 5
    first, last = math.floor(lowest / grain), math.ceil(highest / grain)
    low, high = first * grain, last * grain
    ticks = [n * grain for n in range(first, last + 1) if n % 5 == 0]
    shown = {name: y for name, y in levels.items() if low <= y <= high}
    margin = max((len(name) for name in shown), default=0)
    gutter = max((len(f"{tick:.{decimals}f}") for tick in ticks), default=1)
    columns = width - gutter - 2 - margin - 1

    def dot(x: float, y: float) -> tuple[int, int]:
        """The dot's column and row, from the top left; a far one stays just outside."""
        down = (high - y) / (high - low) * (4 * rows - 1)
        return round(x / right * (2 * columns - 1)), round(min(max(down, -1), 4 * rows))

    dots: dict[tuple[int, int], int] = {}
    cells: list[dict[int, tuple[str, str]]] = [{} for _ in range(rows)]
    """Of each row the character and style at each column that is not empty."""

    def put(wanted: Iterable[tuple[int, int]], style: str) -> None:
        for column, row in wanted:
            if 0 <= row < 4 * rows and 0 <= column < 2 * columns:
                cell = column // 2, row // 4
                dots[cell] = dots.get(cell, 0) | _BITS[row % 4][column % 2]
                cells[row // 4][column // 2] = chr(0x2800 + dots[cell]), style

    level_at = {name: dot(0, y)[1] for name, y in shown.items()}
    for row in level_at.values():
        put(((column, row) for column in range(2 * columns) if column % 4 < 2), LEVEL)
    put(_joined([dot(x, y) for x, y in curve]), CURVE)
    for column, row in (dot(x, y) for x, y in marks):
        if 0 <= row < 4 * rows:
            cells[row // 4][min(column // 2, columns - 1)] = "●", MARK

    numbers = {dot(0, t)[1] // 4: f"{t:.{decimals}f} ┤" for t in ticks}
    names = _beside({name: row // 4 for name, row in level_at.items()}, rows)
    lines = []
    for row in range(rows):
        line = Text.assemble((numbers.get(row, "│").rjust(gutter + 2), AXIS))
        for text, style in _runs(cells[row]):
            line.append(text, style)
        line.pad_right(gutter + 2 + columns - len(line))
        line.append(f" {names.get(row, ''):{margin}}", LEVEL)
        lines.append(line)
    return [*lines, _x_axis(gutter, columns, right)]


def _runs(cells: dict[int, tuple[str, str]]) -> list[tuple[str, str]]:
    """Texts and styles of a row, as few as there can be: a gap goes with what stands before it."""
    runs = [("", "none")]
    end = 0
    for column, (char, style) in sorted(cells.items()):
        text, before = runs[-1]
        gap = " " * (column - end)
        if style == before:
            runs[-1] = text + gap + char, style
        else:
            runs[-1:] = [(text + gap, before), (char, style)]
        end = column + 1
    return runs


def _tick_step(low: float, high: float, *, most: int) -> tuple[float, int]:
    """The smallest 1, 2 or 5 times a power of ten of few enough multiples; and its decimals."""
    for power in range(-3, 300):
        for digit in (1, 2, 5):
            step = digit * 10.0**power
            if math.floor(high / step) - math.ceil(low / step) < most:
                return step, max(0, -power)
    raise AssertionError("no loss is that large")


def _joined(dots: list[tuple[int, int]]) -> set[tuple[int, int]]:
    """All dots on the straight lines from each dot to the next."""
    found = set(dots)
    for (x0, y0), (x1, y1) in pairwise(dots):
        n = max(abs(x1 - x0), abs(y1 - y0))
        found |= {(x0 + round(i * (x1 - x0) / n), y0 + round(i * (y1 - y0) / n)) for i in range(n)}
    return found


def _beside(wanted: dict[str, int], rows: int) -> dict[int, str]:
    """Which row has which name: its own, or the next free one below."""
    placed: dict[int, str] = {}
    for name, row in sorted(wanted.items(), key=lambda item: item[1]):
        free = next((r for r in range(row, rows) if r not in placed), None)
        if free is not None:
            placed[free] = name
    return placed


def _x_axis(gutter: int, columns: int, right: float) -> Text:
    """The line below, with the numbers of its middle and its end in it."""
    middle, end = f" {right / 2:,.0f} ", f" {right:,.0f} steps"
    axis = "─" * columns
    if columns > 2 * (len(middle) + len(end)):
        half = columns // 2 - len(middle) // 2
        axis = axis[:half] + middle + axis[half + len(middle) :]
    axis = axis[: columns - len(end)] + end
    return Text(f"{'0':>{gutter}} └{axis}", style=AXIS)
