"""How often things are drawn while text streams in."""

import time
from collections.abc import Callable

from textual.message_pump import MessagePump

FRAME_S = 1 / 30
"""The text is drawn this often while it grows; more is waste, see Textual's own 1/60 s."""
NUMBERS_S = 1 / 5
"""Numbers that change more often cannot be read."""
NOTICE_S = 8


class Pace:
    """Does something at most so often: at once after a silence, else when its time has come."""

    def __init__(self, owner: MessagePump, every_s: float, do: Callable[[], None]) -> None:
        self._owner, self._every_s, self._do = owner, every_s, do
        self._done_at = 0.0
        self._is_due = False

    def ask(self) -> None:
        """Do it, now or soon; asked for several times until then, it is done once."""
        if self._is_due:
            return
        wait_s = self._done_at + self._every_s - time.monotonic()
        if wait_s <= 0:
            self.now()
        else:
            self._is_due = True
            self._owner.set_timer(wait_s, self.now)

    def now(self) -> None:
        """Do it now."""
        self._is_due = False
        self._done_at = time.monotonic()
        self._do()
