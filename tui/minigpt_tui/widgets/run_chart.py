"""The losses of a run in braille dots, beside what counting reaches."""

from rich.text import Text
from textual.content import Content, Span
from textual.reactive import reactive
from textual.widget import Widget

from minigpt.training.chart import AXIS, CHOSEN, CURVE, LEVEL, MARK, chart, right_end
from minigpt.training.progress import loss_text
from minigpt_tui.run_reader import RunView

STYLES = {
    CURVE: "$secondary",
    MARK: "bold $primary",
    CHOSEN: "bold $error",
    LEVEL: "$success",
    AXIS: "$text-muted",
}
"""The theme's colours for those that the chart has for any terminal."""
LEAST_STEPS = 16
"""That an axis shows."""
PARTS = 8
"""Of the axis, by which its ends move: seldom, and not with every step."""


class RunChart(Widget):
    """Shows a view's curves over the steps that `span` tells of its zoom."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    RunChart {
        height: 1fr;
        text-wrap: nowrap;
    }
    """

    view: reactive[RunView | None] = reactive(None)
    zoom: reactive[int] = reactive(0)
    """How often the axis was halved, towards the last steps."""
    log_steps: reactive[bool] = reactive(False)
    """Whether each doubling of the steps is as wide as the next."""
    chosen: reactive[int | None] = reactive(None)
    """The step of the text that is being read."""

    def render(self) -> Content:
        if (view := self.view) is None:
            return Content()
        width, height = self.size
        lines = [_legend(view, width)]
        if width >= 36 and height >= 5:
            lines += [_themed(line) for line in self._chart(view, width, height - 1)]
        return Content("\n").join(lines)

    def _chart(self, view: RunView, width: int, height: int) -> list[Text]:
        left, right = span(view, self.zoom)
        training = [pair for pair in view.training if pair[0] >= left]
        validation = [pair for pair in view.validation if left <= pair[0] <= right]
        levels = {}
        if counts := view.baselines:
            levels = {"uniform": counts.uniform, "bigram": counts.bigram,
                      "5-gram": counts.five_gram}  # fmt: skip
        # the first, steep fall may leave the picture: the rest is what one wants to see
        steep = 0.08 * right if not self.zoom and not self.log_steps else left
        losses = [loss for step, loss in [*training, *validation] if step >= steep]
        if counts and not self.zoom:
            losses += [counts.bigram, counts.five_gram]
        if counts and self.log_steps and not self.zoom:
            losses += [counts.uniform]
        losses = losses or [0.0, 4.0]
        return chart(
            training, validation, levels,
            left=left, right=right, bounds=(min(losses), max(losses)), log=self.log_steps,
            chosen=self.chosen, width=width, height=height,
        )  # fmt: skip


def span(view: RunView, zoom: int) -> tuple[int, int]:
    """The first and the last step of the axis; at least LEAST_STEPS, as far as they are there."""
    whole = right_end(view.step, view.max_steps or max(view.step, LEAST_STEPS))
    if not zoom:
        return 0, whole
    steps = max(LEAST_STEPS, whole >> zoom)
    part = max(1, steps // PARTS)
    right = max(steps, min(whole, -(-view.step // part) * part))
    return right - steps, right


def most_zoom(view: RunView) -> int:
    """Halving more often shows nothing more."""
    zoom = 0
    while (size := span(view, zoom)) != span(view, zoom + 1) and size[1] - size[0] > LEAST_STEPS:
        zoom += 1
    return zoom


def _legend(view: RunView, width: int) -> Content:
    last = view.validation[-1][1] if view.validation else None
    parts = [
        Content.assemble(("━━ ", STYLES[CURVE]), ("training ", "$text-muted"),
                         (loss_text(view.loss), "bold")),
        Content.assemble(("● ", STYLES[MARK]), ("validation ", "$text-muted"),
                         (loss_text(last), "bold")),
    ]  # fmt: skip
    if view.best:
        step, loss = view.best
        parts.append(
            Content.assemble(
                ("best ", "$text-muted"), (loss_text(loss), "bold"),
                (f" at {step:,}", "$text-muted"),
            )
        )  # fmt: skip
    parts.append(Content.styled("nats per token", "$text-muted"))
    while len(parts) > 1 and Content("   ").join(parts).cell_length > width:
        parts.pop()
    return Content("   ").join(parts)


def _themed(line: Text) -> Content:
    spans = [
        Span(start, end, STYLES[style])
        for start, end, style in [*line.spans, (0, len(line), line.style)]
        if isinstance(style, str) and style in STYLES
    ]
    return Content(line.plain, spans)
