"""The browser of sessions, and what it makes of the main screen."""

import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from threading import Event

import pytest
from textual.content import Content
from textual.geometry import Size
from textual.widgets import Input, OptionList, Static

from minigpt.runtime.chat import Roles
from minigpt.runtime.params import SamplingParams
from minigpt_tui import cards
from minigpt_tui.document import Document
from minigpt_tui.keeper import Keeper
from minigpt_tui.protocol import Open, Stop, Written
from minigpt_tui.screens.main import MainScreen
from minigpt_tui.screens.replay import ReplayScreen
from minigpt_tui.screens.sessions import SessionsScreen
from minigpt_tui.sessions import BESIDE, Sessions
from minigpt_tui.when import ago
from minigpt_tui.widgets.session_text import Row
from minigpt_tui.widgets.token_view import TokenView
from tests.tui.scripted_engine import CHARS, MODEL, ScriptedEngine, until
from tests.tui.test_app import Desk, desk

pytestmark = pytest.mark.once

DAY_S = 24 * 3600.0
NEW = "KING:\nA horse!"
OLD = "ROMEO:\nWhat light through yonder window breaks?"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Two sessions: OLD, with a name, a day older than NEW."""
    path = tmp_path / "sessions.db"
    now = 1e9
    sessions = Sessions(path, lambda: now)
    for text, name in ((OLD, "The window"), (NEW, "")):
        document = Document()
        document.append_user(text)
        id = sessions.save(sessions.create(), document)
        sessions.rename(id, name)
        now += DAY_S
    sessions.close()
    return path


async def browse(d: Desk) -> None:
    await until(d.pilot, lambda: d.main.keeper.sessions is not None)
    await d.press("ctrl+o")
    await until(d.pilot, lambda: d.is_on(SessionsScreen) and bool(said(d)))


async def browse_after_a_run(d: Desk) -> None:
    """On from "AB" a model has written "CDE"."""
    await d.type("AB")
    await d.press("enter")
    d.engine.write("CDE")
    d.engine.finish()
    await d.says("ready")
    await browse(d)


def rows(d: Desk) -> list[Content]:
    options = d.app.screen.query_one(OptionList)
    prompts = [option.prompt for option in options.options]
    width = options.scrollable_content_region.width
    return [prompt.at(width) for prompt in prompts if isinstance(prompt, Row)]


def drawn(d: Desk) -> list[str]:
    options = d.app.screen.query_one(OptionList)
    return [options.render_line(y).text.rstrip() for y in range(options.size.height)]


def titles(d: Desk) -> list[str]:
    return [row.plain.split("   ")[0].strip() for row in rows(d)]


def said(d: Desk) -> str:
    return str(d.app.screen.query_one("#sessions-said", Static).render())


def preview(d: Desk) -> str:
    return str(d.app.screen.query_one("#sessions-preview", Static).render())


async def closes(d: Desk) -> None:
    await until(d.pilot, lambda: d.is_on(MainScreen))


async def test_a_narrow_list_leaves_room_for_the_titles(database: Path) -> None:
    async with desk(sessions=database, size=(40, 24)) as d:
        await browse(d)
        assert titles(d) == ["KING: A horse!", "The window"]
        assert all("Sep 2001" in row.plain and len(row.plain) <= 38 for row in rows(d))
        await d.pilot.resize_terminal(80, 24)
        await until(d.pilot, lambda: f"{len(NEW)}  " in rows(d)[0].plain)


@pytest.mark.parametrize(
    ("size", "list_size", "title_chars"),
    [((160, 50), (87, 39), 42), ((110, 30), (63, 25), 33), ((60, 18), (56, 7), 26)],
)
async def test_most_of_the_window_is_the_lists(
    tmp_path: Path, size: tuple[int, int], list_size: tuple[int, int], title_chars: int
) -> None:
    path, document = tmp_path / "sessions.db", Document()
    document.begin_run(SamplingParams(), model_name="scripted")
    document.append_user("W" * 80)
    sessions = Sessions(path)
    sessions.save(sessions.create(), document)
    sessions.close()
    async with desk(sessions=path, size=size) as d:
        await browse(d)
        options = d.app.screen.query_one("#sessions-list")
        await until(d.pilot, lambda: options.size == Size(*list_size))
        assert rows(d)[0].plain.count("W") == title_chars
        await until(d.pilot, lambda: "80 characters · 1 run · scripted" in preview(d))


async def test_the_list_comes_back_as_wide_as_before_a_search_without_hits(database: Path) -> None:
    async with desk(sessions=database) as d:
        await browse(d)
        before = drawn(d)
        assert "KING: A horse!" in before[0]
        await d.press("slash", *"zzzz")
        await until(d.pilot, lambda: said(d) == "0 found")
        await d.press("escape")
        await until(d.pilot, lambda: drawn(d) == before)


async def test_a_row_takes_one_line_beside_a_scroll_bar_too(tmp_path: Path) -> None:
    path, document = tmp_path / "sessions.db", Document()
    document.append_user(OLD)
    sessions = Sessions(path, lambda: time.time() - 12.5 * 60)
    for _ in range(30):
        sessions.save(sessions.create(), document)
    sessions.close()
    async with desk(sessions=path, size=(50, 24)) as d:
        await browse(d)
        options = d.app.screen.query_one(OptionList)
        await until(d.pilot, lambda: options.show_vertical_scrollbar)
        assert options.virtual_size.height == 30
        assert all(row.endswith("  12 minutes ago") for row in drawn(d))
        await d.press("down", "down", "r")
        field = d.app.screen.query_one("#sessions-rename", Input)
        await until(d.pilot, lambda: field.has_focus and field.region.height > 0)
        assert field.region.y == options.region.y + 2


async def test_the_newer_ones_stay_in_view_where_there_is_room(tmp_path: Path) -> None:
    path, document = tmp_path / "sessions.db", Document()
    document.append_user(OLD)
    now = count(1e9)
    sessions = Sessions(path, lambda: next(now))
    ids = [sessions.save(sessions.create(), document) for _ in range(24)]
    sessions.close()
    async with desk(sessions=path) as d:
        await until(d.pilot, lambda: d.main.keeper.sessions is not None)
        d.main.adopt(d.main.keeper.open(ids[-8]))
        await browse(d)
        options = d.app.screen.query_one(OptionList)
        await until(d.pilot, lambda: (options.highlighted, options.region.height) == (7, 11))
        assert options.scroll_offset.y == 0


async def test_an_empty_library_says_what_will_be_there(tmp_path: Path) -> None:
    async with desk(sessions=tmp_path / "sessions.db") as d:
        await browse(d)
        empty = d.app.screen.query_one("#sessions-empty", Static)
        assert empty.display
        assert "Nothing is stored yet" in str(empty.render())
        assert str(tmp_path / "sessions.db") in str(empty.render())
        assert not d.app.screen.query_one(OptionList).region
        await d.press("r", "d", "p", "delete", "enter", "u")
        assert "nothing to bring back" in said(d)
        await d.press("escape")
        await closes(d)


async def test_nobody_has_to_wait_for_the_database(database: Path) -> None:
    async with desk(sessions=database) as d:
        d.main.keeper, d.main._are_sessions_open = Keeper(None), False  # as before the first paint
        await d.press("ctrl+o")
        await until(d.pilot, lambda: d.is_on(SessionsScreen) and said(d) == "2 sessions")


async def test_without_a_database_it_says_so() -> None:
    async with desk() as d:
        await d.press("ctrl+o")
        await d.is_told("Nothing is stored")


async def test_the_newest_comes_first_and_enter_opens(database: Path) -> None:
    async with desk(sessions=database) as d:
        await d.type("mine")
        await browse(d)
        assert titles(d) == ["KING: A horse!", "The window"]
        assert said(d) == "2 sessions"
        await until(d.pilot, lambda: "A horse!" in preview(d))
        await d.press("down")
        await until(d.pilot, lambda: "What light" in preview(d))
        assert f"{len(OLD)} characters · 0 runs" in preview(d)
        await d.press("enter")
        await closes(d)
        assert d.text == OLD
        await d.press("enter")
        d.engine.write("IT")
        await d.sees(f"{OLD}mineIT")
        await browse(d)
        assert titles(d)[0] == "● The window"
        assert "just now" in rows(d)[0].plain
    assert Sessions(database).list()[0].n_chars == len(OLD) + 6


async def test_a_conversation_does_not_go_on_in_another_text(database: Path) -> None:
    async with desk(sessions=database) as d:
        d.main.converse(Roles("ROMEO", "JULIET"))
        await browse(d)
        await d.press("enter")
        await closes(d)
        assert str(d.main.query_one("#prompt-mark", Static).render()) == "›"
        await d.press("enter")
        assert (d.engine.last_generate.text, d.engine.last_generate.stop) == (NEW, ())


def store(database: Path, name: str, checksum: str, params: SamplingParams) -> None:
    """What a model wrote, as the newest session."""
    document = Document()
    document.append_user("HE")
    fork = document.head
    document.begin_run(params, model_name=name, model_sha256=checksum)
    document.append_tokens(tuple(Written(1, char, -1.0, 1.0, 1, 9, False) for char in "LLO"))
    shown = document.head
    document.checkout(fork)
    document.begin_run(SamplingParams(), model_name="scripted", model_sha256="f" * 64)
    document.append_tokens((Written(1, "Y", -1.0, 1.0, 1, 9, False),))
    document.checkout(shown)
    sessions = Sessions(database)
    sessions.save(sessions.create(), document)
    sessions.close()


async def open_newest(d: Desk) -> None:
    await d.says("ready")
    await browse(d)
    await d.press("enter")
    await closes(d)
    assert d.text == "HELLO"


WILD = SamplingParams(temperature=1.5, seed=7, logit_bias=((3, float("-inf")),))


async def test_a_session_brings_its_settings_back(database: Path) -> None:
    store(database, "scripted", "f" * 64, WILD)
    async with desk(sessions=database) as d:
        await open_newest(d)
        await d.is_told("Its settings are back.")
        assert d.panel.params == WILD
        await d.press("enter")
        assert d.engine.last_generate.params == WILD
        assert len(d.engine.asked(Open)) == 1


async def test_a_session_whose_settings_are_set_already_says_nothing(database: Path) -> None:
    store(database, "scripted", "f" * 64, SamplingParams(seed=7))
    async with desk(sessions=database) as d:
        await open_newest(d)
        await until(d.pilot, lambda: d.panel.params.seed == 7)
        assert d.notices == []


def become_older(engine: ScriptedEngine) -> None:
    """What is opened from now on is another model, of another vocabulary."""
    engine.chars, engine.checksum = CHARS.lower(), "0" * 64


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both models are among the files."""
    monkeypatch.setattr(cards, "find", {"0" * 64: Path("older.onnx"), "f" * 64: MODEL}.get)


