"""What could come next: the model's chances beside those of the draw, to be forced or favoured."""

import math
from dataclasses import dataclass

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding
from textual.geometry import Offset
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from minigpt_tui.candidates import Candidate, Place, Thoughts
from minigpt_tui.glyphs import bar, visible

HEADER = 1
"""Rows above the first candidate."""
CHAR_CELLS = 2
NUMBER_CELLS = 5
MAX_BIAS = 20


class CandidatesPanel(Widget, can_focus=True):
    """Lists the candidates of one place; ↑↓ choose, Enter forces, + favours, - bans.

    A row: the character, a bar, the model's own probability, and what the rules made of it or
    which of them cut it. The bar is solid up to the probability in the draw. Where the rules took
    from a candidate, what the model gave it stays as dots; where they added, that part is hatched.
    """

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    CandidatesPanel {
        height: 1fr;
        .candidates--heading { color: $secondary; text-style: bold; }
        .candidates--numbers { color: $text-muted; }
        .candidates--char { color: $foreground; text-style: bold; }
        .candidates--bar { color: $secondary; }
        .candidates--lost { color: $border-blurred; }
        .candidates--cut { color: $text-muted; }
        .candidates--written { color: $primary; text-style: bold; }
        .candidates--chosen { background: $panel; }
    }
    CandidatesPanel:focus {
        .candidates--heading { color: $primary; }
        .candidates--bar { color: $primary; }
    }
    """
    COMPONENT_CLASSES = {
        "candidates--heading",
        "candidates--numbers",
        "candidates--char",
        "candidates--bar",
        "candidates--lost",
        "candidates--cut",
        "candidates--written",
        "candidates--chosen",
    }
    BINDINGS = [
        Binding("up", "move(-1)", "Candidate above", show=False, id="candidates.above"),
        Binding("down", "move(1)", "Candidate below", show=False, id="candidates.below"),
        Binding("home", "move(-1000)", "Likeliest", show=False, id="candidates.first"),
        Binding("end", "move(1000)", "Least likely", show=False, id="candidates.last"),
        Binding("enter", "force", "Write it", id="candidates.force"),
        Binding("plus,equals_sign", "favour", "Favour", id="candidates.favour"),
        Binding("minus", "ban", "Ban", id="candidates.ban"),
        Binding("backspace,delete,0", "unbias", "Forget bias", show=False, id="candidates.unbias"),
    ]

    chosen: reactive[int] = reactive(0)
    """The row that the keys act on."""

    @dataclass
    class Forced(Message):
        """The user wants this one written there."""

        candidate: Candidate
        place: Place

    @dataclass
    class Biased(Message):
        """The user favours a token by so much, bans it (minus infinity), or neither (0)."""

        token: int
        bias: float

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._title = "Next character"
        self._place: Place | None = None
        self._thoughts: Thoughts | None = None
        self._chars = ""
        self._top = 0
        self._just_banned: int | None = None

    def show(self, title: str, place: Place | None, thoughts: Thoughts | None, chars: str) -> None:
        """Show another place, or the same under other settings.

        Args:
            title: what place it is.
            place: None: nothing is known of it.
            thoughts: what can come there; None: nothing can, or the place is not known.
            chars: the vocabulary.
        """
        kept = self.candidate if place is self._place else None
        self._just_banned = self._just_banned if chars == self._chars else None
        self._title, self._place, self._thoughts, self._chars = title, place, thoughts, chars
        at = self.chosen if kept or self.has_focus else 0  # the likeliest, unless one looks
        if kept and thoughts:
            # under other settings it may stand elsewhere; what was just banned is left behind
            ids = [c.id for c in thoughts.candidates if c.bias > -math.inf]
            at = ids.index(kept.id) if kept.id in ids else at
        self.chosen = min(at, max(self._n - 1, 0))
        self.refresh()

    @property
    def candidate(self) -> Candidate | None:
        """The one that the keys act on."""
        return self._thoughts.candidates[self.chosen] if self._thoughts and self._n else None

    @property
    def _n(self) -> int:
        return len(self._thoughts.candidates) if self._thoughts else 0

    def watch_chosen(self) -> None:
        rows = max(self.size.height - HEADER, 1)
        self._top = max(min(self._top, self.chosen), self.chosen - rows + 1, 0)
        self.refresh()

    def on_focus(self) -> None:
        self._just_banned = None

    def action_move(self, by: int) -> None:
        self._just_banned = None
        self.chosen = min(max(self.chosen + by, 0), max(self._n - 1, 0))

    def action_force(self) -> None:
        self._just_banned = None
        if self.candidate is not None and self._place is not None:
            self.post_message(self.Forced(self.candidate, self._place))

    def action_favour(self) -> None:
        self._just_banned = None
        if (found := self.candidate) is not None:
            bias = 0.0 if found.bias == -math.inf else min(found.bias + 1, MAX_BIAS)
            self.post_message(self.Biased(found.id, bias))

    def action_ban(self) -> None:
        if (found := self.candidate) is not None:
            self._just_banned = found.id
            self.post_message(self.Biased(found.id, -math.inf))

    def action_unbias(self) -> None:
        banned, self._just_banned = self._just_banned, None
        if banned is not None:  # it was left behind: the next one has come in its row
            self.post_message(self.Biased(banned, 0.0))
        elif (found := self.candidate) is not None:
            self.post_message(self.Biased(found.id, 0.0))

    def on_click(self, event: events.Click) -> None:
        row = self._row_at(event.get_content_offset(self))
        if row is not None:
            self.chosen = row
            self.action_force()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._scroll(event, -1)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._scroll(event, 1)

    def _scroll(self, event: events.MouseEvent, by: int) -> None:
        rows = max(self.size.height - HEADER, 1)
        self._top = min(max(self._top + by, 0), max(self._n - rows, 0))
        self.refresh()
        event.stop()

    def _row_at(self, offset: Offset | None) -> int | None:
        return None if offset is None else self._row(offset.y)

    def _row(self, y: int) -> int | None:
        """The candidate on a line; the last line is for what is written, if that is far behind."""
        row = self._top + y - HEADER
        if y < HEADER or row >= self._n:
            return None
        is_last = y == self.size.height - 1
        if is_last and row != self.chosen and self._thoughts:
            ids = [found.id for found in self._thoughts.candidates]
            written = self._place.written if self._place else None
            if written in ids[row:]:
                return ids.index(written)
        return row

    @property
    def _ground(self) -> Style:
        """For spaces: not `rich_style`, which walks up the tree each time; this one is cached."""
        return self.get_component_rich_style("candidates--numbers")

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        base = self._ground
        if y < HEADER:
            return self._heading(width)
        row = self._row(y)
        if self._thoughts is None or row is None:
            hint = " no thoughts yet" if self._place is None and y == HEADER else ""
            muted = self.get_component_rich_style("candidates--cut")
            return Strip([Segment(hint[:width], muted)]).adjust_cell_length(width, base)
        return self._candidate(self._thoughts.candidates[row], row, width)

    def _heading(self, width: int) -> Strip:
        title = f" {self._title}"
        numbers = ""
        if self._thoughts:
            bits = self._thoughts.entropy / math.log(2)
            numbers = f"{self._thoughts.n_left} left · {bits:.1f} bits"
            if len(title) + len(numbers) >= width:
                numbers = f"{bits:.1f} bits"
        gap = " " * max(width - len(title) - len(numbers), 1)
        return Strip(
            [
                Segment(title, self.get_component_rich_style("candidates--heading")),
                Segment(gap, self._ground),
                Segment(numbers, self.get_component_rich_style("candidates--numbers")),
            ]
        ).adjust_cell_length(width, self._ground)

    def _candidate(self, found: Candidate, row: int, width: int) -> Strip:
        style = self.get_component_rich_style
        ground = Style()
        if row == self.chosen and self.has_focus:
            ground = Style(bgcolor=style("candidates--chosen").bgcolor)
        is_written = self._place is not None and found.id == self._place.written
        mark = "›" if row == self.chosen and self.has_focus else "·" if is_written else " "
        char = visible(self._chars[found.id])
        pad = " " * max(CHAR_CELLS - cell_len(char), 0)
        result = found.cut or _percent(found.probability)
        if found.bias:
            banned = found.bias == -math.inf
            result = "banned" if banned else f"{found.bias:+g} {_percent(found.probability)}"
        numbers = f"{_percent(found.raw):>{NUMBER_CELLS}} {result:>{NUMBER_CELLS + 4}}"
        cells = max(width - 1 - CHAR_CELLS - 1 - len(numbers), 0)
        solid, gained, lost = _bar(found, cells)
        cut = style("candidates--cut") if found.cut else style("candidates--numbers")
        name = style("candidates--cut") if found.cut else style("candidates--char")
        name = style("candidates--written") if is_written else name
        segments = [
            Segment(mark, style("candidates--written")),
            Segment(char + pad, name),
            Segment(solid, style("candidates--bar")),
            Segment(gained, style("candidates--bar")),
            Segment(lost, style("candidates--lost")),
            Segment(" " * (cells + 1 - len(solid) - len(gained) - len(lost)), self._ground),
            Segment(numbers, cut),
        ]
        return Strip(
            [Segment(text, each + ground if each else ground) for text, each, _ in segments]
        ).adjust_cell_length(width, self._ground + ground)


def _bar(found: Candidate, cells: int) -> tuple[str, str, str]:
    """What is drawn as solid, as gained and as lost, of a bar that is full at 1.

    >>> _bar(Candidate(0, 0.25, 0.5, "", 0.0, -1.4, 1), 8)
    ('██', '▓▓', '')
    """
    both = min(found.raw, found.probability) * cells
    whole = int(both)
    end = round(max(found.raw, found.probability) * cells)
    if end > whole and found.probability > found.raw:
        return "█" * whole, "▓" * (end - whole), ""
    solid = bar(both)
    return solid, "", "░" * max(end - len(solid), 0)


def _percent(probability: float) -> str:
    """A probability in at most five cells.

    >>> [_percent(p) for p in (1.0, 0.994, 0.0123, 0.00012, 0)]
    ['100%', '99%', '1.2%', '.01%', '0%']
    """
    percent = 100 * probability
    if percent >= 9.95 or percent == 0:
        return f"{percent:.0f}%"
    if percent >= 0.095:
        return f"{percent:.1f}%"
    return f"{percent:.2f}%"[1:] if percent >= 0.005 else "<.01%"
