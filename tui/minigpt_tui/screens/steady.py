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
        if event.size != self.app.size and not self.app.is_inline:
            event.prevent_default()
