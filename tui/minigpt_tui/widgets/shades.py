"""Colours for the characters of a text: by heat, or by attention."""

from collections.abc import Sequence

from rich.style import Style

from minigpt_tui.document import Document
from minigpt_tui.heat import MARKS, Heat, Palette, level, share_level
from minigpt_tui.widgets.token_view import Shading


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
