"""The text as it is written: one widget drawn line by line, fast at any length."""

from rich.segment import Segment
from textual.binding import Binding
from textual.geometry import Offset, Size
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip

from minigpt.terminal import printable
from minigpt_tui.document import Document
from minigpt_tui.widgets.wrapping import Wrapping, cell_size

GUTTER = 2
"""Cells at the left: a bar beside the rows that the model has in view, and a space."""


class TokenView(ScrollView, can_focus=True):
    """Shows a Document; tell it with `sync` when the document has changed.

    An append wraps the last row again and draws only what it must. The view follows the end when
    it is at the end, and otherwise stays where the reader is, also when the terminal is resized.
    """

    COMPONENT_CLASSES = {
        "token-view--user",
        "token-view--model",
        "token-view--window",
        "token-view--cursor",
    }

    BINDINGS = [
        Binding("up,k", "scroll_up", "Scroll up", show=False, id="text.up"),
        Binding("down,j", "scroll_down", "Scroll down", show=False, id="text.down"),
        Binding("home,g", "scroll_home", "To the beginning", show=False, id="text.home"),
        Binding("end,G", "scroll_end", "To the end", show=False, id="text.end"),
    ]

    def __init__(self, document: Document, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.document = document
        self._rows = Wrapping(1)
        self._version = document.version
        self._follows = True
        self._window = 0
        self._is_writing = False

    @property
    def n_rows(self) -> int:
        """The number of rows that the text takes at this width."""
        return len(self._rows)

    @property
    def follows(self) -> bool:
        """Whether the view is at the end and stays there."""
        return self._follows

    def sync(self, *, window: int = 0, is_writing: bool = False) -> None:
        """Show the document as it is now.

        Args:
            window: the number of characters at the end that the model has in view.
            is_writing: whether to show where the next character will appear.
        """
        old_rows, old_top = len(self._rows), self._window_top()
        if self._version != self.document.version:
            self._version = self.document.version
            self._rows = Wrapping(self._rows.width)
            self._follows = True
            self.refresh()
        self._rows.extend(self.document.text)
        self._window, self._is_writing = window, is_writing
        self._resize_content()
        first = min(old_rows - 1, old_top, self._window_top())
        self.refresh_lines(max(first, 0), len(self._rows))

    def follow(self) -> None:
        """Go to the end and stay there."""
        self._follows = True
        self._resize_content()

    def on_resize(self) -> None:
        # `size` and the event's size count the scrollbar or the padding too
        width = max(self.scrollable_content_region.width - GUTTER, 1)
        if width != self._rows.width:
            place = self._rows.span(min(self.scroll_offset.y, len(self._rows) - 1))[0]
            self._rows = Wrapping(width)
            self._rows.extend(self.document.text)
            self.screen.clear_selection()
            self._resize_content(top=self._rows.row_of(place))
            self.refresh()
        elif self._follows:
            self._resize_content()

    def _resize_content(self, top: int | None = None) -> None:
        size = Size(self._rows.width + GUTTER, len(self._rows))
        if self.virtual_size != size:
            self.virtual_size = size
        if self._follows:
            self.scroll_to(y=self.max_scroll_y, animate=False, immediate=True)
        elif top is not None:
            self.scroll_to(y=top, animate=False, immediate=True)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self._follows = new_value >= self.max_scroll_y

    def _window_top(self) -> int:
        """The first row of which the model sees something."""
        if not self._window:
            return len(self._rows)
        return self._rows.row_of(max(len(self.document) - self._window, 0))

    def render_line(self, y: int) -> Strip:
        row = self.scroll_offset.y + y
        width = self.size.width
        # not self.rich_style, which walks up the tree: this one is cached
        base = self.get_component_rich_style("token-view--model")
        if row >= len(self._rows):
            return Strip.blank(width, base)
        text = Strip(self._segments(row)).apply_offsets(0, row)
        in_view = row >= self._window_top()
        gutter = Segment(
            "▎ " if in_view else "  ",
            self.get_component_rich_style("token-view--window") if in_view else base,
        )
        return Strip([gutter, *text]).adjust_cell_length(width, base)

    def _segments(self, row: int) -> list[Segment]:
        start, end = self._rows.span(row)
        text = self.document.text
        if end > start and text[end - 1] == "\n":
            end -= 1
        user = self.get_component_rich_style("token-view--user")
        model = self.get_component_rich_style("token-view--model")
        selected = self._selected(row, end - start)
        highlight = self.screen.get_component_rich_style("screen--selection")
        segments: list[Segment] = []
        at, cells = start, 0
        while at < end:
            is_user, is_selected = self.document.is_user(at), at - start in selected
            stop = at + 1
            while (
                stop < end
                and self.document.is_user(stop) == is_user
                and (stop - start in selected) == is_selected
            ):
                stop += 1
            style = user if is_user else model
            shown, cells = _expanded(text[at:stop], cells)
            segments.append(Segment(shown, style + highlight if is_selected else style))
            at = stop
        is_last = row == len(self._rows) - 1
        if is_last and self._is_writing and cells < self._rows.width:
            segments.append(Segment("▌", self.get_component_rich_style("token-view--cursor")))
        return segments

    def _selected(self, row: int, length: int) -> range:
        """The characters of a row that the mouse has selected."""
        if (selection := self.text_selection) is None or (span := selection.get_span(row)) is None:
            return range(0)
        return range(span[0], length if span[1] < 0 else span[1])

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        start = self._index(selection.start) if selection.start else 0
        end = self._index(selection.end) if selection.end else len(self.document)
        return printable(self.document.text[start:end]), "\n"

    def _index(self, offset: Offset) -> int:
        """The character that a place in the text's rows means."""
        row = min(offset.y, len(self._rows) - 1)
        start, end = self._rows.span(row)
        return min(start + offset.x, end)

    def selection_updated(self, selection: Selection | None) -> None:
        self.refresh()


def _expanded(text: str, column: int) -> tuple[str, int]:
    """A piece of a row as it is shown, and the column after it."""
    shown = []
    for char in text:
        size = cell_size(char, column)
        shown.append(" " * size if char == "\t" else char)
        column += size
    return printable("".join(shown)), column
