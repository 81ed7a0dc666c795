"""What all screens share."""

from typing import Any

from textual import events
from textual.screen import Screen


class Steady(Screen[Any]):
    """Comes to rest after two quick changes of size.

    A screen that has taken a size posts that size to itself. With two under way, Textual's would go
    back and forth between them for ever.
    """

    async def _on_resize(self, event: events.Resize) -> None:
        # inline, a screen is lower than the terminal
        is_old = event.size.width != self.app.size.width or (
            event.size.height != self.app.size.height and not self.app.is_inline
        )
        if is_old:
            event.prevent_default()
