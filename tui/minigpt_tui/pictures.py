"""The text in its heat colours, as an SVG picture or a web page. Each stands alone."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from itertools import groupby

from minigpt.terminal import one_line, printable
from minigpt_tui.document import Document
from minigpt_tui.glyphs import cut
from minigpt_tui.heat import SCALES, Heat, Palette, Shade, level
from minigpt_tui.nodes import Author
from minigpt_tui.surprise import surprise
from minigpt_tui.widgets.wrapping import Wrapping, cell_size


@dataclass(frozen=True, slots=True)
class Paper:
    """The colours around the text: those of the app's own two themes."""

    background: str
    foreground: str
    muted: str
    user: str


NIGHT = Paper("#15161c", "#dcd7cc", "#8b90a3", "#e5b567")
DAY = Paper("#f7f2e7", "#2b2622", "#6e665a", "#8a4b08")

_FONT = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
_BAR = 0.55
"""How much a level's bar covers. It is as many pixels high as the level: the mark without colour,
quieter on a page than the bold and slanted letters of the terminal."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """Characters next to each other that look alike."""

    start: int
    stop: int
    author: Author
    level: int | None
    """None without heat: it is off, or no model has read them."""

    @property
    def classes(self) -> str:
        return f"{self.author.name.lower()}{'' if self.level is None else f' h{self.level}'}"


def _pieces(document: Document, heat: Heat, start: int, stop: int) -> Iterator[_Piece]:
    def look(index: int) -> tuple[Author, int | None]:
        origin = document.origin(index)
        if origin is None or heat is Heat.OFF:
            return document.author(index), None
        return origin.author, level(heat, origin)

    for (author, heated), indices in groupby(range(start, stop), look):
        first, *rest = indices
        yield _Piece(first, first + len(rest) + 1, author, heated)


def _safe(text: str) -> str:
    """Text for XML and HTML: two code points are in neither."""
    return escape(printable(text).replace("\ufffe", "\ufffd").replace("\uffff", "\ufffd"))


# SVG

_CELL, _ROW, _MARGIN = 8.4, 20, 24
"""Pixels: the width of a cell at a size of 14, the height of a row, and around it all."""
_HEAD = 60
"""Cells that the legend takes."""


def to_svg(
    document: Document,
    heat: Heat,
    palette: Palette,
    *,
    is_dark: bool = True,
    columns: int = 80,
    title: str = "",
) -> str:
    """The shown text as a picture, with a legend above it."""
    paper, shades = NIGHT if is_dark else DAY, palette.shades(is_dark=is_dark)
    rows = Wrapping(columns)
    rows.extend(document.text)
    top = _MARGIN + _ROW * (2 if heat is Heat.OFF else 4)
    cells = max(columns, _HEAD)
    width, height = 2 * _MARGIN + cells * _CELL, top + len(rows) * _ROW + _MARGIN
    body = [_svg_row(document, heat, shades, rows, row, top) for row in range(len(rows))]
    name, numbers = one_line(title or "minigpt"), str(surprise(document).written)
    short = cut(name, cells - len(numbers) - 2)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
            f'width="{width:g}" height="{height:g}" font-family="{_FONT}" font-size="14" '
            f'fill="{paper.foreground}">',
            f"<title>{_safe(name)}</title>",
            "<style>text{white-space:pre}.frame{stroke-width:1.5;fill:none}"
            + f".forced{{stroke:{paper.user}}}.user{{fill:{paper.user}}}"
            + "".join(f".h{i}{{fill:{shade.foreground}}}" for i, shade in enumerate(shades))
            + "</style>",
            f'<rect width="100%" height="100%" rx="8" fill="{paper.background}"/>',
            _svg_text(_MARGIN, _MARGIN + 14, short, 'font-weight="bold"'),
            _svg_text(
                width - _MARGIN - len(numbers) * _CELL,
                _MARGIN + 14,
                numbers,
                f'fill="{paper.muted}"',
            ),
            *([] if heat is Heat.OFF else _svg_legend(heat, shades, paper)),
            *body,
            "</svg>\n",
        ]
    )


def _svg_row(
    document: Document,
    heat: Heat,
    shades: tuple[Shade, ...],
    rows: Wrapping,
    row: int,
    top: float,
) -> str:
    start, stop = rows.span(row)
    drawn, column, y = "", 0, top + row * _ROW
    for piece in _pieces(document, heat, start, stop):
        text = ""
        first = column
        for char in document.text[piece.start : piece.stop].rstrip("\n"):
            size = cell_size(char, column)
            text += " " * size if char == "\t" else char
            column += size
        if not text:
            continue
        x, width = _MARGIN + first * _CELL, (column - first) * _CELL
        if piece.level is not None:
            drawn += _svg_heat(x, y, width, piece.level, shades)
        if piece.author is Author.FORCED:
            drawn += f'<rect class="frame forced" x="{x + 0.75:g}" y="{y + 0.75:g}" '
            drawn += f'width="{width - 1.5:g}" height="{_ROW - 1.5:g}" rx="3"/>'
        drawn += _svg_text(
            x, y + 14, text, f'class="{piece.classes.replace("forced", "model")}"', width
        )
    return drawn


def _svg_legend(heat: Heat, shades: tuple[Shade, ...], paper: Paper) -> list[str]:
    scale, y = SCALES[heat], _MARGIN + _ROW * 2
    drawn = [_svg_text(_MARGIN, y + 14, scale.title, f'fill="{paper.muted}"')]
    x = _MARGIN + (len(scale.title) + 2) * _CELL
    for i, label in enumerate(scale.labels):
        width = (len(label) + 2) * _CELL
        drawn.append(_svg_heat(x, y, width, i, shades))
        drawn.append(_svg_text(x + _CELL, y + 14, label, f'class="h{i}"'))
        x += width
    return drawn


def _svg_heat(x: float, y: float, width: float, level: int, shades: tuple[Shade, ...]) -> str:
    box = f'x="{x:g}" width="{width:g}" shape-rendering="crispEdges"'
    shade = shades[level]
    bar = (
        f'<rect {box} y="{y + _ROW - level:g}" height="{level}" fill="{shade.foreground}" '
        f'fill-opacity="{_BAR}"/>'
    )
    back = f'<rect {box} y="{y:g}" height="{_ROW}" fill="{shade.background}"/>'
    return back + bar if level else back


def _svg_text(x: float, y: float, text: str, look: str, width: float = 0.0) -> str:
    if not text.strip():
        return ""
    # fonts differ in width: stretched to the cells that the text takes
    stretched = f' textLength="{width:g}"' if width else ""
    return f'<text xml:space="preserve" x="{x:g}" y="{y:g}"{stretched} {look}>{_safe(text)}</text>'


# HTML


def to_html(
    document: Document, heat: Heat, palette: Palette, *, is_dark: bool = True, title: str = ""
) -> str:
    """The shown text as a page; the mouse on a character tells its probability and rank."""
    paper, shades = NIGHT if is_dark else DAY, palette.shades(is_dark=is_dark)
    name = _safe(one_line(title or "minigpt"))
    levels = "\n".join(
        f".h{i}{{background:{shade.background};color:{shade.foreground};"
        f"box-shadow:inset 0 -{i}px color-mix(in srgb,currentcolor {_BAR:.0%},transparent)}}"
        for i, shade in enumerate(shades)
    )
    legend = ""
    if heat is not Heat.OFF:
        labels = "".join(
            f'<span class="h{i}"> {escape(label)} </span>'
            for i, label in enumerate(SCALES[heat].labels)
        )
        legend = f"<p>{escape(SCALES[heat].title)}  {labels}</p>\n"
    text = "".join(
        _html_piece(document, piece) for piece in _pieces(document, heat, 0, len(document))
    )
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{name}</title>
<style>
body{{background:{paper.background};color:{paper.foreground};font:14px/20px {_FONT};
margin:24px auto;max-width:80ch;padding:0 2ch}}
h1{{font-size:inherit;margin:0}}
p{{color:{paper.muted};white-space:pre-wrap;margin:0 0 20px}}
pre{{font:inherit;white-space:pre-wrap;overflow-wrap:anywhere;tab-size:4}}
i{{font-style:inherit}}
.forced{{outline:1.5px solid {paper.user};border-radius:3px}}
.user{{color:{paper.user}}}
{levels}
</style>
<h1>{name}</h1>
<p>{_safe(str(surprise(document).written))}</p>
{legend}<pre>
{text}</pre>
</html>
"""


def _html_piece(document: Document, piece: _Piece) -> str:
    chars = []
    for i in range(piece.start, piece.stop):
        char, origin = _safe(document.text[i]), document.origin(i)
        if origin is not None and char != "\n":
            thought = f"{math.exp(origin.logprob):.1%}, rank {origin.rank}"
            char = f'<i title="{thought}">{char}</i>'
        chars.append(char)
    return f'<span class="{piece.classes}">{"".join(chars)}</span>'
