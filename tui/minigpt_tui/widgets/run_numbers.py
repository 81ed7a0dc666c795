"""A run's speed and the like, each at its own place: nothing moves when a number grows."""

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from minigpt.training.progress import duration_text
from minigpt_tui.run_reader import RunView

CELLS = 24
"""Of one number with its name."""


class RunNumbers(Widget):
    """As many as there is room for in its rows."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    RunNumbers {
        height: 1;
        text-wrap: nowrap;
    }
    """

    view: reactive[RunView | None] = reactive(None)

    def render(self) -> Content:
        if (view := self.view) is None:
            return Content()
        speed, rate, norm = view.tokens_per_s, view.learning_rate, view.gradient_norm
        numbers = {}
        if view.state == "running":
            numbers["tokens/s"] = "-" if speed is None else f"{speed:,.0f}"
            numbers["left"] = duration_text(view.seconds_left)
        numbers["gradient norm"] = "-" if norm is None else f"{norm:.3g}"
        numbers["learning rate"] = "-" if rate is None else f"{rate:.2e}"
        cells = [
            Content.assemble((f"{name} ", "$text-muted"), (text, "bold")).pad_right(
                max(0, CELLS - len(name) - 1 - len(text))
            )
            for name, text in numbers.items()
        ]
        return Content().join(cells[: max(1, self.size.width // CELLS)])
