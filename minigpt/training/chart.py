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

CURVE, MARK, CHOSEN, LEVEL, AXIS = "cyan", "bold yellow", "bold red", "green", "dim"
"""Styles; by the terminal's own palette, so that they suit light and dark."""

ASCII = {
    **dict.fromkeys(range(0x2800, 0x2900), "*"),
    **{ord(a): b for a, b in zip("┤│└─━╸●◆…", "||+-#>o#~", strict=True)},
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
    left: float = 0,
    log: bool = False,
    chosen: float | None = None,
) -> list[Text]:
    """Draw a curve, single points and labelled dashed lines within the same axes.

    Args:
        curve: joined by a line.
        marks: each shown as ●.
        levels: heights of the dashed lines, by name; left out where outside of the bounds.
        right: where the x axis ends.
        bounds: lowest and highest y; the ends of the axis are rounded outwards.
        width: of every line, in columns; at least 30.
        height: number of lines, the last of which is the x axis; at least 3.
        left: where the x axis begins; what is left of it is not to be given.
        log: whether each doubling of x is as wide as the next; then it begins at 1 or later.
        chosen: the x of the mark that is shown as ◆.
    """
    left = max(left, 1) if log else left
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

    def along(x: float) -> float:
        """How far right, of 1."""
        if log:
            return math.log(max(x, left) / left) / (math.log(right / left) or 1)
        return (x - left) / (right - left)

    def dot(x: float, y: float) -> tuple[int, int]:
        """The dot's column and row, from the top left; a far one stays just outside."""
        down = (high - y) / (high - low) * (4 * rows - 1)
        return round(along(x) * (2 * columns - 1)), round(min(max(down, -1), 4 * rows))

    dots: dict[tuple[int, int], int] = {}
    cells: list[dict[int, tuple[str, str]]] = [{} for _ in range(rows)]
    """Of each row the character and style at each column that is not empty."""

    def put(wanted: Iterable[tuple[int, int]], style: str) -> None:
        for column, row in wanted:
            if 0 <= row < 4 * rows and 0 <= column < 2 * columns:
                cell = column // 2, row // 4
                dots[cell] = dots.get(cell, 0) | _BITS[row % 4][column % 2]
                cells[row // 4][column // 2] = chr(0x2800 + dots[cell]), style

    level_at = {name: dot(left, y)[1] for name, y in shown.items()}
    for row in level_at.values():
        put(((column, row) for column in range(2 * columns) if column % 4 < 2), LEVEL)
    put(_joined([dot(x, y) for x, y in curve]), CURVE)
    for x, y in sorted(marks, key=lambda mark: mark[0] == chosen):  # that one over its neighbours
        column, row = dot(x, y)
        if 0 <= row < 4 * rows:
            shown_as = ("◆", CHOSEN) if x == chosen else ("●", MARK)
            cells[row // 4][min(column // 2, columns - 1)] = shown_as

    numbers = {dot(left, t)[1] // 4: f"{t:.{decimals}f} ┤" for t in ticks}
    names = _beside({name: row // 4 for name, row in level_at.items()}, rows)
    lines = []
    for row in range(rows):
        line = Text.assemble((numbers.get(row, "│").rjust(gutter + 2), AXIS))
        for text, style in _runs(cells[row]):
            line.append(text, style)
        line.pad_right(gutter + 2 + columns - len(line))
        line.append(f" {names.get(row, ''):{margin}}", LEVEL)
        lines.append(line)
    tens = [10.0**n for n in range(math.ceil(math.log10(right)) if log else 0)]
    between = [x for x in tens if x > left] if log else [(left + right) / 2]
    labels = {along(x): f" {x:,.0f} " for x in between}
    return [*lines, _x_axis(gutter, columns, f"{left:,.0f}", labels, f" {right:,.0f} steps")]


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


def _x_axis(gutter: int, columns: int, start: str, labels: Mapping[float, str], end: str) -> Text:
    """The line below, with the numbers of its ends in it, and those between that have room."""
    if len(start) > gutter:  # as the numbers of the y axis are narrow
        labels = {(len(start) + 1) / 2 / columns: f"{start} ", **labels}
        start = ""
    axis = "─" * max(0, columns - len(end)) + end[-columns:]
    for place, label in labels.items():
        at = max(0, int(place * columns) - len(label) // 2)
        beyond = at + len(label)
        if set(axis[max(0, at - 3) : beyond + 3]) == {"─"}:
            axis = axis[:at] + label + axis[beyond:]
    return Text(f"{start:>{gutter}} └{axis}", style=AXIS)


def right_end(step: int, max_steps: int) -> int:
    """Where the x axis ends: a half, a quarter, ... of the run, so that much of it is in use."""
    right = max_steps
    while (half := (right + 1) // 2) >= max(step, 16):
        right = half
    return right
