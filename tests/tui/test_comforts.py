"""Commands with a slash, what is remembered, the first screen, the help: from key to screen."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.widgets import Input, OptionList, Static

from minigpt.errors import InputError
from minigpt.runtime.chat import Roles
from minigpt_tui import preferences
from minigpt_tui.commands import COMMANDS
from minigpt_tui.heat import Heat
from minigpt_tui.minigpt_app import MinigptApp
from minigpt_tui.owners import owners
from minigpt_tui.preferences import Preferences
from minigpt_tui.protocol import Generate, Look, Open, Stop
from minigpt_tui.screens.ask import Ask
from minigpt_tui.screens.help import AREAS, HelpScreen
from minigpt_tui.screens.main import MainScreen
from minigpt_tui.screens.models import ModelPicker
from minigpt_tui.screens.note import Note
from minigpt_tui.widgets.candidates_panel import CandidatesPanel
from minigpt_tui.widgets.choice_list import ChoiceList
from minigpt_tui.widgets.key_table import KeyTable
from minigpt_tui.widgets.options import Options
from minigpt_tui.widgets.preset_row import PresetRow
from minigpt_tui.widgets.prompt import Prompt
from minigpt_tui.widgets.sampling_panel import SamplingPanel
from minigpt_tui.widgets.side_panel import SidePanel
from minigpt_tui.widgets.welcome import EXAMPLES, Welcome
from tests.tui.scripted_engine import CARD, MODEL, ScriptedEngine, until
from tests.tui.test_app import Desk, desk

pytestmark = pytest.mark.once


@asynccontextmanager
async def home(folder: Path, wanted: Preferences | None = None) -> AsyncIterator[Desk]:
    """A desk whose preferences and prompts are kept in a folder."""
    engine, path = ScriptedEngine(), folder / "config.toml"
    app = MinigptApp(
        engine, MODEL, preferences=wanted or preferences.read(path), preferences_path=path,
        sessions=folder / "sessions.db",
    )  # fmt: skip
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        yield Desk(pilot, engine)


def offered(d: Desk) -> list[str]:
    """What the list above the prompt shows, the marked one with a sign before it."""
    options = d.main.query_one(ChoiceList)
    if not options.display:
        return []
    return [
        ">" * (i == options.highlighted) + str(option.prompt).split("  ")[0].strip()
        for i, option in enumerate(options.options)
    ]


async def test_a_slash_offers_commands_and_typing_filters_them() -> None:
    async with desk() as d:
        await d.type("/")
        await until(d.pilot, lambda: len(offered(d)) == len(COMMANDS))
        assert not any(line.startswith(">") for line in offered(d))
        await d.type("see")
        await until(d.pilot, lambda: offered(d)[:1] == [">/seed [N]"])
        await d.press("tab")
        prompt = d.main.query_one(Prompt)
        assert prompt.text == "/seed "
        await d.press("7", "enter")
        await until(d.pilot, lambda: d.main.query_one(SamplingPanel).params.seed == 7)
        assert prompt.text == ""
        assert offered(d) == []


async def test_enter_takes_what_is_marked_and_obeys_what_is_whole() -> None:
    async with desk() as d:
        prompt = d.main.query_one(Prompt)
        await d.press(*"/prese", "enter")
        assert prompt.text == "/preset "
        await until(d.pilot, lambda: "wild" in offered(d))
        await d.press("w", "enter")
        assert prompt.text == ""
        await until(d.pilot, lambda: d.main.query_one(SamplingPanel).params.temperature == 1.3)
        assert d.engine.asked(Generate) == []


async def test_enter_on_a_slash_alone_does_not_do_what_is_first() -> None:
    async with desk() as d:
        await d.type("A")
        await d.press("enter", "/", "enter")
        await d.is_told("behind the slash")
        assert d.text == "A"


async def test_escape_puts_the_choices_away_and_then_stops() -> None:
    async with desk() as d:
        await d.type("A")
        await d.press("enter", "/", "h")
        await until(d.pilot, lambda: offered(d) != [])
        await d.press("escape")
        await until(d.pilot, lambda: offered(d) == [])
        assert d.engine.asked(Stop) == []
        await d.press("escape")
        assert d.engine.asked(Stop) == [Stop(1)]
        assert d.main.query_one(Prompt).text == "/h"


async def test_choices_that_were_put_away_are_not_taken() -> None:
    async with desk() as d:
        await d.type("/he")
        await d.press("down", "escape", "enter")
        await d.is_told("did you mean")


async def test_a_click_on_a_choice_takes_it() -> None:
    async with desk() as d:
        await d.type("/hea")
        await until(d.pilot, lambda: offered(d) == [">/heat [KIND]"])
        await d.pilot.click(ChoiceList, offset=(4, 0))
        await until(d.pilot, lambda: "rank" in offered(d))
        await d.pilot.click(ChoiceList, offset=(4, 3))
        await until(d.pilot, lambda: d.main.sight.heat is Heat.RANK)


async def test_a_click_on_a_choice_that_is_gone_does_nothing() -> None:
    async with desk() as d:
        await d.type("/")
        await until(d.pilot, lambda: len(offered(d)) > 2)
        choices = d.main.query_one(ChoiceList)
        choices.highlighted = 2
        choices.action_select()
        choices.show((), None)
        await d.pilot.pause()
        assert d.main.query_one(Prompt).text == "/"


async def test_an_unknown_command_is_told_with_the_nearest() -> None:
    async with desk() as d:
        await d.press(*"/hepl[/b]", "enter")
        await d.is_told("there is no /hepl[/b]; did you mean /help?")
        assert d.main.query_one(Prompt).text == "/hepl[/b]"  # to be mended
        assert offered(d) == []
        await d.press("ctrl+u", *"/xyz", "enter")
        await d.is_told("there is no /xyz; a slash alone shows them all.")
        assert len(d.notices) == 1  # of the line before nothing is left


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("/set temperature=hot", "temperature must be a number"),
        ("/set temperature 0.5", "a setting is changed as in"),
        ("/set top_k=-1", "top_k must be"),
        ("/set temp=0.3", "there is no setting 'temp'; the closest: temperature"),
        ("/seed x", "seed must be a whole number"),
        ("/preset mild", "there is no preset 'mild'; the closest: wild"),
        ("/heat rnak", "the closest: rank"),
        ("/palette blue", "there is no palette"),
        ("/theme nrod", "the closest: nord"),
        ("/theme x", "there is no theme 'x'; there are "),  # and not the first with an x in it
        ("/theme gruv", "the closest: gruvbox"),
        ("/model nowhere", "no file or model 'nowhere'"),
        ("/keep wild", "is built in"),
        ("/forget wild", "only your own can be forgotten"),
        ("/forget mine", "there is no preset 'mine'"),
    ],
)
async def test_what_cannot_be_done_is_told(line: str, words: str) -> None:
    async with desk() as d:
        await d.type(line)
        await d.press("escape", "enter")
        await d.is_told(words)
        assert d.main.query_one(Prompt).text == line


@pytest.mark.parametrize("line", ["/theme x", "/theme c", "/palette i", "/s"])
async def test_enter_takes_only_what_alone_begins_like_the_line(line: str) -> None:
    async with desk() as d:
        theme, palette = d.app.theme, d.main.sight.palette
        await d.type(line)
        assert offered(d)
        assert not any(choice.startswith(">") for choice in offered(d))
        await d.press("enter")
        await d.is_told("there is no ")
        assert (d.app.theme, d.main.sight.palette) == (theme, palette)


async def test_two_slashes_are_text_and_a_command_is_none() -> None:
    async with desk() as d:
        await d.type("/HELP")
        await until(d.pilot, lambda: offered(d) != [])
        assert all(isinstance(r, Look) and "HELP" not in r.text for r in d.engine.asked(Look))
        await d.press("home", "/", "enter")
        assert d.engine.last_generate.text == "/HELP"


async def test_several_settings_at_once() -> None:
    async with desk() as d:
        await d.press(*"/set top_k=5 temp", "tab", *"0.5", "enter")
        panel = d.main.query_one(SamplingPanel)
        await until(d.pilot, lambda: (panel.params.top_k, panel.params.temperature) == (5, 0.5))


async def test_a_model_is_opened_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "book.onnx").touch()
    async with desk() as d:
        await d.press(*"/model bo", "enter")
        await until(d.pilot, lambda: d.engine.asked(Open)[1:] == [Open(tmp_path / "book.onnx")])
        await d.press(*"/model", "enter")  # its name may be left out
        await until(d.pilot, lambda: d.is_on(ModelPicker))


async def test_every_command_has_its_action_and_is_in_the_palette() -> None:
    async with desk() as d:
        for command in COMMANDS:
            owner, _, action = command.action.rpartition(".")
            has = {"": d.main, "app": d.app, "panel": d.main.query_one(SidePanel)}
            assert hasattr(has[owner], f"action_{action}"), command.name
            assert not command.key or any(
                command.key == b.id for o in owners(MinigptApp) for b in bindings(o)
            )
        titles = [command.title for command in d.app.get_system_commands(d.main)]
        assert len(titles) == len(set(titles))
        assert {command.title for command in COMMANDS} <= set(titles)
        set_ = next(c for c in d.app.get_system_commands(d.main) if c.title == "Change settings")
        d.app.call_later(set_.callback)
        await until(d.pilot, lambda: "temperature=" in offered(d))


async def test_the_next_start_is_as_this_one_was_left(tmp_path: Path) -> None:
    async with home(tmp_path) as d:
        assert not (tmp_path / "config.toml").exists()
        for line in ("/theme nord", "/heat rank", "/palette", "/set top_k=7", "/defaults",
                     "/keep mine"):  # fmt: skip
            await d.type(line)
            await d.press("escape", "enter")
            await d.pilot.pause()
        await until(d.pilot, lambda: "mine" in preferences.read(tmp_path / "config.toml").presets)
        await d.is_told(str(tmp_path / "config.toml"))
        await d.type("A")
        await d.press("enter")
    found = preferences.read(tmp_path / "config.toml")
    assert (found.theme, found.heat, found.palette) == ("nord", "rank", "cividis")
    assert (found.params.top_k, found.presets) == (7, {"mine": {"top_k": 7}})
    async with home(tmp_path) as d:
        assert d.app.theme == "nord"
        assert d.main.query_one(SamplingPanel).params.top_k == 7
        assert d.main.query_one(Prompt).text == ""
        await until(d.pilot, lambda: bool(d.main.query_one(Prompt).sent))
        await d.press("up")
        assert d.main.query_one(Prompt).text == "A"
        await d.press("up")
        assert d.main.query_one(Prompt).text == "/keep mine"
        assert offered(d) == []


async def test_a_preset_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    async with home(tmp_path) as d:
        for line in ("/set top_k=7", "/keep mine", "/keep other"):
            await d.type(line)
            await d.press("escape", "enter")
        await until(d.pilot, lambda: set(preferences.read(path).presets) == {"mine", "other"})
        row = d.main.query_one(PresetRow)
        assert row.text == "other"
        await d.type("/forget ")
        assert offered(d) == ["mine", "other"]
        await d.type("other")
        await d.press("escape", "enter")
        await until(d.pilot, lambda: row.text == "mine")
        await until(d.pilot, lambda: set(preferences.read(path).presets) == {"mine"})
        await d.type("/forget mine")
        await d.press("escape", "enter")
        await until(d.pilot, lambda: row.text == "balanced*")
        await until(d.pilot, lambda: not preferences.read(path).presets)
        await d.is_told("The preset mine is no longer in")
        assert d.main.query_one(SamplingPanel).params.top_k == 7


async def test_a_preset_is_saved_under_a_name_that_is_asked_for(tmp_path: Path) -> None:
    async with home(tmp_path) as d:
        d.slider("top-k").set_to(3)
        await d.press(*"/keep", "enter", "enter")
        await until(d.pilot, lambda: d.is_on(Ask))
        d.app.screen.query_one(Input).value = "wild"
        await d.press("enter")
        await until(
            d.pilot, lambda: "built in" in str(d.app.screen.query_one("#trouble", Static).render())
        )
        d.app.screen.query_one(Input).value = "three"
        await d.press("enter")
        await until(d.pilot, lambda: (tmp_path / "config.toml").exists())
    assert preferences.read(tmp_path / "config.toml").presets == {"three": {"top_k": 3}}


async def test_preferences_that_cannot_be_written_are_told(tmp_path: Path) -> None:
    async with home(tmp_path) as d:
        (tmp_path / "config.toml").write_text("theme = 7", encoding="utf-8")
        await d.press("f6")
        await d.is_told("Not remembered")
        assert d.main.sight.heat is Heat.PROBABILITY


async def test_what_was_not_sent_comes_back_at_the_next_start(tmp_path: Path) -> None:
    async with home(tmp_path) as d:
        await d.type("But soft!")
        await d.press("ctrl+q")
    async with home(tmp_path) as d:
        prompt = d.main.query_one(Prompt)
        await until(d.pilot, lambda: bool(prompt.sent))
        await d.press("up")
        assert prompt.text == "But soft!"


async def test_a_damaged_file_of_prompts_is_told(tmp_path: Path) -> None:
    (tmp_path / "prompts.json").write_text("[", encoding="utf-8")
    async with home(tmp_path) as d:
        await d.is_told("prompts.json is damaged")
        await d.type("A")
        await d.press("enter")
        await until(d.pilot, lambda: (tmp_path / "prompts.json.damaged").exists())
    assert json.loads((tmp_path / "prompts.json").read_text(encoding="utf-8"))["prompts"] == ["A"]


async def test_with_reduced_motion_nothing_blinks(tmp_path: Path) -> None:
    async with home(tmp_path, Preferences(reduced_motion=True)) as d:
        assert not d.main.query_one(Prompt).cursor_blink
        seed = d.main.query_one("#seed", Input)
        seed.focus()
        await until(d.pilot, lambda: not seed.cursor_blink)


async def test_the_files_are_shown_where_they_are(tmp_path: Path) -> None:
    async with home(tmp_path) as d:
        await d.press(*"/files", "enter")
        await until(d.pilot, lambda: d.is_on(Note))
        shown = "\n".join(str(text.render()) for text in d.app.screen.query(Static))
        assert str(tmp_path / "config.toml") in shown
        assert f"Texts\n{tmp_path / 'sessions.db'}\n" in shown
        assert f"What you sent\n{tmp_path / 'prompts.json'}\n" in shown


async def test_the_beginnings_are_for_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk() as d:
        await d.says("ready")
        assert d.main.query_one("#examples", OptionList).option_count == len(EXAMPLES) + 1
        card = replace(CARD, corpus="cookbook.txt")
        monkeypatch.setattr("tests.tui.scripted_engine.CARD", card)
        d.engine.open(MODEL)
        options = d.main.query_one("#examples", OptionList)
        await until(d.pilot, lambda: options.option_count == 1)
        assert "cookbook.txt" in str(d.main.query_one("#welcome-text", Static).render())
        await d.press("enter")
        assert d.engine.last_generate.text == ""


@pytest.mark.parametrize("size", [(80, 24), (160, 50)])
async def test_the_first_screen_is_seen_at_once(size: tuple[int, int]) -> None:
    async with desk(size=size) as d:
        await d.says("ready")
        await d.pilot.pause()
        welcome = d.main.query_one(Welcome)
        assert welcome.max_scroll_y == 0
        keys = str(d.main.query_one("#welcome-keys", Static).render())
        assert all(key in keys for key in ("Enter", "Esc", "←", "F6", "F7", "F1"))


async def test_the_beginning_that_was_chosen_is_sent_whatever_is_offered_by_then() -> None:
    async with desk() as d:
        await d.says("ready")
        welcome = d.main.query_one(Welcome)
        options = welcome.query_one(OptionList)
        options.highlighted = 1
        options.action_select()
        welcome.invite(replace(CARD, corpus="recipes"))
        await until(d.pilot, lambda: d.engine.asked(Generate) != [])
        assert d.engine.last_generate.text == EXAMPLES[1]


async def test_to_begin_by_itself_is_a_choice_too() -> None:
    async with desk(ScriptedEngine(opens=False)) as d:
        options = d.main.query_one(Welcome).query_one(OptionList)
        assert options.option_count == 1
        options.action_select()
        d.main.query_one(Welcome).invite(CARD)
        await d.pilot.pause()
        d.engine.open(MODEL)
        await until(d.pilot, lambda: d.engine.asked(Generate) != [])
        assert d.engine.last_generate.text == ""


async def test_above_the_first_beginning_is_what_was_sent() -> None:
    async with desk() as d:
        await d.type("/heat off")
        await d.press("escape", "enter")
        await d.press("down", "up")
        assert d.main.query_one(Prompt).text == ""
        await d.press("up")
        assert d.main.query_one(Prompt).text == "/heat off"


async def test_the_focused_slider_is_explained() -> None:
    async with desk() as d:
        row = d.main.query_one("#prompt-row")
        d.slider("top-k").focus()
        await until(d.pilot, lambda: "K likeliest" in str(row.border_title))
        d.main.query_one(Prompt).focus()
        await until(d.pilot, lambda: not row.border_title)


def bindings(owner: type) -> list[Binding]:
    return [b for b in owner.__dict__.get("BINDINGS", ()) if isinstance(b, Binding)]


def test_the_help_names_every_key() -> None:
    explained = {id for rows in AREAS.values() for ids, _ in rows for id in ids.split()}
    closing = {
        "sessions",
        "replay",
        "roles",
        "help",
        "note",
        "ask",
        "compare",
        "export",
        "picker",
        "run_picker",
        "watch",
        "branches",
    }
    with_shift = {f"text.select.{way}" for way in ("up", "down", "home", "end")}
    obvious = {"example.above", "example.below", "watch.back", *(f"{id}.close" for id in closing)}
    as_elsewhere = {"watch.help", "ab.help", "branches.help", "sessions.help", "picker.help",
                     "ab.leave", "ab.back", "ab.interrupt", "ab.sliders",
                    "ab.page.up", "ab.page.down", "ab.top", "ab.bottom"}  # fmt: skip
    ids = {b.id for owner in owners(MinigptApp) for b in bindings(owner)}
    assert ids - explained - obvious - with_shift - as_elsewhere == set()


def test_a_key_of_the_main_screen_is_none_of_the_prompt() -> None:
    keys = {"interrupt": "ctrl+c", "stop": "escape", "heat": "f6", "quit": "ctrl+x"}
    MinigptApp(ScriptedEngine(), MODEL, preferences=Preferences(keys=keys))
    typed = ("ab.difference", "w")
    for id, key in (("stop", "ctrl+x"), ("help", "question_mark"), ("runs", "enter"), typed):
        with pytest.raises(InputError, match=f"{id!r} cannot have the key"):
            MinigptApp(ScriptedEngine(), MODEL, preferences=Preferences(keys={id: key}))


async def test_the_help_shows_the_users_own_keys(tmp_path: Path) -> None:
    async with home(tmp_path, Preferences(keys={"heat": "f12", "slider.less": "h,left"})) as d:
        keys = str(d.main.query_one("#welcome-keys", Static).render())
        assert "F12" in keys
        await d.press("f1")
        assert d.is_on(HelpScreen)
        shown = "\n".join(str(text.render()) for text in d.app.screen.query(Static))
        assert "F12 " in shown
        assert "H →" in shown
        assert "everywhere F12" in shown
        assert not [id for rows in AREAS.values() for ids, _ in rows for id in ids.split()
                    if "." in id.strip(".") and id in shown]  # fmt: skip
        await d.press("escape")
        assert d.is_on(MainScreen)


async def test_what_is_said_names_the_users_own_keys(tmp_path: Path) -> None:
    keys = {"stop": "f12", "save": "ctrl+b", "heat": "f11", "new_seed": "ctrl+f5"}
    async with home(tmp_path, Preferences(keys=keys)) as d:
        assert str(d.main.query_one("#seed-hint", Static).render()) == "Ctrl+F5 new"
        await d.type("a")
        await d.press("enter")
        d.engine.write("b")
        await d.sees("ab")
        prompt = d.main.query_one(Prompt)
        assert str(prompt.placeholder) == "F12 stops, Enter adds your words"
        await d.press("left")  # into the text, where letters are commands
        assert str(prompt.placeholder) == "F12 stops, then comes back here"
        assert ("enter", "Others") in [
            (key, each.binding.description) for key, each in d.main.active_bindings.items()
            if each.binding.show
        ]  # fmt: skip
        await d.press("f12", "tab")
        await until(d.pilot, lambda: not d.main.writer.is_running)
        d.slider("temperature").focus()
        await d.pilot.pause()
        assert str(prompt.placeholder) == "F12 comes back here"
        await d.press("f12")
        assert str(prompt.placeholder) == "Enter goes on, or type what comes next"
        await d.press("f4")
        await d.is_told("arrive: Ctrl+B")
        await d.press("ctrl+b")
        (*_, html) = d.app.screen.query_one(OptionList).options
        assert "F11 in the text" in str(html.prompt)


@pytest.mark.parametrize(
    ("pressed", "own", "says"),
    [
        (["f2"], {"picker.close": "x", "picker.sort": "Z"}, "Enter opens · Shift+Z sorts · X "),
        (["ctrl+t"], {"roles.below": "f12", "roles.close": "f9"}, "↑ F12 name · Tab field · F9 "),
        (["ctrl+o"], {"sessions.rename": "n"}, "N rename · D duplicate · Del delete"),
        (["f5"], {"export.close": "f12"}, "F12 closes"),
        (["f9"], {"run_picker.close": "x"}, "X closes"),
        (["f1"], {"help.close": "x"}, "X closes"),
        ([*"/files", "enter"], {"note.close": "x"}, "X closes"),
        ([*"/keep", "enter", "enter"], {"ask.close": "f12"}, "F12 closes"),
    ],
)
async def test_a_window_names_the_users_own_keys(
    tmp_path: Path, pressed: list[str], own: dict[str, str], says: str
) -> None:
    async with home(tmp_path, Preferences(keys=own)) as d:
        await d.type("a")
        await d.press("enter")
        d.engine.finish()
        await d.says("ready")
        await d.press(*pressed)
        await until(d.pilot, lambda: bool(d.app.screen.query(".window")))
        assert says in str(d.app.screen.query_one(".window").border_subtitle)


async def test_what_a_key_does_stays_in_its_column() -> None:
    async with desk(size=(40, 24)) as d:
        await d.press("f1")
        await until(d.pilot, lambda: bool(d.app.screen.query(KeyTable)))
        tables = list(d.app.screen.query(KeyTable))
        await until(d.pilot, lambda: tables[0].size.width > 0)
        rows = str(tables[0].render()).splitlines()
        assert len(rows) == tables[0].size.height
        assert rows[:3] == [
            "Enter            add your words,",
            "                 or none; the",
            "                 model writes on",
        ]
        assert any(row.startswith("/ ↓ ") for t in tables for row in str(t.render()).splitlines())


async def test_a_page_of_the_palette_is_turned_where_no_row_has_room() -> None:
    async with desk() as d:
        await d.pilot.resize_terminal(1, 1)
        await d.press("ctrl+p")
        await until(d.pilot, lambda: bool(d.app.screen.query(OptionList)))
        commands = d.app.screen.query_one(OptionList)
        await until(d.pilot, lambda: commands.option_count > 0)
        commands.highlighted = 0
        await d.press("pagedown", "pageup")
        assert d.app._exception is None


async def test_the_palette_is_drawn_where_no_row_has_room() -> None:
    async with desk() as d:
        await d.press("ctrl+p")
        await until(
            d.pilot,
            lambda: any(options.option_count for options in d.app.screen.query(OptionList)),
        )
        for width in range(8, 0, -1):
            await d.pilot.resize_terminal(width, 12)
            await d.pilot.pause()
        assert d.app._exception is None


async def rests(d: Desk) -> bool:
    """Whether nothing is laid out any more: a scroll bar could come and go without end."""
    for _ in range(20):
        await d.pilot.pause()
    taken: list[None] = []
    screen = d.app.screen
    screen.screen_layout_refresh_signal.subscribe(screen, lambda _: taken.append(None))
    for _ in range(20):
        await d.pilot.pause()
    screen.screen_layout_refresh_signal.unsubscribe(screen)
    return not taken


@pytest.mark.once
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (4, 30), (6, 2)])
async def test_the_smallest_screen_comes_to_rest(size: tuple[int, int]) -> None:
    async with desk() as d:
        await d.says("ready")
        await d.pilot.resize_terminal(*size)
        assert await rests(d)


@pytest.mark.once
@pytest.mark.parametrize("command", ["help", "model", "about", "save"])
async def test_the_smallest_window_comes_to_rest(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with desk(size=(80, 12)) as d:
        await d.press("a", "enter")
        await d.type(f"/{command}")
        await d.press("escape", "enter")
        await until(d.pilot, lambda: not d.is_on(MainScreen))
        for width in (8, 7, 6):
            await d.pilot.resize_terminal(width, 12)
            assert await rests(d), width


@pytest.mark.parametrize("size", [(80, 24), (40, 12), (30, 6), (20, 5)])
async def test_the_cursor_is_seen_in_however_many_lines(size: tuple[int, int]) -> None:
    async with desk(size=size) as d:
        prompt = d.main.query_one(Prompt)

        def is_seen() -> bool:
            return all(
                widget.region.contains_point(prompt.cursor_screen_offset)
                for widget in (prompt, d.main)
            )

        for _ in range(9):
            await d.press("a", "ctrl+j")
            await until(d.pilot, is_seen)
        for height in (12, 24, 9, 6):
            await d.pilot.resize_terminal(size[0], height)
            for _ in range(5):
                await d.pilot.pause()
            assert is_seen(), height


async def test_a_page_of_a_list_is_turned_where_no_row_has_room() -> None:
    class Host(App[None]):
        CSS = "Options { height: 0; }"

        def compose(self) -> ComposeResult:
            yield Options("a", "b")

    app = Host()
    async with app.run_test() as pilot:
        app.query_one(OptionList).highlighted = 0
        await pilot.press("pagedown", "pageup")
        assert app._exception is None


async def test_many_lines_are_undone_at_once() -> None:
    async with desk(size=(20, 24)) as d:
        prompt = d.main.query_one(Prompt)
        d.app.post_message(events.Paste("\n".join("abcdefghijkl")))
        await until(d.pilot, lambda: prompt.show_vertical_scrollbar)
        await d.press("ctrl+z")
        await until(d.pilot, lambda: prompt.text == "")


@pytest.mark.parametrize(
    "keys",
    [
        *(["f2"], ["f5"], ["f8"], ["f9"], ["ctrl+o"], ["ctrl+p"], ["ctrl+t"]),
        *([*line, "enter"] for line in ("/files", "/replay")),
        [*"/keep", "enter", "enter"],
    ],
    ids="".join,
)
async def test_help_is_at_hand_in_every_window(keys: list[str], tmp_path: Path) -> None:
    async with desk(sessions=tmp_path / "sessions.db") as d:
        await d.type("a")
        await d.press("enter")
        d.engine.finish()
        await d.says("ready")
        await d.press(*keys)
        await until(d.pilot, lambda: not d.is_on(MainScreen))
        window = d.app.screen
        await d.press("x")  # where there is a field, it keeps this
        focused = d.app.focused
        await d.press("f1")
        await until(d.pilot, lambda: d.is_on(HelpScreen))
        await d.press("f1")
        await until(d.pilot, lambda: d.app.screen is window)
        await until(d.pilot, lambda: d.app.focused is focused)
        assert not isinstance(focused, Input) or "x" in focused.value


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        (("h", "e", "l", "x", "backspace", "l", "o"), "hello"),
        (("a", "b", "ctrl+u", "d", "e"), "de"),
        (("d", "e", "f", "ctrl+j", "g", "ctrl+a", "h"), "def\nhg"),
        (("a", "c", "left", "b", "end", "d"), "abcd"),
    ],
)
async def test_keys_that_come_together_act_in_their_order(keys: tuple[str, ...], text: str) -> None:
    async with desk() as d:
        await d.press_at_once(*keys)
        await until(d.pilot, lambda: d.main.query_one(Prompt).text == text)


async def test_what_is_typed_behind_enter_is_not_sent() -> None:
    async with desk() as d:
        await d.press_at_once("a", "b", "enter", "d", "e")
        await until(d.pilot, lambda: d.main.query_one(Prompt).text == "de")
        assert d.engine.last_generate.text == "ab"


async def test_a_user_s_own_key_acts_in_its_order() -> None:
    async with desk() as d:
        d.app.set_keymap({"prompt.newline": "ctrl+b"})
        await d.press_at_once("a", "ctrl+b", "b")
        await until(d.pilot, lambda: d.main.query_one(Prompt).text == "a\nb")


async def test_words_that_were_erased_come_back() -> None:
    async with desk() as d:
        prompt = d.main.query_one(Prompt)
        await d.press("a", "b", "enter")
        d.engine.write("cd")
        d.engine.finish()
        await d.sees("abcd")
        await d.press("e", "f", "ctrl+u", "ctrl+z")
        assert (prompt.text, d.text) == ("ef", "abcd")
        await d.press("ctrl+z")
        assert (prompt.text, d.text) == ("", "abcd")
        await d.press("ctrl+y")
        assert prompt.text == "ef"


async def test_a_command_that_needs_no_more_is_done_at_once() -> None:
    async with desk() as d:
        seed = d.main.query_one(SamplingPanel).params.seed
        await d.press(*"/seed", "enter")
        await until(d.pilot, lambda: d.main.query_one(SamplingPanel).params.seed != seed)
        assert d.main.query_one(Prompt).text == ""


async def test_in_an_empty_conversation_no_example_is_said() -> None:
    async with desk() as d:
        d.main.converse(Roles("A", "B"))
        await d.press("enter")
        await until(d.pilot, lambda: bool(d.engine.asked(Generate)))
        assert d.main.query_one(Welcome).marked not in d.engine.last_generate.text


async def test_the_keys_come_back_from_a_panel_that_was_hidden() -> None:
    async with desk() as d:
        await d.press("a", "enter")
        d.engine.write("bcd")
        d.engine.finish()
        await d.sees("abcd")
        await d.press("left", "enter")
        await until(d.pilot, lambda: isinstance(d.app.focused, CandidatesPanel))
        await d.press("f3")
        await until(d.pilot, lambda: isinstance(d.app.focused, Prompt))
