"""Textual's command palette, which a quick Esc would otherwise turn into a crash."""

from typing import Any

from textual.command import CommandPalette
from textual.worker import Worker


class Palette(CommandPalette):
    """Its search looks for its list, also when both were closed meanwhile: that ends the search."""

    def run_worker(self, *args: Any, **options: Any) -> Worker[Any]:
        return super().run_worker(*args, **{**options, "exit_on_error": False})
