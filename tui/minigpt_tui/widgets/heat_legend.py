"""One row that says what the colours of the text mean, and how surprising it is on the whole."""

from collections.abc import Sequence

from textual.content import Content
from textual.widget import Widget

from minigpt_tui.document import Document
from minigpt_tui.heat import MARKS, SCALES, SHARE_LABELS, Heat, Palette
from minigpt_tui.surprise import Tally


class HeatLegend(Widget):
    """Hidden while the heat is off."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    HeatLegend {
        height: 1;
        padding: 0 2;
        color: $text-muted;
        display: none;
    }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._legend = self._short = Content()
        self._numbers = ""
        self._tally: Tally | None = None

    def explain(self, heat: Heat, palette: Palette, *, is_dark: bool) -> None:
        """Say what the levels of a heat are; hide if it is off."""
        self.display = heat is not Heat.OFF
        if heat is Heat.OFF:
            return
        scale = SCALES[heat]
        self._show_levels((scale.title, scale.short), scale.labels, palette, is_dark)

    def explain_attention(
        self, layer: int, head: int | None, palette: Palette, *, is_dark: bool
    ) -> None:
        """Say what the levels of attention are; layer and head count from 0, None is the mean."""
        self.display = True
        whose = "all heads" if head is None else f"head {head + 1}"
        short = f"layer {layer + 1}, {whose}"
        titles = f"{short}: of what it looked at most", short
        self._show_levels(titles, SHARE_LABELS, palette, is_dark)

    def _show_levels(
        self, titles: tuple[str, str], labels: Sequence[str], palette: Palette, is_dark: bool
    ) -> None:
        shades = palette.shades(is_dark=is_dark)
        levels = [
            (f" {label} ", f"{shade.foreground} on {shade.background} {mark.style}".strip())
            for label, shade, mark in zip(labels, shades, MARKS, strict=True)
        ]
        self._legend, self._short = (Content.assemble(f"{title} ", *levels) for title in titles)
        self.refresh()

    def sum_up(self, document: Document) -> None:
        """Tell how surprising what the model wrote in a text is, if anything is shown at all."""
        if not self.display:
            return
        if self._tally is None or self._tally.document is not document:
            self._tally = Tally(document)
        self._tally.read()
        if self._numbers != (numbers := str(self._tally.written)):
            self._numbers = numbers
            self.refresh()

    def render(self) -> Content:
        for legend in (self._legend, self._short):
            gap = self.size.width - legend.cell_length - len(self._numbers)
            if gap >= 2:
                return Content.assemble(legend, " " * gap, self._numbers)
        return self._short
