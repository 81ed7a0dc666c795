"""A text whose parts look different, as the rows of a widget draw it."""

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass

from rich.segment import Segment
from rich.style import Style

from minigpt_tui.widgets.wrapping import expanded


@dataclass(frozen=True, slots=True)
class Passage:
    """A text, and what its parts are."""

    text: str
    starts: tuple[int, ...]
    """Where each part begins; the first one at 0."""
    looks: tuple[str, ...]
    """What each part is: names that the widget has styles for."""

    def looks_in(self, row: range) -> set[str]:
        """What the characters of a row are."""
        first = bisect_right(self.starts, row.start) - 1
        last = bisect_right(self.starts, row.stop - 1) - 1
        return set(self.looks[first : last + 1]) if row else set()

    def segments(self, row: range, style: Callable[[str], Style]) -> list[Segment]:
        """A row, each of its parts in its style."""
        segments: list[Segment] = []
        column, at = 0, row.start
        while at < row.stop:
            part = bisect_right(self.starts, at) - 1
            stop = min((*self.starts[part + 1 : part + 2], row.stop))
            text = self.text[at:stop]
            if stop == row.stop:  # the spaces and the newline at which it breaks
                text = text.rstrip(" \n")
            shown, column = expanded(text, column)
            segments.append(Segment(shown, style(self.looks[part])))
            at = stop
        return segments
