"""Two texts side by side, with two scripted engines."""

import asyncio
import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from rich.segment import Segment
from textual.events import Key
from textual.pilot import Pilot
from textual.widgets import OptionList, Static

from minigpt.runtime.params import SamplingParams
from minigpt_tui.minigpt_app import MinigptApp
from minigpt_tui.presets import PRESETS, apply
from minigpt_tui.protocol import Change, Generate, Open, Opened, Skipped, Stop
from minigpt_tui.screens.ab import NO_COMMANDS, ABScreen
from minigpt_tui.screens.help import HelpScreen
from minigpt_tui.screens.main import MainScreen
from minigpt_tui.screens.models import ModelPicker
from minigpt_tui.sessions import Sessions
from minigpt_tui.widgets.pane import Pane
from minigpt_tui.widgets.pane_header import PaneHeader
from minigpt_tui.widgets.preset_row import PresetRow
from minigpt_tui.widgets.prompt import Prompt
from minigpt_tui.widgets.sampling_panel import SamplingPanel
from minigpt_tui.widgets.slider import Slider
from minigpt_tui.widgets.two_panes import TwoPanes
from tests.tui.scripted_engine import CARD, CHARS, CONFIG, MODEL, ScriptedEngine, until

pytestmark = pytest.mark.once

DEFAULTS = SamplingParams()
OTHERS = apply(DEFAULTS, PRESETS["careful"])
"""What B begins with."""


class Second(ScriptedEngine):
    """The engine that the screen makes for itself."""

    is_closed = False

    def close(self) -> None:
        self.is_closed = True


class Desk:
    """The app with the screen open, and what one sees of it."""

    def __init__(self, pilot: Pilot[str], first: ScriptedEngine, made: list[Second]) -> None:
        self.pilot, self.app, self.press = pilot, pilot.app, pilot.press
        self.first, self.made = first, made

    @property
    def second(self) -> Second:
        return self.made[-1]

    @property
    def screen(self) -> ABScreen:
        screen = next(s for s in self.app.screen_stack if isinstance(s, ABScreen))
        assert isinstance(screen, ABScreen)
        return screen

    @property
    def both(self) -> TwoPanes:
        return self.screen.both

    @property
    def main(self) -> MainScreen:
        screen = self.app.screen_stack[0]
        assert isinstance(screen, MainScreen)
        return screen

    @property
    def verdict(self) -> str:
        return str(self.screen.query_one("#verdict", Static).content)

    @property
    def texts(self) -> tuple[str, str]:
        return self.both.a.text, self.both.b.text

    @property
    def notices(self) -> list[str]:
        return [notice.message for notice in self.app._notifications]

    def header(self, pane: Pane) -> str:
        return pane.query_one(PaneHeader).render().plain

    async def sees(self, one: str, other: str) -> None:
        await until(self.pilot, lambda: self.texts == (one, other))

    async def reads(self, part: str) -> None:
        await until(self.pilot, lambda: part in self.verdict)

    async def slide(self, pane: Pane, **values: float) -> None:
        for name, value in values.items():
            pane.query_one(f"#{name.replace('_', '-')}", Slider).set_to(value)
        await self.pilot.pause()


@asynccontextmanager
async def main_screen(
    size: tuple[int, int] = (80, 24),
    *,
    other_model: Path | None = None,
    sessions: Path | None = None,
) -> AsyncIterator[Desk]:
    first, made = ScriptedEngine(), list[Second]()

    def make_engine() -> Second:
        made.append(Second())
        return made[-1]

    app = MinigptApp(
        first, MODEL, other_model=other_model, make_engine=make_engine, sessions=sessions
    )
    async with app.run_test(size=size, notifications=True) as pilot:
        yield Desk(pilot, first, made)


@asynccontextmanager
async def two_panes(
    size: tuple[int, int] = (80, 24),
    *,
    other_model: Path | None = None,
    sessions: Path | None = None,
) -> AsyncIterator[Desk]:
    async with main_screen(size, other_model=other_model, sessions=sessions) as d:
        if other_model is None:
            await d.press("f10")
        await until(d.pilot, lambda: bool(d.made) and bool(d.made[0].asked(Open)))
        yield d


