"""Where the user writes: grows with its text, remembers what was sent."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding
from textual.message import Message
from textual.widgets import TextArea

from minigpt_tui.messages import Submitted

MAX_PASTE_CHARS = 20_000
"""Far more than any model here has in view; a line editor need not carry a book."""


class Prompt(TextArea):
    """Enter sends, Ctrl+J (or Shift+Enter, where a terminal tells it) makes a new line.

    Up in the first line and Down in the last go through what was sent before. Left in an empty one
    leaves it for the text. What the model would go on with stands behind the words as a ghost,
    which Tab or Right accepts.
    """

    @dataclass
    class WentLeft(Message):
        """The user wants to go back into the text."""

    BINDINGS = [
        Binding("enter", "submit", "Write", id="prompt.submit"),
        Binding(
            "ctrl+j,shift+enter,alt+enter", "newline", "New line", show=False, id="prompt.newline"
        ),
        Binding("up", "earlier", "Earlier prompt", show=False, id="prompt.earlier"),
        Binding("down", "later", "Later prompt", show=False, id="prompt.later"),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, compact=True, highlight_cursor_line=False)
        self._history: list[str] = []
        self._at = 0
        self._draft = ""
        self._shades: list[Style | None] = []

    @property
    def has_history(self) -> bool:
        """Whether Up has something to show."""
        return bool(self._history)

    @property
    def last(self) -> str:
        """What was sent last."""
        return self._history[-1] if self._history else ""

    def show_thoughts(self, shades: Sequence[Style | None], ghost: str) -> None:
        """Show what the model thinks of the words.

        Args:
            shades: of the last characters, one each.
            ghost: what it would go on with.
        """
        unshaded = len(self.text) - len(shades)
        self._shades = [*(None for _ in range(unshaded)), *shades]
        self.suggestion = ghost if self.cursor_location == self.document.end else ""
        self.notify_style_update()  # lines are cached by what is typed, not by how it is shaded
        self.refresh()

    @property
    def ghost(self) -> str:
        """What Tab would accept."""
        return self.suggestion if self.text else ""

    def accept(self) -> None:
        """Take the ghost's words as one's own."""
        self.insert(self.ghost)

    def get_line(self, line_index: int) -> Text:
        line = super().get_line(line_index)
        lines = self.document.lines[:line_index]
        start = sum(len(each) + len(self.document.newline) for each in lines)
        for i, style in enumerate(self._shades[start : start + len(line)]):
            if style is not None:
                line.stylize(style, i, i + 1)
        return line

    def action_cursor_left(self, select: bool = False) -> None:
        if self.text:
            super().action_cursor_left(select)
        else:
            self.post_message(self.WentLeft())

    def action_submit(self) -> None:
        text = self.text
        if text and text not in self._history[-1:]:
            self._history.append(text)
        self._at = len(self._history)
        self.post_message(Submitted(text))  # before the change to no text, which forgets scores
        self.text = ""

    def action_newline(self) -> None:
        self.insert("\n")

    def action_earlier(self) -> None:
        if self.cursor_location[0] > 0:
            self.action_cursor_up()
        elif self._at > 0:
            if self._at == len(self._history):
                self._draft = self.text
            self._show(self._at - 1)

    def action_later(self) -> None:
        if self.cursor_location[0] < self.document.line_count - 1:
            self.action_cursor_down()
        elif self._at < len(self._history):
            self._show(self._at + 1)

    def _show(self, at: int) -> None:
        self._at = at
        self.text = self._history[at] if at < len(self._history) else self._draft
        self.move_cursor(self.document.end)

    async def _on_key(self, event: events.Key) -> None:
        if event.key == "enter":  # the text area would insert it; here it is a binding
            event.prevent_default()

    async def _on_paste(self, event: events.Paste) -> None:
        event.prevent_default()
        event.stop()
        text = event.text
        if len(text) > MAX_PASTE_CHARS:
            self.notify(
                f"Of {len(text):,} pasted characters the last {MAX_PASTE_CHARS:,} are kept.",
                markup=False,
            )
        self.insert(text[-MAX_PASTE_CHARS:])
