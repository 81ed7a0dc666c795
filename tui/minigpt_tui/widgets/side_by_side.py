"""Two texts beside each other, what is equal in the same rows."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from minigpt_tui.comparison import Comparison
from minigpt_tui.differences import Span
from minigpt_tui.widgets.passage import Passage
from minigpt_tui.widgets.wrapping import Wrapping

GUTTER = 2
SHARED_ROWS = 3
"""Before a difference that was gone to."""


class SideBySide(ScrollView, can_focus=True):
    """Scrolls both texts together, as they are one widget.

    What differs is coloured, with a ◆ beside its rows, and underlined where it is not all of a
    row; what is shared before the fork is dimmed.
    """

    DEFAULT_CSS = """
    SideBySide {
        overflow-x: hidden;
        overflow-y: scroll;
        scrollbar-size-vertical: 1;
        .side-by-side--shared { color: $text-muted; }
        .side-by-side--equal { color: $foreground; }
        .side-by-side--a { color: $primary; }
        .side-by-side--b { color: $secondary; }
        .side-by-side--gutter { color: $accent; }
        .side-by-side--line { color: $border-blurred; }
    }
    """
    COMPONENT_CLASSES = {
        "side-by-side--shared",
        "side-by-side--equal",
        "side-by-side--a",
        "side-by-side--b",
        "side-by-side--gutter",
        "side-by-side--line",
    }
    ALLOW_SELECT = False
    BINDINGS = [
        Binding("n,N,right", "difference(1)", "Next difference", id="compare.next"),
        Binding("p,P,left", "difference(-1)", "Previous", id="compare.previous"),
        Binding("k,K", "scroll_up", "Up", show=False, id="compare.up"),
        Binding("j,J", "scroll_down", "Down", show=False, id="compare.down"),
    ]

    def __init__(self, comparison: Comparison, *, id: str | None = None) -> None:
        super().__init__(id=id)
        shared = comparison.shared
        self._spans = [Span(True, range(len(shared)), range(len(shared)))] + [
            Span(is_equal, _moved(a, len(shared)), _moved(b, len(shared)))
            for is_equal, a, b in comparison.spans
        ]
        self._passages = [
            _passage(
                shared + comparison.a.text, self._spans, [span.a for span in self._spans], "a"
            ),
            _passage(
                shared + comparison.b.text, self._spans, [span.b for span in self._spans], "b"
            ),
        ]
        self._n_shared = len(shared)
        self._cells = 0
        self._rows: list[tuple[range, range]] = []
        """The characters of both texts in each row."""
        self._differences: list[int] = []
        """The rows in which one begins."""

    def on_resize(self) -> None:
        """Cut into rows again; what was on top stays there, at first some rows of the shared."""
        old_rows, top = self._rows, self.scroll_offset.y
        width = self.scrollable_content_region.width
        self._cells = max((width - 1) // 2 - GUTTER - 1, 1)
        self._rows = list(self._wrapped())
        differ = [any(self._differs(side, i) for side in (0, 1)) for i in range(len(self._rows))]
        self._differences = [i for i, it in enumerate(differ) if it and not (i and differ[i - 1])]
        self.virtual_size = Size(width, len(self._rows))
        place = old_rows[top][0].start if old_rows else self._n_shared
        row = max(bisect_right(self._rows, place, key=lambda row: row[0].start) - 1, 0)
        self._go(row if old_rows else row - SHARED_ROWS)
        self.refresh()

    def _wrapped(self) -> Iterator[tuple[range, range]]:
        """Behind every newline that is equal, both texts begin a row together."""
        done = (0, 0)
        ends = [
            (span.a.start + i + 1, span.b.start + i + 1)
            for span in self._spans
            if span.is_equal
            for i in range(len(span.a))
            if self._passages[0].text[span.a.start + i] == "\n"
        ]
        whole = (len(self._passages[0].text), len(self._passages[1].text))
        for end in [*ends, whole]:
            if end == done:  # the last newline is the last character
                return
            sides = [self._rows_of(side, range(done[side], end[side])) for side in (0, 1)]
            for i in range(max(map(len, sides))):
                a, b = (
                    rows[i] if i < len(rows) else range(stop, stop)
                    for rows, stop in zip(sides, end, strict=True)
                )
                yield a, b
            done = end

    def _rows_of(self, side: int, chars: range) -> list[range]:
        text = self._passages[side].text[chars.start : chars.stop]
        wrapping = Wrapping(self._cells)
        wrapping.extend(text)
        n = len(wrapping) - text.endswith("\n")
        return [_moved(range(*wrapping.span(row)), chars.start) for row in range(n)]

    def _differs(self, side: int, row: int) -> bool:
        return not self._passages[side].looks_in(self._rows[row][side]).isdisjoint({"a", "b"})

    def render_line(self, y: int) -> Strip:
        row = self.scroll_offset.y + y
        base = self._style("equal")
        line = Segment("│", self._style("line"))
        a, b = (
            Strip(self._half(side, row)).adjust_cell_length(GUTTER + self._cells + 1, base)
            for side in (0, 1)
        )
        return Strip([*a, line, *b]).adjust_cell_length(self.size.width, base)

    def _half(self, side: int, row: int) -> list[Segment]:
        if row >= len(self._rows):
            return []
        passage, chars = self._passages[side], self._rows[row][side]
        seen = len(passage.text[chars.start : chars.stop].rstrip())
        is_mixed = len(passage.looks_in(chars[:seen])) > 1

        def style(look: str) -> Style:
            underline = Style(underline=is_mixed and look in {"a", "b"})
            return self._style(look) + underline

        mark = "◆ " if self._differs(side, row) else "  "
        return [Segment(mark, self._style("gutter")), *passage.segments(chars, style)]

    def _style(self, look: str) -> Style:
        return self.get_component_rich_style(f"side-by-side--{look}")

    def action_difference(self, by: int) -> None:
        """To where the next difference begins, or the one before."""
        top = self.scroll_offset.y + SHARED_ROWS
        i = bisect_right(self._differences, top) if by > 0 else bisect_left(self._differences, top)
        i += 0 if by > 0 else -1
        if 0 <= i < len(self._differences):
            self._go(self._differences[i] - SHARED_ROWS)

    def _go(self, row: int) -> None:
        self.scroll_to(y=max(row, 0), animate=False, immediate=True)


def _moved(chars: range, by: int) -> range:
    return range(chars.start + by, chars.stop + by)


def _passage(text: str, spans: list[Span], parts: list[range], name: str) -> Passage:
    looks = ["shared", *("equal" if span.is_equal else name for span in spans[1:])]
    return Passage(text, tuple(part.start for part in parts), tuple(looks))