async def more_than_the_disk_takes(d: Desk) -> str:
    """What B writes then."""
    stored = d.both.b.keeper.sessions
    assert stored
    (n_pages,) = stored._db._db.execute("PRAGMA page_count").fetchone()
    stored._db._db.execute(f"PRAGMA max_page_count = {n_pages}")
    text = "".join(chr(33 + i * i % 90) for i in range(50_000))
    d.second.write(text)
    await until(d.pilot, lambda: stored.is_behind)
    return text


def shown(pane: Pane) -> list[Segment]:
    """The pieces of a text as they are drawn, without the gutter."""
    rows = (pane.view.render_line(y) for y in range(pane.view.size.height))
    return [segment for row in rows for segment in list(row)[1:] if segment.text.strip()]


async def test_enter_writes_the_same_with_both() -> None:
    async with two_panes() as d:
        await d.slide(d.both.b, temperature=1.2)
        await d.press("enter")
        assert d.first.last_generate.text == d.second.last_generate.text == "ROMEO:"
        assert d.first.last_generate.params == DEFAULTS
        assert d.second.last_generate.params == replace(OTHERS, temperature=1.2)
        d.first.write(" AY")
        d.second.write(" NO")
        await d.sees("ROMEO: AY", "ROMEO: NO")


async def test_enter_again_begins_anew() -> None:
    async with two_panes() as d:
        await d.press("enter")
        d.first.write(" AY")
        await d.sees("ROMEO: AY", "ROMEO:")
        await d.press("X", "enter")
        assert d.first.asked(Stop) == [Stop(1)]
        assert d.texts == ("ROMEO:X", "ROMEO:X")
        assert d.first.last_generate == Generate(2, "ROMEO:X", DEFAULTS, model="f" * 64)


async def test_there_is_something_to_compare_from_the_first_enter_on() -> None:
    async with two_panes() as d:
        await d.press("enter")
        assert d.second.last_generate.params == OTHERS
        await d.press("escape", "escape")
        d.main.query_one(SamplingPanel).take(OTHERS)
        await d.press("f10", "enter")
        assert d.second.last_generate.params == apply(DEFAULTS, PRESETS["wild"])
    async with two_panes(other_model=Path("other.onnx")) as d:
        await d.press("enter")
        assert d.second.last_generate.params == DEFAULTS


async def test_a_bias_is_of_one_vocabulary() -> None:
    async with two_panes() as d:
        a, b = d.both.panes
        a.panel.take(replace(DEFAULTS, logit_bias=((3, 1.0),)))
        d.first.chars = d.second.chars = CHARS[::-1]
        d.second.open(Path("other.onnx"))
        await until(d.pilot, lambda: b.writer.model is not None and b.writer.model.chars != CHARS)
        b.take_settings(a)
        assert b.params.logit_bias == ()
        d.first.open(Path("other.onnx"))
        await until(d.pilot, lambda: a.params.logit_bias == ())


async def test_a_screen_that_closes_leaves_the_engines_answers_alone() -> None:
    async with two_panes() as d:
        await until(d.pilot, lambda: not d.first.unheard)
        screen = d.screen
        screen.dismiss()
        d.first.open(MODEL)  # what the main screen has asked for
        screen._draw()
        assert d.first.unheard
        await until(d.pilot, lambda: d.main.writer.model is not None)


async def test_the_chosen_model_is_still_the_chosen_one_after_many_visits() -> None:
    async with main_screen() as d:
        await until(d.pilot, lambda: d.main.writer.model is not None)
        d.main.open_model(Path("chosen.onnx"))
        d.first.opens = False
        for _ in range(2):
            await d.press("f10")
            await d.press("f10")
        asked = [request.path for request in d.first.asked(Open) if isinstance(request, Open)]
        assert set(asked[1:]) == {Path("chosen.onnx")}


