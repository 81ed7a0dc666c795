from typing import ClassVar

import pytest
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.dom import DOMNode
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import TextArea

from minigpt.errors import InputError
from minigpt_tui.keymap import keymap
from minigpt_tui.screens.branches import BranchesScreen
from minigpt_tui.screens.sessions import SessionsScreen
from minigpt_tui.screens.watch import WatchScreen
from minigpt_tui.widgets.side_by_side import SideBySide
from minigpt_tui.widgets.token_view import TokenView


class Knob(Widget, can_focus=True):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "app.note('less')", id="knob.less"),
        Binding("right,plus", "app.note('more')", id="knob.more"),
    ]


class Desk(Screen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("h", "app.note('heat')", id="heat"),
        Binding("f1", "app.note('help')", id="help"),
        Binding("tab", "app.note('next')", id="next", priority=True),
        Binding("x", "app.note('no id')"),
    ]

    def compose(self) -> ComposeResult:
        yield Knob()


class Field(TextArea):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "send", id="field.send")]


class Window(Screen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("f1", "app.note('help')", id="window.help")]


class Picker(Window):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,f1", "dismiss", id="picker.close")]


class Host(App[None]):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+q", "quit", id="quit", priority=True)]

    def __init__(self, keys: dict[str, str]) -> None:
        super().__init__()
        self.set_keymap(keymap(keys, OWNERS))
        self.notes: list[str] = []

    def get_default_screen(self) -> Screen[None]:
        return Desk()

    def action_note(self, what: str) -> None:
        self.notes.append(what)


OWNERS: tuple[type[DOMNode], ...] = (Host, Desk, Picker, Knob)


@pytest.mark.parametrize(
    ("keys", "pressed", "notes"),
    [
        ({}, ["h", "left", "right", "plus"], ["heat", "less", "more", "more"]),
        ({"heat": "f7"}, ["h", "f7"], ["heat"]),
        ({"heat": "?, F7"}, ["question_mark", "f7"], ["heat", "heat"]),
        ({"heat": "H"}, ["h", "H"], ["heat"]),
        ({"heat": "Ctrl+G"}, ["ctrl+g"], ["heat"]),
        ({"knob.more": "l"}, ["right", "plus", "l"], ["more"]),
        ({"knob.less": "right", "knob.more": "left"}, ["left", "right"], ["more", "less"]),
        ({"knob.less": "h"}, ["h", "left"], ["less"]),  # while it has the focus
    ],
)
async def test_keys_do_what_the_user_wants(
    keys: dict[str, str], pressed: list[str], notes: list[str]
) -> None:
    app = Host(keys)
    async with app.run_test() as pilot:
        app.screen.query_one(Knob).focus()
        await pilot.press(*pressed)
        assert app.notes == notes


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"knob.lss": "h"}, "no key binding 'knob.lss'; the closest: knob.less"),
        ({"zzz": "h"}, "there are heat, help, knob.less, knob.more, next, picker.close, quit"),
        ({"heat": "ctl+h"}, "'heat' cannot have the key 'ctl\\+h'"),
        ({"heat": "f99"}, "cannot have the key 'f99'"),
        ({"heat": ""}, "cannot have the key ''"),
        ({"heat": "f7,"}, "cannot have the key ''"),
        ({"knob.less": "+"}, "'knob.less' and 'knob.more' both have the key 'plus'"),
        ({"heat": "f1"}, "'heat' and 'help' both have the key 'f1'"),
        ({"knob.less": "plus"}, "'knob.less' and 'knob.more' both have the key 'plus'"),
        ({"heat": "f7", "help": "f7"}, "'heat' and 'help' both have the key 'f7'"),
        ({"knob.less": "tab"}, "'next' and 'knob.less' both have the key 'tab'"),
        ({"knob.less": "ctrl+q"}, "'quit' and 'knob.less' both"),
        ({"heat": "ctrl+q"}, "'quit' and 'heat' both"),
    ],
)
def test_keys_that_cannot_be_are_told(keys: dict[str, str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        keymap(keys, OWNERS)


WRITING: tuple[type[DOMNode], ...] = (Host, Desk, Field)


@pytest.mark.parametrize(
    "keys",
    [
        {"help": "ctrl+x"},
        {"help": "?"},
        {"help": "?,ctrl+x"},
        {"help": "enter"},
        {"quit": "é"},
        {"quit": "ctrl+b,space"},
        {"field.send": "s"},
    ],
    ids=str,
)
def test_a_key_that_the_prompt_needs_is_refused(keys: dict[str, str]) -> None:
    with pytest.raises(InputError, match="it is the prompt's, for what you write"):
        keymap(keys, (*OWNERS, Field), WRITING)


@pytest.mark.parametrize(
    "keys",
    [
        {"help": "f1,?"},
        {"heat": "h"},
        {"heat": "ctrl+b"},
        {"quit": "ctrl+x"},
        {"field.send": "ctrl+x"},
        {"field.send": "f12", "help": "enter"},
        {"knob.less": "x"},
    ],
    ids=str,
)
def test_a_key_that_works_while_one_writes_is_not(keys: dict[str, str]) -> None:
    assert keymap(keys, (*OWNERS, Field), WRITING).keys() == keys.keys()


def test_a_key_of_a_class_above_can_be_bound_anew() -> None:
    assert keymap({"picker.close": "f1"}, (Host, Picker)) == {"picker.close": "f1"}


def test_two_screens_may_share_a_key() -> None:
    assert keymap({"picker.close": "f1,h"}, OWNERS) == {"picker.close": "f1,h"}


@pytest.mark.parametrize(
    "owner", [BranchesScreen, SessionsScreen, WatchScreen, SideBySide, TokenView]
)
def test_a_letter_is_heeded_in_capitals_too(owner: type[DOMNode]) -> None:
    """They are shown as capitals; and caps lock may be on."""
    found = [b.key.split(",") for b in owner.BINDINGS if isinstance(b, Binding)]
    letters = [keys for keys in found if len(keys[0]) == 1]
    assert letters
    assert all(keys[0].upper() in keys for keys in letters)
