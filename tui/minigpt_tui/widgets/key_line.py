"""The keys of a screen, on its last row."""

from collections.abc import Iterable

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import Binding
from textual.widget import Widget
from textual.widgets import Footer

# Textual has no public name for it
from textual.widgets._footer import FooterKey

PALETTE_CELLS = 2
"""Around the palette's key: a line on its left, a space on its right."""


class KeyLine(Footer):
    """Textual's footer, made anew only when it has something else to say; no key in it is cut.

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
        keys = [*super().compose()]
        self._fit(keys)
        yield from keys

    def on_resize(self) -> None:
        self._fit(self.query(FooterKey))

    def _fit(self, keys: Iterable[Widget]) -> None:
        """Hide the keys that have no room beside the palette's."""
        shown = [key for key in keys if isinstance(key, FooterKey)]
        room = self.app.size.width - self.styles.padding.width
        for key in sorted(shown, key=lambda key: not key.has_class("-command-palette")):
            room -= cell_len(f"{key.key_display} {key.description}")
            if key.has_class("-command-palette"):
                room -= PALETTE_CELLS
            else:
                key.display = room >= 0
                room -= 1

    async def recompose(self) -> None:
        """Show the keys as they are now."""
        if self.is_attached and self._says() != self._said:
            await super().recompose()

    def _says(self) -> list[tuple[Binding, bool, str]]:
        keys = self.screen.active_bindings.values()
        return [(key.binding, key.enabled, key.tooltip) for key in keys if key.binding.show]