async def test_both_texts_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    async with two_panes(sessions=path) as d:
        for answer in (" AY", " NO"):
            await d.press("enter")
            d.first.write(answer)
            d.second.write(answer + "!")
            await d.sees("ROMEO:" + answer, "ROMEO:" + answer + "!")
        await d.press("escape", "escape")
    sessions = Sessions(path)
    kept = {info.name: sessions.load(info.id) for info in sessions.list()}
    for name, end in (("A, beside B", ""), ("B, beside A", "!")):
        texts = [kept[name].text_of(branch.leaf) for branch in kept[name].leaves()]
        assert texts == [f"ROMEO: AY{end}", f"ROMEO: NO{end}"]
    sessions.close()


@pytest.mark.parametrize("is_stored", [True, False])
async def test_the_better_one_is_the_one_to_go_on_with(tmp_path: Path, is_stored: bool) -> None:
    path = tmp_path / "sessions.db" if is_stored else None
    async with two_panes(sessions=path) as d:
        d.both.b.writer.open(Path("other.onnx"))
        await d.slide(d.both.b, temperature=1.2)
        await d.press("f8")
        assert d.notices[-1] == "There is no text yet; Enter writes one with both."
        await d.press("enter")
        d.first.write(" AY")
        d.second.write(" NO")
        await d.sees("ROMEO: AY", "ROMEO: NO")
        await d.press("f8")
        await until(d.pilot, lambda: d.app.screen is d.main)
        assert d.main.writer.document.text == "ROMEO: NO"
        hint = " Ctrl+O has the other texts." if is_stored else ""
        assert d.notices[-1] == f"You go on with B.{hint}"
        assert d.main.query_one(SamplingPanel).params == replace(OTHERS, temperature=1.2)
        assert d.first.asked(Open)[-1] == Open(Path("other.onnx"))
        await until(d.pilot, lambda: d.main.writer.model is not None)
        await d.press(",", "enter")
        assert d.first.last_generate.text == "ROMEO: NO,"
        d.first.write(" no")
        await until(d.pilot, lambda: d.main.writer.document.text == "ROMEO: NO, no")
    if path:
        sessions = Sessions(path)
        kept = {info.name: sessions.load(info.id).text for info in sessions.list()}
        assert kept == {"A, beside B": "ROMEO: AY", "B, beside A": "ROMEO: NO, no"}
        sessions.close()


async def test_a_text_that_the_disk_did_not_take_is_gone_on_with_all_the_same(
    tmp_path: Path,
) -> None:
    async with two_panes(sessions=tmp_path / "sessions.db") as d:
        await d.press("enter")
        text = await more_than_the_disk_takes(d)
        await d.press("f8")
        await until(d.pilot, lambda: d.app.screen is d.main)
        assert d.main.writer.document.text == f"ROMEO:{text}"
        d.main.save()
        assert d.main.keeper.sessions
        assert d.main.keeper.sessions.load(d.main.keeper.id).text == f"ROMEO:{text}"


async def test_what_the_disk_did_not_take_at_last_is_not_lost_either(tmp_path: Path) -> None:
    async with two_panes(sessions=tmp_path / "sessions.db") as d:
        await d.press("enter")
        d.second.write(" NO")
        await d.sees("ROMEO:", "ROMEO: NO")
        d.screen._save()
        text = await more_than_the_disk_takes(d)
        await d.press("f8")
        await until(d.pilot, lambda: d.app.screen is d.main)
        assert d.main.writer.document.text == f"ROMEO: NO{text}"


async def test_an_example_gives_way_to_what_is_typed_and_words_of_ones_own_do_not() -> None:
    async with two_panes() as d:
        assert d.screen.query_one(Prompt).text == "ROMEO:"
        await d.press("M")
        assert d.screen.query_one(Prompt).text == "M"
    async with main_screen() as d:
        await d.press("K", "f10")
        await until(d.pilot, lambda: d.app.screen is not d.main)
        await d.press("M")
        assert d.screen.query_one(Prompt).text == "KM"


