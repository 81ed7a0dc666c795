"""A branch's text around the place where it leaves another one."""

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from minigpt_tui.widgets.passage import Passage
from minigpt_tui.widgets.wrapping import Wrapping

GUTTER = 2
SHARED_CHARS, OWN_CHARS = 1_000, 4_000
"""How much is worth showing: wrapping it takes 3 ms, at every step through the tree."""


class BranchPreview(ScrollView):
    """What the branch shares is dimmed, with a bar beside what is its own."""

    DEFAULT_CSS = """
    BranchPreview {
        overflow-x: hidden;
        .branch-preview--shared { color: $text-muted; }
        .branch-preview--own { color: $foreground; }
        .branch-preview--gutter { color: $primary; }
    }
    """
    COMPONENT_CLASSES = {"branch-preview--shared", "branch-preview--own", "branch-preview--gutter"}

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._passage = Passage("", (0,), ("own",))
        self._fork = 0
        self._rows = Wrapping(1)

    def show(self, shared: str, own: str) -> None:
        """Show the end of what is shared, and the beginning of what is not."""
        # what a row begins with is not always a line's beginning: better none than half a one
        if len(shared) == SHARED_CHARS:
            shared = shared[shared.find("\n") + 1 :]
        more = "…" if len(own) == OWN_CHARS else ""
        self._fork = len(shared)
        self._passage = Passage(shared + own + more, (0, self._fork), ("shared", "own"))
        self._wrap()

    def on_resize(self) -> None:
        self._wrap()

    def _wrap(self) -> None:
        """Cut into rows, the fork in the upper third."""
        width = max(self.scrollable_content_region.width - GUTTER, 1)
        self._rows = Wrapping(width)
        self._rows.extend(self._passage.text)
        self.virtual_size = Size(width + GUTTER, len(self._rows))
        top = self._rows.row_of(self._fork) - self.scrollable_content_region.height // 3
        self.scroll_to(y=max(top, 0), animate=False, immediate=True)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        row = self.scroll_offset.y + y
        width, base = self.size.width, self._style("shared")
        if row >= len(self._rows):
            return Strip.blank(width, base)
        span = range(*self._rows.span(row))
        is_own = "own" in self._passage.looks_in(span)
        gutter = Segment("▎ ", self._style("gutter")) if is_own else Segment("  ", base)
        text = self._passage.segments(span, self._style)
        return Strip([gutter, *text]).adjust_cell_length(width, base)

    def _style(self, look: str) -> Style:
        return self.get_component_rich_style(f"branch-preview--{look}")
