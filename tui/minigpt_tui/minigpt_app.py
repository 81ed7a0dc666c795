"""The app: two themes, the commands of the palette, and the main screen."""

import asyncio
import contextlib
import gc
import re
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

from textual import events
from textual.app import App, SystemCommand
from textual.binding import Binding
from textual.driver import Driver
from textual.errors import NoWidget
from textual.screen import Screen
from textual.theme import Theme, ThemeProvider
from textual.widgets import Input, TextArea

from minigpt.errors import InputError
from minigpt.runtime.library import list_models
from minigpt.terminal import printable
from minigpt_tui import preferences as user
from minigpt_tui.commands import COMMANDS
from minigpt_tui.engine_client import EngineClient
from minigpt_tui.history import prompts_beside
from minigpt_tui.keymap import key_name, key_names, keymap
from minigpt_tui.messages import Preferred
from minigpt_tui.owners import AT_FIRST, around_prompt, owners
from minigpt_tui.pace import NOTICE_S
from minigpt_tui.preferences import Preferences, choice
from minigpt_tui.protocol import Engine
from minigpt_tui.screens.by_name import begin
from minigpt_tui.screens.main import MainScreen
from minigpt_tui.theme import NIGHT, PAPER

DEFAULTS = Preferences()
USELESS = frozenset({"Screenshot", "Maximize", "Minimize"})
"""Of Textual's commands. The first saves where nobody looks, or fails and does not say why, where
F5 saves a picture of the text; for the others each widget has the room it can use."""
SETTLED_S = 2
"""By then all is imported."""
READ_S = {"information": 1, "warning": 4, "error": 4}
"""A notice that is younger stays where it is: the hands were on their way already. What went wrong
may have done so by itself."""
_COMMAND = re.compile(r"enter|escape|f\d+|ctrl\+[a-z]")
"""Keys that begin something new, other than most of those that write and move."""


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
        other_model: Path | None = None,
        preferences: Preferences = DEFAULTS,
        preferences_path: Path | None = None,
        sessions: Path | None = None,
        make_engine: Callable[[], Engine] = EngineClient,
    ) -> None:
        """Make the app.

        Args:
            engine: what opens models and writes.
            model: the one to open.
            watched: the folder of a training run, to be shown over it.
            other_model: one to write beside it, both to be shown over it.
            preferences: the user's.
            preferences_path: the file where they are changed; None: they are not.
            sessions: the database of documents; None: nothing is stored.
            make_engine: makes a second engine, for two texts side by side.

        Raises:
            InputError: the preferences name a theme or a key binding that there is not.
        """
        super().__init__()
        self._engine = engine
        self._model = model
        self._watched = watched
        self._other_model = other_model
        self._make_engine = make_engine
        self.register_theme(NIGHT)
        self.register_theme(PAPER)
        self._preferences = preferences
        self._preferences_path = preferences_path
        self._remembering = asyncio.Lock()
        self.last_words: list[str] = []
        """What is to be said when the app has left the terminal."""
        self._sessions = sessions
        own = preferences.keys
        keys = keymap(own, owners(MinigptApp), around_prompt(MinigptApp)) if own else {}
        self.set_keymap(keys)
        self._key_names = key_names(keys, (MinigptApp, *AT_FIRST))
        self.theme = choice("theme", preferences.theme, self.available_themes)
        if preferences.reduced_motion:
            self.animation_level = "none"

    def refresh_css(self, animate: bool = True) -> None:
        """Take over the colours of a theme; at the start without parsing all style sheets twice."""
        if self.screen_stack:
            super().refresh_css(animate)
        else:
            self.stylesheet.set_variables(self.get_css_variables())
            self.stylesheet.update(self, animate=animate)

    def get_driver_class(self) -> type[Driver]:
        found = super().get_driver_class()
        if found.__name__ != "LinuxDriver":  # on Windows, or in a browser
            return found
        from minigpt_tui.driver import QuickDriver

        return QuickDriver

    def on_mount(self) -> None:
        """Leave the terminal as it was also when the system ends the app."""
        self.theme_changed_signal.subscribe(self, self._remember_theme)
        self.set_timer(SETTLED_S, _settle)
        for name, code in (("SIGTERM", 143), ("SIGHUP", 129)):
            # Windows has neither, and no loop that could wait for them
            with contextlib.suppress(AttributeError, NotImplementedError):
                end = partial(self.exit, return_code=code)
                asyncio.get_running_loop().add_signal_handler(getattr(signal, name), end)
        if self._watched:
            self.watch_run(self._watched)
        elif self._other_model:
            self.call_after_refresh(self._compare, self._other_model)

    def _compare(self, other_model: Path) -> None:
        if isinstance(self.screen, MainScreen):
            # behind its own start, which reads what was sent before
            self.screen.call_after_refresh(self.screen.compare, other_model)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Keep the cursor of a text field still, if nothing is to move by itself."""
        if self._preferences.reduced_motion and isinstance(event.widget, (Input, TextArea)):
            event.widget.cursor_blink = False

    async def on_event(self, event: events.Event) -> None:
        """Keep from Textual what would end it, or reach the terminal as a command."""
        if isinstance(event, events.Paste):  # a text field would draw an escape sequence as it is
            event.text = printable(event.text.replace("\r\n", "\n").replace("\r", "\n"))
        if isinstance(event, events.MouseDown) and self._is_gone(event.x, event.y):
            return
        # a screen is there some moments before what is on it, and priority keys act at once
        newest = self.screen_stack[-1:]  # none, as the app ends
        while isinstance(event, events.Key) and not all(screen.is_mounted for screen in newest):
            await asyncio.sleep(0)
        if isinstance(event, events.Key) and _COMMAND.fullmatch(event.key):
            self._take_read_notices_away()
        await super().on_event(event)

    def _take_read_notices_away(self) -> None:
        """They lie over the newest text, and over what the window says that opens now."""
        now, notices = time.time(), list(self._notifications)
        if notices and all(n.raised_at <= now - READ_S[n.severity] for n in notices):
            self.clear_notifications()

    def _is_gone(self, x: int, y: int) -> bool:
        """Whether what is drawn at a place, a notice for one, was closed since."""
        try:
            return not self.get_widget_at(x, y)[0].is_attached
        except NoWidget:
            return False

    def action_help_quit(self) -> None:
        """Ctrl+C where nothing is selected and nothing is being written: it may mean to quit."""
        sentence = f"{self._key_names['quit']} quits."
        if sentence not in [notice.message for notice in self._notifications]:
            self.notify(sentence, timeout=NOTICE_S, markup=False)

    def action_command_palette(self) -> None:
        """Every command, by name."""
        from minigpt_tui.screens.palette import Palette

        if not isinstance(self.screen, Palette):
            self.push_screen(Palette())

    def search_themes(self) -> None:
        """As Textual does it, but for its crashes."""
        from minigpt_tui.screens.palette import Palette

        self.push_screen(Palette([ThemeProvider], placeholder="Search for themes…"))

    def get_default_screen(self) -> Screen[None]:
        return MainScreen(
            self._engine, self._model, self._preferences, self._sessions, self._make_engine,
            self._key_names, self.last_words,
        )  # fmt: skip

    def on_preferred(self, message: Preferred) -> None:
        """Remember what the user chose."""
        if self._preferences_path is not None:
            self.run_worker(self._remember(message, self._preferences_path))

    async def _remember(self, message: Preferred, path: Path) -> None:
        """In a thread, as it takes 30 ms (60 the first time), and one after the other."""
        try:
            async with self._remembering:
                self._preferences = await asyncio.to_thread(user.change, message.edit, path)
        except InputError as error:
            self.notify(f"Not remembered: {error}", severity="error", markup=False)
        else:
            if message.done:
                self.notify(f"{message.done} {path}", markup=False)

    def _remember_theme(self, theme: Theme) -> None:
        if theme.name != self._preferences.theme:
            self.post_message(Preferred(lambda p: replace(p, theme=theme.name)))

    def action_theme(self, name: str = "") -> None:
        """Another theme; without a name, let the user choose.

        Raises:
            InputError: there is none of that name.
        """
        if name:
            self.theme = choice("theme", name, self.available_themes)
        else:
            self.action_change_theme()

    def action_help(self) -> None:
        from minigpt_tui.screens.help import HelpScreen

        palette = {"palette": key_name(self.COMMAND_PALETTE_BINDING)}
        keys = {**key_names(self._keymap, owners(MinigptApp)), **palette}
        here = self.screen.focused if isinstance(self.screen, MainScreen) else self.screen
        within = here.ancestors_with_self[:-1] if here is not None else []  # without the app
        self.push_screen(HelpScreen(keys, [key_names({}, [type(node)]) for node in within]))

    def action_files(self) -> None:
        """Say where everything lies."""
        from minigpt_tui.screens.note import Note

        models = "\n".join(str(path) for path in list_models()) or "none"
        texts = sent = "kept until you quit, not longer"
        if self._sessions is not None:
            texts, sent = str(self._sessions), str(prompts_beside(self._sessions))
        self.push_screen(
            Note(
                "Where your files are",
                ("Preferences and keys", str(self._preferences_path or user.config_path())),
                ("Texts", texts),
                ("What you sent", sent),
                ("Models found here", models),
                ("Saved texts", str(Path.cwd())),
            )
        )

    def watch_run(self, folder: Path) -> None:
        """Show a training run from its folder; Esc comes back."""
        from minigpt_tui.screens.watch import WatchScreen

        self.push_screen(WatchScreen(folder))

    def action_runs(self) -> None:
        """Choose one of the runs in ./checkpoints."""
        if not isinstance(self.screen, MainScreen):  # a picker, or a run, is open already
            return
        from minigpt_tui.screens.runs import RunPicker

        self.push_screen(RunPicker(), lambda path: self.watch_run(path) if path else None)

    def copy_to_clipboard(self, text: str) -> None:
        """Through the terminal (OSC 52), which may not obey, and the system's own clipboard.

        What could command a terminal is a symbol there too: it may be pasted into one, or here.
        """
        text = printable(text)
        super().copy_to_clipboard(text)
        copy = partial(_copy_to_system, text)
        self.run_worker(copy, thread=True, group="clipboard", exclusive=True)

    def get_key_display(self, binding: Binding) -> str:
        return super().get_key_display(binding).title()

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Those of the table, then those of Textual's others that are of use here."""
        hidden = {*USELESS}
        if isinstance(screen, MainScreen):
            for command in COMMANDS:
                hidden.add(command.title)
                key = self._key_names.get(command.key)
                says = command.says[0].upper() + command.says[1:] + (f", {key}" if key else "")
                yield SystemCommand(command.title, says, partial(begin, screen, command))
        for known in super().get_system_commands(screen):
            if known.title not in hidden:
                yield known


def _settle() -> None:
    """End the start, in which nothing was collected; from now on pass over all that is there.

    It is there to stay: with it to look through, a collection would stop the text for 70 ms every
    few seconds.
    """
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def _copy_to_system(text: str) -> None:
    import pyperclip  # a program of the system's does it, which takes its time: not in the loop

    # there is none, over SSH for one; or it is not where pyperclip thinks, as in a WSL container
    with contextlib.suppress(pyperclip.PyperclipException, OSError):
        pyperclip.copy(text)