async def test_a_text_is_not_said_to_be_of_a_model_that_came_later() -> None:
    async with two_panes((120, 30)) as d:
        await d.press("enter")
        d.second.write(" NO")
        d.second.finish()
        await d.sees("ROMEO:", "ROMEO: NO")
        assert "text by" not in d.header(d.both.b)
        d.both.b.writer.document.runs[-1].model_name = "older"
        d.both.b.writer.document.runs[-1].model_sha256 = "0" * 64
        d.both.show_numbers()
        assert "text by older" in d.header(d.both.b)
        d.both.b.writer.document.runs[-1].model_name = CARD.name
        d.both.show_numbers()
        assert f"text by another {CARD.name}" in d.header(d.both.b)


async def test_bans_of_a_model_that_is_left_are_not_kept() -> None:
    async with two_panes() as d:
        await d.press("enter")
        d.second.write(" NO")
        await d.sees("ROMEO:", "ROMEO: NO")
        d.both.b.panel.take(replace(OTHERS, logit_bias=((3, -1.0),)))
        d.second.opens = False
        d.both.b.writer.open(Path("other.onnx"))
        await d.press("f8")
        await until(d.pilot, lambda: d.app.screen is d.main)
        assert d.main.query_one(SamplingPanel).params == OTHERS


async def test_bans_are_named_as_soon_as_the_model_is_open_again() -> None:
    async with two_panes() as d:
        await d.press("enter")
        d.second.write(" NO")
        await d.sees("ROMEO:", "ROMEO: NO")
        d.both.b.panel.take(replace(OTHERS, logit_bias=((CHARS.find("E"), -math.inf),)))
        d.first.opens = False
        await d.press("f8")
        await until(d.pilot, lambda: d.app.screen is d.main)
        await d.pilot.pause()
        d.first.open(MODEL)
        row = d.main.query_one("#biases", Static)
        await until(d.pilot, lambda: "no E" in str(row.render()))


async def test_what_waits_for_a_refresh_may_find_the_screen_closed() -> None:
    async with two_panes() as d:
        screen = d.screen
        await d.press("escape")
        await until(d.pilot, lambda: not screen.query(SamplingPanel))
        screen._leave_hidden_panel()


async def test_nothing_is_written_from_nothing() -> None:
    async with two_panes() as d:
        d.screen.query_one(Prompt).text = ""
        await d.press("enter", "enter")
        assert d.first.asked(Generate) == []
        assert d.notices == ["Type a beginning: both go on from it."]


async def test_a_command_is_refused_and_two_slashes_are_text() -> None:
    async with two_panes() as d:
        prompt = d.screen.query_one(Prompt)
        prompt.write("/SET TOP_K=5")
        await d.press("enter")
        await until(d.pilot, lambda: bool(d.notices))
        assert d.notices == [NO_COMMANDS]
        assert d.first.asked(Generate) == d.second.asked(Generate) == []
        assert prompt.text == "/SET TOP_K=5"
        await d.press("home", "/", "enter")
        assert d.first.last_generate.text == d.second.last_generate.text == "/SET TOP_K=5"
        await d.press("enter")
        assert d.first.last_generate.text == "/SET TOP_K=5"  # once more


async def test_a_text_may_begin_with_a_slash() -> None:
    async with main_screen() as d:
        await d.press(*"//AY", "enter", "f10")
        await until(d.pilot, lambda: bool(d.made))
        await d.press("enter")
        assert d.first.last_generate.text == "/AY"


async def test_what_was_sent_on_the_main_screen_is_at_hand_and_the_other_way_round() -> None:
    async with main_screen() as d:
        await d.press(*"AY", "enter", "f10")
        await until(d.pilot, lambda: bool(d.made))
        prompt = d.screen.query_one(Prompt)
        prompt.text = ""
        await d.press("up")
        assert prompt.text == "AY"
        await d.press(*"ME", "enter", "f10", "up")
        assert d.main.query_one(Prompt).text == "AYME"


