"""One question, answered by a line."""

from collections.abc import Callable

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from minigpt.errors import InputError
from minigpt.terminal import printable
from minigpt_tui.keymap import keys_of
from minigpt_tui.screens.window import Window
from minigpt_tui.widgets.in_turn import Line


class Ask(ModalScreen[str | None], Window):
    """Closes with an answer that passes the check, or with None."""

    CSS = """
    Ask {
        .window { width: 60; }
        Input { background: $panel; margin: 1 0 0 0; }
        #trouble { color: $error; height: auto; }
    }
    """
    BINDINGS = [Binding("escape", "dismiss(None)", "Close", id="ask.close")]

    def __init__(self, title: str, question: str, check: Callable[[str], str]) -> None:
        """Make the window.

        Args:
            title: on its border.
            question: what to write.
            check: makes the answer of what was written, or raises InputError.
        """
        super().__init__()
        self._title, self._question, self._check = title, question, check

    def compose(self) -> ComposeResult:
        with Vertical(classes="window") as window:
            window.border_title = self._title
            window.border_subtitle = f"Enter saves · {keys_of(self)['ask.close']} closes"
            yield Static(self._question, markup=False)
            yield Line(compact=True)
            yield Static("", id="trouble", markup=False)

    @on(Input.Submitted)
    def _answer(self, message: Input.Submitted) -> None:
        try:
            self.dismiss(self._check(message.value))
        except InputError as error:
            self.query_one("#trouble", Static).update(printable(str(error)))
