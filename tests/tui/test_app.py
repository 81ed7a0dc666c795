"""What a person does, from key to screen, with a scripted engine."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyperclip
import pytest
from rich.style import Style
from textual import events
from textual.command import CommandList
from textual.content import Content
from textual.geometry import Offset, Size
from textual.keys import _character_to_key
from textual.pilot import Pilot
from textual.screen import Screen
from textual.selection import Selection
from textual.widgets import Input, OptionList, Static
from textual.widgets._footer import FooterKey
from textual.widgets._toast import Toast
from textual.worker import WorkerFailed, WorkerState

from minigpt_tui import minigpt_app
from minigpt_tui.minigpt_app import MinigptApp
from minigpt_tui.protocol import Change, Died, Failed, Generate, Open, Refused, Reply, Stop
from minigpt_tui.screens.export import ExportScreen
from minigpt_tui.screens.help import HelpScreen
from minigpt_tui.screens.main import MainScreen
from minigpt_tui.screens.models import ModelPicker
from minigpt_tui.screens.note import Note
from minigpt_tui.screens.palette import Palette
from minigpt_tui.screens.replay import ReplayScreen
from minigpt_tui.screens.sessions import SessionsScreen
from minigpt_tui.widgets.candidates_panel import CandidatesPanel
from minigpt_tui.widgets.more_row import MoreRow
from minigpt_tui.widgets.preset_row import PresetRow
from minigpt_tui.widgets.prompt import MAX_PASTE_CHARS, Prompt
from minigpt_tui.widgets.sampling_panel import MAIN, SLIDERS, SamplingPanel
from minigpt_tui.widgets.side_panel import SidePanel
from minigpt_tui.widgets.slider import Slider
from minigpt_tui.widgets.status_bar import StatusBar
from minigpt_tui.widgets.token_view import TokenView
from minigpt_tui.widgets.welcome import EXAMPLES, Welcome
from tests.tui.scripted_engine import CARD, CHARS, MODEL, ScriptedEngine, until


class Desk:
    """The app under test, and what one sees of it."""

    def __init__(self, pilot: Pilot[str], engine: ScriptedEngine) -> None:
        self.pilot, self.engine, self.app = pilot, engine, pilot.app
        self.press = pilot.press

    @property
    def main(self) -> MainScreen:
        screen = self.app.screen_stack[0]
        assert isinstance(screen, MainScreen)
        return screen

    @property
    def text(self) -> str:
        return self.main.writer.document.text

    @property
    def status(self) -> str:
        return self.main.query_one(StatusBar).render().plain

    @property
    def notices(self) -> list[str]:
        return [notice.message for notice in self.app._notifications]

    def is_on(self, screen: type[Screen[Any]]) -> bool:
        return isinstance(self.app.screen, screen)

    @property
    def panel(self) -> SamplingPanel:
        return self.main.query_one(SamplingPanel)

    def slider(self, name: str) -> Slider:
        return self.main.query_one(f"#{name}", Slider)

    async def press_at_once(self, *keys: str) -> None:
        """As they come over a slow line: the app hears of the last before the first is done."""
        for key in keys:
            is_sign = len(key) == 1
            name = _character_to_key(key) if is_sign else key
            self.app.post_message(events.Key(name, key if is_sign else None))
        await self.pilot.pause()

    async def type(self, text: str) -> None:
        self.main.query_one(Prompt).insert(text)
        await self.pilot.pause()

    async def sees(self, text: str) -> None:
        await until(self.pilot, lambda: self.text == text)

    async def says(self, part: str) -> None:
        await until(self.pilot, lambda: part in self.status)

    async def is_told(self, part: str) -> None:
        await until(self.pilot, lambda: any(part in notice for notice in self.notices))


@asynccontextmanager
async def desk(
    engine: ScriptedEngine | None = None,
    size: tuple[int, int] = (80, 24),
    sessions: Path | None = None,
) -> AsyncIterator[Desk]:
    engine = engine or ScriptedEngine()
    app = MinigptApp(engine, MODEL, sessions=sessions)
    async with app.run_test(size=size, notifications=True) as pilot:
        yield Desk(pilot, engine)


async def test_enter_appends_the_words_and_the_model_writes_on() -> None:
    async with desk() as d:
        await d.press(*"Ay", "enter")
        assert d.engine.last_generate.text == "Ay"
        assert d.main.query_one(Prompt).text == ""
        d.engine.write(" me!")
        await d.sees("Ay me!")
        await d.type(" What")
        await d.press("enter")
        assert d.engine.last_generate.text == "Ay me! What"


async def test_the_stream_shows_and_the_status_tells_real_numbers() -> None:
    async with desk() as d:
        await d.says("ready")
        assert "scripted" in d.status
        assert "0.8M" in d.status
        assert "val loss 1.47" in d.status
        await d.type("a")
        await d.press("enter")
        d.engine.write("b", elapsed_s=0.01, window=16)
        d.engine.write("c" * 50, elapsed_s=0.02, window=32)
        await d.says("5,000 tok/s")
        await d.says("32/64")
        assert "● writing" in d.status
        d.engine.finish()
        await d.says("4,321 tok/s")
        assert "○ ready" in d.status


async def test_enter_on_an_empty_prompt_goes_on() -> None:
    async with desk() as d:
        await d.type("a")
        await d.press("enter")
        d.engine.write("b")
        d.engine.finish()
        await d.says("ready")
        await d.press("enter")
        assert d.engine.last_generate.text == "ab"
        assert d.engine.run == 2


async def test_escape_stops_at_once_and_keeps_the_text() -> None:
    async with desk() as d:
        await d.type("a")
        await d.press("enter")
        d.engine.write("b")
        await d.sees("ab")
        await d.press("escape")
        assert d.engine.asked(Stop) == [Stop(1)]
        assert "ready" in d.status
        d.engine.write("too late")
        await until(d.pilot, lambda: not d.engine.unheard)
        assert d.text == "ab"


async def test_words_that_the_model_cannot_read_are_given_back() -> None:
    async with desk() as d:
        await d.type("你好")
        await d.press("enter")
        d.engine.say(Failed(1, "the prompt has no character that the model knows"))
        await d.is_told("no character that the model knows")
        assert d.main.query_one(Prompt).text == "你好"
        assert d.text == ""
        await d.press("ctrl+z")
        assert (d.text, d.main.query_one(Prompt).text) == ("你好", "")
        await d.type("吗")
        await d.press("enter")
        d.engine.say(Failed(2, "the prompt has no character that the model knows"))
        await until(d.pilot, lambda: d.main.query_one(Prompt).text == "吗")
        assert d.text == "你好"


@pytest.mark.parametrize("reply", [Failed(2, "full"), Refused(MODEL, "damaged"), Died("gone")])
async def test_a_text_in_other_letters_stays_whatever_goes_wrong(reply: Reply) -> None:
    async with desk() as d:
        await d.type("R")
        await d.press("enter")
        d.engine.write("AB")
        d.engine.finish()
        await d.says("ready")
        d.engine.chars = "".join(map(chr, range(0x4E00, 0x4E00 + len(CHARS))))
        d.main.open_model(MODEL)
        writer = d.main.writer
        await until(d.pilot, lambda: writer.model is not None and writer.model.chars != CHARS)
        await d.press("enter")  # let it go on
        d.engine.say(reply)
        await until(d.pilot, lambda: bool(d.notices))
        assert (d.text, d.main.query_one(Prompt).text) == ("RAB", "")


async def test_ctrl_c_stops_too() -> None:
    async with desk() as d:
        await d.type("a")
        await d.press("enter", "ctrl+c")
        assert d.engine.asked(Stop) == [Stop(1)]
        d.main.tell("not stored", is_error=True)
        await d.press("ctrl+c", "ctrl+c")
        assert d.notices == ["not stored", "Ctrl+Q quits."]


async def test_ctrl_c_copies_a_selection_first() -> None:
    async with desk() as d:
        await d.type("abc")
        await d.press("enter")
        view = d.main.query_one(TokenView)
        d.main.selections = {view: Selection(Offset(1, 0), Offset(3, 0))}
        await d.press("ctrl+c")
        assert d.app.clipboard == "bc"
        assert d.notices == ["Sent 2 characters to the clipboard."]
        assert d.main.writer.is_running


async def test_enter_works_while_the_model_still_loads() -> None:
    async with desk(ScriptedEngine(opens=False)) as d:
        assert "loading" in d.status
        await d.type("a")
        await d.press("enter")
        assert [type(r) for r in d.engine.requests] == [Open]
        assert "loading" in d.status
        d.engine.open(MODEL)
        await until(d.pilot, lambda: d.engine.asked(Generate) != [])
        assert d.engine.last_generate.text == "a"


async def test_an_empty_text_invites_and_enter_takes_the_marked_beginning() -> None:
    async with desk() as d:
        await d.says("ready")
        assert d.main.query_one(Welcome).display
        await d.press("down", "down", "up", "enter")
        assert d.engine.last_generate.text == EXAMPLES[1]
        assert not d.main.query_one(Welcome).display


async def test_a_click_on_a_beginning_takes_it() -> None:
    async with desk() as d:
        await d.says("ready")
        await d.pilot.click("#examples", offset=(4, 1))
        await until(d.pilot, lambda: bool(d.engine.asked(Generate)))
        assert d.engine.last_generate.text == EXAMPLES[1]
        assert d.main.query_one(Prompt).has_focus


async def test_a_new_text_begins_empty() -> None:
    async with desk() as d:
        await d.type("a")
        await d.press("enter")
        d.engine.write("b")
        await d.sees("ab")
        await d.press("ctrl+n")
        assert d.text == ""
        assert d.main.query_one(Welcome).display
        await d.press("up", "enter")
        assert d.engine.last_generate.text == "a"


async def test_history_goes_up_and_down_and_keeps_the_draft() -> None:
    async with desk() as d:
        prompt = d.main.query_one(Prompt)
        for text in ("one", "two\nlines"):
            await d.type(text)
            await d.press("enter")
        await d.type("draft")
        await d.press("up")
        assert prompt.text == "two\nlines"
        await d.press("up", "up")
        assert prompt.text == "one"
        await d.press("down", "down")
        assert prompt.text == "draft"


async def test_up_and_down_go_through_the_rows_of_a_long_line_first() -> None:
    async with desk(size=(40, 24)) as d:
        prompt, long = d.main.query_one(Prompt), "word " * 12
        for text in ("one", long):
            prompt.write(text)
            await d.press("enter")
        found = []
        for key in ("up", "up", "down", "up", "up", "down", "down"):
            await d.press(key)
            found.append(prompt.text)
        assert found == [long, long, long, long, "one", long, ""]


async def test_ctrl_j_makes_a_new_line() -> None:
    async with desk() as d:
        await d.press("a", "ctrl+j", "b", "enter")
        assert d.engine.last_generate.text == "a\nb"


async def test_a_slider_acts_while_the_model_writes() -> None:
    async with desk() as d:
        await d.type("a")
        await d.press("enter", "tab", "tab", "right")
        await until(d.pilot, lambda: bool(d.engine.asked(Change)))
        change = d.engine.requests[-1]
        assert isinstance(change, Change)
        assert change.params.temperature == pytest.approx(0.85)
        await d.press("escape", "escape")
        assert d.main.query_one(Prompt).has_focus


async def test_every_slider_reaches_the_engine() -> None:
    async with desk() as d:
        for name in SLIDERS:
            d.slider(name.replace("_", "-")).set_to(1)
        await d.type("a")
        await d.press("enter")
        params = d.engine.last_generate.params
        assert {getattr(params, name) for name in SLIDERS} == {1}


async def test_tab_goes_round_through_everything() -> None:
    async with desk() as d:
        ids = []
        for _ in range(len(MAIN) + 5):
            await d.press("tab")
            ids.append(d.app.focused.id if d.app.focused else None)
        sliders = [name.replace("_", "-") for name in MAIN]
        assert ids == ["preset", *sliders, "seed", "more", "candidates", "prompt"]
        d.main.query_one("#more").focus()
        await d.press("enter")
        ids = []
        for _ in range(len(SLIDERS) - len(MAIN)):
            await d.press("tab")
            ids.append(d.app.focused.id if d.app.focused else None)
        assert ids == [name.replace("_", "-") for name in SLIDERS if name not in MAIN]
        d.main.query_one(Prompt).focus()
        await d.press("a", "enter", "shift+tab")
        assert d.main.query_one(TokenView).has_focus
        await d.press("shift+tab")
        assert d.main.query_one(CandidatesPanel).has_focus
        await d.press("tab", "tab")
        assert d.main.query_one(Prompt).has_focus


async def test_sliders_reset_by_command() -> None:
    async with desk() as d:
        d.slider("temperature").set_to(2)
        d.main.query_one(SidePanel).action_reset()
        await until(d.pilot, lambda: d.main.query_one(SamplingPanel).params.temperature == 0.8)


async def test_the_seed_can_be_typed_and_drawn() -> None:
    async with desk() as d:
        field = d.main.query_one("#seed", Input)
        panel = d.main.query_one(SamplingPanel)
        field.focus()
        await d.press("7", "enter")
        assert panel.params.seed == 7
        await d.press("ctrl+r")
        await until(d.pilot, lambda: str(panel.params.seed) == field.value)
        field.value = "99999999999999999999"
        await d.press("tab")
        assert panel.params.seed < 2**64
        await until(d.pilot, lambda: field.value == str(panel.params.seed))


async def test_pages_scroll_from_the_prompt() -> None:
    async with desk() as d:
        await d.type("a")
        await d.press("enter")
        d.engine.write("\n" * 100)
        await until(d.pilot, lambda: len(d.text) == 101)
        view = d.main.query_one(TokenView)
        end = view.scroll_offset.y
        assert end > 0
        await d.press("pageup")
        assert view.scroll_offset.y < end
        assert not view.follows
        await d.press("ctrl+home")
        assert view.scroll_offset.y == 0
        await d.press("ctrl+end")
        await until(d.pilot, lambda: view.follows)
        assert d.main.query_one(Prompt).has_focus


async def test_help_opens_and_closes() -> None:
    async with desk() as d:
        await d.press("f1")
        assert d.is_on(HelpScreen)
        assert d.app.screen.query_one(".window").scroll_offset.y == 0
        await d.press("escape")
        assert d.is_on(MainScreen)


async def test_help_opens_at_the_top_where_there_are_no_keys_to_tell() -> None:
    async with desk() as d:
        await d.type("a")
        await d.press("enter", "escape", "f5", "f1")
        await until(d.pilot, lambda: d.is_on(HelpScreen))
        await d.pilot.pause()
        assert d.app.screen.query_one(".window").scroll_offset.y == 0


@pytest.mark.parametrize(
    ("keys", "area"),
    [
        (["f2"], "Models"),
        (["f10"], "Two texts"),
        (["f8"], "Branches"),
        (["tab", "down"], "Sliders"),
        (["left"], "In the text"),
    ],
)
async def test_help_opens_at_what_has_the_focus(keys: list[str], area: str) -> None:
    async with desk() as d:
        await d.type("a")
        await d.press("enter")
        d.engine.write("b")
        d.engine.finish()
        await d.says("ready")
        await d.press(*keys, "f1")
        await until(d.pilot, lambda: d.is_on(HelpScreen))
        window = d.app.screen.query_one(".window")
        heading = next(h for h in window.query(".heading") if str(h.render()) == area)
        await until(d.pilot, lambda: window.scroll_offset.y > 0)
        assert heading.region.y == window.content_region.y


async def test_a_hostile_card_is_text_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    evil = "\x1b[2J\x9b[red]b[/red]\r\n[@click=app.quit]x[/]"
    card = replace(CARD, name=evil, corpus=evil)
    monkeypatch.setattr("tests.tui.scripted_engine.CARD", card)
    async with desk() as d:
        welcome = d.main.query_one("#welcome-text", Static).render()
        await d.type("/about")
        await d.press("enter")
        assert d.is_on(Note)
        facts = [text.render() for text in d.app.screen.query(Static)]
        for content in (welcome, *facts):
            assert isinstance(content, Content)
            assert content.spans == []
        shown = "\n".join((d.status, *map(str, (welcome, *facts))))
        assert shown.count("[red]b[/red]") == 4  # not markup
        assert not {"\x1b", "\x9b", "\r"} & set(shown)
        assert "[@click=app.quit]x[/]" in str(facts[-1])


async def test_the_picker_opens_another_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("zero.onnx", "[red]bold.onnx"):
        (tmp_path / name).write_bytes(b"0" * 1_500_000)
    async with desk() as d:
        await d.press("f2")
        assert d.is_on(ModelPicker)
        options = d.app.screen.query_one(OptionList)
        await until(
            d.pilot,
            lambda: any("[red]bold" in str(o.prompt) and "refused" in str(o.prompt)
                        for o in options.options),
        )  # fmt: skip
        await d.press("escape")
        assert d.is_on(MainScreen)
        await d.press("f2", "end", "enter")
        opened = d.engine.asked(Open)[-1]
        assert isinstance(opened, Open)
        assert opened.path.name == "zero.onnx"


async def test_an_empty_library_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minigpt_tui.screens.models.list_models", list)
    async with desk() as d:
        await d.press("f2", "enter", "escape")
        assert d.is_on(MainScreen)


async def test_a_damaged_first_model_ends_the_app_with_its_sentence() -> None:
    app = MinigptApp(ScriptedEngine(refuses="[b]x.onnx[/b] is damaged"), MODEL)
    async with app.run_test() as pilot:
        await until(pilot, lambda: app.return_code == 2)
    assert app.return_code == 2


async def test_a_damaged_second_model_is_told_and_the_first_one_stays() -> None:
    async with desk() as d:
        d.engine.refuses = "[b]x.onnx[/b] is damaged"
        d.main.open_model(Path("x.onnx"))
        await d.is_told("[b]x.onnx[/b] is damaged")
        assert "scripted" in d.status
        assert d.is_on(MainScreen)


async def test_a_hidden_panel_gives_the_focus_away() -> None:
    async with desk() as d:
        await d.press("tab", "tab")
        assert d.app.focused is d.slider("temperature")
        await d.press("f3")
        await until(d.pilot, lambda: isinstance(d.app.focused, Prompt))
        await d.press("f3", "tab", "tab")
        assert d.app.focused is d.slider("temperature")
        await d.pilot.resize_terminal(50, 24)
        await until(d.pilot, lambda: isinstance(d.app.focused, Prompt))


async def test_one_picker_is_enough() -> None:
    async with desk() as d:
        await d.press("f2", "f2", "f2")
        d.main.action_models()
        d.main.action_models()
        await d.pilot.pause()
        assert sum(isinstance(screen, ModelPicker) for screen in d.app.screen_stack) == 1


async def test_a_notice_that_was_read_goes_with_the_next_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(minigpt_app, "READ_S", {"information": 60, "error": 60})
    async with desk() as d:
        await d.press("ctrl+z")
        assert d.notices == ["There is nothing to undo."]
        await d.press("f1")
        assert d.notices  # the key was on its way when it came
        monkeypatch.setattr(minigpt_app, "READ_S", {"information": 0, "error": 60})
        await d.press("down", "ctrl+left")
        assert d.notices
        await d.press("escape")
        assert not d.notices
        d.main.tell("not stored", is_error=True)
        await d.press("enter")
        assert d.notices == ["not stored"]


async def test_notices_do_not_pile_up() -> None:
    async with desk() as d:
        for _ in range(5):
            await d.press("f4")
        await d.is_told("no text yet")
        assert len(d.notices) == 1


async def test_what_was_selected_and_is_gone_is_not_copied(clipboard: list[str]) -> None:
    async with desk() as d:
        await d.type("a")
        await d.press("enter")
        mark = d.main.query_one("#prompt-mark", Static)
        d.main.selections = {mark: Selection(Offset(0, 1), Offset(1, 1))}  # a row that is gone
        await d.press("f4")
        await until(d.pilot, lambda: clipboard == ["a"])


async def test_the_palette_runs_our_commands() -> None:
    async with desk() as d:
        titles = [command.title for command in d.app.get_system_commands(d.main)]
        assert {"New text", "Stop writing", "Copy text", "Save text to file", "Choose model",
                "Reset sliders", "Help", "Theme", "Quit"} <= set(titles)  # fmt: skip
        assert not {"Screenshot", "Maximize", "Minimize"} & set(titles)
        await d.press("ctrl+p", *"choose model")
        hits = d.app.screen.query_one(CommandList)
        await until(d.pilot, lambda: hits.option_count == 1 and hits.highlighted == 0)
        await until(d.pilot, lambda: hits.region.height > 0)
        await d.press("enter")
        await until(d.pilot, lambda: d.is_on(ModelPicker))


async def test_copies_the_text() -> None:
    async with desk() as d:
        await d.press("f4")
        await d.is_told("no text yet")
        await d.type("a")
        await d.press("enter")
        d.engine.write("b")
        await d.sees("ab")
        await d.press("f4")
        assert d.app.clipboard == "ab"


async def test_pasted_control_characters_become_symbols() -> None:
    async with desk() as d:
        prompt = d.main.query_one(Prompt)
        d.app.post_message(events.Paste("a\x1b[31m\x00\r\nb\x9b\u202e"))
        await until(d.pilot, lambda: bool(prompt.text))
        assert prompt.text == "a␛[31m␀\nb��"


@pytest.mark.parametrize("keys", [["tab"], ["left"], ["f10", "tab"]], ids=" ".join)
async def test_what_is_pasted_beside_the_prompt_goes_there(keys: list[str]) -> None:
    async with desk() as d:
        await d.type("a")
        await d.press("enter")
        d.engine.finish()
        await d.says("ready")
        await d.press(*keys)
        prompt = d.app.screen.query_one(Prompt)
        await until(d.pilot, lambda: not prompt.has_focus)
        d.app.post_message(events.Paste("bc"))
        await until(d.pilot, lambda: prompt.text.endswith("bc"))
        assert prompt.has_focus


async def test_what_is_pasted_to_the_palette_is_harmless_too() -> None:
    async with desk() as d:
        await d.press("ctrl+p")
        d.app.post_message(events.Paste("a\x1b[31m"))
        await until(d.pilot, lambda: d.app.screen.query_one(Input).value == "a␛[31m")


@pytest.mark.parametrize("opens", ["action_command_palette", "search_themes"])
async def test_a_double_click_beside_the_palette_closes_it_once(opens: str) -> None:
    async with desk() as d:
        getattr(d.app, opens)()
        await until(d.pilot, lambda: d.is_on(Palette))
        for chain in (1, 2):
            d.app.screen._forward_event(
                events.Click(None, 1, 1, 0, 0, 1, False, False, False, 1, 1, chain=chain)
            )
        await until(d.pilot, lambda: d.is_on(MainScreen))
        await d.press(*"ok")
        assert d.main.query_one(Prompt).text == "ok"


async def test_the_palette_opens_over_a_window_that_lies_over_it() -> None:
    async with desk() as d:
        for key in ("ctrl+p", "f1", "ctrl+p"):
            await d.press(key)
        assert d.is_on(Palette)
        await d.press("escape", "escape", "escape")
        await until(d.pilot, lambda: d.is_on(MainScreen))


async def test_a_click_on_a_command_that_a_search_took_away_is_no_error() -> None:
    async with desk() as d:
        await d.press("ctrl+p")
        commands = d.app.screen.query_one(CommandList)
        await until(d.pilot, lambda: commands.option_count > 3)
        click = events.Click(
            commands, 3, 6, 0, 0, 1, False, False, False, style=Style(meta={"option": 99})
        )
        commands.post_message(click)
        await d.press("escape", *"ok")
        assert d.main.query_one(Prompt).text == "ok"


async def test_clicks_on_what_is_just_gone_are_no_error() -> None:
    async with desk() as d:
        d.app.notify("Look!", timeout=99)
        await until(d.pilot, lambda: bool(d.app.screen.query(Toast)))
        x, y = d.app.screen.query_one(Toast).region.offset + Offset(2, 1)
        with d.app.batch_update():  # the screen stays as it is drawn so far
            await d.app.screen.query_one(Toast).remove()
            assert not d.app.get_widget_at(x, y)[0].is_attached
            d.app.post_message(events.MouseDown(None, x, y, 0, 0, 1, False, False, False, x, y))
            await d.press(*"ok")
        assert d.main.query_one(Prompt).text == "ok"


async def test_two_quick_changes_of_size_come_to_rest() -> None:
    async with desk() as d:
        for size in (Size(120, 40), Size(60, 20)):
            d.app._size = size
            d.main.post_message(events.Resize(size, size))
            d.main.call_later(lambda: None)  # or Textual would take the two for one
        await until(d.pilot, lambda: d.main.size == Size(60, 20))
        taken: list[Size] = []
        d.main.screen_layout_refresh_signal.subscribe(d.main, lambda _: taken.append(d.main.size))
        async with asyncio.timeout(300):  # it might never rest
            for _ in range(9):
                await d.pilot.pause(0)
        assert Size(120, 40) not in taken


async def test_a_window_is_not_closed_under_another_one() -> None:
    async with desk() as d:
        await d.press("f2")
        picker = d.app.screen
        await d.press("ctrl+p")
        picker.dismiss(None)
        assert d.is_on(Palette)
        await d.press("escape")
        assert d.app.screen is picker
        picker.dismiss(None)
        picker.dismiss(None)
        await d.press(*"ok")
        assert d.main.query_one(Prompt).text == "ok"


async def test_a_search_in_the_palette_that_was_closed_is_no_error() -> None:
    async with desk() as d:
        await d.press("ctrl+p")
        palette = d.app.screen
        assert isinstance(palette, Palette)
        palette.dismiss()
        await until(d.pilot, lambda: not palette.is_attached)
        worker = palette._gather_commands("quit")
        with suppress(WorkerFailed):
            await worker.wait()
        assert worker.state is WorkerState.ERROR
        await d.press(*"ok")
        assert d.main.query_one(Prompt).text == "ok"


async def test_a_huge_paste_is_cut_and_that_is_told() -> None:
    async with desk() as d:
        prompt = d.main.query_one(Prompt)
        d.app.post_message(events.Paste("x" * 1_000_000))
        await until(d.pilot, lambda: bool(prompt.text))
        assert len(prompt.text) == MAX_PASTE_CHARS
        await d.is_told("1,000,000")


async def test_a_narrow_terminal_hides_the_sliders_until_asked() -> None:
    async with desk(size=(60, 20)) as d:
        panel = d.main.query_one("#panel")
        shown = [panel.display]
        await d.press("f3")
        shown.append(panel.display)
        await d.press("tab", "tab")
        assert d.slider("temperature").has_focus
        await d.press("f3")
        assert [*shown, panel.display] == [False, True, False]


async def test_a_wide_terminal_shows_the_sliders_until_asked() -> None:
    async with desk(size=(100, 30)) as d:
        panel = d.main.query_one("#panel")
        assert panel.display
        await d.press("f3")
        assert not panel.display


@pytest.mark.once
async def test_survives_any_size_while_it_writes() -> None:
    async with desk(size=(1, 1)) as d:
        await d.type("a")
        await d.press("enter")
        for size in [(80, 24), (1, 1), (300, 100), (2, 40), (40, 2), (69, 13), (160, 50)]:
            await d.pilot.resize_terminal(*size)
            d.engine.write("羅 b\n" * 20)
            await d.pilot.pause()
        await until(d.pilot, lambda: len(d.text) == 1 + 7 * 80)
        for key in ("f1", "escape", "f2", "escape", "f3", "ctrl+n"):
            await d.press(key)


def test_every_binding_has_an_id() -> None:
    for owner in (
        MinigptApp,
        MainScreen,
        ModelPicker,
        HelpScreen,
        Slider,
        PresetRow,
        MoreRow,
        SamplingPanel,
        Prompt,
        TokenView,
        SessionsScreen,
        ExportScreen,
        ReplayScreen,
    ):
        for binding in owner.__dict__["BINDINGS"]:
            assert binding.id, f"{owner.__name__}: {binding.key}"


async def test_the_last_row_begins_with_what_is_wanted_first() -> None:
    async with desk() as d:
        await d.says("ready")
        first = ["Write", "Stop", "New", "Help"]
        await until(
            d.pilot,
            lambda: [key.description for key in d.main.query(FooterKey)][:4] == first,
        )


@pytest.mark.once
async def test_every_theme_draws_every_text() -> None:
    async with desk() as d:
        await d.says("ready")
        for theme in d.app.available_themes:
            d.app.theme = theme
            await d.pilot.pause()
            picture = d.app.export_screenshot()
            assert all(word in picture for word in ("temperature", "scripted", "Models")), theme


async def test_who_wrote_what_does_not_depend_on_colour() -> None:
    async with desk() as d:
        await d.says("ready")
        await d.press("enter")
        d.engine.write(" Ay me!")
        await d.says("● writing")
        row = d.main.query_one(TokenView).render_line(0)
        bold = [s.text for s in row if s.style and s.style.bold]
        assert bold == [EXAMPLES[0]]


def test_a_clipboard_that_is_not_there_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(text: str) -> None:
        raise FileNotFoundError("clip.exe")

    monkeypatch.setattr(pyperclip, "copy", missing)
    minigpt_app._copy_to_system("text")
