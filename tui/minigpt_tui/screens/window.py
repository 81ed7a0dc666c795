"""What all screens share that lie over another one."""

from typing import Any

from textual.await_complete import AwaitComplete

from minigpt_tui.screens.steady import Steady


class Window(Steady):
    """Closes once, however often it is asked to: quick keys and double clicks ask twice.

    Textual would close whatever screen is on top then, the last one too. It is the last of the
    bases, because Textual looks for styles along the first one.
    """

    def dismiss(self, result: Any = None) -> AwaitComplete:
        return super().dismiss(result) if self.is_active else AwaitComplete()
