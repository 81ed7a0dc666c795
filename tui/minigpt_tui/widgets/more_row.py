"""A row that shows and hides what is behind it, and names what was changed there."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from textual.binding import Binding
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget


class MoreRow(Widget, can_focus=True):
    """`▸ more · mirostat 3.0 · +2`, or open `▾ less`. Posts `Toggled`."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    MoreRow {
        height: 1;
        color: $text-muted;
        text-wrap: nowrap;
        text-overflow: ellipsis;
        &:focus { color: $primary; text-style: bold; }
        &:hover { color: $foreground; }
    }
    """
    BINDINGS = [
        Binding(
            "enter,space,right", "toggle('is_open')", "More or less", show=False, id="more.toggle"
        ),
        Binding("left", "close", "Less", show=False, id="more.close"),
    ]

    is_open: reactive[bool] = reactive(False, init=False)
    changed: reactive[Sequence[str]] = reactive(())
    """What differs from its default behind the row, in words."""

    @dataclass
    class Toggled(Message):
        """What is behind the row is to be shown, or hidden."""

        is_open: bool

    def watch_is_open(self, is_open: bool) -> None:
        self.post_message(self.Toggled(is_open))

    def action_close(self) -> None:
        self.is_open = False

    def on_click(self) -> None:
        self.is_open = not self.is_open

    def render(self) -> Content:
        focus = "›" if self.has_focus else " "
        if self.is_open:
            return Content(f"{focus}▾ less")
        n_shown = len(self.changed)
        while n_shown and cell_len(self._words(n_shown)) + 1 > self.size.width:
            n_shown -= 1
        return Content(focus + self._words(n_shown))

    def _words(self, n_shown: int) -> str:
        """With so many of the changes by name, and the others as a number."""
        n_others = len(self.changed) - n_shown
        others = [f"+{n_others}"] if n_others else []
        return " · ".join(("▸ more", *self.changed[:n_shown], *others))
