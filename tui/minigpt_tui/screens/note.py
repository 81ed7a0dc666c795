"""Something to read: a window of headings and texts."""

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from minigpt.terminal import one_line, printable
from minigpt_tui.keymap import keys_of
from minigpt_tui.screens.window import Window


class Note(ModalScreen[None], Window):
    """Its texts can be selected and copied."""

    BINDINGS = [Binding("escape,enter,q", "dismiss", "Close", id="note.close")]

    def __init__(self, title: str, *parts: tuple[str, str]) -> None:
        super().__init__()
        self._title = title
        self._parts = parts

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="window") as window:
            window.border_title = self._title
            window.border_subtitle = f"{keys_of(self)['note.close']} closes"
            for heading, text in self._parts:
                yield Static(one_line(heading), classes="heading", markup=False)
                yield Static(printable(text), classes="keys", markup=False)
