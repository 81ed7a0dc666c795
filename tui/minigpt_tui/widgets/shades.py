"""Colours for the characters of a text: by heat, or by attention."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.style import Style

from minigpt_tui.document import Document
from minigpt_tui.gaze import Gaze
from minigpt_tui.heat import MARKS, PALETTES, Heat, Palette, level, share_level
from minigpt_tui.preferences import choice
from minigpt_tui.widgets.attention_panel import AttentionPanel
from minigpt_tui.widgets.heat_legend import HeatLegend
from minigpt_tui.widgets.token_view import Shading, TokenView


def styles(palette: Palette, *, is_dark: bool) -> tuple[Style, ...]:
    """Of each level: its colours, and a mark for whoever does not see them."""
    return tuple(
        Style(color=shade.foreground, bgcolor=shade.background) + Style.parse(mark.style)
        for shade, mark in zip(palette.shades(is_dark=is_dark), MARKS, strict=True)
    )


def by_heat(document: Document, heat: Heat, levels: tuple[Style, ...]) -> Shading | None:
    """How surprised the model was by each character; None where the heat is off."""
    if heat is Heat.OFF:
        return None

    def of(index: int) -> int | None:
        origin = document.origin(index)
        return None if origin is None else level(heat, origin)

    return Shading(levels, of)


def by_attention(
    places: Sequence[int], weights: Sequence[float], levels: tuple[Style, ...]
) -> Shading:
    """How much a head looked at the characters at some places, beside what it looked at most."""
    most = max(weights, default=1.0)
    found = {
        index: share_level(weight / most) for index, weight in zip(places, weights, strict=False)
    }
    return Shading(levels, found.get)


@dataclass
class Tint:
    """What the colours of the text tell, and which colours they are."""

    heat: Heat
    palette: Palette

    def levels(self, *, is_dark: bool) -> tuple[Style, ...]:
        """The style of each level, on a theme."""
        return styles(self.palette, is_dark=is_dark)

    def turn_heat(self, kind: str) -> None:
        """To the heat of that name; without one to the next, and off again.

        Raises:
            InputError: there is none of that name.
        """
        kinds = list(Heat)
        following = kinds[(kinds.index(self.heat) + 1) % len(kinds)]
        self.heat = Heat(choice("heat", kind, kinds)) if kind else following

    def turn_palette(self, name: str) -> None:
        """To the palette of that name; without one to the next.

        Raises:
            InputError: there is none of that name.
        """
        names = list(PALETTES)
        following = names[(names.index(self.palette.name) + 1) % len(names)]
        self.palette = PALETTES[choice("palette", name or following, PALETTES)]

    def show(
        self,
        text: TokenView,
        legend: HeatLegend,
        gaze: Gaze,
        attention: AttentionPanel,
        *,
        is_dark: bool,
    ) -> None:
        """Colour a text by heat, or by what a head looked at, and say what the colours mean."""
        levels = self.levels(is_dark=is_dark)
        if not gaze.looks_inside:
            text.shade(by_heat(text.document, self.heat, levels))
            legend.explain(self.heat, self.palette, is_dark=is_dark)
        else:
            text.shade(by_attention(gaze.in_view(text.document), attention.weights, levels))
            layer, head = attention.chosen_layer, attention.chosen_head
            legend.explain_attention(layer, head, self.palette, is_dark=is_dark)
        legend.sum_up(text.document)
