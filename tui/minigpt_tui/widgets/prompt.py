"""Where the user writes: grows with its text, remembers what was sent."""

from textual import events
from textual.binding import Binding
from textual.widgets import TextArea

from minigpt.terminal import printable
from minigpt_tui.messages import Submitted

MAX_PASTE_CHARS = 20_000
"""Far more than any model here has in view; a line editor need not carry a book."""


class Prompt(TextArea):
    """Enter sends, Ctrl+J (or Shift+Enter, where a terminal tells it) makes a new line.

    Up in the first line and Down in the last go through what was sent before.
    """

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

    @property
    def has_history(self) -> bool:
        """Whether Up has something to show."""
        return bool(self._history)

    def action_submit(self) -> None:
        text = self.text
        if text and text not in self._history[-1:]:
            self._history.append(text)
        self._at = len(self._history)
        self.text = ""
        self.post_message(Submitted(text))

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
        # the text area would hand control characters on to the terminal as they are
        event.prevent_default()
        event.stop()
        text = printable(event.text.replace("\r\n", "\n").replace("\r", "\n"))
        if len(text) > MAX_PASTE_CHARS:
            self.notify(
                f"Of {len(text):,} pasted characters the last {MAX_PASTE_CHARS:,} are kept.",
                markup=False,
            )
        self.insert(text[-MAX_PASTE_CHARS:])