@pytest.mark.usefixtures("found")
async def test_a_session_brings_its_model_back(database: Path) -> None:
    store(database, "older", "0" * 64, WILD)
    async with desk(sessions=database) as d:
        become_older(d.engine)
        await open_newest(d)
        await d.is_told("Its settings are back. Its model is back: older.")
        assert d.main.writer.path == Path("older.onnx")
        assert d.panel.params == WILD


@pytest.mark.usefixtures("found")
async def test_what_is_changed_while_its_model_is_opened_stays(database: Path) -> None:
    store(database, "older", "0" * 64, WILD)
    async with desk(sessions=database) as d:
        become_older(d.engine)
        d.engine.opens = False
        await open_newest(d)
        await until(d.pilot, lambda: d.main.writer.path == Path("older.onnx"))
        d.slider("temperature").set_to(0.2)
        await until(d.pilot, lambda: d.panel.params.temperature == 0.2)
        d.engine.open(Path("older.onnx"))
        await d.is_told("Its model is back")
        await d.pilot.pause()
        assert d.panel.params == replace(WILD, temperature=0.2)


@pytest.mark.usefixtures("found")
async def test_a_model_that_is_refused_is_not_back(database: Path) -> None:
    store(database, "older", "0" * 64, WILD)
    async with desk(sessions=database) as d:
        await d.says("ready")
        d.engine.refuses = "older.onnx is damaged"
        await open_newest(d)
        await d.is_told("Its settings are back. Written by older; scripted goes on.")
        assert d.panel.params == replace(WILD, logit_bias=())


