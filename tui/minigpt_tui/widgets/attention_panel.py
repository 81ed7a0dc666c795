"""The model from inside, at one place: each layer's guesses, and where a head looked."""

from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from textual import events
from textual.binding import Binding
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from minigpt_tui.glyphs import visible
from minigpt_tui.inside import Inside
from minigpt_tui.keymap import keys_of

NAME_CELLS = 9
GUESS_CELLS = 7
PLACE_CELLS = 7
WITH_HEADING = 8
"""From so many rows on there is one for the heading."""
HEADING = "What each layer would say next"
LEAST_SHOWN = 0.005
"""Places that were looked at less would all show 0%."""
EMPTY = "Move onto a character to look\ninside the model that read it."


class AttentionPanel(Widget, can_focus=True):
    """Chooses a layer and a head; `weights` are where they looked. Posts `Chosen`.

    The guess that wins in the end is bold on every rung where it is among the likeliest, so that
    one sees which layer finds it.
    """

    DEFAULT_CSS = """
    AttentionPanel {
        height: auto;
        min-height: 6;
        max-height: 20;
        text-wrap: nowrap;
    }
    """
    ALLOW_SELECT = False
    BINDINGS = [
        Binding("up", "layer(-1)", "Layer before", show=False, id="attention.layer.before"),
        Binding("down", "layer(1)", "Layer after", show=False, id="attention.layer.after"),
        Binding("left", "head(-1)", "Head before", show=False, id="attention.head.before"),
        Binding("right", "head(1)", "Head after", show=False, id="attention.head.after"),
        Binding("0,m", "mean", "Mean over the heads", show=False, id="attention.mean"),
    ]

    inside: reactive[Inside | None] = reactive(None, layout=True)
    chosen_layer: reactive[int] = reactive(0)
    """From 0 on."""
    chosen_head: reactive[int | None] = reactive(None)
    """From 0 on; None: the mean over all."""

    @dataclass
    class Chosen(Message):
        """Another layer or head, both from 0 on; no head: the mean over all."""

        layer: int
        head: int | None

    @property
    def weights(self) -> list[float]:
        """How much of what the position read came from each character of the text up to it."""
        return self.inside.weights(self.chosen_layer, self.chosen_head) if self.inside else []

    def show(self, inside: Inside | None) -> None:
        """Show another place; layer and head stay, if its model has them."""
        if inside is not None:
            self.chosen_layer = min(self.chosen_layer, inside.n_layer - 1)
            if self.chosen_head is not None:
                self.chosen_head = min(self.chosen_head, inside.n_head - 1)
        self.inside = inside

    def action_layer(self, step: int) -> None:
        self._choose(self.chosen_layer + step, self.chosen_head)

    def action_head(self, step: int) -> None:
        """The mean lies before the first head."""
        at = (-1 if self.chosen_head is None else self.chosen_head) + step
        self._choose(self.chosen_layer, None if at < 0 else at)

    def action_mean(self) -> None:
        self._choose(self.chosen_layer, None)

    def on_click(self, event: events.Click) -> None:
        if self.inside and (offset := event.get_content_offset(self)) is not None:
            heading, first, n_rungs = self._rows(self.inside)
            rung = first + offset.y - heading
            if 0 <= offset.y - heading < n_rungs and rung > 0:  # the embedding looks nowhere
                self._choose(rung - 1, self.chosen_head)

    def _choose(self, layer: int, head: int | None) -> None:
        if (inside := self.inside) is None:
            return
        chosen = (
            min(max(layer, 0), inside.n_layer - 1),
            None if head is None else min(head, inside.n_head - 1),
        )
        if chosen != (self.chosen_layer, self.chosen_head):
            self.chosen_layer, self.chosen_head = chosen
            self.post_message(self.Chosen(*chosen))

    def _rows(self, inside: Inside) -> tuple[int, int, int]:
        """Rows for the heading, the first rung that is shown, and how many are."""
        height = self.size.height
        heading = int(height >= WITH_HEADING)
        # below the rungs: what is chosen, and at least one place it looked at
        n_rungs = min(len(inside.ladder), max(height - heading - 2, 1))
        # the chosen layer in the middle, when not all have room
        first = min(max(self.chosen_layer + 1 - n_rungs // 2, 0), len(inside.ladder) - n_rungs)
        return heading, first, n_rungs

    def get_content_height(self, container: object, viewport: object, width: int) -> int:
        return 1 + len(self.inside.ladder) + 6 if self.inside else 2

    def render(self) -> Content:
        if (inside := self.inside) is None:
            return Content.styled(EMPTY, "$text-muted")
        heading, first, n_rungs = self._rows(inside)
        says = self._keys if self.has_focus else HEADING
        lines = [Content.styled(says, "bold $secondary")] * heading
        lines += [self._rung(inside, i) for i in range(first, first + n_rungs)]
        lines.append(self._choice(inside))
        lines += self._places(inside, max(self.size.height - len(lines), 0))
        return Content("\n").join(lines)

    @property
    def _keys(self) -> str:
        """The heading while the panel has the focus."""
        key = {id.removeprefix("attention."): name for id, name in keys_of(self).items()}
        layer, head = (key[f"{what}.before"] + key[f"{what}.after"] for what in ("layer", "head"))
        return f"{layer} layer   {head} head   {key['mean']} mean"

    def _rung(self, inside: Inside, i: int) -> Content:
        is_chosen = i == self.chosen_layer + 1
        name = f"{'›' if is_chosen else ' '}{f'layer {i}' if i else 'start'}"
        winner = inside.ladder[-1][0][0]
        room = max((self.size.width - NAME_CELLS) // GUESS_CELLS, 0)
        guesses = [
            (_guess(text, p), "bold $primary" if text == winner else "")
            for text, p in inside.ladder[i][:room]
        ]
        style = ("bold" if self.has_focus else "") if is_chosen else "$text-muted"
        return Content.assemble((f"{name:<{NAME_CELLS}}", style), *guesses)

    def _choice(self, inside: Inside) -> Content:
        """As text, and as a row of dots with a head each."""
        n = inside.n_head
        which = "all heads" if self.chosen_head is None else f"head {self.chosen_head + 1}"
        dots = "".join("●" if self.chosen_head in (None, i) else "○" for i in range(n))
        said = f"↰ layer {self.chosen_layer + 1}, {which}"
        if cell_len(said) + 2 + n > self.size.width:
            dots = f"of {n}"
        return Content.assemble((said, "bold"), ("  ", ""), (dots, "$primary"))

    def _places(self, inside: Inside, n: int) -> list[Content]:
        """The characters that were looked at most, each with the text before it."""
        weights = self.weights
        order = sorted(range(len(weights)), key=lambda i: -weights[i])[:n]
        return [self._place(inside.text, i, weights[i]) for i in order if weights[i] >= LEAST_SHOWN]

    def _place(self, text: str, i: int, weight: float) -> Content:
        shown = visible(text[i])
        room = max(self.size.width - PLACE_CELLS - cell_len(shown), 0)
        before = visible(text[max(i - room, 0) : i], space=" ")
        while cell_len(before) > room:
            before = before[1:]
        cut = "…" if len(before) < i else " "
        return Content.assemble(
            f" {_percent(weight)} ", " " * (room - cell_len(before)), (cut + before, "$text-muted"),
            (shown, "bold underline $primary"),
        )  # fmt: skip


def _guess(text: str, p: float) -> str:
    return f" {set_cell_size(visible(text), 2)}{_percent(p)}"


def _percent(p: float) -> str:
    return f"{p:4.0%}"
