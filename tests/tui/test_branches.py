"""The tree of branches: drawn, walked, named, compared."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from textual.app import App
from textual.geometry import Offset
from textual.pilot import Pilot
from textual.widgets import Input, Static

from minigpt_tui.branches import MOST_LEVELS, called, outline
from minigpt_tui.document import Branch, Document
from minigpt_tui.screens.branches import BranchesScreen
from minigpt_tui.screens.compare import CompareScreen
from minigpt_tui.theme import NIGHT
from minigpt_tui.widgets.branch_preview import BranchPreview
from minigpt_tui.widgets.branch_tree import BranchTree
from minigpt_tui.widgets.side_by_side import SideBySide
from tests.tui.scripted_engine import until
from tests.tui.test_app import desk

pytestmark = pytest.mark.once


def romeo() -> Document:
    """Four branches: a trunk, two that leave it, one that leaves the second; shown is the third."""
    document = Document()
    document.append_user("It is the east, and Juliet is the sun.")
    for leave, text in ((10, "moon.\nFarewell!"), (10, "lark, the herald"), (15, "of the morn")):
        document.rewind(leave)
        document.append_user(text)
    document.checkout(document.leaves()[2].leaf)
    return document


class Visit:
    """The screen under test, over an empty app."""

    def __init__(
        self, pilot: Pilot[None], screen: BranchesScreen, answers: list[int | None]
    ) -> None:
        self.pilot, self.screen, self.answers = pilot, screen, answers
        self.press = pilot.press

    @property
    def tree(self) -> BranchTree:
        return self.screen.query_one(BranchTree)

    def line(self, y: int) -> str:
        return self.tree.render_line(y).text.rstrip()

    def said(self, name: str) -> str:
        return str(self.screen.query_one(f"#{name}", Static).render())

    async def closes(self) -> int | None:
        await until(self.pilot, lambda: bool(self.answers))
        return self.answers[0]

    async def comparison(self) -> CompareScreen:
        await until(self.pilot, lambda: isinstance(self.pilot.app.screen, CompareScreen))
        await until(self.pilot, lambda: bool(self.pilot.app.screen.query(SideBySide)))
        assert isinstance(self.pilot.app.screen, CompareScreen)
        return self.pilot.app.screen


@asynccontextmanager
async def visit(document: Document, size: tuple[int, int] = (80, 24)) -> AsyncIterator[Visit]:
    app: App[None] = App()
    async with app.run_test(size=size, notifications=True) as pilot:
        app.register_theme(NIGHT)
        app.theme = NIGHT.name
        screen, answers = BranchesScreen(document), list[int | None]()
        app.push_screen(screen, answers.append)
        await until(pilot, lambda: bool(screen.query(BranchPreview)) and screen.is_current)
        yield Visit(pilot, screen, answers)


def test_every_branch_is_below_the_one_it_leaves() -> None:
    document = romeo()
    rows = outline(document.tree())
    assert [row.lines + called(document.branch(row.first)) for row in rows] == [
        "“It is the east,…”",
        "├─ “moon.↵Farewell!”",
        "└─ “lark, the herald”",
        "   └─ “of the morn”",
    ]
    assert [row.parent for row in rows] == [None, 0, 0, 2]


def test_the_lines_of_a_deep_tree_stay_short() -> None:
    document = Document()
    for i in range(1000):
        document.rewind(i)
        document.append_user("ab")
    rows = outline(document.tree())
    assert [row.level for row in rows] == list(range(1000))
    assert {len(row.lines) for row in rows[MOST_LEVELS:]} == {3 * MOST_LEVELS}


async def test_a_line_tells_place_text_fork_and_length() -> None:
    async with visit(romeo()) as v:
        assert v.line(0).startswith("    It is the east, and Juliet is the sun.  ")
        assert v.line(0).endswith("  38")
        assert v.line(1).startswith("    ├─ It is the ›moon.↵Farewell!")
        assert v.line(1).endswith("11 →       25")
        assert v.line(2).startswith("▌●  └─ It is the ›lark, the herald")
        assert v.line(3).startswith("       └─ …is the lark,›of the morn")


async def test_it_opens_at_the_branch_that_is_shown_and_walks() -> None:
    async with visit(romeo()) as v:
        assert v.tree.at == 2
        for key, at in (
            ("down", 3), ("down", 3), ("home", 0), ("up", 0), ("right", 1), ("right", 1),
            ("left", 0), ("left", 0), ("end", 3), ("left", 2), ("k", 1), ("j", 2), ("pageup", 0),
            ("pagedown", 3),
        ):  # fmt: skip
            await v.press(key)
            assert v.tree.at == at


async def test_it_tells_how_much_of_a_branch_is_shown() -> None:
    document = romeo()
    async with visit(document) as v:
        assert v.said("branches-head").endswith("● the text shown")
    document.rewind(20)
    async with visit(document) as v:
        assert v.said("branches-head").endswith("● shown: 20 of 26 characters")
    document.rewind(0)
    async with visit(document) as v:
        assert v.said("branches-head").endswith("● shown: 0 of 38 characters")


async def test_the_preview_follows() -> None:
    async with visit(romeo()) as v:
        preview = v.screen.query_one(BranchPreview)
        await v.press("up")
        assert "leaves “It is the east,…” at character 11" in v.said("branches-about")
        assert preview.render_line(0).text.rstrip() == "▎ It is the moon."
        assert preview.render_line(1).text.rstrip() == "▎ Farewell!"
        shared, own = list(preview.render_line(0))[1:3]
        assert (shared.text, own.text.strip()) == ("It is the ", "moon.")
        assert shared.style != own.style


async def test_a_long_preview_shows_the_fork() -> None:
    document = Document()
    document.append_user("".join(f"line {i}\n" for i in range(300)))
    document.rewind(len("".join(f"line {i}\n" for i in range(200))))
    document.append_user("".join(f"other {i}\n" for i in range(1000)))
    async with visit(document) as v:
        preview = v.screen.query_one(BranchPreview)
        await until(v.pilot, lambda: preview.scroll_offset.y > 0)
        shown = [preview.render_line(y).text.rstrip() for y in range(preview.size.height)]
        assert "  line 199" in shown
        assert "▎ other 0" in shown


async def test_enter_goes_to_a_branch() -> None:
    document = romeo()
    async with visit(document) as v:
        await v.press("home", "enter")
        assert await v.closes() == document.leaves()[0].leaf


async def test_enter_on_the_shown_one_changes_nothing() -> None:
    async with visit(romeo()) as v:
        await v.press("enter")
        assert await v.closes() is None


@pytest.mark.parametrize("key", ["escape", "f8", "b", "q"])
async def test_it_closes(key: str) -> None:
    async with visit(romeo()) as v:
        await v.press("home", key)
        assert await v.closes() is None


@pytest.mark.parametrize("key", ["n", "f2"])
async def test_a_name_is_set_in_place_and_taken_away(key: str) -> None:
    document = romeo()
    async with visit(document) as v:
        await v.press("up", key)
        name = v.screen.query_one(Input)
        assert name.region.y == v.tree.region.y + 1
        assert name.region.x == v.tree.region.x + len("    ├─ ")
        await v.press(*"no b", "enter")
        assert document.leaves()[1].name == "no b"
        assert v.line(1).startswith("▌   ├─ no b  It is the ›moon.")
        assert "no b" in v.said("branches-about")
        assert not name.display
        await v.press("n", "backspace", "enter")
        assert document.leaves()[1].name == ""
        assert v.answers == []


async def test_escape_leaves_the_name_as_it_was() -> None:
    document = romeo()
    document.name(document.leaves()[2].leaf, "old")
    async with visit(document) as v:
        await v.press("n", *"new", "escape")
        assert document.leaves()[2].name == "old"
        assert not v.screen.query_one(Input).display
        await v.press("down")
        assert v.tree.at == 3


async def test_the_second_mark_opens_the_comparison() -> None:
    async with visit(romeo()) as v:
        await v.press("home", "c")
        assert v.line(0).startswith("▌ ◆ It is")
        assert "press C on another" in v.said("branches-head")
        await v.press("down", "space")
        comparison = (await v.comparison()).comparison
        assert (comparison.a.text, comparison.b.text) == (
            "east, and Juliet is the sun.",
            "moon.\nFarewell!",
        )
        await v.press("escape")
        await until(v.pilot, lambda: v.pilot.app.screen is v.screen)
        assert v.tree.marked is None


async def test_a_mark_is_taken_away_by_the_same_key_or_escape() -> None:
    async with visit(romeo()) as v:
        await v.press("c", "c")
        assert v.tree.marked is None
        await v.press("c", "escape")
        assert v.tree.marked is None
        assert v.answers == []


async def test_one_branch_has_none_to_be_compared_with() -> None:
    document = Document()
    document.append_user("Ay me!")
    async with visit(document) as v:
        await v.press("c")
        assert v.tree.marked is None
        assert ["only one branch" in n.message for n in v.pilot.app._notifications] == [True]


async def test_the_mouse_does_it_all() -> None:
    document = romeo()
    async with visit(document) as v:
        await v.pilot.click(BranchTree, offset=Offset(12, 1))
        assert v.tree.at == 1
        assert v.answers == []
        await v.pilot.click(BranchTree, offset=Offset(12, 9))  # below the tree
        assert v.tree.at == 1
        await v.pilot.click(BranchTree, offset=Offset(12, 0), times=2)
        assert await v.closes() == document.leaves()[0].leaf


async def test_what_is_written_meanwhile_is_taken_in() -> None:
    document = romeo()
    async with visit(document) as v:
        document.append_user("!!")
        await until(v.pilot, lambda: v.line(2).endswith(" 28"))
        document.rewind(3)
        document.append_user("was")
        await until(v.pilot, lambda: "5" in v.said("branches-head"))
        assert v.tree.at == 2
        assert v.line(4).startswith(" ●  └─ It ›was")


async def test_an_empty_text_has_no_branch() -> None:
    async with visit(Document()) as v:
        assert "no text yet" in v.said("branches-hint")
        await v.press("n", "c", "enter", "down", "home", "left")
        assert v.answers == []
        await v.press("escape")
        assert await v.closes() is None


async def test_the_first_branch_may_come_while_one_looks() -> None:
    document = Document()
    async with visit(document) as v:
        document.append_user("Ay me!")
        await until(v.pilot, lambda: bool(v.tree.rows) and v.line(0).startswith("▌●  Ay me!"))
        assert v.screen.focused is v.tree
        assert v.screen.query_one(BranchPreview).render_line(0).text.rstrip() == "▎ Ay me!"


async def test_text_and_names_are_data() -> None:
    document = Document()
    document.append_user("a\x1b[31m[red]\tb\n\u202e" + "漢字" * 60)
    document.rewind(3)
    document.append_user("\x9b[/x]")
    document.name(document.leaves()[0].leaf, "\x1b]0;own[bold]\n")
    async with visit(document, (60, 16)) as v:
        await v.press("home")
        lines = [v.line(y) for y in range(2)]
        assert "␛]0;own[bold]↵" in lines[0]
        assert "[/x]" in lines[1]
        assert all(
            strip.cell_length == v.tree.size.width for strip in map(v.tree.render_line, (0, 1))
        )
        await v.press("c", "down", "c")
        compared = await v.comparison()
        texts = compared.query_one(SideBySide)
        lines += [texts.render_line(y).text for y in range(9)]
        assert not set("".join(lines)) & set("\x1b\x9b\u202e\t\n")


async def test_ten_thousand_branches_are_looked_at_as_they_come_in_sight(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    document = Document()
    document.append_user("the trunk")
    for i in range(10_000):
        document.rewind(9)
        document.append_user(f" {i}")
    async with visit(document) as v:
        seen: list[int] = []
        branch = document.branch

        def count(first: int) -> Branch:
            seen.append(first)
            return branch(first)

        monkeypatch.setattr(document, "branch", count)
        await v.press("home", "down", "end", "pageup")
        assert v.tree.at > 9_900
        assert 0 < len(seen) < 1000


@pytest.mark.once
@pytest.mark.parametrize("size", [(1, 1), (4, 3), (30, 8), (200, 60)])
async def test_any_size_will_do(size: tuple[int, int]) -> None:
    async with visit(romeo(), size) as v:
        await v.press("home", "n", "x", "enter", "c", "end", "c")
        await v.comparison()
        await v.pilot.resize_terminal(80, 24)
        await v.press("n", "p", "down", "pagedown", "escape")
        await v.press("escape")
        assert await v.closes() is None


def alike() -> Document:
    document = Document()
    document.append_user("She speaks:\nO, speak again, bright angel, for thou art\nas glorious\n")
    document.rewind(len("She speaks:\nO, speak "))
    document.append_user("no more,\nnot now,\ndark angel, for thou art\nas glorious\n")
    return document


async def test_what_is_equal_stands_side_by_side() -> None:
    async with visit(alike(), (100, 30)) as v:
        await v.press("c", "up", "c")
        texts = (await v.comparison()).query_one(SideBySide)
        rows = [texts.render_line(y).text for y in range(6)]
        halves = [[half.rstrip() for half in row.split("│")] for row in rows]
        assert halves == [
            ["  She speaks:", "  She speaks:"],
            ["◆ O, speak no more,", "◆ O, speak again, bright angel, for thou art"],
            ["◆ not now,", ""],
            ["◆ dark angel, for thou art", ""],
            ["  as glorious", "  as glorious"],
            ["", ""],
        ]


async def test_a_difference_is_marked_without_colour_too() -> None:
    async with visit(alike(), (100, 30)) as v:
        await v.press("c", "up", "c")
        texts = (await v.comparison()).query_one(SideBySide)
        underlined = [
            segment.text
            for y in range(4)
            for segment in texts.render_line(y)
            if segment.style and segment.style.underline
        ]
        # the whole of a row needs none: the mark beside it says it
        assert underlined == ["no more,", "again, bright", "dark"]


async def test_the_comparison_tells_names_and_bounds() -> None:
    document = Document()
    document.append_user("s" * 50 + "a " * 6000)
    document.rewind(50)
    document.append_user("b")
    document.name(document.leaves()[1].leaf, "the short one")
    async with visit(document) as v:
        await v.press("c", "up", "c")
        screen = await v.comparison()
        head, a, b = (
            str(screen.query_one(f"#compare-{n}", Static).render()) for n in ("head", "a", "b")
        )
        assert "1 difference in the first 10,000 characters" in head
        assert "A the short one ●" in a
        assert "51 characters, 1 its own" in a
        assert "12,050 characters, 12,000 its own" in b


async def test_keys_go_from_difference_to_difference() -> None:
    document = Document()
    lines = [f"this is the line number {i}\n" for i in range(100)]
    document.append_user("".join(lines))
    document.rewind(len(lines[0]) + 2)
    changed = [
        line.replace("line", "row") if i in {40, 80} else line for i, line in enumerate(lines)
    ]
    document.append_user("at" + "".join(changed)[len(lines[0]) + 4 :])
    async with visit(document) as v:
        await v.press("c", "up", "c")
        texts = (await v.comparison()).query_one(SideBySide)
        places = []
        for key in ("n", "n", "n", "p", "p", "p"):
            await v.press(key)
            places.append(texts.scroll_offset.y + 3)
        assert places[:2] == [40, 80]
        assert places[3:5] == [40, 3]  # the first stands above the third row


async def test_the_app_opens_it_and_goes_there() -> None:
    async with desk() as d:
        await d.press(*"Ay", "enter")
        d.engine.write(" ME!")
        await d.sees("Ay ME!")
        d.main.writer.document.rewind(2)
        await d.type(", NO")
        await d.press("enter", "escape")
        await d.sees("Ay, NO")
        await d.press("f8")
        await until(d.pilot, lambda: d.is_on(BranchesScreen))
        await until(d.pilot, lambda: isinstance(d.app.screen.focused, BranchTree))
        await d.press("up", "enter")
        await d.sees("Ay ME!")
        await d.press("ctrl+z")
        await d.sees("Ay, NO")
        assert not d.is_on(BranchesScreen)


async def test_the_text_and_the_palette_lead_there_too() -> None:
    async with desk() as d:
        await d.press(*"Ay", "enter", "escape")
        await d.press("left", "b")
        await until(d.pilot, lambda: d.is_on(BranchesScreen))
        titles = [command.title for command in d.app.get_system_commands(d.main)]
        assert "Branches" in titles


async def test_looking_at_the_branches_does_not_stop_the_writing() -> None:
    async with desk() as d:
        await d.press(*"Ay", "enter")
        d.engine.write(" ME")
        await d.sees("Ay ME")
        await d.press("f8")
        await until(d.pilot, lambda: d.is_on(BranchesScreen))
        await until(d.pilot, lambda: isinstance(d.app.screen.focused, BranchTree))
        d.engine.write("!")
        await d.sees("Ay ME!")
        await d.press("enter")
        await until(d.pilot, lambda: not d.is_on(BranchesScreen))
        assert d.main.writer.is_running
