"""Two texts side by side, from one beginning and one seed: two settings, or two models."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from textual import events, on
from textual.actions import SkipAction
from textual.app import ComposeResult
from textual.await_complete import AwaitComplete
from textual.binding import Binding
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Static

from minigpt.runtime.params import SamplingParams
from minigpt.terminal import printable
from minigpt_tui.document import Document
from minigpt_tui.history import History
from minigpt_tui.keeper import SAVE_S, Keeper
from minigpt_tui.keymap import keys_of
from minigpt_tui.messages import EngineSpoke, Submitted
from minigpt_tui.pace import FRAME_S, NUMBERS_S, Pace
from minigpt_tui.presets import PRESETS, Changes, apply
from minigpt_tui.protocol import Engine
from minigpt_tui.screens.models import ModelPicker
from minigpt_tui.screens.window import Window
from minigpt_tui.sessions import BESIDE
from minigpt_tui.widgets.key_line import KeyLine
from minigpt_tui.widgets.pane import Pane
from minigpt_tui.widgets.prompt import Prompt
from minigpt_tui.widgets.sampling_panel import SamplingPanel
from minigpt_tui.widgets.token_view import TokenView
from minigpt_tui.widgets.two_panes import TwoPanes
from minigpt_tui.writer import State, Writer

NO_COMMANDS = (
    "Commands belong to the main screen; a text that begins with a slash is typed with two."
)


@dataclass(frozen=True, slots=True)
class Kept:
    """The text of the two with which the user goes on."""

    letter: str
    document: Document
    session: int
    """Under which it is stored, if anything is."""
    model: Path | None
    params: SamplingParams


class ABScreen(Window):
    """Enter lets both write from the prompt, always from its beginning, with the same seed.

    The first engine is lent by the screen before, which must not listen to it meanwhile; the
    second one lives as long as this screen.
    """

    DEFAULT_CSS = """
    ABScreen #prompt-row { border-subtitle-color: $text-muted; }
    ABScreen.-roomy Pane SamplingPanel { max-height: 14; }
    ABScreen.-roomy Pane TokenView { padding: 1 1 0 2; }
    ABScreen.-panel-closed Pane SamplingPanel { display: none; }
    ABScreen.-stacked {
        #panes { layout: vertical; }
        #a { padding-right: 0; }
        #b { border-left: none; }
    }
    ABScreen.-stacked, ABScreen.-low {
        Pane SamplingPanel { display: none; max-height: 3; }
        &.-panel-open Pane SamplingPanel { display: block; }
    }
    """
    AUTO_FOCUS = "#prompt"
    HORIZONTAL_BREAKPOINTS = [(0, "-stacked"), (70, "-beside")]
    VERTICAL_BREAKPOINTS = [(0, "-low"), (18, "-tall"), (32, "-roomy")]

    BINDINGS = [
        # of a slider: the prompt has a binding of its own
        Binding("enter", "write", "Write", id="ab.write"),
        Binding("escape", "leave", "Stop, back", id="ab.leave"),
        Binding("ctrl+c", "interrupt", "Copy or stop", show=False, id="ab.interrupt"),
        # priority, as on the main screen: keys typed right after belong to the next widget
        Binding("tab", "next(1)", "A, B", priority=True, id="ab.next"),
        Binding("shift+tab", "next(-1)", show=False, priority=True, id="ab.previous"),
        Binding("f2", "models", "Model", id="ab.models"),
        Binding("f3", "toggle_panel", "Sliders", id="ab.sliders"),
        Binding("equals_sign", "copy_settings", "Alike", key_display="=", id="ab.copy"),
        Binding("f8", "keep", "Keep", id="ab.keep"),
        Binding("f1", "app.help", "Help", id="ab.help"),
        Binding("ctrl+r", "new_seed", "New seed", show=False, id="ab.new_seed"),
        Binding("f10", "back", "Back", show=False, priority=True, id="ab.back"),
        Binding("ctrl+g", "go_to_difference", "◆", priority=True, id="ab.difference"),
        # priority, because the prompt would take these for itself
        Binding("pageup", "page(-1)", show=False, priority=True, id="ab.page.up"),
        Binding("pagedown", "page(1)", show=False, priority=True, id="ab.page.down"),
        Binding("ctrl+home", "top", show=False, priority=True, id="ab.top"),
        Binding("ctrl+end", "bottom", show=False, priority=True, id="ab.bottom"),
    ]

    def __init__(
        self,
        writer: Writer,
        make_engine: Callable[[], Engine],
        model: Path,
        params: SamplingParams,
        text: str,
        *,
        is_example: bool,
        other_model: Path | None,
        presets: Mapping[str, Changes],
        sent: History,
        sessions: Path | None,
        last_words: list[str],
    ) -> None:
        """Make the screen, and the second engine.

        Args:
            writer: writes the text A.
            make_engine: makes the one that writes B.
            model: what both begin with.
            params: the settings that A begins with; B too, if it has another model.
            text: what the prompt begins with.
            is_example: it is not the user's, who may type another one in its place.
            other_model: what B begins with instead.
            presets: what the sliders can be set to by name.
            sent: what was sent before.
            sessions: the database in which both texts are kept; None: nowhere.
            last_words: gets what can only be said when the app has left the terminal.
        """
        super().__init__()
        self._last_words = last_words
        self._second_engine = make_engine()
        # ids are of one vocabulary, and another model may have another one
        others = replace(params, logit_bias=()) if other_model else _other_settings(params)
        a, b = (Keeper(sessions, name) for name in BESIDE)
        self.both = TwoPanes(
            Pane("A", writer, params, presets, a),
            Pane("B", Writer(self._second_engine), others, presets, b),
        )
        self._first_models = (model, other_model or model)
        self._first_text, self._is_example = text, is_example
        self._sent = sent
        self._is_over = False
        self._frames = Pace(self, FRAME_S, self._draw)
        self._numbers = Pace(self, NUMBERS_S, self.both.show_numbers)

    def compose(self) -> ComposeResult:
        yield self.both
        with Horizontal(id="prompt-row"):
            yield Static("›", id="prompt-mark")
            # there are no commands, but slashes mean what they do on the main screen
            yield Prompt(id="prompt", sent=self._sent, complete=lambda _: ())
        yield KeyLine()

    def on_mount(self) -> None:
        for pane, model in zip(self.both.panes, self._first_models, strict=True):
            pane.writer.engine.listen(self._wake)
            pane.writer.open(model)
        prompt = self.query_one(Prompt)
        send = keys_of(prompt)["prompt.submit"]
        prompt.placeholder = Content(f"Type a beginning; {send} writes on from it in both")
        prompt.give_back(self._first_text)
        if self._is_example:
            prompt.select_all()
        self.app.theme_changed_signal.subscribe(self, lambda _: self.both.mark())
        self.set_interval(SAVE_S, self._save)
        self._numbers.now()
        self._show_seed()

    def on_unmount(self) -> None:
        self._second_engine.close()
        for pane in self.both.panes:
            for sentence in pane.keeper.close(pane.writer.document):
                # nobody sees a notice if the app ends with this screen
                self.app.notify(printable(sentence), severity="error", markup=False)
                self._last_words.append(sentence)

    def _save(self) -> None:
        """As on the main screen: a kill loses half a second."""
        for pane in self.both.panes:
            pane.keeper.save(pane.writer.document)
            for sentence in pane.keeper.hear():
                self.tell(printable(sentence), is_error=True)

    # the engines' side

    def _wake(self) -> None:
        """Called from the engines' threads."""
        self.post_message(EngineSpoke())

    def on_engine_spoke(self) -> None:
        """One drawing for both texts."""
        self._frames.ask()

    def dismiss(self, result: object = None) -> AwaitComplete:
        """Go back; what the first engine says is somebody else's from now on."""
        self._is_over = self.is_active  # else this closes nothing, see Window
        return super().dismiss(result)

    def _draw(self) -> None:
        if self._is_over:
            return
        states = self._states()
        for notice in self.both.hear():
            self.tell(notice.sentence, is_error=notice.is_error)
        if states != self._states():
            self._numbers.now()
        else:
            self._numbers.ask()

    def _states(self) -> list[State]:
        return [pane.writer.state for pane in self.both.panes]

    def _show_seed(self) -> None:
        seed, key = self.both.a.params.seed, keys_of(self)["ab.new_seed"]
        self.query_one("#prompt-row").border_subtitle = f"seed {seed} for both · {key} another"

    # the user's side

    def action_write(self) -> None:
        self.query_one(Prompt).action_submit()

    @on(Submitted)
    def _write(self, message: Submitted) -> None:
        if not message.text:
            self.tell("Type a beginning: both go on from it.")
            return
        self.query_one(Prompt).give_back(message.text)  # to be sent again, with other settings
        self.both.write(message.text)

    @on(Prompt.Commanded)
    def _refuse(self, message: Prompt.Commanded) -> None:
        self.query_one(Prompt).put_back(message.line)
        self.tell(NO_COMMANDS, is_error=True)

    @on(Pane.Changed)
    def _take_seed(self) -> None:
        self._show_seed()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        if event.widget is self.query_one(Prompt):
            for pane in self.both.panes:
                pane.view.release()

    def on_paste(self, event: events.Paste) -> None:
        """In the text, or on a slider: words can only be meant for the prompt."""
        self.query_one(Prompt).paste(event)

    @on(TokenView.WentRight)
    def _leave_the_text(self) -> None:
        self.query_one(Prompt).focus()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        # what a text offers on the main screen alone
        return action not in {"alternatives", "heat", "attention", "branches", "undo", "redo"}

    def action_next(self, by: int) -> None:
        """To the prompt, A's sliders or B's: from one of A's to the same one of B's.

        Where no sliders are shown, to the text.
        """
        prompt = self.query_one(Prompt)
        stops = (prompt, *self.both.panes)
        focused = self.focused
        around = focused.ancestors_with_self if focused else ()
        at = next((i for i, stop in enumerate(stops) if stop in around), 0)
        stop = stops[(at + by) % len(stops)]
        if isinstance(stop, Prompt):
            prompt.focus()
            return
        sliders = [widget for widget in self.focus_chain if stop.panel in widget.ancestors]
        alike = [widget for widget in sliders if focused and widget.id == focused.id]
        [*alike, *sliders, stop.view][0].focus()

    def action_leave(self) -> None:
        """Esc: stop both; when both are silent, to the prompt, and from there go back."""
        prompt = self.query_one(Prompt)
        if self.both.is_writing:
            self.both.stop()
        elif self.focused is not prompt:
            prompt.focus()
        else:
            self.dismiss()

    def action_back(self) -> None:
        """Stop both and go back."""
        self.both.stop()  # before the engine is somebody else's
        self.dismiss()

    def action_keep(self) -> None:
        """Go back with the text whose letter is marked, its model and its settings."""
        if self.app.screen is not self:
            return
        pane = self.both.chosen
        if not pane.text:
            self.tell(f"There is no text yet; {keys_of(self)['ab.write']} writes one with both.")
            return
        self.both.stop()
        self._save()
        writer, params = pane.writer, pane.params
        if writer.model is None or writer.model.path != writer.path:  # another one is being opened
            params = replace(params, logit_bias=())  # ids are of one vocabulary
        self.dismiss(Kept(pane.letter, writer.document, pane.keeper.id, writer.path, params))

    def action_interrupt(self) -> None:
        """Ctrl+C: copy what is selected, else stop, else what Textual does."""
        if selected := self.get_selected_text():
            self.copy(selected)
        elif self.both.is_writing:
            self.both.stop()
        else:
            raise SkipAction

    def action_models(self) -> None:
        """Choose the model of the pane whose letter is marked."""
        if self.app.screen is not self:  # a picker is open already
            return
        pane = self.both.chosen
        current = pane.writer.model.path if pane.writer.model else None

        def change(path: Path | None) -> None:
            if path:
                pane.writer.open(path)
                self._numbers.now()

        self.app.push_screen(ModelPicker(current), change)

    @on(Pane.HeaderClicked)
    def _choose_model(self, message: Pane.HeaderClicked) -> None:
        self.both.choose(message.pane)
        self.action_models()

    def action_copy_settings(self) -> None:
        """Give the other pane the settings of the one whose letter is marked."""
        self.both.copy_settings()
        chosen = self.both.chosen
        other = self.both.other(chosen)
        self.tell(f"{other.letter} has the settings of {chosen.letter} now.")

    def action_new_seed(self) -> None:
        self.both.new_seed()
        self._show_seed()

    def action_toggle_panel(self) -> None:
        is_small = self.has_class("-stacked") or self.has_class("-low")
        self.toggle_class("-panel-open" if is_small else "-panel-closed")
        self.call_after_refresh(self._leave_hidden_panel)

    def on_resize(self) -> None:
        self.call_after_refresh(self._leave_hidden_panel)

    def _leave_hidden_panel(self) -> None:
        """Keys must not change settings that nobody sees, nor hints lead to them."""
        if len(self.query(SamplingPanel)) < 2:  # it was closed since a refresh was waited for
            return
        self._numbers.now()
        for pane in self.both.panes:
            if self.focused and pane.panel in self.focused.ancestors and not pane.panel.display:
                self.query_one(Prompt).focus()

    def action_go_to_difference(self) -> None:
        if not self.both.go_to_difference():
            self.tell("There is no difference so far.")

    def action_page(self, direction: int) -> None:
        self.both.page(direction)

    def action_top(self) -> None:
        self.both.go_to_top()

    def action_bottom(self) -> None:
        self.both.go_to_end()


def _other_settings(params: SamplingParams) -> SamplingParams:
    """For B, so that there is something to compare: careful beside bold, wild beside careful."""
    careful = apply(params, PRESETS["careful"])
    is_careful = params.temperature <= careful.temperature
    return apply(params, PRESETS["wild"]) if is_careful else careful
