"""The main screen: the text, the sliders, the prompt."""

import time
from datetime import datetime
from pathlib import Path

from textual import on
from textual.actions import SkipAction
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container, Horizontal
from textual.screen import Screen
from textual.widgets import Footer, Static

from minigpt_tui.messages import EngineSpoke, ParamsChanged, Submitted
from minigpt_tui.protocol import Engine, Opened
from minigpt_tui.screens.help import HelpScreen
from minigpt_tui.screens.models import ModelPicker
from minigpt_tui.widgets.prompt import Prompt
from minigpt_tui.widgets.sampling_panel import SamplingPanel
from minigpt_tui.widgets.slider import Slider
from minigpt_tui.widgets.status_bar import Status, StatusBar
from minigpt_tui.widgets.token_view import TokenView
from minigpt_tui.widgets.welcome import Welcome
from minigpt_tui.writer import State, Writer

FRAME_S = 1 / 30
"""The text is drawn this often while it grows; more is waste, see Textual's own 1/60 s."""
STATUS_S = 1 / 5
NOTICE_S = 8


class MainScreen(Screen[None]):
    """Wires the widgets to a Writer."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (70, "-medium"), (110, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-low"), (14, "-tall"), (32, "-high")]

    BINDINGS = [
        Binding("escape", "stop", "Stop", id="stop"),
        Binding("ctrl+c", "interrupt", "Copy or stop", show=False, id="interrupt"),
        Binding("ctrl+n", "new", "New", id="new"),
        Binding("ctrl+r", "new_seed", "New seed", show=False, id="new_seed"),
        Binding("f1", "help", "Help", id="help"),
        Binding("f2", "models", "Models", id="models"),
        Binding("f3", "toggle_panel", "Sliders", id="sliders"),
        Binding("f4", "copy_text", "Copy", show=False, id="copy"),
        Binding("f5", "save", "Save", show=False, id="save"),
        # priority, or keys typed right after would still go to the widget before
        Binding("tab", "next", "Next", show=False, priority=True, id="next"),
        Binding(
            "shift+tab", "app.focus_previous", "Previous", show=False, priority=True, id="previous"
        ),
        # priority, because the prompt would take these for itself
        Binding("up", "mark(-1)", show=False, priority=True, id="example.above"),
        Binding("down", "mark(1)", show=False, priority=True, id="example.below"),
        Binding("pageup", "page(-1)", "Page up", show=False, priority=True, id="page.up"),
        Binding("pagedown", "page(1)", "Page down", show=False, priority=True, id="page.down"),
        Binding("ctrl+home", "top", "Top", show=False, priority=True, id="text.top"),
        Binding("ctrl+end", "bottom", "End", show=False, priority=True, id="text.bottom"),
    ]

    def __init__(self, engine: Engine, model: Path) -> None:
        super().__init__()
        self.writer = Writer(engine)
        self._first_model = model
        self._drawn_at = 0.0
        self._draws_soon = False
        self._status_at = 0.0
        self._status_soon = False
        self._shown_model: Opened | None = None
        self._had_model = False

    def compose(self) -> ComposeResult:
        self._apply_breakpoints()
        yield StatusBar(id="status")
        with Horizontal(id="body"):
            with Container(id="stage"):
                yield TokenView(self.writer.document, id="text")
                yield Welcome(id="welcome")
            yield SamplingPanel(id="panel")
        with Horizontal(id="prompt-row"):
            yield Static("›", id="prompt-mark")
            yield Prompt(id="prompt")
        yield Footer(compact=True)

    def _apply_breakpoints(self) -> None:
        """What Textual does after the first layout, which it would then style and lay out again."""
        width, height = self.app.size
        for cells, breakpoints in (
            (width, self.HORIZONTAL_BREAKPOINTS),
            (height, self.VERTICAL_BREAKPOINTS),
        ):
            self.add_class(max(b for b in breakpoints if b[0] <= cells)[1], update=False)

    def on_mount(self) -> None:
        self.query_one(Prompt).focus()
        self.writer.engine.listen(self._wake)
        self.open_model(self._first_model)

    def open_model(self, path: Path) -> None:
        """Change to another model; the text stays."""
        self.writer.open(path)
        self._show()

    # the engine's side

    def _wake(self) -> None:
        """Called from the engine's thread."""
        self.post_message(EngineSpoke())

    def on_engine_spoke(self) -> None:
        """Draw at once after a silence, else with the next frame."""
        if self._draws_soon:
            return
        wait_s = self._drawn_at + FRAME_S - time.monotonic()
        if wait_s <= 0:
            self._draw()
        else:
            self._draws_soon = True
            self.set_timer(wait_s, self._draw)

    def _draw(self) -> None:
        self._draws_soon = False
        self._drawn_at = time.monotonic()
        for notice in self.writer.hear():
            if notice.is_error and not self._had_model and self.writer.state is State.NO_MODEL:
                # the model that was asked for on the command line: an answer there
                self.app.exit(notice.sentence, return_code=2)
                return
            self._tell(notice.sentence, is_error=notice.is_error)
            if notice.is_error and self.writer.state is State.NO_MODEL:
                self.action_models()
        self._had_model = self._had_model or self.writer.model is not None
        self._show()

    def _show(self) -> None:
        writer = self.writer
        is_writing = writer.is_running
        self.query_one(TokenView).sync(window=writer.window, is_writing=is_writing)
        self._show_status()
        is_empty = not len(writer.document)
        self.query_one(Welcome).display = is_empty
        prompt = self.query_one(Prompt)
        prompt.placeholder = (
            "Type a beginning, or press Enter" if is_empty
            else "Esc stops, Enter adds your words" if is_writing
            else "Enter goes on, or type what comes next"
        )  # fmt: skip
        if writer.model is not None and writer.model is not self._shown_model:
            self._shown_model = writer.model
            self.query_one(SamplingPanel).show_model(writer.model)

    def _show_status(self) -> None:
        """Numbers that change 30 times a second cannot be read.

        Nor are they cheap: Textual draws everything inside the smallest rectangle around what has
        changed, and one around the text and this row holds the panel too.
        """
        bar, now = self.query_one(StatusBar), time.monotonic()
        status = Status.of(self.writer)
        if status.state is not bar.status.state or now - self._status_at >= STATUS_S:
            self._status_at = now
            bar.status = status
        elif not self._status_soon:
            self._status_soon = True
            self.set_timer(STATUS_S, self._show_last_status)

    def _show_last_status(self) -> None:
        self._status_soon = False
        self._show_status()

    def _tell(self, sentence: str, *, is_error: bool = False) -> None:
        # markup off: a path or a prompt may hold square brackets
        severity = "error" if is_error else "information"
        self.app.clear_notifications()  # a pile of them would cover the text
        self.notify(sentence, severity=severity, timeout=NOTICE_S, markup=False)  # type: ignore[arg-type]

    # the user's side

    @on(Submitted)
    def _write(self, message: Submitted) -> None:
        text = message.text
        if not text and not len(self.writer.document):
            text = self.query_one(Welcome).marked
        self.writer.write(text, self.query_one(SamplingPanel).params)
        self.query_one(Prompt).focus()
        self._show()
        self.action_bottom()

    @on(ParamsChanged)
    def _change(self, message: ParamsChanged) -> None:
        self.writer.change(message.params)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        match action:
            case "mark":
                prompt = self.query_one(Prompt)
                is_first = not prompt.text and not prompt.has_history
                return self.focused is prompt and is_first and not len(self.writer.document)
            case _:
                return True

    def action_next(self) -> None:
        """From the prompt to the sliders; Textual's own order, by place, has the text before."""
        if self.focused is self.query_one(Prompt) and self.query_one(SamplingPanel).display:
            self.set_focus(self.query(Slider).first())
        else:
            self.focus_next()

    def action_stop(self) -> None:
        """Esc: stop, or leave the sliders for the prompt.

        One binding for both, always shown: a footer that changes is composed anew, and that is
        most of 100 ms between the key and the screen.
        """
        if self.writer.is_running:
            self.writer.stop()
            self._show()
        else:
            self.query_one(Prompt).focus()

    def action_interrupt(self) -> None:
        """Ctrl+C: copy what is selected, else stop, else what Textual does."""
        if selected := self.get_selected_text():
            self.app.copy_to_clipboard(selected)
        elif self.writer.is_running:
            self.action_stop()
        else:
            raise SkipAction

    def action_new(self) -> None:
        self.writer.clear()
        self.query_one(Prompt).focus()
        self._show()

    def action_new_seed(self) -> None:
        self.query_one(SamplingPanel).new_seed()

    def action_reset_sliders(self) -> None:
        self.query_one(SamplingPanel).reset()

    def action_help(self) -> None:
        self.app.push_screen(HelpScreen())

    def action_models(self) -> None:
        if self.app.screen is not self:  # a picker, or the help, is open already
            return
        current = self.writer.model.path if self.writer.model else None
        self.app.push_screen(
            ModelPicker(current), lambda path: self.open_model(path) if path else None
        )

    def action_toggle_panel(self) -> None:
        self.toggle_class("-panel-open" if self.has_class("-narrow") else "-panel-closed")
        self.call_after_refresh(self._leave_hidden_panel)

    def on_resize(self) -> None:
        self.call_after_refresh(self._leave_hidden_panel)

    def _leave_hidden_panel(self) -> None:
        """Keys must not change settings that nobody sees."""
        panel = self.query_one(SamplingPanel)
        if self.focused is not None and panel in self.focused.ancestors and not panel.display:
            self.query_one(Prompt).focus()

    def action_mark(self, step: int) -> None:
        self.query_one(Welcome).mark(step)

    def action_page(self, direction: int) -> None:
        view = self.query_one(TokenView)
        if direction < 0:
            view.scroll_page_up(animate=False)
        else:
            view.scroll_page_down(animate=False)

    def action_top(self) -> None:
        self.query_one(TokenView).scroll_home(animate=False)

    def action_bottom(self) -> None:
        self.query_one(TokenView).follow()

    def action_copy_text(self) -> None:
        text = self.get_selected_text() or self.writer.document.text
        if not text:
            self._tell("There is no text yet.")
            return
        self.app.copy_to_clipboard(text)
        # the terminal does not say whether it obeyed
        self._tell(f"Sent {len(text):,} characters to the clipboard. If they did not arrive: F5.")

    def action_save(self) -> None:
        if not len(self.writer.document):
            self._tell("There is no text yet.")
            return
        name = f"minigpt-{datetime.now():%Y%m%d-%H%M%S}.txt"
        try:
            path = Path(name).absolute()
            with path.open("x", encoding="utf-8") as file:
                file.write(self.writer.document.text)
        except OSError as error:
            self._tell(f"{name} could not be saved: {error.strerror}", is_error=True)
        else:
            self._tell(f"Saved to {path}")
