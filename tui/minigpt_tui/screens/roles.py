"""Who speaks with whom."""

from collections.abc import Sequence

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from minigpt.errors import InputError
from minigpt.runtime.chat import MAX_NAME, Roles
from minigpt.terminal import printable
from minigpt_tui.keymap import keys_of
from minigpt_tui.screens.window import Window
from minigpt_tui.widgets.in_turn import Line
from minigpt_tui.widgets.options import Options

ASKING = "asking the model who speaks …"
PLAIN = "Without names, each of you writes a paragraph."


class RolesScreen(ModalScreen[Roles | None], Window):
    """Closes with the roles, or with None."""

    CSS = """
    RolesScreen {
        .field { height: 1; margin-bottom: 1; }
        .field Static { width: 16; }
        .field Input { width: 1fr; background: $panel; }
        #trouble { color: $error; height: auto; }
        #names { height: 8; max-height: 40vh; }  /* as many come; they move nothing */
    }
    """
    BINDINGS = [
        Binding("escape", "dismiss(None)", "Close", id="roles.close"),
        # priority, because the fields would take these for themselves
        Binding("down", "name(1)", show=False, priority=True, id="roles.below"),
        Binding("up", "name(-1)", show=False, priority=True, id="roles.above"),
    ]

    def __init__(self, names: Sequence[str], *, is_asking: bool = False) -> None:
        """Make the screen.

        Args:
            names: whom to offer.
            is_asking: whether the model will come up with others; `offer` brings them.
        """
        super().__init__()
        self._names, self._is_asking = list(names), is_asking
        self._is_filled = self._needs_no_names = False

    def compose(self) -> ComposeResult:
        with Vertical(classes="window") as window:
            window.border_title = "A conversation"
            keys = keys_of(self)
            names = f"{keys['roles.above']} {keys['roles.below']}"
            window.border_subtitle = (
                f"Enter begins · {names} name · Tab field · {keys['roles.close']} closes"
            )
            with Horizontal(classes="field"):
                yield Static("you speak as")
                yield Line(max_length=MAX_NAME, compact=True, id="me", select_on_focus=True)
            with Horizontal(classes="field"):
                yield Static("the model as")
                yield Line(max_length=MAX_NAME, compact=True, id="you", select_on_focus=True)
            yield Options(markup=False, compact=True, id="names")
            yield Static("", id="trouble", markup=False)
            yield Static(PLAIN, classes="keys")

    def on_mount(self) -> None:
        self.query_one(OptionList).can_focus = False
        self.query_one("#me", Input).focus()
        self._show_names()

    def offer(self, names: Sequence[str], *, is_asking: bool = False) -> None:
        """Offer the names that the model has come up with meanwhile."""
        if (list(names), is_asking) != (self._names, self._is_asking):
            self._names, self._is_asking = list(names), is_asking
            if self.is_mounted:  # else it is not composed yet, or only in part
                self._show_names()
                if self._needs_no_names:
                    self._say("")  # that they have not come

    def _show_names(self) -> None:
        options = [Option(printable(name), id=name) for name in self._names]
        if self._is_asking:
            options.append(Option(ASKING, disabled=True))
        names = self.query_one(OptionList)
        marked = names.highlighted
        names.set_options(options)
        names.highlighted = marked  # new names come behind those that are there
        names.display = bool(options)
        me, you = self.query_one("#me", Input), self.query_one("#you", Input)
        # once: who empties them wants no names
        if len(self._names) > 1 and not (self._is_filled or me.value or you.value):
            self._is_filled = True
            me.value, you.value = self._names[:2]
            me.select_all()  # so that what is typed takes its place

    def action_name(self, by: int) -> None:
        """Put into the field the name after that which stands there; after none, the first one."""
        names, field = self._names, self.focused
        if names and isinstance(field, Input):
            none = -1 if by > 0 else 0
            at = names.index(field.value) if field.value in names else none
            at = (at + by) % len(names)
            self.query_one(OptionList).highlighted = at
            field.value = names[at]
            field.select_all()  # so that what is typed takes its place

    @on(OptionList.OptionSelected)
    def _take(self, message: OptionList.OptionSelected) -> None:
        if isinstance(self.focused, Input):
            self.focused.value = str(message.option_id)
            self.focused.select_all()

    @on(Input.Submitted)
    def _begin(self) -> None:
        fields = (self.query_one("#me", Input), self.query_one("#you", Input))
        me, you = (field.value.strip() for field in fields)
        if bool(me) != bool(you):
            missing = "The model has" if me else "You have"
            self._say(f"{missing} no name yet: name both of you, or neither.")
            fields[bool(me)].focus()
            return
        if self._is_asking and not (me or self._needs_no_names):
            self._needs_no_names = True
            self._say("The model has not answered yet. Enter again begins without names.")
            return
        try:
            self.dismiss(Roles(me, you))
        except InputError as error:
            self._say(printable(str(error)))

    def _say(self, trouble: str) -> None:
        self.query_one("#trouble", Static).update(trouble)
