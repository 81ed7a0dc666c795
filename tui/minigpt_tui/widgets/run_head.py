"""Two rows on top of a run: whose it is and how it stands, and how far it has come."""

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from minigpt.terminal import one_line
from minigpt_tui.run_reader import RunView

STATES = {
    "running": ("●", "bold $success", "training"),
    "finished": ("✓", "bold $success", "finished"),
    "patience": ("✓", "bold $success", "ended early"),
    "stopped": ("■", "bold $warning", "stopped"),
    "lost": ("×", "bold $error", "died"),
}
"""A mark, its style, a word: no meaning by colour alone."""


class RunHead(Widget):
    """Leaves out what matters least until the rest fits."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    RunHead {
        height: 2;
        padding: 0 2;
        background: $panel;
        text-wrap: nowrap;
    }
    """

    view: reactive[RunView | None] = reactive(None)

    def render(self) -> Content:
        if (view := self.view) is None:
            return Content()
        return Content("\n").join([self._title(view), _bar(view, self.size.width)])

    def _title(self, view: RunView) -> Content:
        mark, style, word = STATES[view.state]
        if view.state == "stopped" and not view.step and view.loss is None:
            mark, style, word = "◌", "$text-muted", "no step yet"
        left = [Content.styled(one_line(view.folder.resolve().name), "bold $primary")]
        if header := view.header:
            left += [
                Content(f"{header.model.n_params():,} parameters"),
                Content.styled(one_line(header.card.corpus), "$text-muted"),
            ]
        end = Content.styled(f"{mark} {word}", style)
        while True:
            start = Content("  ").join(left)
            gap = self.size.width - start.cell_length - end.cell_length
            if gap >= 2 or len(left) == 1:
                return Content.assemble(start, " " * max(gap, 1), end)
            left.pop()


def _bar(view: RunView, width: int) -> Content:
    if view.max_steps is None:
        return Content.styled(f"{view.step:,} steps", "$text-muted")
    words = f" {view.step:,}/{view.max_steps:,} steps {100 * view.step // view.max_steps:3}%"
    cells = max(0, width - len(words))
    halves = 2 * cells * view.step // view.max_steps
    done = "━" * (halves // 2) + "╸" * (halves % 2)
    return Content.assemble(
        (done, "$secondary"), ("─" * (cells - len(done)), "$border-blurred"), words
    )