@pytest.mark.usefixtures("found")
async def test_the_session_that_is_opened_last_has_its_model(database: Path) -> None:
    store(database, "scripted", "f" * 64, SamplingParams(temperature=0.3, seed=5))
    store(database, "older", "0" * 64, WILD)
    async with desk(sessions=database) as d:
        d.engine.opens = False
        await open_newest(d)
        await until(d.pilot, lambda: d.main.writer.path == Path("older.onnx"))
        await browse(d)
        await d.press("down", "enter")
        await closes(d)
        become_older(d.engine)
        d.engine.open(Path("older.onnx"))
        await until(d.pilot, lambda: d.main.writer.path == MODEL)
        d.engine.chars, d.engine.checksum = CHARS, "f" * 64
        d.engine.open(MODEL)
        await d.is_told("Its model is back: scripted.")
        assert d.panel.params == SamplingParams(temperature=0.3, seed=5)


@pytest.mark.usefixtures("found")
async def test_its_model_is_not_opened_under_another_screen(database: Path) -> None:
    store(database, "older", "0" * 64, WILD)
    async with desk(sessions=database) as d:
        d.engine.opens = False
        d.main.open_model(MODEL)  # so that there is something to wait for
        await browse(d)
        await d.press("enter")
        await closes(d)
        await d.press("f2")
        d.engine.open(MODEL)
        await d.is_told("Written by older; scripted goes on.")
        assert d.engine.asked(Open)[-1] == Open(MODEL)


