"""The app: two themes, the commands of the palette, and the main screen."""

import asyncio
import contextlib
import signal
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from textual import events
from textual.app import App, SystemCommand
from textual.binding import Binding
from textual.errors import NoWidget
from textual.screen import Screen

from minigpt.terminal import printable
from minigpt_tui.keymap import keymap
from minigpt_tui.preferences import Preferences, choice
from minigpt_tui.protocol import Engine
from minigpt_tui.screens.help import HelpScreen
from minigpt_tui.screens.main import MainScreen
from minigpt_tui.screens.models import ModelPicker
from minigpt_tui.screens.palette import Palette
from minigpt_tui.theme import NIGHT, PAPER
from minigpt_tui.widgets.attention_panel import AttentionPanel
from minigpt_tui.widgets.candidates_panel import CandidatesPanel
from minigpt_tui.widgets.more_row import MoreRow
from minigpt_tui.widgets.preset_row import PresetRow
from minigpt_tui.widgets.prompt import Prompt
from minigpt_tui.widgets.sampling_panel import SamplingPanel
from minigpt_tui.widgets.slider import Slider
from minigpt_tui.widgets.token_view import TokenView

DEFAULTS = Preferences()


class MinigptApp(App[str]):
    """Is handed the engine it talks to, so that a test can hand it another one.

    `run` returns why it ended, if that was not what the user wanted.
    """

    TITLE = "minigpt"
    COMMAND_PALETTE_DISPLAY = "^P"
    CSS_PATH = Path(__file__).with_name("app.tcss")
    BINDINGS = [
        Binding("ctrl+q", "quit", "Quit", show=False, priority=True, id="quit"),
        Binding("f9", "runs", "Runs", show=False, id="runs"),
    ]

    def __init__(
        self,
        engine: Engine,
        model: Path,
        *,
        watched: Path | None = None,
        preferences: Preferences = DEFAULTS,
        sessions: Path | None = None,
    ) -> None:
        """Make the app.

        Args:
            engine: what opens models and writes.
            model: the one to open.
            watched: the folder of a training run, to be shown over it.
            preferences: the user's.
            sessions: the database of documents; None: nothing is stored.

        Raises:
            InputError: the preferences name a theme or a key binding that there is not.
        """
        super().__init__()
        self._engine = engine
        self._model = model
        self._watched = watched
        self.register_theme(NIGHT)
        self.register_theme(PAPER)
        self._preferences = preferences
        self._sessions = sessions
        self.set_keymap(keymap(preferences.keys, OWNERS))
        self.theme = choice("theme", preferences.theme, self.available_themes)
        if preferences.reduced_motion:
            self.animation_level = "none"

    def on_mount(self) -> None:
        """Leave the terminal as it was also when the system ends the app."""
        for name, code in (("SIGTERM", 143), ("SIGHUP", 129)):
            # Windows has neither, and no loop that could wait for them
            with contextlib.suppress(AttributeError, NotImplementedError):
                end = partial(self.exit, return_code=code)
                asyncio.get_running_loop().add_signal_handler(getattr(signal, name), end)
        if self._watched:
            self.watch_run(self._watched)

    async def on_event(self, event: events.Event) -> None:
        """Keep from Textual what would end it, or reach the terminal as a command."""
        if isinstance(event, events.Paste):  # a text field would draw an escape sequence as it is
            event.text = printable(event.text.replace("\r\n", "\n").replace("\r", "\n"))
        if isinstance(event, events.MouseDown) and self._is_gone(event.x, event.y):
            return
        await super().on_event(event)

    def _is_gone(self, x: int, y: int) -> bool:
        """Whether what is drawn at a place, a notice for one, was closed since."""
        try:
            return not self.get_widget_at(x, y)[0].is_attached
        except NoWidget:
            return False

    def action_command_palette(self) -> None:
        """Every command, by name."""
        if not isinstance(self.screen, Palette):
            self.push_screen(Palette(id="--command-palette"))

    def get_default_screen(self) -> Screen[None]:
        return MainScreen(self._engine, self._model, self._preferences, self._sessions)

    def watch_run(self, folder: Path) -> None:
        """Show a training run from its folder; Esc comes back."""
        # 60 ms that a start without a run need not wait for
        from minigpt_tui.screens.watch import WatchScreen

        self.push_screen(WatchScreen(folder))

    def action_runs(self) -> None:
        """Choose one of the runs in ./checkpoints."""
        if not isinstance(self.screen, MainScreen):  # a picker, or a run, is open already
            return
        from minigpt_tui.screens.runs import RunPicker

        self.push_screen(RunPicker(), lambda path: self.watch_run(path) if path else None)

    def get_key_display(self, binding: Binding) -> str:
        return super().get_key_display(binding).title()

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        if isinstance(screen, MainScreen):
            yield SystemCommand("New text", "Begin again, Ctrl+N", screen.action_new)
            yield SystemCommand("Stop writing", "The text stays, Esc", screen.action_stop)
            yield SystemCommand("Copy text", "To the clipboard, F4", screen.action_copy_text)
            yield SystemCommand("Save text to file", "In this folder, F5", screen.action_save)
            yield SystemCommand("Choose model", "Open another one, F2", screen.action_models)
            yield SystemCommand("Watch a run", "See a model learn, F9", self.action_runs)
            yield SystemCommand(
                "Reset sliders", "Back to the defaults", screen.action_reset_sliders
            )
            yield SystemCommand("New seed", "Another text, Ctrl+R", screen.action_new_seed)
            yield SystemCommand("Show or hide sliders", "F3", screen.action_toggle_panel)
            yield SystemCommand("Help", "The keys, F1", screen.action_help)
        yield from super().get_system_commands(screen)


OWNERS = (
    MinigptApp, MainScreen, ModelPicker, HelpScreen, Prompt, SamplingPanel, PresetRow, MoreRow,
    Slider, TokenView, CandidatesPanel, AttentionPanel,
)  # fmt: skip
"""All classes that have key bindings."""
