"""The keys of a screen, on its last row."""

from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import Footer


class KeyLine(Footer):
    """Textual's footer, made anew only when it has something else to say.

    Textual's own makes a widget for each key at each hint that one may have changed: five times
    in the first half second of the app, at each step of Tab, 15 ms a time.
    """

    DEFAULT_CSS = """
    KeyLine {
        padding: 0 0 0 1;  /* right of the palette's a key that does not fit would show */
        &.-compact FooterKey.-command-palette { margin: 0; padding-right: 1; }
    }
    """

    def __init__(self) -> None:
        super().__init__(compact=True)
        self._said: list[tuple[Binding, bool, str]] | None = None

    def compose(self) -> ComposeResult:
        if self._bindings_ready:  # else Textual shows none yet
            self._said = self._says()
        yield from super().compose()

    async def recompose(self) -> None:
        """Show the keys as they are now."""
        if self.is_attached and self._says() != self._said:
            await super().recompose()

    def _says(self) -> list[tuple[Binding, bool, str]]:
        keys = self.screen.active_bindings.values()
        return [(key.binding, key.enabled, key.tooltip) for key in keys if key.binding.show]