async def test_two_models_at_the_start_know_what_was_sent(tmp_path: Path) -> None:
    prompts = {"version": 1, "prompts": ["AY"]}
    (tmp_path / "prompts.json").write_text(json.dumps(prompts), encoding="utf-8")
    async with two_panes(other_model=MODEL, sessions=tmp_path / "sessions.db") as d:
        d.screen.query_one(Prompt).text = ""
        await d.press("up")
        assert d.screen.query_one(Prompt).text == "AY"


async def test_the_place_where_they_part_is_told_and_marked_in_both() -> None:
    async with two_panes() as d:
        await d.press("enter")
        d.first.write("\nTHE HEART IS")
        d.second.write("\nTHE HE")
        await d.reads("The same so far: 7 characters")
        d.second.write("AT OF")
        await d.reads("◆ The same for 8 characters, then A “HEART” and B “HEAT”")
        for pane, pieces in (
            (d.both.a, ["ROMEO:", "THE HEA", "R", "T IS", "▌"]),
            (d.both.b, ["ROMEO:", "THE HEA", "T", " OF", "▌"]),
        ):
            segments = shown(pane)
            assert [segment.text.rstrip() for segment in segments] == pieces
            _, same, first, rest, _ = (segment.style for segment in segments)
            assert same
            assert first
            assert rest
            assert first.reverse
            assert first.underline  # also where there is no colour
            assert same.color != rest.color


async def test_what_is_the_same_to_the_end_has_no_mark() -> None:
    async with two_panes() as d:
        await d.press("enter")
        for engine in (d.first, d.second):
            engine.write(" AY ME")
            engine.finish()
        await d.reads("The same from beginning to end: 6 characters")
        assert "◆" not in d.verdict
        await d.press("ctrl+g")  # has nowhere to go
        assert d.both.a.view.cursor is None
        assert d.notices == ["There is no difference so far."]


async def test_one_key_shows_where_they_part_and_the_end_again() -> None:
    async with two_panes() as d:
        await d.press("enter")
        d.first.write("A" + "\n" * 50 + "END")
        d.second.write("B" + "\n" * 50 + "END")
        await d.reads("Different from the first character on")
        assert all(pane.view.scroll_offset.y > 0 for pane in d.both.panes)
        await d.press("ctrl+g")
        assert all(pane.view.scroll_offset.y == 0 for pane in d.both.panes)
        await d.press("ctrl+g")
        assert all(pane.view.follows and pane.view.scroll_offset.y > 0 for pane in d.both.panes)
        await d.press("ctrl+home")
        assert all(pane.view.scroll_offset.y == 0 for pane in d.both.panes)
        await d.press("pagedown", "ctrl+end")
        assert all(pane.view.follows for pane in d.both.panes)


async def test_a_header_tells_speed_surprise_and_what_is_different() -> None:
    async with two_panes() as d:
        a, b = d.both.panes
        await d.slide(b, temperature=1.2)
        await until(d.pilot, lambda: "temperature 0.80" in d.header(a))
        assert "temperature 1.20" in d.header(b)
        assert "top-k" not in d.header(a) + d.header(b)
        await d.press("enter")
        d.first.write("A" * 8)
        d.first.finish()
        await until(d.pilot, lambda: "4,321 tok/s" in d.header(a))
        assert "0.72 bits/char" in d.header(a)  # 0.5 nats
        assert "tok/s" not in d.header(b)
        assert "bits" not in d.header(b)


async def test_a_header_tells_the_settings_that_its_text_was_written_with() -> None:
    async with two_panes() as d:
        await d.press("enter")
        d.first.finish()
        await until(d.pilot, lambda: not d.both.a.writer.is_running)
        await d.slide(d.both.a, temperature=0.0)
        await until(d.pilot, lambda: "was temperature 0.80" in d.header(d.both.a))
        assert "was top-p" not in d.header(d.both.a)
        await d.slide(d.both.b, temperature=1.2)  # which acts at once: that one still writes
        await until(d.pilot, lambda: "temperature 1.20" in d.header(d.both.b))
        await d.press("enter")
        await until(d.pilot, lambda: "temperature 0.00" in d.header(d.both.a))
        assert "was" not in d.header(d.both.a) + d.header(d.both.b)


