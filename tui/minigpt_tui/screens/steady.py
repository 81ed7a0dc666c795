"""What all screens share."""

from typing import Any

from textual import events
from textual.screen import Screen

from minigpt_tui.pace import NOTICE_S


class Steady(Screen[Any]):
    """Bears what quick hands do to Textual's."""

    def get_selected_text(self) -> str | None:
        """What is selected; nothing of what was selected and has become shorter since."""
        try:
            return super().get_selected_text()
        except IndexError:  # Textual looks for rows that are gone
            return None

    def tell(self, sentence: str, *, is_error: bool = False) -> None:
        """A notice in the place of those before: a pile of them would cover the text."""
        # markup off: a path or a prompt may hold square brackets
        severity = "error" if is_error else "information"
        self.app.clear_notifications()
        self.notify(sentence, severity=severity, timeout=NOTICE_S, markup=False)  # type: ignore[arg-type]

    def copy(self, text: str, hint: str = "") -> None:
        """To the clipboard; the terminal does not say whether it obeyed."""
        self.app.copy_to_clipboard(text)
        plural = "s" * (len(text) != 1)
        self.tell(f"Sent {len(text):,} character{plural} to the clipboard.{hint}")

    async def _on_resize(self, event: events.Resize) -> None:
        """Come to rest after two quick changes of size.

        A screen that has taken a size posts that size to itself. With two under way, Textual's
        would go back and forth between them for ever.
        """
        # inline, a screen is lower than the terminal
        is_old = event.size.width != self.app.size.width or (
            event.size.height != self.app.size.height and not self.app.is_inline
        )
        if is_old:
            event.prevent_default()
