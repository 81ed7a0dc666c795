"""`minigpt-tui`: the command and the app."""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from textual.app import App, SystemCommand
from textual.binding import Binding
from textual.screen import Screen

from minigpt import __version__
from minigpt.errors import InputError
from minigpt.runtime.library import find_model
from minigpt_tui.engine_client import EngineClient
from minigpt_tui.protocol import Engine
from minigpt_tui.screens.main import MainScreen
from minigpt_tui.theme import NIGHT, PAPER


class MinigptApp(App[None]):
    """Is handed the engine it talks to, so that a test can hand it another one."""

    TITLE = "minigpt"
    COMMAND_PALETTE_DISPLAY = "^P"
    CSS_PATH = "app.tcss"
    BINDINGS = [Binding("ctrl+q", "quit", "Quit", priority=True, id="quit")]

    def __init__(self, engine: Engine, model: Path) -> None:
        super().__init__()
        self._engine = engine
        self._model = model
        self.register_theme(NIGHT)
        self.register_theme(PAPER)
        self.theme = NIGHT.name

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


def existing_model(name: str | None) -> Path:
    """The file that a person means by a path, a name, or nothing.

    Raises:
        InputError: there is none.
    """
    path = find_model(name)
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the .onnx file that minigpt export wrote")
    if not path.exists():
        raise InputError(
            f"the model that ships with minigpt is not at {path}; "
            "give another one: minigpt-tui MODEL.onnx"
        )
    return path


def main(argv: Sequence[str] | None = None) -> int:
    """Run the app; the exit code is 2 for a mistake the user can mend."""
    parser = argparse.ArgumentParser(
        prog="minigpt-tui",
        description="Meet a model in the terminal: it writes on from your words.",
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        nargs="?",
        help="a .onnx file or the name of a model (default: the one that ships with minigpt)",
    )
    parser.add_argument("--version", action="version", version=f"minigpt {__version__}")
    args = parser.parse_args(argv)
    try:
        model = existing_model(args.model)
    except InputError as error:
        print(error, file=sys.stderr)  # noqa: T201 - this is the command line
        return 2
    engine = EngineClient()
    try:
        MinigptApp(engine, model).run()
    finally:
        engine.close()
    return 0