async def test_enter_on_a_preset_writes_or_brings_it_back() -> None:
    async with two_panes() as d:
        await d.press("tab", "right")
        assert isinstance(d.app.focused, PresetRow)
        chosen = d.both.a.params
        assert chosen != DEFAULTS
        await d.press("enter")
        assert d.first.last_generate.params == chosen
        await d.slide(d.both.a, temperature=0.1)
        assert d.both.a.params != chosen
        await d.press("enter")
        assert d.both.a.params == chosen
        assert len(d.first.asked(Generate)) == 1


async def test_a_slider_acts_on_its_own_text_alone() -> None:
    async with two_panes() as d:
        await d.press("enter")
        await d.slide(d.both.b, temperature=1.2)
        assert d.first.asked(Change) == []
        assert d.second.asked(Change) == [Change(replace(OTHERS, temperature=1.2))]


async def test_tab_goes_to_the_same_slider_of_the_other_and_enter_writes_from_there() -> None:
    async with two_panes() as d:
        await d.press("tab", "down", "down", "down")
        focused = d.app.focused
        assert focused
        assert focused.id == "top-p"
        assert d.both.a.panel in focused.ancestors
        assert "[A]" in d.header(d.both.a)
        await d.press("tab", "left", "enter")
        assert d.first.last_generate.params.top_p == 0.95
        assert d.second.last_generate.params.top_p == 0.89
        assert "[B]" in d.header(d.both.b)
        assert " A " in d.header(d.both.a)
        await d.press("tab")
        assert isinstance(d.app.focused, Prompt)
        await d.press("shift+tab", "shift+tab", "shift+tab")
        assert isinstance(d.app.focused, Prompt)


async def test_settings_are_copied_to_the_other() -> None:
    async with two_panes() as d:
        await d.slide(d.both.a, temperature=0.5, top_k=7)
        await d.press("tab", "=")
        assert d.both.b.params == replace(DEFAULTS, temperature=0.5, top_k=7)
        await d.pilot.pause()
        assert d.both.b.query_one("#top-k", Slider).value == 7
        assert "top-k" not in d.header(d.both.a)


async def test_both_have_one_seed() -> None:
    async with two_panes() as d:
        await d.press("ctrl+r", "enter")
        seed = d.first.last_generate.params.seed
        assert d.second.last_generate.params.seed == seed
        assert f"seed {seed} " in str(d.screen.query_one("#prompt-row").border_subtitle)


async def test_escape_stops_both_then_goes_back() -> None:
    async with two_panes() as d:
        await d.press("enter")
        d.first.write("A")
        await d.sees("ROMEO:A", "ROMEO:")
        await d.press("escape")
        assert (d.first.asked(Stop), d.second.asked(Stop)) == ([Stop(1)], [Stop(1)])
        d.first.write("LATE")
        await until(d.pilot, lambda: not d.first.unheard)
        assert d.texts == ("ROMEO:A", "ROMEO:")
        await d.press("escape")
        await until(d.pilot, lambda: d.second.is_closed)
        assert d.app.screen is d.main


async def test_a_key_that_finds_the_screen_unfinished_waits_for_it() -> None:
    async with main_screen() as d:
        assert d.app._driver is not None
        await until(d.pilot, lambda: d.main.is_mounted)
        d.app._driver.process_message(Key("f10", None))
        while not isinstance(d.app.screen, ABScreen):
            await asyncio.sleep(0)
        assert not d.app.screen.is_mounted
        key = Key("escape", None)
        key._set_forwarded()  # as the prompt had no use for it
        await d.app.on_event(key)
        await until(d.pilot, lambda: d.app.screen is d.main)
        assert d.made[0].is_closed


