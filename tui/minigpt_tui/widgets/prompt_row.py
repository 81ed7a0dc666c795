"""The row where the user writes: who speaks, the prompt, and how surprising the words are."""

from collections.abc import Callable, Mapping

from rich.cells import cell_len
from rich.style import Style
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Static

from minigpt.runtime.chat import Roles
from minigpt.terminal import printable
from minigpt_tui.commands import Choice
from minigpt_tui.gaze import surprise
from minigpt_tui.heat import Heat, level
from minigpt_tui.history import History
from minigpt_tui.protocol import Seen
from minigpt_tui.widgets.prompt import Prompt


class PromptRow(Horizontal):
    """Frames the Prompt."""

    def __init__(
        self,
        sent: History,
        complete: Callable[[str], tuple[Choice, ...]],
        keys: Mapping[str, str],
        *,
        id: str,
    ) -> None:
        """Make the row.

        Args:
            sent: what was sent before.
            complete: how a command that is half typed could go on.
            keys: what to call the key of each binding.
            id: of the widget.
        """
        super().__init__(id=id)
        self._sent, self._complete = sent, complete
        self._stop, self._send = keys["stop"], keys["prompt.submit"]

    def compose(self) -> ComposeResult:
        yield Static("›", id="prompt-mark")
        yield Prompt(id="prompt", sent=self._sent, complete=self._complete)

    def name_speaker(self, roles: Roles | None) -> None:
        """Say as whom the user speaks; None: it is no conversation."""
        mark = f"{printable(roles.me)} ›" if roles and roles.named else "››" if roles else "›"
        label = self.query_one("#prompt-mark", Static)
        label.update(Content(mark))
        label.styles.width = cell_len(mark) + 1

    def invite(
        self, roles: Roles | None, *, is_empty: bool, is_writing: bool, is_left: bool
    ) -> None:
        """Say in the empty prompt what can be done now; left, it does not get what is typed."""
        says = (
            f"{self._stop} stops, then comes back here" if is_left and is_writing
            else f"{self._stop} comes back here" if is_left
            else _who_answers(roles) if roles
            else f"Type a beginning, or press {self._send}" if is_empty
            else f"{self._stop} stops, {self._send} adds your words" if is_writing
            else f"{self._send} goes on, or type what comes next"
        )  # fmt: skip
        self.query_one(Prompt).placeholder = Content(says)  # a name may hold square brackets

    def show_thoughts(self, seen: Seen | None, levels: tuple[Style, ...]) -> None:
        """Show what the model thinks of what is typed; None: nothing is known of it."""
        if seen is None:
            self.query_one(Prompt).show_thoughts((), "")
            self.border_subtitle = ""
            return
        found = [score and level(Heat.PROBABILITY, score) for score in seen.scores]
        styles = [levels[each] if each else None for each in found]
        self.query_one(Prompt).show_thoughts(styles, printable(seen.ghost))
        self.border_subtitle = surprise(seen)


def _who_answers(roles: Roles) -> str:
    if not roles.named:
        return "Say something; the model answers with a paragraph"
    return f"Speak as {printable(roles.me)}; {printable(roles.you)} answers"
