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


async def test_it_says_what_the_footer_says() -> None:
    class Both(Desk):
        def compose(self) -> ComposeResult:
            yield from super().compose()
            yield Footer()

    def lines() -> list[list[tuple[str, str]]]:
        return [
            [(key.key, key.description) for key in line.query(FooterKey)]
            for line in app.screen.query(Footer)
        ]

    app = Both()
    async with app.run_test() as pilot:
        for _ in range(4):
            await until(pilot, lambda: lines()[0] == lines()[1] != [])
            await pilot.press("tab")


async def test_no_key_shows_beside_the_palette_s() -> None:
    class Many(App[None]):
        BINDINGS: ClassVar[list[BindingType]] = [
            Binding(f"f{n}", f"open({n})", f"{n}" * n) for n in range(2, 9)
        ]

        def compose(self) -> ComposeResult:
            yield KeyLine()

    app = Many()
    async with app.run_test() as pilot:
        await until(pilot, lambda: len(app.screen.query(FooterKey)) == 8)
        for width in range(20, 60):
            await pilot.resize_terminal(width, 5)
            await pilot.pause()
            *_, last = app.screen._compositor.render_strips()
            assert last.text.endswith("^p palette "), width