async def test_escape_on_a_slider_returns_to_the_prompt_first() -> None:
    async with two_panes() as d:
        await d.press("tab", "escape")
        assert d.app.focused is d.screen.query_one(Prompt)
        await d.press("escape")
        assert d.app.screen is d.main


async def test_the_engine_is_given_back_with_the_model_it_had(tmp_path: Path) -> None:
    async with two_panes() as d:
        d.both.a.writer.open(tmp_path / "other.onnx")
        await d.press("enter", "f10")
        assert d.first.asked(Stop) == [Stop(1)]
        await until(d.pilot, lambda: d.first.asked(Open)[-1] == Open(MODEL))
        d.first.write("LATE")  # a word of the screen that is gone
        await until(d.pilot, lambda: not d.first.unheard)
        assert d.main.writer.document.text == ""
        await d.press("enter")
        d.first.write(" AY")
        await until(d.pilot, lambda: d.main.writer.document.text == "ROMEO: AY")
        await d.press("f10")
        await until(d.pilot, lambda: len(d.made) == 2)
        assert d.made[0].is_closed
        assert not d.second.is_closed


async def test_a_model_that_cannot_be_opened_again_is_not_believed_to_be_open() -> None:
    async with two_panes() as d:
        d.first.refuses = "it is gone"  # and the engine keeps the one that A had last
        await d.press("escape")
        await until(d.pilot, lambda: any("it is gone" in notice for notice in d.notices))
        assert d.main.writer.model is None
        assert isinstance(d.app.screen, ModelPicker)


async def test_a_model_that_was_refused_is_not_the_one_that_is_open() -> None:
    async with main_screen() as d:
        d.first.refuses = "it is damaged"
        d.main.open_model(Path("bad.onnx"))
        await until(d.pilot, lambda: any("it is damaged" in notice for notice in d.notices))
        d.first.refuses = ""
        await d.press("f10")
        await until(d.pilot, lambda: bool(d.made))
        assert d.first.asked(Open)[-1] == Open(MODEL)
        await d.press("escape")
        await until(d.pilot, lambda: d.app.screen is d.main)
        assert d.first.asked(Open)[-1] == Open(MODEL)


async def test_the_main_screen_is_silent_meanwhile() -> None:
    async with main_screen() as d:
        await d.press(*"AY", "enter")
        d.first.write(" ME")
        await until(d.pilot, lambda: d.main.writer.document.text == "AY ME")
        await d.press("f10")
        await until(d.pilot, lambda: bool(d.made))
        assert d.first.asked(Stop) == [Stop(1)]
        assert d.screen.query_one(Prompt).text == "AY"  # the words that the text began with
        await d.press("enter")
        d.first.write(" YOU")
        await d.sees("AY YOU", "AY")
        assert d.main.writer.document.text == "AY ME"


async def test_goes_on_from_the_cursor() -> None:
    async with main_screen() as d:
        await d.press(*"AY", "enter")
        d.first.write(" ME")
        d.first.finish()
        await until(d.pilot, lambda: d.main.writer.document.text == "AY ME")
        await d.press("left", "left", "f10")
        await until(d.pilot, lambda: bool(d.made))
        assert d.screen.query_one(Prompt).text == "AY "


async def test_goes_on_from_the_cursor_at_the_beginning_too() -> None:
    async with main_screen() as d:
        await d.press("H", "enter")
        d.first.write("i")
        d.first.finish()
        await until(d.pilot, lambda: d.main.writer.document.text == "Hi")
        await d.press("left", "home", "f10")
        await until(d.pilot, lambda: d.app.screen is not d.main)
        assert d.screen.query_one(Prompt).text == ""


async def test_each_has_a_model_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "zero.onnx").write_bytes(b"0")
    async with two_panes() as d:
        await d.press("tab", "tab", "f2")
        assert isinstance(d.app.screen, ModelPicker)
        await until(d.pilot, lambda: bool(d.app.screen.query(OptionList)))
        await d.press("end", "enter")
        last = d.second.requests[-1]
        assert isinstance(last, Open)
        assert last.path.name == "zero.onnx"
        assert d.first.asked(Open)[-1] == Open(MODEL)
        await d.pilot.click(d.both.a.query_one(PaneHeader))
        await until(d.pilot, lambda: isinstance(d.app.screen, ModelPicker))
        assert "[A]" in d.header(d.both.a)


