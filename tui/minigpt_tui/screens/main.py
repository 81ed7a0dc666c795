"""The main screen: the text, the sliders, the prompt."""

from asyncio import Event
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from textual import events, on
from textual.actions import SkipAction
from textual.app import ComposeResult
from textual.binding import ActiveBinding, Binding
from textual.containers import Container, Horizontal
from textual.widget import Widget
from textual.widgets import TextArea

from minigpt.runtime.chat import Roles
from minigpt.runtime.library import find_model, shipped_model
from minigpt.terminal import printable
from minigpt_tui.commands import BY_NAME
from minigpt_tui.document import Document
from minigpt_tui.history import History, prompts_beside
from minigpt_tui.keeper import SAVE_S, Keeper
from minigpt_tui.messages import EngineSpoke, ParamsChanged, Submitted
from minigpt_tui.pace import FRAME_S, Pace
from minigpt_tui.preferences import Preferences
from minigpt_tui.protocol import Engine
from minigpt_tui.screens import by_name, doors
from minigpt_tui.screens.page import Page
from minigpt_tui.screens.sight import Sight
from minigpt_tui.screens.steady import Steady
from minigpt_tui.widgets.attention_panel import AttentionPanel
from minigpt_tui.widgets.candidates_panel import CandidatesPanel
from minigpt_tui.widgets.choice_list import ChoiceList
from minigpt_tui.widgets.heat_legend import HeatLegend
from minigpt_tui.widgets.key_line import KeyLine
from minigpt_tui.widgets.prompt import Prompt
from minigpt_tui.widgets.prompt_row import PromptRow
from minigpt_tui.widgets.sampling_panel import SamplingPanel
from minigpt_tui.widgets.side_panel import SidePanel
from minigpt_tui.widgets.status_bar import StatusBar
from minigpt_tui.widgets.talk import Talk
from minigpt_tui.widgets.token_view import TokenView
from minigpt_tui.widgets.welcome import Welcome
from minigpt_tui.writer import State, Writer

INLINE_ROWS = 20
"""As in app.tcss."""


