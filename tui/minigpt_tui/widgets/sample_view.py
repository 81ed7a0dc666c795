"""What a model in training writes: one text, and as many of those before it as there is room for.

From top to bottom one goes back in time: from verse to words to letters.
"""

from rich.cells import cell_len
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from minigpt.terminal import printable
from minigpt_tui.run_reader import RunView


class SampleView(Widget):
    """Shows the newest text until somebody goes back to an older one."""

    DEFAULT_CSS = """
    SampleView {
        height: 1fr;
    }
    """

    view: reactive[RunView | None] = reactive(None)
    back: reactive[int] = reactive(0)
    """How many texts before the newest one."""

    def move(self, n: int) -> None:
        """To a text `n` later; before the first one there is none, nor after the last."""
        self.place(self.index + n)

    def place(self, index: int) -> None:
        """To the text of this number."""
        self.back = max(0, min(self.count - 1, self.count - 1 - index))

    @property
    def count(self) -> int:
        """Texts that there are."""
        return len(self.view.samples) if self.view else 0

    @property
    def index(self) -> int:
        """The number of the text that is shown, from 0 on; -1 where there is none."""
        return max(self.count - 1 - self.back, min(0, self.count - 1))

    @property
    def step(self) -> int | None:
        """When the text was written that is shown."""
        return self.view.samples[self.index][0] if self.view and self.count else None

    def watch_view(self, old: RunView | None, new: RunView | None) -> None:
        # who reads an older text goes on reading it while newer ones come
        if self.back and old and new and len(new.samples) > len(old.samples):
            self.back += len(new.samples) - len(old.samples)

    def render(self) -> Content:
        if (view := self.view) is None:
            return Content()
        if not self.count:
            is_soon = view.state == "running" and view.baselines
            sentence = "The first comes with the next evaluation." if is_soon else "No text here."
            return Content("\n").join(
                [_rule("what it writes", self.size.width), Content.styled(sentence, "$text-muted")]
            )
        parts: list[Content] = []
        rows, (width, height) = 0, self.size
        for i in range(self.index, -1, -1):
            step, text = view.samples[i]
            chosen = i == self.index
            if not chosen and rows + 3 > height:  # a heading alone says nothing
                break
            counted = f"{i + 1} of {self.count}" if chosen else ""
            mark = "◆ " if chosen else ""
            parts.append(_rule(f"{mark}step {step:,}", width, counted))
            shown = printable(text.strip("\n")).expandtabs(4)
            parts.append(Content.styled(f"{shown}\n", "" if chosen else "$text-muted"))
            rows += 2 + sum(1 + cell_len(line) // max(1, width) for line in shown.split("\n"))
        return Content("\n").join(parts)


def _rule(name: str, width: int, end: str = "") -> Content:
    end = f" {end} ──" if end else ""
    start = f"── {name} "
    line = "─" * max(0, width - len(start) - len(end))
    return Content.assemble(
        ("── ", "$border-blurred"), (name, "$secondary"), (f" {line}", "$border-blurred"),
        (end, "$text-muted"),
    )  # fmt: skip
