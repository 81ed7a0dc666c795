"""The app: two themes, the commands of the palette, and the main screen."""

import asyncio
import contextlib
import signal
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from textual.app import App, SystemCommand
from textual.binding import Binding
from textual.screen import Screen

from minigpt_tui.protocol import Engine
from minigpt_tui.screens.main import MainScreen
from minigpt_tui.theme import NIGHT, PAPER


class MinigptApp(App[str]):
    """Is handed the engine it talks to, so that a test can hand it another one.

    `run` returns why it ended, if that was not what the user wanted.
    """

    TITLE = "minigpt"
    COMMAND_PALETTE_DISPLAY = "^P"
    CSS_PATH = Path(__file__).with_name("app.tcss")
    BINDINGS = [Binding("ctrl+q", "quit", "Quit", show=False, priority=True, id="quit")]

    def __init__(self, engine: Engine, model: Path) -> None:
        super().__init__()
        self._engine = engine
        self._model = model
        self.register_theme(NIGHT)
        self.register_theme(PAPER)
        self.theme = NIGHT.name

    def on_mount(self) -> None:
        """Leave the terminal as it was also when the system ends the app."""
        for name, code in (("SIGTERM", 143), ("SIGHUP", 129)):
            # Windows has neither, and no loop that could wait for them
            with contextlib.suppress(AttributeError, NotImplementedError):
                end = partial(self.exit, return_code=code)
                asyncio.get_running_loop().add_signal_handler(getattr(signal, name), end)

    def get_default_screen(self) -> Screen[None]:
        return MainScreen(self._engine, self._model)

    def get_key_display(self, binding: Binding) -> str:
        return super().get_key_display(binding).title()

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        if isinstance(screen, MainScreen):
            yield SystemCommand("New text", "Begin again, Ctrl+N", screen.action_new)
            yield SystemCommand("Stop writing", "The text stays, Esc", screen.action_stop)
            yield SystemCommand("Copy text", "To the clipboard, F4", screen.action_copy_text)
            yield SystemCommand("Save text to file", "In this folder, F5", screen.action_save)
            yield SystemCommand("Choose model", "Open another one, F2", screen.action_models)
            yield SystemCommand(
                "Reset sliders", "Back to the defaults", screen.action_reset_sliders
            )
            yield SystemCommand("New seed", "Another text, Ctrl+R", screen.action_new_seed)
            yield SystemCommand("Show or hide sliders", "F3", screen.action_toggle_panel)
            yield SystemCommand("Help", "The keys, F1", screen.action_help)
        yield from super().get_system_commands(screen)
