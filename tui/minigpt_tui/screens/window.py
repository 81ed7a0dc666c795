"""What all screens share that lie over another one."""

from typing import Any

from textual.await_complete import AwaitComplete
from textual.binding import Binding

from minigpt_tui.screens.steady import Steady


class Window(Steady):
    """Has the help at hand, and closes once, however often it is asked to.

    Quick keys and double clicks ask twice; Textual would close whatever screen is on top then, the
    last one too. It is the last of the bases, because Textual looks for styles along the first one.
    """

    BINDINGS = [Binding("f1", "app.help", "Help", show=False, id="window.help")]

    def dismiss(self, result: Any = None) -> AwaitComplete:
        return super().dismiss(result) if self.is_active else AwaitComplete()
