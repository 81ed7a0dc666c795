"""The text as it is written: one widget drawn line by line, fast at any length."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import Self

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding
from textual.cache import LRUCache
from textual.geometry import Offset, Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.scrollbar import ScrollBar
from textual.selection import Selection
from textual.strip import Strip

from minigpt.terminal import printable
from minigpt_tui.document import Author, Document
from minigpt_tui.widgets.scroll_bar import TextScrollBar
from minigpt_tui.widgets.wrapping import Wrapping, cell_size, expanded

STYLES = {
    Author.USER: "token-view--user",
    Author.FORCED: "token-view--forced",
    Author.MODEL: "token-view--model",
}
Look = tuple[Author, int | None, bool, bool]
"""Of a character: its author, its level, whether it is selected, whether the cursor is on it."""
MOST_STRIPS = 1024
"""Rows that are known again when they are drawn again: more than a screen has."""
GUTTER = 2
"""Cells at the left: a bar beside the rows that the model has in view, and a space."""


@dataclass(frozen=True)
class Shading:
    """Colours for the characters: levels from 0 on, each with a style."""

    styles: tuple[Style, ...]
    level: Callable[[int], int | None]
    """Of the character at an index; None: it has none."""


class TokenView(ScrollView, can_focus=True):
    """Shows a Document; tell it with `sync` when the document has changed.

    An append wraps the last row again and draws only what it must. The view follows the end when
    it is at the end, and otherwise stays where the reader is, also when the terminal is resized.

    With the focus it has a cursor, which stands on a character, or behind the last one; keys and
    clicks move it. With Shift the keys select, from where it was to where it is, both included.
    """

    DEFAULT_CSS = """
    TokenView {
        .token-view--user { color: $primary; text-style: bold; }
        .token-view--forced { color: $accent; text-style: bold underline; }
        .token-view--model { color: $foreground; }
        .token-view--window { color: $secondary; }
        .token-view--cursor { color: $success; }
    }
    TokenView:focus {
        .token-view--window { color: $primary; }
    }
    """
    COMPONENT_CLASSES = {
        "token-view--user",
        "token-view--forced",
        "token-view--model",
        "token-view--window",
        "token-view--cursor",
    }

    BINDINGS = [
        Binding("enter", "screen.alternatives", "Others", id="text.enter"),
        Binding("h,H", "screen.heat", "Heat", show=False, id="text.heat"),
        Binding("a,A", "screen.attention", "Attention", show=False, id="text.attention"),
        Binding("b,B", "screen.branches", "Branches", id="text.branches"),
        Binding("u,U", "screen.undo", "Undo", show=False, id="text.undo"),
        Binding("r,R", "screen.redo", "Redo", show=False, id="text.redo"),
        Binding("left", "move(-1)", "Character before", show=False, id="text.left"),
        Binding("right", "move(1)", "Character after", show=False, id="text.right"),
        Binding("up,k", "move_rows(-1)", "Row above", show=False, id="text.up"),
        Binding("down,j", "move_rows(1)", "Row below", show=False, id="text.down"),
        Binding("home,g", "move_to(0)", "To the beginning", show=False, id="text.home"),
        Binding("end,G", "move_to(-1)", "To the end", show=False, id="text.end"),
        Binding("shift+left", "move(-1, True)", show=False, id="text.select.left"),
        Binding("shift+right", "move(1, True)", show=False, id="text.select.right"),
        Binding("shift+up", "move_rows(-1, True)", show=False, id="text.select.up"),
        Binding("shift+down", "move_rows(1, True)", show=False, id="text.select.down"),
        Binding("shift+home", "move_to(0, True)", show=False, id="text.select.home"),
        Binding("shift+end", "move_to(-1, True)", show=False, id="text.select.end"),
    ]

    @dataclass
    class CursorMoved(Message):
        """The cursor stands elsewhere: before the character at `index`, None at the end."""

        index: int | None

    @dataclass
    class WentRight(Message):
        """The user wants to leave the text behind its end."""

    def __init__(self, document: Document, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.document = document
        self.cursor: int | None = None
        """The character that it stands on; None: it is behind the last one."""
        self._anchor: int | None = None
        """The character that the keys have begun to select from."""
        self._rows = Wrapping(1)
        self._version = document.version
        self._follows = True
        self._window = 0
        self._length = 0
        """Of the text as it is shown."""
        self._is_writing = False
        self._shading: Shading | None = None
        self._strips: LRUCache[tuple[int, ...], Strip] = LRUCache(MOST_STRIPS)

    @property
    def vertical_scrollbar(self) -> ScrollBar:
        """As Textual makes it, but one that is cheap to draw."""
        if self._vertical_scrollbar is None:
            self._vertical_scrollbar = bar = TextScrollBar(
                name="vertical", thickness=self.scrollbar_size_vertical
            )
            bar.display = False
            self.app._start_widget(self, bar)
        return self._vertical_scrollbar

    def show(self, document: Document) -> None:
        """Show another document, from its end."""
        self.document = document
        self._version = document.version - 1
        self.cursor = None
        self.sync()

    def shade(self, shading: Shading | None) -> None:
        """Colour the characters, or no longer."""
        self._shading = shading
        self.refresh()

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
            self._anchor = None
            if self in self.screen.selections:
                self.screen.clear_selection()
            self._follows = self.cursor is None
            if self.cursor is not None and self.cursor >= len(self.document):
                self._put(None)
            self.refresh()
        self._rows.extend(self.document.text)
        self._window, self._length, self._is_writing = window, len(self.document), is_writing
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
        if self.cursor is not None:
            self._show_row(self._rows.row_of(self.cursor))

    def _resize_content(self, top: int | None = None) -> None:
        size, follows = Size(self._rows.width + GUTTER, len(self._rows)), self._follows
        if self.virtual_size != size:
            # not an assignment, which lays out the whole screen: the size on it stays
            self.set_reactive(TokenView.virtual_size, size)
            self._scroll_update(size)  # fewer rows may move the view to their end
        if follows:
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
        return self._rows.row_of(max(self._length - self._window, 0))

    def refresh(
        self,
        *regions: Region,
        repaint: bool = True,
        layout: bool = False,
        recompose: bool = False,
    ) -> Self:
        if not regions:  # anything may look different
            self._strips.clear()
        return super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)

    def notify_style_update(self) -> None:
        self._strips.clear()
        super().notify_style_update()

    def render_lines(self, crop: Region) -> list[Strip]:
        """Draw rows as Textual does, but know them again when they have moved.

        Textual's cache goes by the place on the screen, so while the text scrolls it would draw all
        rows anew in each frame. A row that was drawn is a strip that knows its escape sequences.
        """
        # asked for once and not for each row: these are properties that look around
        filters, background = self.get_line_filters(), self.background_colors[1]
        width, base = self.outer_size.width, self.get_component_rich_style("token-view--model")
        top, height = self.styles.gutter.top, self.size.height
        scrolled, window_top = self.scroll_offset.y, self._window_top()
        last, blank = len(self._rows) - 1, Strip.blank(width, base)
        strips = []
        for y in crop.line_range:
            row = scrolled + y - top
            if 0 <= y - top < height and row <= last:
                # the cursor is not in it: who moves it draws everything again
                has_mark = row == last and self._is_writing
                key = (row, *self._rows.span(row), row >= window_top, row == last, has_mark)
                if (strip := self._strips.get(key)) is None:
                    left = Segment(" " * self.styles.gutter.left, base)
                    line = [left, *self.render_line(y - top)]
                    strip = self._strips[key] = Strip(line).adjust_cell_length(width, base)
            else:
                strip = blank
            for each in filters:
                strip = strip.apply_filter(each, background)
            strips.append(strip.crop(*crop.column_span))
        return strips

    def render_line(self, y: int) -> Strip:
        row = self.scroll_offset.y + y
        width = self.size.width
        # not self.rich_style, which walks up the tree: this one is cached
        base = self.get_component_rich_style("token-view--model")
        if row >= len(self._rows):
            return Strip.blank(width, base)
        in_view = row >= self._window_top()
        gutter = Segment(
            "▎ " if in_view else "  ",
            self.get_component_rich_style("token-view--window") if in_view else base,
        )
        return Strip([gutter, *self._segments(row)]).adjust_cell_length(width, base)

    def _segments(self, row: int) -> list[Segment]:
        """A row's pieces; where in the row each begins is what the mouse finds there."""
        start, end = self._rows.span(row)
        text = self.document.text
        newline = end > start and text[end - 1] == "\n"
        end -= newline
        segments: list[Segment] = []
        at, cells, has_tabs = start, 0, "\t" in text[start:end]

        def add(shown: str, style: Style) -> None:
            place = Style.from_meta({"offset": (at - start, row)})
            segments.append(Segment(shown, style + place))

        looks = enumerate(self._looks(row, start, end), start)
        # each tab is a piece of its own, and each cell of it stands for the tab
        pieces = ((look, i if has_tabs and text[i] == "\t" else None) for i, look in looks)
        for (look, tab), alike in groupby(pieces):
            stop = at + len(list(alike))
            shown, cells = expanded(text[at:stop], cells)
            for part in (shown,) if tab is None else shown:
                add(part, self._style(look))
            at = stop
        if newline and self.cursor == end:
            add("↵", self._style(self._looks(row, end, end + 1)[0]))
        elif row == len(self._rows) - 1 and cells < self._rows.width:
            if self._is_writing:
                add("▌", self.get_component_rich_style("token-view--cursor"))
            elif self.has_focus and self.cursor is None:
                add(" ", Style(reverse=True))
        return segments

    def _looks(self, row: int, start: int, end: int) -> list[Look]:
        """All that the styles of characters depend on."""
        selected = self._selected(row, start, end)
        level = self._shading.level if self._shading else _no_level
        return [
            (author, level(i), i in selected, i == self.cursor)
            for i, author in enumerate(self.document.authors(start, end), start)
        ]

    def _style(self, look: Look) -> Style:
        author, level, is_selected, is_cursor = look
        found = self.get_component_rich_style(STYLES[author])
        if level is not None and self._shading:
            found += self._shading.styles[level]
        if is_selected:
            found += self.screen.get_component_rich_style("screen--selection")
        return found + Style(reverse=True) if is_cursor else found

    def _selected(self, row: int, start: int, end: int) -> range:
        """The characters of a row that are selected."""
        if (selection := self.text_selection) is None or (span := selection.get_span(row)) is None:
            return range(0)
        return range(start + span[0], end if span[1] < 0 else start + span[1])

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        start = self._index(selection.start) if selection.start else 0
        end = self._index(selection.end) if selection.end else len(self.document)
        return printable(self.document.text[start:end]), "\n"

    def _index(self, offset: Offset) -> int:
        """The character that a place in the text's rows means."""
        row = min(offset.y, len(self._rows) - 1)
        start, end = self._rows.span(row)
        return min(start + offset.x, end)

    # the cursor

    def action_move(self, by: int, select: bool = False) -> None:
        if by > 0 and self.cursor is None and not select:
            self.post_message(self.WentRight())
        self._put((len(self.document) if self.cursor is None else self.cursor) + by, select=select)

    def action_move_to(self, index: int, select: bool = False) -> None:
        self._put(None if index < 0 else index, select=select)

    def action_move_rows(self, by: int, select: bool = False) -> None:
        index = len(self.document) if self.cursor is None else self.cursor
        row = self._rows.row_of(index)
        column = index - self._rows.span(row)[0]
        if not 0 <= row + by < len(self._rows):
            return
        start, end = self._rows.span(row + by)
        is_last = row + by == len(self._rows) - 1
        self._put(min(start + column, end if is_last else end - 1), select=select)

    def _put(self, index: int | None, *, select: bool = False) -> None:
        """Move the cursor, show it, and say so."""
        if index is not None:
            index = max(index, 0)
            index = None if index >= len(self.document) else index
        if select and len(self.document):
            last = len(self.document) - 1
            if self._anchor is None:
                self._anchor = last if self.cursor is None else self.cursor
            index = last if index is None else index
            self._select(*sorted((self._anchor, index)))
        elif self._anchor is not None:
            self._anchor = None
            self.screen.clear_selection()
        if index == self.cursor:
            return
        self.cursor = index
        if index is None:
            self.follow()
        else:
            self._show_row(self._rows.row_of(index))
        self.refresh()
        self.post_message(self.CursorMoved(index))

    def _select(self, first: int, last: int) -> None:
        """Select two characters and all between, as the mouse would."""
        start, end = (
            Offset(index - self._rows.span(row)[0], row)
            for index, row in ((i, self._rows.row_of(i)) for i in (first, last))
        )
        self.screen.selections = {self: Selection(start, end + Offset(1, 0))}

    def release(self) -> None:
        """Put the cursor back behind the end."""
        self._put(None)

    def _show_row(self, row: int) -> None:
        height = max(self.scrollable_content_region.height, 1)
        top = min(max(self.scroll_offset.y, row - height + 1), row)
        self._follows = False
        self.scroll_to(y=top, animate=False, immediate=True)

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None or not len(self.document):
            return
        row = self.scroll_offset.y + offset.y
        if row >= len(self._rows):
            self._put(None)
            return
        self._put(self._at_cell(row, offset.x - GUTTER))

    def _at_cell(self, row: int, cell: int) -> int:
        """The character that is drawn at a cell of a row."""
        start, end = self._rows.span(row)
        column = 0
        for index in range(start, end):
            char = self.document.text[index]
            size = 1 if char == "\n" else cell_size(char, column)
            if cell < column + size:
                return index
            column += size
        return max(end - 1, start) if row < len(self._rows) - 1 else end

    def selection_updated(self, selection: Selection | None) -> None:
        self.refresh()


def _no_level(_: int) -> None:
    """Without shading."""
