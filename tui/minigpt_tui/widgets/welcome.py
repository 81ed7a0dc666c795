"""What an empty text shows: one line of explanation and beginnings to choose from."""

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.widgets import OptionList, Static

from minigpt_tui.messages import Submitted

EXAMPLES = (
    "ROMEO:",
    "KING HENRY:",
    "First Citizen:\nBefore we go on,",
    "To be, or not to be,",
    "O wonder!",
)


class Welcome(VerticalScroll, can_focus=False):
    """Posts Submitted for the beginning that was chosen."""

    def compose(self) -> ComposeResult:
        with Vertical(id="welcome-column"):
            yield Static("Give it a beginning.", id="welcome-title")
            yield Static(
                "A small GPT reads what you type and writes on, a character at a time.",
                id="welcome-text",
            )
            yield OptionList(*map(_line, EXAMPLES), markup=False, compact=True, id="examples")
            yield Static("↑ ↓ choose · Enter begins · or type below", id="welcome-keys")

    def on_mount(self) -> None:
        self.query_one(OptionList).highlighted = 0

    def mark(self, step: int) -> None:
        """Mark another beginning, round and round."""
        options = self.query_one(OptionList)
        options.highlighted = ((options.highlighted or 0) + step) % len(EXAMPLES)

    @property
    def marked(self) -> str:
        """The beginning that is marked now."""
        return EXAMPLES[self.query_one(OptionList).highlighted or 0]

    @on(OptionList.OptionHighlighted)
    def _show_mark(self, message: OptionList.OptionHighlighted) -> None:
        message.stop()
        for i, example in enumerate(EXAMPLES):
            line = _line(example, "›" if i == message.option_index else " ")
            message.option_list.replace_option_prompt_at_index(i, line)

    @on(OptionList.OptionSelected)
    def _submit(self, message: OptionList.OptionSelected) -> None:
        message.stop()
        self.post_message(Submitted(EXAMPLES[message.option_index]))


def _line(example: str, mark: str = " ") -> str:
    return f"{mark} {example}".replace("\n", " ↵ ")
