import pytest
from rich.style import Style
from textual.app import App, ComposeResult
from textual.geometry import Offset, Region
from textual.selection import Selection
from textual.strip import Strip

from minigpt_tui.document import Document
from minigpt_tui.protocol import Written
from minigpt_tui.widgets.token_view import Shading, TokenView


class Host(App[None]):
    CSS = "TokenView { height: 100%; overflow-y: scroll; scrollbar-size-vertical: 1; }"

    def __init__(self) -> None:
        super().__init__()
        self.document = Document()
        self.view = TokenView(self.document)

    def compose(self) -> ComposeResult:
        yield self.view

    def write(self, text: str) -> None:
        self.document.append_tokens(tuple(Written(1, c, 0.0, 0.0, 1, 1, False) for c in text))
        self.view.sync()

    def rows(self) -> list[str]:
        """What is on the screen, without the gutter."""
        return [self.view.render_line(y).text[2:].rstrip() for y in range(self.view.size.height)]


async def test_shows_user_and_model_in_two_styles() -> None:
    app = Host()
    async with app.run_test(size=(30, 5)):
        app.document.append_user("ROMEO:")
        app.write(" Ay me!")
        segments = [s for s in app.view.render_line(0) if s.text.strip()]
        assert [s.text for s in segments] == ["ROMEO:", " Ay me!"]


async def test_follows_the_end_until_the_reader_scrolls_away_and_again_at_the_end() -> None:
    app = Host()
    async with app.run_test(size=(30, 5)) as pilot:
        app.write("\n".join(f"line {i}" for i in range(20)))
        await pilot.pause()
        assert app.rows()[-1] == "line 19"
        app.view.scroll_to(y=3, animate=False)
        await pilot.pause()
        app.write("\nmore")
        await pilot.pause()
        assert app.rows()[0] == "line 3"
        app.view.scroll_end(animate=False)
        await pilot.pause()
        app.write("\nand more")
        await pilot.pause()
        assert app.rows()[-1] == "and more"


async def test_a_row_that_moves_is_not_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Host()
    async with app.run_test(size=(30, 6)) as pilot:
        app.write("\n".join(f"line {i}" for i in range(20)))
        await pilot.pause()
        drawn: list[int] = []
        draw = TokenView.render_line

        def watched(view: TokenView, y: int) -> Strip:
            drawn.append(view.scroll_offset.y + y)
            return draw(view, y)

        monkeypatch.setattr(TokenView, "render_line", watched)
        app.write("\nmore")
        await pilot.pause()
        assert set(drawn) == {19, 20}  # the row that was the last, and the new one
        drawn.clear()
        app.view.shade(Shading((Style(bold=True),), lambda _: 0))
        await pilot.pause()
        assert set(drawn) == {*range(15, 21)}


async def test_a_row_is_laid_out_in_what_is_left_beside_the_padding() -> None:
    app = Host()
    app.view.styles.padding = (1, 2, 0, 3)
    async with app.run_test(size=(30, 6)) as pilot:
        app.write("a\nb")
        await pilot.pause()
        rows = app.view.render_lines(Region(0, 0, 30, 6))
        assert [row.text for row in rows[:4]] == [
            " " * 30, "     a".ljust(30), "     b".ljust(30), " " * 30
        ]  # fmt: skip
        assert [row.text for row in app.view.render_lines(Region(4, 1, 3, 1))] == [" a "]


async def test_keeps_its_place_when_resized() -> None:
    app = Host()
    async with app.run_test(size=(60, 6)) as pilot:
        app.write("\n".join(f"line {i} " + "word " * 8 for i in range(30)))
        await pilot.pause()
        app.view.scroll_to(y=10, animate=False)
        await pilot.pause()
        assert app.rows()[0].startswith("line 10")
        await pilot.resize_terminal(25, 6)
        await pilot.pause()
        assert app.rows()[0].startswith("line 10")
        await pilot.resize_terminal(60, 6)
        await pilot.pause()
        assert app.rows()[0].startswith("line 10")
        app.view.scroll_end(animate=False)
        await pilot.resize_terminal(30, 9)
        await pilot.pause()
        assert app.view.scroll_offset.y == app.view.max_scroll_y


