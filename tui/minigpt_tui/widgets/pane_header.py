"""Two rows over a text: which model writes it, in what it differs, how fast and how surprising."""

from dataclasses import dataclass

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from minigpt.terminal import one_line
from minigpt_tui.widgets.status_bar import MARKS
from minigpt_tui.writer import State


@dataclass(frozen=True, slots=True)
class Heading:
    """What the rows show."""

    letter: str
    name: str = ""
    """Of the model."""
    traits: tuple[str, ...] = ()
    """What sets this text apart from the other, in words."""
    state: State = State.LOADING
    tokens_per_s: float = 0.0
    bits_per_char: float = 0.0
    """Of what the model wrote; 0 before there is any."""
    is_chosen: bool = False


class PaneHeader(Widget):
    """What does not fit is cut: the name and the traits, never the numbers."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    PaneHeader {
        height: 2;
        padding: 0 1;
        background: $panel;
    }
    """
    heading: reactive[Heading] = reactive(Heading("?"))

    def __init__(self, letter: str) -> None:
        super().__init__()
        self.set_reactive(PaneHeader.heading, Heading(letter))

    def render(self) -> Content:
        heading = self.heading
        # the brackets say in black and white what the colours say
        letter = f"[{heading.letter}]" if heading.is_chosen else f" {heading.letter} "
        name = Content.assemble(
            (letter, "bold $background on $primary" if heading.is_chosen else "bold $secondary"),
            " ",
            (one_line(heading.name) or heading.state.value, "bold $primary"),
        )
        traits = Content(f"{MARKS[heading.state]:^3} ") + Content(" · ").join(
            map(Content, heading.traits)
        )
        speed = f"{heading.tokens_per_s:,.0f} tok/s" if heading.tokens_per_s else ""
        bits = f"{heading.bits_per_char:.2f} bits/char" if heading.bits_per_char else ""
        return Content("\n").join([self._row(name, speed), self._row(traits, bits)])

    def _row(self, left: Content, right: str) -> Content:
        room = self.size.width - len(right) - 2 * bool(right)
        left = left.truncate(max(room, 0), ellipsis=True)
        gap = self.size.width - left.cell_length - len(right)
        return Content.assemble(left, " " * max(gap, 0), (right, "$text-muted"))