class MainScreen(Steady):
    """Wires the widgets to a Writer."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (70, "-medium"), (110, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-low"), (14, "-tall"), (32, "-high")]

    BINDINGS = [
        Binding("escape", "stop", "Stop", id="stop"),
        Binding("ctrl+c", "interrupt", "Copy or stop", show=False, id="interrupt"),
        Binding("ctrl+n", "new", "New", id="new"),
        Binding("ctrl+r", "command('seed')", "New seed", show=False, id="new_seed"),
        Binding("f1", "app.help", "Help", id="help"),
        Binding("f2", "models", "Models", id="models"),
        Binding("f3", "toggle_panel", "Sliders", show=False, id="sliders"),
        Binding("f4", "copy_text", "Copy", show=False, id="copy"),
        Binding("f5", "save", "Save", show=False, id="save"),
        Binding("ctrl+o", "sessions", "Sessions", show=False, priority=True, id="sessions"),
        # priority, because F6 and F7 select in a text area
        Binding("ctrl+t", "talk", "Talk", show=False, priority=True, id="talk"),
        Binding("ctrl+g", "again", "Again", show=False, priority=True, id="again"),
        Binding("ctrl+l", "edit", "Edit last", show=False, priority=True, id="edit"),
        Binding("f6", "heat", "Heat", priority=True, id="heat"),
        Binding("f7", "attention", "Attention", priority=True, id="attention"),
        Binding("f8", "branches", "Branches", show=False, priority=True, id="branches"),
        Binding("f10", "ab", "A/B", show=False, priority=True, id="ab"),
        # priority, because the prompt has an undo of its own, for what is typed there
        Binding("ctrl+z", "undo", "Undo", show=False, priority=True, id="undo"),
        Binding("ctrl+y", "redo", "Redo", show=False, priority=True, id="redo"),
        # priority, or keys typed right after would still go to the widget before
        Binding("tab", "next(1)", "Next", show=False, priority=True, id="next"),
        Binding("shift+tab", "next(-1)", "Previous", show=False, priority=True, id="previous"),
        # priority, because the prompt would take these for itself
        Binding("up", "mark(-1)", show=False, priority=True, id="example.above"),
        Binding("down", "mark(1)", show=False, priority=True, id="example.below"),
        Binding("pageup", "page(-1)", "Page up", show=False, priority=True, id="page.up"),
        Binding("pagedown", "page(1)", "Page down", show=False, priority=True, id="page.down"),
        Binding("ctrl+home", "top", "Top", show=False, priority=True, id="text.top"),
        Binding("ctrl+end", "bottom", "End", show=False, priority=True, id="text.bottom"),
    ]

    def __init__(
        self,
        engine: Engine,
        model: Path,
        preferences: Preferences,
        sessions: Path | None,
        make_engine: Callable[[], Engine],
        keys: Mapping[str, str],
        last_words: list[str],
    ) -> None:
        """Make the screen.

        Args:
            engine: what opens models and writes.
            model: the first one to open.
            preferences: the user's.
            sessions: the database of documents; None: nothing is stored.
            make_engine: makes a second engine, for two texts side by side.
            keys: what to call the key of each binding.
            last_words: gets what can only be said when the screen is gone.
        """
        super().__init__()
        self.last_words = last_words
        self._keys = keys
        self.writer = Writer(engine)
        self.sight = Sight(self, self.writer, preferences)
        self.page = Page(self, self.writer, self.sight)
        self._make_engine = make_engine
        self._lent: Path | None = None
        """What the engine had open when the A/B screen took it."""
        self._preferences = preferences
        self._sessions = sessions
        self._are_sessions_open = False
        self.keeper = Keeper(None)
        self._history = History()
        self._first_model = model
        self._frames = Pace(self, FRAME_S, self._draw)
        self._had_model = False
        self.has_opened = Event()
        """Set while this screen waits for no model, after it has waited for the first."""
        self._taken_back: tuple[int, str] | None = None
        """Where the text ended when words were taken back from it last, and those words."""

    def compose(self) -> ComposeResult:
        self._apply_breakpoints()
        is_shipped = self._first_model == shipped_model()
        yield StatusBar(id="status")
        with Horizontal(id="body"):
            with Container(id="stage"):
                yield TokenView(self.writer.document, id="text")
                yield Welcome(self._keys, is_shipped=is_shipped, id="welcome")
                yield Talk(self._keys["prompt.submit"], id="talk")
            yield SidePanel(
                self._preferences.params, self._preferences.presets,
                seed_hint=f"{self._keys['new_seed']} new", id="panel",
            )  # fmt: skip
        yield HeatLegend(id="legend")
        yield ChoiceList(id="commands")
        complete = partial(by_name.complete, self)
        yield PromptRow(self._history, complete, self._keys, id="prompt-row")
        yield KeyLine()

    def _apply_breakpoints(self) -> None:
        """What Textual does after the first layout, which it would then style and lay out again."""
        width, height = self.app.size
        height = min(height, INLINE_ROWS) if self.app.is_inline else height
        for cells, breakpoints in (
            (width, self.HORIZONTAL_BREAKPOINTS),
            (height, self.VERTICAL_BREAKPOINTS),
        ):
            self.add_class(max(b for b in breakpoints if b[0] <= cells)[1], update=False)

    def on_mount(self) -> None:
        self._prompt = self.query_one(Prompt)
        self._prompt.focus()
        self.app.theme_changed_signal.subscribe(self, lambda _: self.sight.shade())
        self.sight.shade()
        self.set_interval(SAVE_S, self.save)
        # after the first paint: SQLite takes 20 ms to import and open
        self.call_after_refresh(self.open_sessions)
        self.writer.engine.listen(self._wake)
        self.open_model(self._first_model)

    def _on_screen_resume(self, event: events.ScreenResume) -> None:
        if not self.stack_updates:  # all has just been styled, which takes 20 ms
            event.refresh_styles = False

    def open_model(self, path: Path) -> None:
        """Change to another model; the text stays."""
        self.has_opened.clear()
        self.writer.open(path)
        self.page.show()

    def open_sessions(self) -> None:
        """Open the database, once."""
        if self._are_sessions_open:
            return
        self._are_sessions_open = True
        self.keeper = Keeper(self._sessions)
        if self._sessions is not None:
            self._history = History(prompts_beside(self._sessions))
            self.query_one(Prompt).sent = self._history
        self.save()

    def save(self) -> None:
        """Store what is new; done often, so that a kill loses half a second."""
        self.keeper.save(self.writer.document)
        self._history.save()
        for sentence in (*self.keeper.hear(), *self._history.hear()):
            self.tell(printable(sentence), is_error=True)

    def on_unmount(self) -> None:
        # Up brings back what was not sent; the prompt itself is not on the screen any more
        self._history.add(self._prompt.text)
        self._history.save()
        self.last_words += self.keeper.close(self.writer.document)

    # the engine's side

    def _wake(self) -> None:
        """Called from the engine's thread."""
        self.post_message(EngineSpoke())

    def on_engine_spoke(self) -> None:
        self._frames.ask()

    def _draw(self) -> None:
        if self._lent is not None:
            return
        was_running, model = self.writer.is_running, self.writer.model
        for notice in self.writer.hear():
            if notice.is_error and not self._had_model and self.writer.state is State.NO_MODEL:
                # the model that was asked for on the command line: an answer there
                self.app.exit(notice.sentence, return_code=2)
                return
            self.tell(notice.sentence, is_error=notice.is_error)
            if notice.words:
                self._give_back(notice.words)
            if notice.is_error and self.writer.state is State.NO_MODEL:
                self.action_models()
        self._had_model = self._had_model or self.writer.model is not None
        if model and self.writer.model and model.chars != self.writer.model.chars:
            self.query_one(SamplingPanel).unban()  # ids are of one vocabulary
        if self.writer.state is not State.LOADING:
            self.has_opened.set()
        if (was_running and not self.writer.is_running) or model is not self.writer.model:
            self.sight.look()  # at what would come next, and what another model thinks
        self.page.show()
        if self.app.screen is not self:
            doors.offer_names(self)

    @on(AttentionPanel.Chosen)
    def _shade(self) -> None:
        self.sight.shade()

    def action_attention(self) -> None:
        """Show what the layers do at a place instead of the candidates, and back again."""
        self.sight.turn_inside()

    def action_heat(self, kind: str = "") -> None:
        """The next kind of heat, and off again; or the one that is named.

        Raises:
            InputError: there is none of that name.
        """
        self.sight.turn_heat(kind)

    def action_palette(self, name: str = "") -> None:
        """The other colours for the heat, or those that are named.

        Raises:
            InputError: there are none of that name.
        """
        self.sight.turn_palette(name)

    # the user's side

    @on(Submitted)
    def _write(self, message: Submitted) -> None:
        is_empty = not message.text and not len(self.writer.document)
        begins = is_empty and self.writer.roles is None
        self._write_on(self.query_one(Welcome).marked if begins else message.text)

    @on(Welcome.Chosen)
    def _begin_with(self, message: Welcome.Chosen) -> None:
        self._write_on(message.text)

    def _write_on(self, text: str) -> None:
        self.writer.write(text, self.query_one(SidePanel).params)
        self.query_one(Prompt).focus()
        self._follow_the_end()

    def _follow_the_end(self) -> None:
        self.query_one(TokenView).release()
        self.page.show()
        self.action_bottom()

    @on(SamplingPanel.Explained)
    def _explain(self, message: SamplingPanel.Explained) -> None:
        self.query_one(PromptRow).border_title = message.help

    @on(ParamsChanged)
    def _change(self, message: ParamsChanged) -> None:
        self.writer.change(message.params)
        self.sight.show()

    @on(CandidatesPanel.Forced)
    def _force(self, message: CandidatesPanel.Forced) -> None:
        prompt, typed = self.query_one(Prompt), message.place.target.typed
        if not self.writer.is_there(message.place):
            return
        if typed and self.writer.roles is not None and self.writer.model is not None:
            # what one says oneself is sent with Enter, not before
            char = printable(self.writer.model.chars[message.candidate.id])
            prompt.insert(char, prompt.document.end)
            return
        if typed:
            prompt.text = ""
        self.writer.force(message.candidate, message.place, self.query_one(SidePanel).params)
        self._follow_the_end()
        if not self.writer.is_running:
            self.sight.look()

    @on(TokenView.CursorMoved)
    def _look_there(self) -> None:
        self.sight.look()

    @on(TextArea.Changed, "#prompt")
    def _look_behind_the_words(self) -> None:
        if not self.writer.is_running:
            self.sight.look()

    @on(Prompt.WentLeft)
    def _go_into_the_text(self) -> None:
        if len(self.writer.document):
            view = self.query_one(TokenView)
            view.focus()
            view.action_move(-1)

    def on_paste(self, event: events.Paste) -> None:
        """In the text, or on a slider: words can only be meant for the prompt."""
        self.query_one(Prompt).paste(event)

    @on(TokenView.WentRight)
    def _leave_the_text(self) -> None:
        self.query_one(Prompt).focus()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        if event.widget is self.query_one(Prompt):  # what is sent there goes to the end
            self.query_one(TokenView).release()
        self.page.invite()

    @property
    def active_bindings(self) -> dict[str, ActiveBinding]:
        """The keys that do something now, in the order in which the last row names them.

        Those with priority are last. Textual has a key that is taken from the prompt where that
        one had it: F6 and F7 before Enter.
        """
        keys = super().active_bindings
        return dict(sorted(keys.items(), key=lambda item: item[1].binding.priority))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action != "mark":
            return True
        prompt, welcome = self.query_one(Prompt), self.query_one(Welcome)
        if self.focused is not prompt or prompt.text or not welcome.display:
            return False
        # above the first beginning is what was sent before
        return parameters == (1,) or not prompt.sent or not welcome.is_at_first

    def action_next(self, by: int) -> None:
        """To the next widget, or the one before: the prompt, the panel's, the text.

        In the prompt, forward, what the model would go on with is accepted first.
        """
        prompt, text = self.query_one(Prompt), self.query_one(TokenView)
        if by > 0 and self.focused is prompt and prompt.accept():
            return
        # Textual's own order, by place, has the text before the panel
        panel = self.query_one(SidePanel)
        order: list[Widget] = [prompt, *(w for w in self.focus_chain if panel in w.ancestors)]
        if len(self.writer.document):
            order.append(text)
        at = order.index(self.focused) if self.focused in order else 0
        order[(at + by) % len(order)].focus()

    def action_stop(self) -> None:
        """Esc: put the choices away, or stop, or leave the sliders for the prompt.

        One binding for both, always shown: the last row would else be made anew, between the key
        and the screen.
        """
        prompt = self.query_one(Prompt)
        if self.focused is prompt and prompt.close_choices():
            return
        if self.writer.is_running:
            self.writer.stop()
            self.sight.look()
            self.page.show()
        else:
            prompt.focus()

    def action_interrupt(self) -> None:
        """Ctrl+C: copy what is selected, else stop, else what Textual does."""
        if selected := self.get_selected_text():
            self.copy(selected)
        elif self.writer.is_running:
            self.action_stop()
        else:
            raise SkipAction

    def action_undo(self) -> None:
        """Ctrl+Z: of what is typed, else of the text."""
        if isinstance(self.focused, TextArea) and self.focused.history.undo_stack:
            raise SkipAction
        prompt = self.query_one(Prompt)
        holds_them = self._taken_back == (self.writer.document.head, prompt.text)
        if not self.writer.undo():
            self.tell("There is nothing to undo.")
        elif holds_them:
            prompt.text = ""  # they are in the text again
        self.turn_to_end()

    def action_redo(self) -> None:
        if isinstance(self.focused, TextArea) and self.focused.history.redo_stack:
            raise SkipAction
        if not self.writer.redo():
            self.tell("There is nothing to redo.")
        self.turn_to_end()

    def turn_to_end(self) -> None:
        self._follow_the_end()
        self.sight.look()

    # commands by name

    @on(Prompt.Offered)
    def _show_choices(self, message: Prompt.Offered) -> None:
        options, row = self.query_one(ChoiceList), self.query_one(PromptRow)
        options.styles.margin = (0, 0, self.size.height - row.region.y, 0)
        options.show(message.choices, message.marked)

    @on(ChoiceList.Taken)
    def _take_choice(self, message: ChoiceList.Taken) -> None:
        self.query_one(Prompt).take(message.choice)
        if message.choice.is_whole:
            self.query_one(Prompt).action_submit()

    @on(Prompt.Commanded)
    async def _obey(self, message: Prompt.Commanded) -> None:
        await by_name.obey(self, message.line)

    async def action_command(self, name: str) -> None:
        """Do what is called so behind a slash."""
        await by_name.run(self, BY_NAME[name])

    def action_about(self) -> None:
        doors.about(self)

    # conversations

    def action_talk(self) -> None:
        """Begin a conversation, or end it: then the model just writes on."""
        if self.app.screen is not self:
            return
        if self.writer.roles is not None:
            self.converse(None)
        else:
            doors.roles(self)

    def converse(self, roles: Roles | None) -> None:
        """Speak as one of these, and be answered as the other; None: the conversation ends."""
        self.writer.roles = roles
        self.query_one(PromptRow).name_speaker(roles)
        self.query_one(Prompt).focus()
        self.sight.look()
        self.page.show()

    def action_again(self) -> None:
        """Let the model write something else in place of what it wrote last."""
        if not self.writer.can_write_again:
            self.tell("The model has written nothing here that it could write anew.")
            return
        panel = self.query_one(SamplingPanel)
        seed = panel.new_seed()
        self.writer.again(replace(panel.params, seed=seed))
        self._follow_the_end()

    def action_edit(self) -> None:
        """Take back the last words, or those at the cursor, with all that followed."""
        if not (words := self.writer.take_back(self.query_one(TokenView).cursor)):
            self.tell("There is nothing to edit yet.")
            return
        self._give_back(words)
        self._prompt.focus()
        self.turn_to_end()

    def _give_back(self, words: str) -> None:
        """What was taken back from the text, to be mended; undo brings it there again."""
        self._prompt.give_back(words)
        self._taken_back = (self.writer.document.head, self._prompt.text)

    def action_alternatives(self) -> None:
        """Enter in the text: to what else could stand at the cursor."""
        panel = self.query_one(SidePanel)
        if not panel.display:
            self.action_toggle_panel()
        panel.focus_thoughts()

    def action_branches(self) -> None:
        if self.app.screen is self:
            doors.branches(self)

    def action_new(self) -> None:
        self.save()
        self.adopt(self.keeper.begin())

    def adopt(self, document: Document) -> None:
        """Turn to another document."""
        self.writer.adopt(document)
        self.query_one(TokenView).show(document)
        self.sight.shade()
        self.sight.look()
        self.query_one(Prompt).focus()
        self.page.show()

    def action_ab(self) -> None:
        self.compare()

    def compare(self, other_model: Path | None = None) -> None:
        """Open two texts side by side; without another model the same one writes both."""
        if self.app.screen is self:
            doors.compare(self, self._make_engine, other_model, self._sessions)

    @property
    def is_free(self) -> bool:
        """Whether nothing is being written, and no other screen needs the engine."""
        return self.app.screen is self and not self.writer.is_running

    def lend_engine(self) -> Path:
        """Let somebody else talk to the engine until it is taken back; says what it has open."""
        self.writer.stop()
        self._lent = self.writer.path or self._first_model
        return self._lent

    def take_engine_back(self, other_model: Path | None = None) -> None:
        """Talk to the engine again, with the model from before or another one."""
        assert self._lent is not None
        model, self._lent = other_model or self._lent, None
        self.writer.engine.listen(self._wake)
        self.writer.forget_model()  # it may have another one open by now
        self.open_model(model)

    def action_models(self, name: str = "") -> None:
        """Let the user choose a model, or open the one that is named.

        Raises:
            InputError: there is none of that name.
        """
        if name:
            self.open_model(find_model(name).absolute())
        elif self.app.screen is self:  # else a picker, or the help, is open already
            doors.models(self)

    def action_toggle_panel(self) -> None:
        self.toggle_class("-panel-open" if self.has_class("-narrow") else "-panel-closed")
        self.call_after_refresh(self._see_the_focus)

    def on_resize(self) -> None:
        self.call_after_refresh(self._see_the_focus)

    def _see_the_focus(self) -> None:
        """Keys must not change settings, nor write candidates, that nobody sees."""
        panel, focused = self.query_one(SidePanel), self.focused
        is_inside = focused is not None and panel in focused.ancestors
        # Textual may have seen it first; or nobody looks here, and it gives the keys back itself
        is_lost = focused is None and self.app.app_focus
        if is_lost or (is_inside and not panel.display):
            self.query_one(Prompt).focus()
        elif focused is not None and is_inside:
            focused.scroll_visible(animate=False)

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
            self.tell("There is no text yet.")
            return
        self.copy(text, f" If they did not arrive: {self._keys['save']}.")

    def action_save(self) -> None:
        if self.app.screen is self:
            doors.export(self)

    def action_sessions(self) -> None:
        if self.app.screen is self:
            doors.sessions(self)

    def action_replay(self) -> None:
        """Write the text's runs anew, to see whether the same comes out."""
        doors.replay(self, self.writer.document)
