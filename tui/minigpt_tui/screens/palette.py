"""Textual's command palette, without the crashes that quick hands can cause in it."""

from typing import Any

from textual import events
from textual.app import ComposeResult
from textual.command import CommandList, CommandPalette
from textual.worker import Worker

from minigpt_tui.screens.window import Window
from minigpt_tui.widgets.options import Options


class Commands(CommandList, Options):
    """Ignores a click on a command that a search has taken away since.

    Of several bases Textual finds a widget by the names of the first one only.
    """

    def _on_click(self, event: events.Click) -> None:  # type: ignore[override]
        # Textual calls its own handler next, unless told not to
        if event.style.meta.get("option", -1) >= self.option_count:
            event.prevent_default()


class Palette(CommandPalette, Window):
    """A search that finds the palette closed has ended; it is no reason to end the app."""

    def _action_command_list(self, action: str) -> None:
        if self.query(CommandList):  # else it is not composed yet
            super()._action_command_list(action)

    def run_worker(self, *args: Any, **options: Any) -> Worker[Any]:
        return super().run_worker(*args, **{**options, "exit_on_error": False})

    def compose(self) -> ComposeResult:
        for widget in super().compose():
            yield Commands() if isinstance(widget, CommandList) else widget