async def test_keeps_its_cursor_in_sight_when_resized() -> None:
    app = Host()
    async with app.run_test(size=(60, 20)) as pilot:
        app.write("\n".join(f"line {i} " + "word " * 8 for i in range(30)))
        await pilot.pause()
        app.view.action_move_to(len(app.view.document) - 9)
        for size in ((60, 5), (20, 5), (20, 3)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            row = app.view._rows.row_of(app.view.cursor or 0) - app.view.scroll_offset.y
            assert 0 <= row < app.view.scrollable_content_region.height


async def test_wraps_by_cells() -> None:
    app = Host()
    async with app.run_test(size=(11, 5)):
        app.write("羅密歐與茱麗葉")
        assert app.rows()[:2] == ["羅密歐與", "茱麗葉"]


async def test_expands_tabs() -> None:
    app = Host()
    async with app.run_test(size=(30, 5)):
        app.write("a\tb\n\tc")
        assert app.rows()[:2] == ["a   b", "    c"]


async def test_control_characters_never_reach_the_terminal() -> None:
    app = Host()
    async with app.run_test(size=(60, 5)) as pilot:
        app.document.append_user("\x1b[2J\x00")
        app.write("\x1b]52;c;AA\x07\x9b31m\u202ered\u2066\ud800")
        await pilot.pause()
        shown = "".join(s.text for y in range(5) for s in app.view.render_line(y))
        assert "␛[2J␀␛]52;c;AA␇" in shown
        assert not [c for c in shown if c < " " or "\x7f" <= c < "\xa0" or c in "\u202e\u2066"]


async def test_a_selection_gives_the_text_without_the_wrapping() -> None:
    app = Host()
    async with app.run_test(size=(13, 6)) as pilot:
        app.write("to be or not\nto be that")
        await pilot.pause()
        assert app.rows()[:4] == ["to be or", "not", "to be that", ""]
        app.screen.selections = {app.view: Selection(Offset(3, 0), Offset(2, 2))}
        await pilot.pause()
        assert app.screen.get_selected_text() == "be or not\nto"
        marked = [s.text for s in app.view.render_line(2) if s.style and s.style.bgcolor]
        assert marked
        app.screen.selections = {app.view: Selection(None, None)}
        await pilot.pause()
        assert app.screen.get_selected_text() == "to be or not\nto be that"


async def test_the_mouse_selects() -> None:
    app = Host()
    async with app.run_test(size=(30, 6)) as pilot:
        app.write("to be or not to be")
        await pilot.pause()
        await pilot.mouse_down(app.view, offset=(2, 0))
        await pilot.hover(app.view, offset=(7, 0))
        await pilot.mouse_up(app.view, offset=(7, 0))
        await pilot.pause()
        assert (app.screen.get_selected_text() or "").startswith("to be")


async def test_the_mouse_selects_what_it_points_at_behind_a_tab() -> None:
    app = Host()
    async with app.run_test(size=(30, 6)) as pilot:
        app.write("a\tfoo bar")  # the tab takes three cells, and two are the gutter's
        await pilot.pause()
        await pilot.mouse_down(app.view, offset=(2 + 4, 0))
        await pilot.hover(app.view, offset=(2 + 6, 0))
        await pilot.mouse_up(app.view, offset=(2 + 6, 0))
        await pilot.pause()
        assert app.screen.get_selected_text() == "foo"
        mark = app.screen.get_component_rich_style("screen--selection").bgcolor
        row = app.view.render_line(0)
        assert "".join(s.text for s in row if s.style and s.style.bgcolor == mark) == "foo"


async def test_marks_the_rows_that_the_model_has_in_view() -> None:
    app = Host()
    async with app.run_test(size=(30, 6)) as pilot:
        app.write("one\ntwo\nthree\nfour")
        app.view.sync(window=8)
        await pilot.pause()
        gutters = [app.view.render_line(y).text[0] for y in range(4)]
        assert gutters == [" ", " ", "▎", "▎"]


async def test_what_the_model_sees_no_more_is_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Host()
    async with app.run_test(size=(30, 20)) as pilot:
        drawn: list[int] = []
        monkeypatch.setattr(TokenView, "refresh_lines", lambda _, first, n: drawn.append(first))
        lines = "\n".join(f"line {i}" for i in range(8))  # of seven characters, with their end
        app.document.append_user(lines)
        app.view.sync(window=len(lines) - 7)
        await pilot.pause()
        drawn.clear()
        app.document.append_user("\n" + lines)
        app.view.sync(window=7)
        assert drawn == [1]  # the first that was marked


async def test_keys_select_with_shift() -> None:
    app = Host()
    async with app.run_test(size=(12, 5)) as pilot:
        app.write("one two\nthree\nfour")
        app.view.focus()
        await pilot.pause()
        await pilot.press("shift+left")
        assert app.screen.get_selected_text() == "r"
        await pilot.press("shift+up")
        assert app.screen.get_selected_text() == "ee\nfour"
        await pilot.press("shift+right", "shift+right", "shift+right")
        assert app.screen.get_selected_text() == "four"
        await pilot.press("shift+home")
        assert app.screen.get_selected_text() == "one two\nthree\nfour"
        await pilot.press("shift+end", "shift+right")
        assert app.screen.get_selected_text() == "r"
        await pilot.press("left")
        assert app.screen.get_selected_text() in {None, ""}
        assert app.view.cursor == len("one two three fo")


async def test_begins_anew_when_the_document_does() -> None:
    app = Host()
    async with app.run_test(size=(30, 5)) as pilot:
        app.write("\n" * 50)
        await pilot.pause()
        app.document.rewind(0)
        app.write("fresh")
        await pilot.pause()
        assert app.rows()[0] == "fresh"
        assert app.view.n_rows == 1


async def test_an_append_wraps_only_the_last_row_again() -> None:
    app = Host()
    async with app.run_test(size=(80, 24)) as pilot:
        app.write("Good night, good night!\n" * 9000)
        await pilot.pause()
        starts = app.view._rows.starts
        before = starts[:-1]
        app.write("parting is such sweet sorrow")
        assert app.view._rows.starts is starts
        assert starts[: len(before)] == before
        assert app.rows()[-1] == "parting is such sweet sorrow"


@pytest.mark.once
async def test_any_size_will_do() -> None:
    app = Host()
    async with app.run_test(size=(1, 1)) as pilot:
        app.write("to be 羅 or\tnot")
        for size in [(2, 1), (3, 2), (4, 1), (200, 60), (1, 1)]:
            await pilot.resize_terminal(*size)
            await pilot.pause()
            app.write("羅 x")
