"""The quick scrollbar, cell by cell against Textual's own."""

from hypothesis import given
from hypothesis import strategies as st
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.scrollbar import ScrollBarRender

from minigpt_tui.widgets.scroll_bar import _cell, _thumb

STYLE = Style(color="#ffffff", bgcolor="#000000")


def looks(segment: Segment) -> tuple[str, Color | None, str]:
    """The glyph, what is seen around it, and what a click there does."""
    style = segment.style
    assert style is not None
    ground = style.color if style.reverse else style.bgcolor
    return segment.text, ground, style.meta["@mouse.down"]


@given(st.integers(1, 60), st.integers(1, 3000), st.integers(0, 3000))
def test_looks_and_acts_like_textuals(height: int, more: int, position: int) -> None:
    virtual, position = height + more, min(position, more)
    bar = ScrollBarRender(virtual, height, position, style=STYLE)
    start, end = _thumb(bar, height)
    cells = [_cell(8 * y - start, 8 * y - end, 1, STYLE) for y in range(height)]
    theirs = ScrollBarRender.render_bar(
        height, virtual, height, position,
        back_color=STYLE.bgcolor or Color.default(), bar_color=STYLE.color or Color.default(),
    )  # fmt: skip
    assert [looks(*strip) for strip in cells] == [looks(each) for each in theirs.segments]


def test_where_all_is_in_sight_there_is_no_thumb() -> None:
    start, end = _thumb(ScrollBarRender(10, 0, 0, style=STYLE), 10)
    for y in range(10):
        (segment,) = _cell(8 * y - start, 8 * y - end, 1, STYLE)
        assert looks(segment)[:2] == (" ", STYLE.bgcolor)
