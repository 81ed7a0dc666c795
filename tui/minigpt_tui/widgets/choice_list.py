"""How a command could go on: a list above the prompt, which keeps the focus."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from textual import on
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from minigpt.terminal import one_line
from minigpt_tui.commands import Choice

MAX_LABEL_CELLS = 24


class ChoiceList(OptionList, can_focus=False):
    """Hidden while there is nothing to choose. Posts `Taken` for a choice that was clicked."""

    DEFAULT_CSS = """
    ChoiceList {
        display: none;
        text-wrap: nowrap;
        text-overflow: ellipsis;
        scrollbar-size-vertical: 1;
    }
    """

    @dataclass
    class Taken(Message):
        """The user wants this one."""

        choice: Choice

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, markup=False, compact=True)
        self._choices: Sequence[Choice] = ()

    def show(self, choices: Sequence[Choice], marked: int | None) -> None:
        """Show other choices, or another mark."""
        if choices != self._choices:
            self._choices = choices
            cells = min(max((cell_len(c.label) for c in choices), default=0), MAX_LABEL_CELLS)
            self.set_options(Option(_line(choice, cells)) for choice in choices)
        self.display = bool(choices)
        self.highlighted = marked

    @on(OptionList.OptionSelected)
    def _take(self, message: OptionList.OptionSelected) -> None:
        message.stop()
        if message.option in self.options:  # else the choices are others by now
            self.post_message(self.Taken(self._choices[message.option_index]))


def _line(choice: Choice, cells: int) -> Content:
    label = set_cell_size(one_line(choice.label), cells)
    return Content.assemble(label, "  ", (one_line(choice.says), "$text-muted"))
