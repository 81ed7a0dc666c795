"""The branches as a tree, one a line; only the lines in sight are looked at."""

from collections.abc import Callable
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding
from textual.geometry import Offset, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from minigpt_tui.branches import LEVEL_CELLS, Row, around_fork, outline
from minigpt_tui.document import Branch, Document
from minigpt_tui.glyphs import visible

MARKS_CELLS = 4
NUMBERS_CELLS = 19
"""For two numbers of up to seven digits with their commas, and the arrow between them."""
WITH_NUMBERS = 50
"""From so many cells on there is room for them."""
LABEL_CELLS = 30
"""The lines of a deep tree leave this to the text."""
BEFORE_CELLS = 12
NAME_CELLS = 28


class BranchTree(ScrollView, can_focus=True):
    """Moves over the branches of a document; posts `Highlighted` and, at a double click, `Chosen`.

    A line shows, from left to right: whether it is highlighted, is the text that the app shows,
    is marked; what it leaves; its name; the characters before the fork and after it; where the
    fork is and how long the text is.
    """

    DEFAULT_CSS = """
    BranchTree {
        overflow-x: hidden;
        overflow-y: auto;
        scrollbar-size-vertical: 1;
        scrollbar-gutter: stable;
        .branch-tree--line { color: $border-blurred; }
        .branch-tree--shared { color: $text-muted; }
        .branch-tree--own { color: $foreground; }
        .branch-tree--name { color: $secondary; text-style: bold; }
        .branch-tree--mark { color: $primary; text-style: bold; }
        .branch-tree--highlight { background: $panel; text-style: bold; }
    }
    """
    COMPONENT_CLASSES = {
        "branch-tree--line",
        "branch-tree--shared",
        "branch-tree--own",
        "branch-tree--name",
        "branch-tree--mark",
        "branch-tree--highlight",
    }
    ALLOW_SELECT = False
    BINDINGS = [
        Binding("up,k", "move(-1)", "Branch above", show=False, id="branches.up"),
        Binding("down,j", "move(1)", "Branch below", show=False, id="branches.down"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="branches.page.up"),
        Binding("pagedown", "page(1)", "Page down", show=False, id="branches.page.down"),
        Binding("home,g", "move_to(0)", "The first one", show=False, id="branches.first"),
        Binding("end,G", "move_to(-1)", "The last one", show=False, id="branches.last"),
        Binding("left,h", "out", "What it leaves", show=False, id="branches.out"),
        Binding("right,l", "into", "What leaves it", show=False, id="branches.into"),
    ]

    @dataclass
    class Highlighted(Message):
        """Another branch is the one that keys act on."""

        branch: Branch

    @dataclass
    class Chosen(Message):
        """A double click."""

        branch: Branch

    def __init__(self, document: Document, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.document = document
        self.rows: list[Row] = []
        self.at = 0
        """The row that is highlighted."""
        self.marked: int | None = None
        """The first node of the branch that another one is going to be compared with."""
        self.grow()
        self._turn_to(document.current_branch)

    @property
    def branch(self) -> Branch | None:
        """The highlighted one, as it is now; None in an empty document."""
        return self._branch(self.at) if self.rows else None

    def _branch(self, at: int) -> Branch:
        return self.document.branch(self.rows[at].first)

    def grow(self) -> None:
        """Take in what was written since."""
        if len(self.rows) != sum(1 for _ in self.document.nodes.branches()):
            first = self.rows[self.at].first if self.rows else 0
            self.rows = outline(self.document.tree())
            self._turn_to(first)
            self.virtual_size = Size(0, len(self.rows))
        self.refresh()

    def _turn_to(self, first: int) -> None:
        self.at = next((i for i, row in enumerate(self.rows) if row.first == first), 0)

    def mark(self, first: int | None) -> None:
        """Mark a branch for a comparison, or none."""
        self.marked = first
        self.refresh()

    def label_region(self) -> tuple[Offset, int]:
        """Where the highlighted branch's name and text stand, and in how many cells."""
        lines = self._lines(self.rows[self.at])
        x = MARKS_CELLS + cell_len(lines)
        return Offset(x, self.at - self.scroll_offset.y), self._text_cells - cell_len(lines)

    # drawing

    @property
    def _text_cells(self) -> int:
        """For the lines of the tree, name and text."""
        width = self.scrollable_content_region.width - MARKS_CELLS
        return max(width - NUMBERS_CELLS if width >= WITH_NUMBERS else width, 1)

    def _lines(self, row: Row) -> str:
        levels = max((self._text_cells - LABEL_CELLS) // LEVEL_CELLS, 1)
        lines = row.lines[-LEVEL_CELLS * levels :]
        return lines if row.level * LEVEL_CELLS == len(lines) else "⋯" + lines[1:]

    def render_line(self, y: int) -> Strip:
        at = self.scroll_offset.y + y
        width = self.size.width
        if at >= len(self.rows):
            return Strip.blank(width, self._style("own"))
        row, branch = self.rows[at], self._branch(at)
        is_at = at == self.at
        highlight = (
            self.get_component_rich_style("branch-tree--highlight", partial=True)
            if is_at
            else Style()
        )
        base = self._style("own") + highlight

        def style(look: str) -> Style:
            return self._style(look) + highlight

        marks = (
            ("▌" if is_at else " ")
            + ("●" if branch.is_current else " ")
            + ("◆" if row.first == self.marked else " ")
        )
        parts = [Segment(f"{marks} ", style("mark")), Segment(self._lines(row), style("line"))]
        parts += self._label(branch, style)
        cells = MARKS_CELLS + self._text_cells
        strip = Strip(parts).adjust_cell_length(cells, base)
        if width - MARKS_CELLS >= WITH_NUMBERS:
            fork = f"{branch.fork + 1:,} →" if branch.fork else ""  # the first is 1, as elsewhere
            numbers = f"{fork:>{NUMBERS_CELLS - 9}}{branch.length:>9,}"
            strip = Strip([*strip, Segment(numbers, style("shared"))])
        return strip.adjust_cell_length(width, base)

    def _label(self, branch: Branch, style: Callable[[str], Style]) -> list[Segment]:
        before, own = around_fork(self.document, branch.first, BEFORE_CELLS, self._text_cells)
        parts = []
        if branch.name:
            parts = [
                Segment(set_cell_size(name, min(cell_len(name), NAME_CELLS)), style("name"))
                for name in (visible(branch.name, space=" "), "  ")
            ]
        if branch.fork:
            parts += [
                Segment("…" if branch.fork > len(before) else "", style("shared")),
                Segment(visible(before, space=" "), style("shared")),
                Segment("›", style("mark")),
            ]
        return [*parts, Segment(visible(own, space=" "), style("own"))]

    def _style(self, look: str) -> Style:
        return self.get_component_rich_style(f"branch-tree--{look}")

    # moving

    def action_move(self, by: int) -> None:
        self._go(self.at + by)

    def action_page(self, direction: int) -> None:
        self._go(self.at + direction * max(self.scrollable_content_region.height - 1, 1))

    def action_move_to(self, at: int) -> None:
        self._go(len(self.rows) - 1 if at < 0 else at)

    def action_out(self) -> None:
        if self.rows and (parent := self.rows[self.at].parent) is not None:
            self._go(parent)

    def action_into(self) -> None:
        after = self.at + 1
        if after < len(self.rows) and self.rows[after].parent == self.at:
            self._go(after)

    def _go(self, at: int) -> None:
        at = min(max(at, 0), len(self.rows) - 1)
        if at != self.at and self.rows:
            self.at = at
            self.show_highlighted()
            self.refresh()
            self.post_message(self.Highlighted(self._branch(at)))

    def show_highlighted(self) -> None:
        """Scroll to it, no further than needed."""
        height = max(self.scrollable_content_region.height, 1)
        top = min(max(self.scroll_offset.y, self.at - height + 1), self.at)
        self.scroll_to(y=top, animate=False, immediate=True)

    def on_resize(self) -> None:
        self.show_highlighted()

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        at = self.scroll_offset.y + offset.y if offset else len(self.rows)
        if at < len(self.rows):
            self._go(at)
            if event.chain > 1:
                self.post_message(self.Chosen(self._branch(at)))
