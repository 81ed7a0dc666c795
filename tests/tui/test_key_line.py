from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Button, Footer

# Textual has no public name for the widgets of its footer
from textual.widgets._footer import FooterKey

from minigpt_tui.widgets.key_line import KeyLine
from tests.tui.scripted_engine import until


class Plain(Button):
    """Has no keys of its own to show."""


class Special(Button):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("x", "press", "Explode")]


class Desk(App[None]):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("f2", "open", "Open")]
    is_shut = False

    def compose(self) -> ComposeResult:
        yield Plain()
        yield Plain()
        yield Special()
        yield KeyLine()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return None if action == "open" and self.is_shut else True  # None: shown, but dim


def shown(app: App[None]) -> list[tuple[str, bool]]:
    keys = app.screen.query_one(KeyLine).query(FooterKey)
    return [(key.description, key.has_class("-disabled")) for key in keys if key.key != "ctrl+p"]


async def test_it_is_made_anew_only_when_it_says_something_else() -> None:
    app = Desk()
    async with app.run_test() as pilot:
        await until(pilot, lambda: shown(app) == [("Open", False)])
        made = list(app.screen.query(FooterKey))
        await pilot.press("tab")
        app.screen.refresh_bindings()
        for _ in range(5):
            await pilot.pause()
        assert list(app.screen.query(FooterKey)) == made
        await pilot.press("tab")
        assert isinstance(app.focused, Special)
        await until(pilot, lambda: len(shown(app)) == 2)
        assert sorted(shown(app)) == [("Explode", False), ("Open", False)]
        await pilot.press("shift+tab")
        app.is_shut = True
        app.screen.refresh_bindings()
        await until(pilot, lambda: shown(app) == [("Open", True)])


async def test_it_follows_the_focus_and_the_footer() -> None:
    class Both(Desk):
        def compose(self) -> ComposeResult:
            yield from super().compose()
            yield Footer()

    def says(line: int) -> list[str]:
        keys = list(app.screen.query(Footer))[line].query(FooterKey)
        return [key.description for key in keys if key.key != "ctrl+p"]

    app = Both()
    async with app.run_test() as pilot:
        for _ in range(8):
            keys = app.screen.active_bindings.values()
            wanted = [key.binding.description for key in keys if key.binding.show]
            await until(pilot, lambda wanted=wanted: says(0) == says(1) == wanted)  # type: ignore[misc]
            await pilot.press("tab")


async def test_what_changes_while_it_is_made_anew_is_not_forgotten() -> None:
    class Fickle(Desk):
        answers: ClassVar[list[bool]] = []

        def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
            if action == "open" and self.answers:
                self.is_shut = self.answers.pop(0)
            return super().check_action(action, parameters)

    app = Fickle()
    async with app.run_test() as pilot:
        await until(pilot, lambda: shown(app) == [("Open", False)])
        app.answers.extend([True, False])  # when it is asked whether to, and then what to show
        app.screen.refresh_bindings()
        await until(pilot, lambda: not app.answers)
        await until(pilot, lambda: shown(app) == [("Open", False)])
        app.is_shut = True
        app.screen.refresh_bindings()
        await until(pilot, lambda: shown(app) == [("Open", True)])


async def test_no_key_shows_beside_the_palette_s_nor_a_part_of_one() -> None:
    class Many(App[None]):
        BINDINGS: ClassVar[list[BindingType]] = [
            Binding(f"f{n}", f"open({n})", f"{n}" * n) for n in range(2, 9)
        ]

        def compose(self) -> ComposeResult:
            yield KeyLine()

    app = Many()
    words = [f"f{n} " + f"{n}" * n for n in range(2, 9)]
    async with app.run_test() as pilot:
        await until(pilot, lambda: len(app.screen.query(FooterKey)) == 8)
        for width in range(20, 60):
            await pilot.resize_terminal(width, 5)
            await pilot.pause()
            *_, last = app.screen._compositor.render_strips()
            assert (last.cell_length, last.text[-11:]) == (width, "^p palette ")
            n = last.text.count(" f")
            assert last.text[:-12].split() == " ".join(words[:n]).split()
            assert n == len(words) or width - 12 < len(" " + " ".join(words[: n + 1]))
