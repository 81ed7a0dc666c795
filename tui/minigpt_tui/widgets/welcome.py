"""What an empty text shows: what this is, beginnings to choose from, the keys that matter most."""

from collections.abc import Mapping
from dataclasses import dataclass

from rich.cells import cell_len
from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from minigpt.config import ModelCard
from minigpt.terminal import one_line
from minigpt_tui.widgets.options import Options

EXAMPLES = (
    "ROMEO:",
    "KING HENRY:",
    "First Citizen:\nBefore we go on,",
    "To be, or not to be,",
    "O wonder!",
)
"""For a model of Shakespeare; what others were trained on, nobody can know here."""
BY_ITSELF = ""
KEYS = (
    (("prompt.submit", "write, go on"), ("stop", "stop"), ("help", "all keys")),
    (("text.left", "into the text"), ("heat", "how sure it was"), ("attention", "where it looked")),
)
"""Two columns: the ids of the bindings, and what they do."""
COLUMN_CELLS = 22


class Welcome(VerticalScroll, can_focus=False):
    """Posts `Chosen`."""

    @dataclass
    class Chosen(Message):
        """The model is to write on from this beginning, which may be empty."""

        text: str

    def __init__(
        self, keys: Mapping[str, str], *, is_shipped: bool = False, id: str | None = None
    ) -> None:
        """Make the widget.

        Args:
            keys: of each binding, by its id.
            is_shipped: whether it is the shipped model that is being opened, so that its
                beginnings can be there from the first moment on.
            id: of the widget.
        """
        super().__init__(id=id)
        self._keys = keys
        self._beginnings = (*EXAMPLES, BY_ITSELF) if is_shipped else (BY_ITSELF,)

    def compose(self) -> ComposeResult:
        with Vertical(id="welcome-column"):
            yield Static("Give it a beginning.", id="welcome-title")
            yield Static("", id="welcome-text", markup=False)
            yield Options(markup=False, compact=True, id="examples")
            yield Static(self._key_table(), id="welcome-keys")

    def on_mount(self) -> None:
        self._explain("")

    def invite(self, card: ModelCard) -> None:
        """Offer beginnings that fit a model."""
        is_shakespeare = "shakespeare" in card.last_read.casefold()
        self._beginnings = (*EXAMPLES, BY_ITSELF) if is_shakespeare else (BY_ITSELF,)
        self._explain(card.corpus)

    def _explain(self, corpus: str) -> None:
        learned = f"This one has read {one_line(corpus)[:40]}." if corpus else "It is being opened."
        self.query_one("#welcome-text", Static).update(
            "A small GPT reads what you type and writes on, a character at a time. " + learned
        )
        options = self.query_one(OptionList)
        marked = options.highlighted or 0  # which the user may have chosen already
        options.set_options(Option(_line(text), id=text) for text in self._beginnings)
        options.highlighted = min(marked, len(self._beginnings) - 1)

    def _key_table(self) -> Content:
        columns = []
        for rows in KEYS:
            keys = [self._keys[id] for id, _ in rows]
            cells = max(map(cell_len, keys))
            columns.append([
                Content.assemble((key, "bold $primary"), " " * (cells - cell_len(key) + 2), meaning)
                for key, (_, meaning) in zip(keys, rows, strict=True)
            ])  # fmt: skip
        lines = (
            Content.assemble(left, " " * (COLUMN_CELLS - left.cell_length), right)
            for left, right in zip(*columns, strict=True)
        )
        return Content("\n").join(lines)

    def mark(self, step: int) -> None:
        """Mark another beginning, round and round."""
        options = self.query_one(OptionList)
        options.highlighted = ((options.highlighted or 0) + step) % len(self._beginnings)

    @property
    def is_at_first(self) -> bool:
        """Whether the first beginning is marked."""
        return not self.query_one(OptionList).highlighted

    @property
    def marked(self) -> str:
        """The beginning that is marked now."""
        return self._beginnings[self.query_one(OptionList).highlighted or 0]

    @on(OptionList.OptionHighlighted)
    def _show_mark(self, message: OptionList.OptionHighlighted) -> None:
        message.stop()
        for i, beginning in enumerate(self._beginnings):
            line = _line(beginning, "›" if beginning == message.option_id else " ")
            message.option_list.replace_option_prompt_at_index(i, line)

    @on(OptionList.OptionSelected)
    def _choose(self, message: OptionList.OptionSelected) -> None:
        message.stop()
        self.post_message(self.Chosen(str(message.option_id)))


def _line(beginning: str, mark: str = " ") -> str:
    return f"{mark} {beginning or 'let it begin by itself'}".replace("\n", " ↵ ")
