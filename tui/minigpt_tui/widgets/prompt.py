"""Where the user writes: grows with its text, remembers what was sent, completes commands."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.style import Style
from rich.text import Text
from textual import events, on
from textual.binding import Binding
from textual.geometry import Offset
from textual.message import Message
from textual.widgets import TextArea

from minigpt.terminal import printable
from minigpt_tui.commands import Choice, is_command, is_whole
from minigpt_tui.history import History
from minigpt_tui.messages import Submitted
from minigpt_tui.widgets.in_turn import act_at_once

MAX_PASTE_CHARS = 20_000
"""Far more than any model here has in view; a line editor need not carry a book."""


class Prompt(TextArea):
    """Enter sends, Ctrl+J (or Shift+Enter, where a terminal tells it) makes a new line.

    Up in the first row and Down in the last go through what was sent before. Left in an empty one
    leaves it for the text. What the model would go on with stands behind the words as a ghost,
    which Tab or Right accepts.

    A line that begins with a slash is for the app: while it is typed, Up, Down and Tab choose how
    it could go on, Enter takes that, and Esc puts the choices away. Two slashes are the text's.
    """

    @dataclass
    class WentLeft(Message):
        """The user wants to go back into the text."""

    @dataclass
    class Offered(Message):
        """A command could go on like this; none: there is nothing to choose any more."""

        choices: tuple[Choice, ...]
        marked: int | None

    @dataclass
    class Commanded(Message):
        """The user has sent a line that is for the app."""

        line: str

    BINDINGS = [
        Binding("enter", "submit", "Write", id="prompt.submit"),
        Binding(
            "ctrl+j,shift+enter,alt+enter", "newline", "New line", show=False, id="prompt.newline"
        ),
        Binding("up", "earlier", "Earlier prompt", show=False, id="prompt.earlier"),
        Binding("down", "later", "Later prompt", show=False, id="prompt.later"),
    ]

    _thought = ("", "")
    """Words, and what the model would go on with behind them."""

    def __init__(
        self,
        *,
        id: str | None = None,
        sent: History | None = None,
        complete: Callable[[str], tuple[Choice, ...]] | None = None,
    ) -> None:
        """Make the prompt.

        Args:
            id: of the widget.
            sent: what was sent before.
            complete: how a command that is half typed could go on; None: there are no commands.
        """
        super().__init__(id=id, compact=True, highlight_cursor_line=False)
        self.sent = History() if sent is None else sent
        self._complete = complete
        self._moved: tuple[str, int] | None = None
        """Of the choices for a line, the one that the user has moved to."""
        self._closed_at: str | None = None
        """The line at which the user did not want to see any choices."""
        self._shades: list[Style | None] = []

    @property
    def words(self) -> str:
        """What the model would read."""
        if self._complete is None:
            return self.text
        if is_command(self.text):
            return ""
        return self.text.removeprefix("/") if self.text.startswith("//") else self.text

    @property
    def choices(self) -> tuple[Choice, ...]:
        """How the command that is being typed could go on."""
        if self._complete is None or not is_command(self.text) or self.text == self._closed_at:
            return ()
        return self._complete(self.text)

    @property
    def marked(self) -> int | None:
        """Which of the choices Enter takes; None: the line is sent as it is."""
        choices = self.choices
        if self._moved and self._moved[0] == self.text and self._moved[1] < len(choices):
            return self._moved[1]
        if self.text.endswith(("/", " ")) or is_whole(self.text):
            return None
        # only what alone begins so: Enter must not do what happens to be first
        part = self.text.casefold()
        begins = [i for i, each in enumerate(choices) if each.line.casefold().startswith(part)]
        return begins[0] if len(begins) == 1 else None

    @on(TextArea.Changed)
    @on(events.Focus)
    def _offer(self) -> None:
        self.post_message(self.Offered(self.choices, self.marked))

    @on(TextArea.Changed)
    @on(events.Resize)
    def _see_the_cursor(self) -> None:
        # Textual scrolls before a line that is new has its room: to the one above it
        self.call_after_refresh(self.scroll_cursor_visible)

    def watch_selection(self) -> None:
        self.update_suggestion()

    def update_suggestion(self) -> None:
        """A ghost goes on from the end of its words: nowhere else is it to be read, or accepted."""
        words, ghost = self._thought
        is_at_end, text = self.cursor_location == self.document.end, self.text
        # of words that agree with it, what is left of it
        goes_on = text.startswith(words) and (words + ghost).startswith(text)
        self.suggestion = ghost[len(text) - len(words) :] if is_at_end and goes_on else ""

    @on(events.Blur)
    def _offer_nothing(self) -> None:
        self.post_message(self.Offered((), None))

    def write(self, text: str) -> None:
        """Hold this text, with the cursor behind it."""
        self.text = text
        self.move_cursor(self.document.end)

    def scroll_cursor_visible(self, center: bool = False, animate: bool = False) -> Offset:
        if self.cursor_location[0] >= self.document.line_count:
            return Offset()  # Textual has undone lines and not moved the cursor yet: it would fail
        return super().scroll_cursor_visible(center, animate)

    def give_back(self, words: str) -> None:
        """Hold words that were sent; what is being typed goes to what was sent before."""
        escape = "/" if self._complete is not None and words.startswith("/") else ""
        self.put_back(escape + printable(words))

    def put_back(self, line: str) -> None:
        """Hold a line that was sent, as `give_back`, with no choices: it was sent as it is."""
        if self.text:
            self.sent.add(self.text)
        self._closed_at = line
        self.write(line)

    def take(self, choice: Choice) -> None:
        """Write the command like this."""
        self.write(choice.line)

    def close_choices(self) -> bool:
        """Put the choices away; False: there were none."""
        if not self.choices:
            return False
        self._closed_at = self.text
        self._offer()
        return True

    def _move_mark(self, step: int) -> None:
        n, at = len(self.choices), self.marked
        at = (step - 1) // 2 if at is None else at + step
        self._moved = (self.text, at % n)
        self._offer()

    def show_thoughts(self, shades: Sequence[Style | None], ghost: str) -> None:
        """Show what the model thinks of the words.

        Args:
            shades: of the last characters, one each.
            ghost: what it would go on with; shown to the first tab, for which Textual's text area
                has no width there and fails.
        """
        ghost = ghost.partition("\t")[0]
        unshaded = len(self.text) - len(shades)
        self._shades = [*(None for _ in range(unshaded)), *shades]
        self._thought = (self.text, ghost)
        self.update_suggestion()
        self.notify_style_update()  # lines are cached by what is typed, not by how it is shaded
        self.refresh()

    @property
    def ghost(self) -> str:
        """What Tab would accept."""
        return self.suggestion if self.text else ""

    def accept(self) -> bool:
        """Take the marked choice, or the ghost's words as one's own; False: there is neither."""
        if choices := self.choices:
            self.take(choices[self.marked or 0])
        elif self.ghost:
            self.insert(self.ghost)
        else:
            return False
        return True

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
        if self.marked is not None:
            choice = self.choices[self.marked]
            is_news = choice.line != self.text
            self.take(choice)
            if is_news and not choice.is_whole:
                return
        self.sent.add(self.text)
        if self._complete is not None and is_command(self.text):
            self.post_message(self.Commanded(self.text))
        else:
            # before the change to no text, which forgets the scores
            self.post_message(Submitted(self.words))
        self.text = ""

    def action_newline(self) -> None:
        self.insert("\n")

    def action_earlier(self) -> None:
        if self.choices:
            self._move_mark(-1)
        elif not self.navigator.is_first_wrapped_line(self.cursor_location):
            self.action_cursor_up()
        else:
            self._recall(-1)

    def action_later(self) -> None:
        if self.choices:
            self._move_mark(1)
        elif not self.navigator.is_last_wrapped_line(self.cursor_location):
            self.action_cursor_down()
        else:
            self._recall(1)

    def _recall(self, step: int) -> None:
        text = self.sent.move(step, self.text)
        if text is not None:
            self._closed_at = text  # Up and Down are to go on through the history
            self.write(text)

    async def _on_key(self, event: events.Key) -> None:
        if await act_at_once(self, event) or event.key == "enter":  # which Textual's would insert
            self._restart_blink()
            event.prevent_default()

    async def _on_paste(self, event: events.Paste) -> None:
        event.prevent_default()
        self.paste(event)

    def paste(self, event: events.Paste) -> None:
        """Take what is pasted, also elsewhere, where nobody else does."""
        event.stop()
        self.focus()
        text = event.text
        if len(text) > MAX_PASTE_CHARS:
            self.notify(
                f"Of {len(text):,} pasted characters the last {MAX_PASTE_CHARS:,} are kept.",
                markup=False,
            )
        self.insert(text[-MAX_PASTE_CHARS:])