async def test_bans_that_come_or_go_are_told(database: Path) -> None:
    store(database, "scripted", "f" * 64, SamplingParams(logit_bias=((3, 1.0),)))
    async with desk(sessions=database) as d:
        await open_newest(d)
        await d.is_told("Its settings are back.")
        assert d.panel.params.logit_bias == ((3, 1.0),)


@asynccontextmanager
async def while_its_model_is_sought(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Desk]:
    """A text of "older" is open; that model is found after what is done meanwhile."""
    store(database, "older", "0" * 64, WILD)
    sought, found = Event(), Event()

    def find(checksum: str) -> Path:
        sought.set()
        assert found.wait(60)
        return Path("older.onnx")

    monkeypatch.setattr(cards, "find", find)
    async with desk(sessions=database) as d:
        await open_newest(d)
        await until(d.pilot, sought.is_set)
        try:
            yield d
        finally:
            found.set()
        await d.app.workers.wait_for_complete()
        assert Open(Path("older.onnx")) not in d.engine.requests


async def test_what_is_opened_meanwhile_is_not_replaced(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with while_its_model_is_sought(database, monkeypatch) as d:
        d.main.open_model(Path("chosen.onnx"))


async def test_what_is_written_meanwhile_goes_on(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with while_its_model_is_sought(database, monkeypatch) as d:
        await d.press("enter")
    told = ["Its settings are back. Written by older; scripted goes on. F2 changes it."]
    assert d.notices == told
    assert not d.engine.asked(Stop)


async def test_another_text_that_is_begun_meanwhile_is_left_alone(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with while_its_model_is_sought(database, monkeypatch) as d:
        await d.press("ctrl+n")
    assert d.notices == []


async def test_who_goes_on_with_another_models_text_is_told(database: Path) -> None:
    store(database, "older", "0" * 64, WILD)
    async with desk(sessions=database) as d:
        await open_newest(d)
        await d.is_told("Written by older, which is not found here; scripted goes on.")
        assert d.panel.params == replace(WILD, logit_bias=())  # of the vocabulary of older


async def test_what_was_chosen_is_opened_wherever_the_mark_is_by_then(database: Path) -> None:
    async with desk(sessions=database) as d:
        await browse(d)
        options = d.app.screen.query_one(OptionList)
        options.highlighted = 1
        options.action_select()
        options.highlighted = 0
        await closes(d)
        assert d.text == OLD


async def test_what_was_chosen_and_is_deleted_by_then_is_not_opened(database: Path) -> None:
    async with desk(sessions=database) as d:
        await browse(d)
        screen = d.app.screen
        assert isinstance(screen, SessionsScreen)
        screen.query_one(OptionList).highlighted = 1
        screen.query_one(OptionList).action_select()
        screen.action_delete()
        await d.pilot.pause()
        assert d.is_on(SessionsScreen)
        assert titles(d) == ["KING: A horse!"]


async def test_what_is_open_is_stored_before_another_one_is_opened(database: Path) -> None:
    async with desk(sessions=database) as d:
        await until(d.pilot, lambda: d.main.keeper.sessions is not None)
        await d.type("HERE")
        await d.press("enter")
        d.engine.write(" IT IS")
        await d.sees("HERE IT IS")
        await browse(d)
        d.engine.write(" NOT")  # it writes on
        await d.sees("HERE IT IS NOT")
        await d.press("down", "down", "enter")
        await closes(d)
        assert d.text == OLD
        assert not d.main.writer.is_running
    stored = Sessions(database)
    assert "HERE IT IS NOT" in [info.preview for info in stored.list()]


async def test_a_field_stays_one_line(database: Path) -> None:
    async with desk(sessions=database) as d:
        await browse(d)
        await d.press("slash")
        d.app.copy_to_clipboard("yond\nKING")
        await d.press("ctrl+v")
        assert d.app.screen.query_one(Input).value == "yond"
        d.app.copy_to_clipboard("")
        await d.press("ctrl+v", "e")
        assert d.app.screen.query_one(Input).value == "yonde"


async def test_a_search_shows_where_the_words_stand(database: Path) -> None:
    async with desk(sessions=database) as d:
        await browse(d)
        await d.press("slash", *"yond")
        await until(d.pilot, lambda: said(d) == "1 found")
        (row,) = rows(d)
        hits = [
            row.plain[span.start : span.end] for span in row.spans if "underline" in str(span.style)
        ]
        assert hits == ["yonder"]
        await until(d.pilot, lambda: "yonder" in preview(d))
        await d.press(*"er zebra")
        empty = d.app.screen.query_one("#sessions-empty", Static)
        await until(d.pilot, lambda: empty.display)
        assert "No text and no name has all of these words" in str(empty.render())
        await d.press("escape")
        assert len(titles(d)) == 2
        await d.press("ctrl+f", *"light", "enter")
        await closes(d)
        assert d.text == OLD


async def test_a_search_that_finds_more_than_it_shows_says_so(tmp_path: Path) -> None:
    path, document = tmp_path / "sessions.db", Document()
    document.append_user(OLD)
    sessions = Sessions(path)
    for _ in range(51):
        sessions.save(sessions.create(), document)
    sessions.close()
    async with desk(sessions=path) as d:
        await browse(d)
        assert said(d) == "51 sessions"
        await d.press("slash", *"li")
        await until(d.pilot, lambda: said(d) == "the best 50; more words find fewer")


async def test_keys_that_come_together_are_searched_for(database: Path) -> None:
    async with desk(sessions=database) as d:
        await browse(d)
        await d.press_at_once("/", *"dream", "backspace", "/", "s")
        search = d.app.screen.query_one("#sessions-search", Input)
        await until(d.pilot, lambda: search.value == "drea/s")
        await until(d.pilot, lambda: said(d) == "0 found")  # and nothing was duplicated


async def test_down_in_the_search_goes_to_the_list(database: Path) -> None:
    async with desk(sessions=database) as d:
        await browse(d)
        await d.press("slash", "down", "down", "enter")
        await closes(d)
        assert d.text == OLD


async def test_renames_in_place(database: Path) -> None:
    async with desk(sessions=database) as d:
        await browse(d)
        await d.press("down", "r")
        field = d.app.screen.query_one("#sessions-rename", Input)
        await until(d.pilot, lambda: field.has_focus and field.region.height > 0)
        options = d.app.screen.query_one(OptionList)
        assert field.region.y == options.region.y + 1  # over the second row
        assert field.value == "The window"
        await d.press(*"Balcony", "enter")
        assert titles(d)[1] == "Balcony"
        assert options.has_focus
        await d.press("r", "x", "escape")
        assert not field.display
        assert titles(d)[1] == "Balcony"
        for key in ("tab", "down"):  # whoever goes elsewhere is done with the name
            await d.press("r", *key, key)
            await until(d.pilot, lambda: not field.display)
            assert titles(d)[1] == key
        await d.press("r", "backspace", "enter")
        assert titles(d)[1].startswith("ROMEO: What light")


async def test_deletes_and_undoes(database: Path) -> None:
    async with desk(sessions=database) as d:
        await browse(d)
        await d.press("down", "delete")
        assert titles(d) == ["KING: A horse!"]
        assert said(d) == "Deleted “The window”; U brings it back."
        await d.press("delete")
        assert titles(d) == []
        await d.press("u", "ctrl+z")
        assert titles(d) == ["KING: A horse!", "The window"]
        assert d.app.screen.query_one(OptionList).highlighted == 1
        await d.press("delete", "escape")
        await closes(d)
    assert [info.preview for info in Sessions(database).list()] == [NEW.replace("\n", "␊")]


async def test_what_was_deleted_can_be_brought_back_in_a_list_opened_anew(database: Path) -> None:
    async with desk(sessions=database) as d:
        await browse(d)
        await d.press("delete", "delete", "escape")
        await closes(d)
    async with desk(sessions=database) as d:
        await browse(d)
        assert titles(d) == []
        await d.press("u")
        assert said(d) == "“The window” is back."
        assert titles(d) == ["The window"]
        await d.press("u")
        assert titles(d) == ["KING: A horse!", "The window"]
        await d.press("u")
        assert said(d) == "There is nothing to bring back."


async def test_deleting_what_is_open_begins_a_new_text(database: Path) -> None:
    async with desk(sessions=database) as d:
        await browse(d)
        await d.press("enter")
        await closes(d)
        await browse(d)
        await d.press("delete", "u", "escape")
        await closes(d)
        assert d.text == NEW
        await browse(d)
        await d.press("delete", "escape")
        await closes(d)
        assert d.text == ""
        await d.press("A", "enter")
    assert [info.preview for info in Sessions(database).list()] == ["A", OLD.replace("\n", "␊")]


async def test_what_was_deleted_is_not_written_on_after_a_replay(database: Path) -> None:
    async with desk(sessions=database) as d:
        await browse(d)
        await d.press("enter")
        await closes(d)
        await browse(d)
        await d.press("delete", "p")
        await until(d.pilot, lambda: d.is_on(ReplayScreen))
        await d.press("escape")
        await until(d.pilot, lambda: d.is_on(SessionsScreen) and bool(said(d)))
        assert titles(d) == ["The window"]
        await d.press("escape")
        await closes(d)
        assert d.text == ""


async def test_duplicates(database: Path) -> None:
    async with desk(sessions=database) as d:
        await browse(d)
        await d.press("down", "d")
        assert "Duplicated" in said(d)
        assert titles(d)[0] == "The window (copy)"
        await d.press("enter")
        await closes(d)
        assert d.text == OLD


async def test_texts_of_one_name_are_told_apart_and_an_undone_one_is_called_so(
    tmp_path: Path,
) -> None:
    path, now = tmp_path / "sessions.db", 1e9
    sessions = Sessions(path, lambda: now)
    for text, name in (("", ""), (NEW, BESIDE[1]), (NEW, BESIDE[0]), (OLD, BESIDE[0])):
        document = Document()
        document.append_user(text or "taken back")
        document.rewind(len(text))
        sessions.rename(id := sessions.save(sessions.create(), document), name)
        now += DAY_S
    sessions.duplicate(id)
    sessions.close()
    async with desk(sessions=path) as d:
        await browse(d)
        assert titles(d) == [
            "ROMEO: What light th… (copy)", "A, beside B: ROMEO: What light …",
            "A, beside B: KING: A horse!", "B, beside A: KING: A horse!", "taken back",
        ]  # fmt: skip
        assert ["undone" in row.plain for row in rows(d)] == [False] * 4 + [True]


async def test_a_damaged_session_says_so(database: Path) -> None:
    with sqlite3.connect(database) as db:
        db.execute("UPDATE sessions SET n_nodes = 3")
    async with desk(sessions=database) as d:
        await browse(d)
        await until(d.pilot, lambda: "is damaged" in preview(d))
        await d.press("enter")
        await d.is_told("is damaged")
        assert d.text == ""


async def test_hostile_names_are_text(database: Path) -> None:
    evil = "\x1b[2J[red]b[/red]\n"
    with sqlite3.connect(database) as db:
        db.execute("UPDATE sessions SET name = ?, model = ?", (evil, evil))
    async with desk(sessions=database) as d:
        await browse(d)
        await until(d.pilot, lambda: bool(preview(d)))
        for shown in (rows(d)[0].plain, preview(d)):
            assert "[2J[red]b" in shown
            assert "\x1b" not in shown
        await d.press("delete")
        assert "[red]b[/red]" in said(d)


async def test_replays_what_is_stored(database: Path) -> None:
    async with desk(sessions=database) as d:
        await browse_after_a_run(d)
        await d.press("p")
        await until(d.pilot, lambda: d.is_on(ReplayScreen))
        asked = d.engine.last_generate
        assert (asked.text, asked.params.max_new_tokens) == ("AB", 3)
        d.engine.write("CD")
        now = d.app.screen.query_one("#replay-now", TokenView)
        await until(d.pilot, lambda: now.document.text == "ABCD")
        d.engine.write("E")
        d.engine.finish()
        words = d.app.screen.query_one("#replay-words", Static)
        await until(d.pilot, lambda: "came out the same: 3 characters" in str(words.render()))
        screen = d.app.screen
        assert isinstance(screen, ReplayScreen)
        assert screen._frames._task is None, "and is not drawn again and again"
        await d.press("escape")
        await until(d.pilot, lambda: d.is_on(SessionsScreen) and bool(said(d)))
        assert len(titles(d)) == 3
        await d.press("escape")
        await closes(d)
        assert d.text == "ABCDE"


async def test_the_search_is_still_there_after_a_replay(database: Path) -> None:
    async with desk(sessions=database) as d:
        await browse_after_a_run(d)
        await d.press("/", *"ABC", "down", "p")
        await until(d.pilot, lambda: d.is_on(ReplayScreen))
        await d.press("escape")
        await until(d.pilot, lambda: d.is_on(SessionsScreen) and said(d) == "1 found")
        assert d.app.screen.query_one("#sessions-search", Input).value == "ABC"
        assert titles(d) == ["● ABCDE"]
        await d.press("escape", "escape")
        await closes(d)


async def test_the_palette_replays_the_text_that_is_open() -> None:
    async with desk() as d:
        await d.type("AB")
        await d.press("enter")
        d.engine.write("CD")
        d.engine.finish()
        await d.says("ready")
        d.main.action_replay()
        await until(d.pilot, lambda: d.is_on(ReplayScreen))
        d.engine.write("CX")
        words = d.app.screen.query_one("#replay-words", Static)
        await until(d.pilot, lambda: "“C[D]”, now “C[X]”" in str(words.render()))
        assert "≠ run 1" in str(words.render())
        await d.press("escape")
        await closes(d)


@pytest.mark.once
@pytest.mark.parametrize("size", [(1, 1), (20, 5), (80, 24), (160, 50)])
async def test_any_size(database: Path, size: tuple[int, int]) -> None:
    async with desk(sessions=database, size=size) as d:
        await browse(d)
        await d.press("down", "r", "escape", "slash", *"a", "escape")
        for other in [(80, 24), (1, 1), (160, 50), size]:
            await d.pilot.resize_terminal(*other)
            await d.press("pageup", "pagedown")
        await d.press("p")
        await until(d.pilot, lambda: d.is_on(ReplayScreen))


def test_when_in_words() -> None:
    then = 1e9
    seconds = [-5, 0, 61, 3 * 3600, DAY_S + 1, 13 * DAY_S]
    assert [ago(then, then + s) for s in seconds] == [
        "just now", "just now", "1 minute ago", "3 hours ago", "yesterday", "13 days ago",
    ]  # fmt: skip
    assert "Sep 2001" in ago(then, then + 20 * DAY_S)
