"""One row that says what is open and what goes on; every number in it is measured."""

from dataclasses import dataclass, field

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from minigpt.terminal import printable
from minigpt_tui.gauge import Gauge
from minigpt_tui.glyphs import bar
from minigpt_tui.protocol import Opened
from minigpt_tui.writer import State, Writer

MARKS = {State.LOADING: "◌", State.READY: "○", State.WRITING: "●", State.NO_MODEL: "×"}
WINDOW_CELLS = 6


@dataclass(frozen=True, slots=True)
class Status:
    """What the row shows."""

    state: State = State.LOADING
    model: Opened | None = None
    gauge: Gauge = field(default_factory=Gauge)

    @classmethod
    def of(cls, writer: Writer) -> "Status":
        """As it is now."""
        return cls(writer.state, writer.model, writer.gauge)


class StatusBar(Widget):
    """Leaves out what matters least until the rest fits."""

    ALLOW_SELECT = False
    status: reactive[Status] = reactive(Status())

    def render(self) -> Content:
        # (importance, what): the highest number goes first when the row is narrow
        left, right = _left(self.status), _right(self.status)
        while True:
            start = Content("  ").join(part for _, part in left)
            end = Content("  ").join(part for _, part in right)
            gap = self.size.width - start.cell_length - end.cell_length
            if gap >= 2 or len(left) + len(right) <= 1:
                return Content.assemble(start, " " * max(gap, 1), end)
            side = max((left, right), key=lambda parts: max((p for p, _ in parts), default=-1))
            side.remove(max(side, key=lambda part: part[0]))


def _left(status: Status) -> list[tuple[int, Content]]:
    parts = [(9, Content.styled("minigpt", "$text-muted"))]
    if (model := status.model) is not None:
        name = printable(model.card.name).replace("\n", " ")[:24]
        params = f"{model.config.n_params() / 1e6:.1f}M"
        parts += [
            (2, Content.styled(name, "bold $primary")),
            (7, Content(params)),
            (8, Content(f"val loss {model.card.val_loss:.2f}")),
        ]
    return parts


def _right(status: Status) -> list[tuple[int, Content]]:
    parts, gauge = [], status.gauge
    if gauge.tokens_per_s:
        parts.append((3, Content(f"{gauge.tokens_per_s:,.0f} tok/s")))
    if gauge.first_token_s is not None:
        parts.append((6, Content(f"first {_short(gauge.first_token_s)}")))
    if (model := status.model) is not None:
        block = model.config.block_size
        filled = bar(min(gauge.window / block, 1.0) * WINDOW_CELLS)
        parts += [
            (5, Content.assemble(
                ("▕", "$text-muted"), (f"{filled:<{WINDOW_CELLS}}", "$primary"),
                ("▏", "$text-muted"),
            )),
            (4, Content(f"{gauge.window:>{len(str(block))}}/{block}")),
        ]  # fmt: skip
        if gauge.n_slides:  # how often the oldest half has gone out of the model's sight
            parts.append((4, Content(f"slid {gauge.n_slides}×")))
    style = {State.WRITING: "bold $success", State.NO_MODEL: "bold $error"}.get(status.state, "")
    parts.append((0, Content.styled(f"{MARKS[status.state]} {status.state.value}", style)))
    return parts


def _short(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