async def test_two_checkpoints_of_a_run_are_told_apart() -> None:
    other = Path("run/step-500.onnx")
    async with two_panes((160, 50), other_model=other) as d:
        assert d.second.asked(Open) == [Open(other)]
        d.second.say(
            Opened(other, replace(CARD, steps=500, val_loss=2.01), CONFIG, CHARS, "e" * 64)
        )
        await until(d.pilot, lambda: "step-500" in d.header(d.both.b))
        assert "500 steps · loss 2.01" in d.header(d.both.b)
        assert "scripted" in d.header(d.both.a)
        assert "2,000 steps · loss 1.47" in d.header(d.both.a)


async def test_a_notice_says_whose_it_is() -> None:
    async with two_panes() as d:
        await d.press("enter")
        d.second.say(Skipped(1, "é"))
        await until(d.pilot, lambda: bool(d.notices))
        assert d.notices == ["B: The model has never seen é: it reads past it."]


async def test_narrow_panes_stand_over_each_other() -> None:
    async with two_panes((60, 24)) as d:
        a, b = d.both.panes
        assert a.region.bottom == b.region.y
        assert [pane.panel.display for pane in d.both.panes] == [False, False]
        await d.press("f3")
        assert [pane.panel.display for pane in d.both.panes] == [True, True]
        await d.press("tab")
        await d.pilot.resize_terminal(160, 50)
        await d.pilot.pause()
        assert a.region.y == b.region.y
        assert a.view.size.width == b.view.size.width  # or their rows would break elsewhere
        await d.press("f3")
        await until(d.pilot, lambda: isinstance(d.app.focused, Prompt))


@pytest.mark.parametrize("size", [(60, 24), (80, 12), (40, 12)])
async def test_where_there_is_little_room_the_sliders_are_shown_when_asked_for(
    size: tuple[int, int],
) -> None:
    async with two_panes(size) as d:
        await d.reads("F3 for the sliders")
        await d.press("f3")
        await d.reads("Tab to a slider")
        for pane in d.both.panes:
            assert d.both.region.contains_region(pane.query_one(Slider).region)
        await d.press("f3")
        await d.reads("F3 for the sliders")


async def test_what_is_said_names_the_users_own_keys() -> None:
    async with two_panes() as d:
        d.app.set_keymap({"ab.new_seed": "f12", "ab.models": "f9"})
        await d.press("f12")
        await d.reads("or F9 for another model; then Enter")
        assert "F12 another" in str(d.screen.query_one("#prompt-row").border_subtitle)


async def test_help_is_over_it() -> None:
    async with two_panes() as d:
        await d.press("f1")
        assert isinstance(d.app.screen, HelpScreen)
        await d.press("escape")
        assert d.app.screen_stack[-1] is d.screen


async def test_the_end_of_the_app_is_the_end_of_the_second_engine() -> None:
    async with two_panes() as d:
        await d.press("ctrl+q")
    assert d.second.is_closed


async def test_what_is_lost_at_the_end_is_told_when_the_app_has_gone(tmp_path: Path) -> None:
    async with two_panes(sessions=tmp_path / "sessions.db") as d:
        app = d.app
        assert isinstance(app, MinigptApp)
        stored = [pane.keeper.sessions for pane in d.both.panes if pane.keeper.sessions]
        for sessions in stored:
            sessions._db._db.execute("PRAGMA max_page_count = 1")
        await d.press("enter")
        for engine in (d.first, d.second):
            engine.write("".join(chr(33 + i * i % 90) for i in range(50_000)))
        await until(d.pilot, lambda: all(sessions.is_behind for sessions in stored))
        await d.press("ctrl+q")
    assert len(app.last_words) == 2
    assert all("could not be saved" in sentence for sentence in app.last_words)
