"""What the model thinks, on the screen: candidates, cursor, branches, heat, type-along."""

import math
from dataclasses import replace

import pytest
from textual.widgets import Static

from minigpt.runtime.params import SamplingParams
from minigpt_tui.document import Author
from minigpt_tui.inside import Inside
from minigpt_tui.protocol import Change, Generate, Look, Seen, Stop
from minigpt_tui.widgets.attention_panel import AttentionPanel
from minigpt_tui.widgets.candidates_panel import CandidatesPanel
from minigpt_tui.widgets.heat_legend import HeatLegend
from minigpt_tui.widgets.prompt import Prompt
from minigpt_tui.widgets.side_panel import SidePanel
from minigpt_tui.widgets.token_view import TokenView
from tests.tui.scripted_engine import CHARS, CONFIG, ROW, ScriptedEngine, until
from tests.tui.test_app import Desk, desk

A, B, C = map(CHARS.find, "ABC")


def shown(d: Desk) -> list[str]:
    """The rows of the candidates' panel."""
    panel = d.main.query_one(CandidatesPanel)
    return [panel.render_line(y).text.rstrip() for y in range(panel.size.height)]


async def wrote(d: Desk, text: str = "BCA") -> None:
    """A finished run: "R", then `text`."""
    await d.type("R")
    await d.press("enter")
    d.engine.write(text)
    d.engine.finish()
    await d.says("ready")


def last_change(d: Desk) -> SamplingParams:
    change = d.engine.asked(Change)[-1]
    assert isinstance(change, Change)
    return change.params


async def sees_row(d: Desk, part: str) -> None:
    await until(d.pilot, lambda: any(part in row for row in shown(d)))


async def test_when_it_rests_the_panel_shows_what_could_come_next() -> None:
    async with desk() as d:
        await wrote(d)
        await sees_row(d, "Next character")
        look = d.engine.asked(Look)[-1]
        assert isinstance(look, Look)
        assert (look.text, look.view) == ("RBCA", 33)  # as if it had not been broken off
        rows = shown(d)
        assert rows[1].split()[0] == "A"
        assert [row.split()[0] for row in rows[2:4]] == ["B", "C"]


async def test_another_place_is_seen_from_its_likeliest_on() -> None:
    async with desk() as d:
        await wrote(d)
        await sees_row(d, "Next character")
        panel = d.main.query_one(CandidatesPanel)
        panel.focus()
        await d.press("end")
        assert panel.chosen > 3
        d.main.query_one(Prompt).focus()
        await d.press("left")
        await sees_row(d, "Character 4")
        assert (panel.chosen, panel._top) == (0, 0)


async def test_while_it_writes_the_panel_shows_what_it_drew_from() -> None:
    async with desk() as d:
        await d.type("R")
        await d.press("enter")
        d.engine.write("C")
        await sees_row(d, "·C")


async def test_a_slider_moves_the_panel_without_asking_the_model() -> None:
    async with desk() as d:
        await wrote(d)
        await sees_row(d, "Next character")
        n_asked = len(d.engine.requests)
        d.slider("top-k").set_to(1)
        await sees_row(d, "top-k")
        assert "100%" in shown(d)[1]
        assert len(d.engine.requests) == n_asked


async def test_a_candidate_is_forced_at_the_end() -> None:
    async with desk() as d:
        await wrote(d)
        await sees_row(d, "Next character")
        d.main.query_one(CandidatesPanel).focus()
        await d.press("down", "enter")
        assert d.text == "RBCAB"
        assert d.main.writer.document.author(4) is Author.FORCED
        assert (d.engine.last_generate.text, d.engine.last_generate.view) == ("RBCAB", 34)


async def test_the_cursor_goes_back_and_another_character_begins_a_branch() -> None:
    async with desk() as d:
        await wrote(d)
        await d.press("left", "left")
        view = d.main.query_one(TokenView)
        assert (view.has_focus, view.cursor) == (True, 2)
        await sees_row(d, "Character 3")
        await sees_row(d, "·C")
        look = d.engine.asked(Look)[-1]
        assert isinstance(look, Look)
        assert (look.text, look.view) == ("RB", 32)
        await d.press("enter", "enter")  # the likeliest, A, in the place of C
        assert d.text == "RBA"
        d.engine.write("X")
        await d.sees("RBAX")
        d.engine.finish()
        await d.says("ready")
        assert [b.preview for b in d.main.writer.document.leaves()] == ["RBCA", "AX"]
        await d.press("ctrl+z")
        await d.sees("RBCA")
        await d.press("ctrl+y")
        await d.sees("RBAX")


@pytest.mark.parametrize("size", [(60, 20), (40, 15)])
async def test_on_a_narrow_screen_the_candidates_are_seen_when_they_take_the_keys(
    size: tuple[int, int],
) -> None:
    async with desk(size=size) as d:
        await wrote(d, "BCA\n" * 30)
        await d.press("left", "left", "left", "enter")
        panel, candidates = d.main.query_one(SidePanel), d.main.query_one(CandidatesPanel)
        await until(d.pilot, lambda: candidates.has_focus)
        await until(
            d.pilot, lambda: panel.region.y <= candidates.region.y + 1 < panel.region.bottom
        )
        text = d.main.query_one(TokenView)
        cursor = text._rows.row_of(text.cursor or 0) - text.scroll_offset.y
        assert 0 <= cursor < text.scrollable_content_region.height


async def test_the_character_at_the_cursor_is_marked_whoever_wrote_it() -> None:
    async with desk() as d:
        await wrote(d)
        await d.press("left")
        d.main.query_one(TokenView).action_move_to(0)
        await d.press("right")
        await sees_row(d, "·B")
        d.main.query_one(TokenView).action_move_to(0)
        await sees_row(d, "·R")


async def test_before_the_first_character_there_is_a_line_break() -> None:
    async with desk() as d:
        await sees_row(d, "Next character")
        look = d.engine.asked(Look)[-1]
        assert isinstance(look, Look)
        assert look.text == "\n"


async def test_undo_while_it_writes_stops_it() -> None:
    async with desk() as d:
        await wrote(d)
        await d.type(" AGAIN")
        await d.press("enter")
        d.engine.write("Z")
        await d.sees("RBCA AGAINZ")
        await d.press("ctrl+z")
        await d.sees("RBCA")
        assert d.engine.asked(Stop) != []
        await d.press("ctrl+z")
        await d.sees("")
        await d.press("ctrl+z")
        await d.is_told("nothing to undo")


async def test_a_click_sets_the_cursor_and_escape_brings_back() -> None:
    async with desk() as d:
        await wrote(d)
        view = d.main.query_one(TokenView)
        await d.pilot.click(TokenView, offset=(2 + 2 + 1, 1))
        assert view.cursor == 1
        await d.press("escape")
        assert d.main.query_one(Prompt).has_focus
        assert d.main.query_one(TokenView).cursor is None


async def test_favoured_and_banned_characters_act_on_the_next_token() -> None:
    async with desk() as d:
        await d.type("R")
        await d.press("enter")
        d.engine.write("A")
        await sees_row(d, "·A")
        d.main.query_one(CandidatesPanel).focus()
        await d.press("minus")
        banned = SamplingParams(logit_bias=((A, -math.inf),))
        await until(d.pilot, lambda: d.engine.asked(Change)[-1:] == [Change(banned)])
        panel = d.main.query_one(CandidatesPanel)
        await until(d.pilot, lambda: panel.candidate is not None and panel.candidate.id == B)
        await d.press("plus")  # on what is the likeliest now
        favoured = replace(banned, logit_bias=(*banned.logit_bias, (B, 1.0)))
        await until(d.pilot, lambda: d.engine.asked(Change)[-1] == Change(favoured))
        await d.press("down", "plus", "plus", "plus", "plus")  # C, which comes to be the likeliest
        biases = {C: 4.0, **dict(favoured.logit_bias)}
        await until(d.pilot, lambda: dict(last_change(d).logit_bias) == biases)
        assert (panel.candidate and panel.candidate.id, panel.chosen) == (C, 0)
        await d.press("backspace")
        await until(d.pilot, lambda: d.engine.asked(Change)[-1] == Change(favoured))


async def test_a_ban_just_made_is_taken_back() -> None:
    """What is banned is left behind, and the next one is chosen: its bias is not what is meant."""
    async with desk() as d:
        await d.type("R")
        await d.press("enter")
        d.engine.write("A")
        await sees_row(d, "·A")
        panel = d.main.query_one(CandidatesPanel)
        panel.focus()
        await d.press("minus")
        await until(d.pilot, lambda: panel.candidate is not None and panel.candidate.id == B)
        d.engine.write("B")  # what comes meanwhile is another place
        await d.sees("RAB")
        await d.press("backspace")
        await until(d.pilot, lambda: last_change(d) == SamplingParams())
        await until(d.pilot, lambda: "A" in shown(d)[1])
        await d.press("home", "minus")
        banned = SamplingParams(logit_bias=((A, -math.inf),))
        await until(d.pilot, lambda: last_change(d) == banned)
        await d.press("down", "backspace")  # one has gone on from it
        await d.pilot.pause()
        assert last_change(d) == banned
        await d.press("minus", "enter", "backspace")
        await d.pilot.pause()
        assert set(banned.logit_bias) < set(last_change(d).logit_bias)


async def test_bans_and_favours_are_told_in_every_text_until_they_are_lifted() -> None:
    async with desk() as d:
        row = d.main.query_one("#biases", Static)
        assert not row.display
        await d.type("R")
        await d.press("enter")
        d.engine.write("A")
        await sees_row(d, "·A")
        d.main.query_one(CandidatesPanel).focus()
        await d.press("minus", "plus", "ctrl+n")
        await until(d.pilot, lambda: row.display)
        assert str(row.render()).strip() == "no A · B +1 · /unban"
        await d.type("/set top_k=5")
        await d.press("enter", *"/unban", "enter")
        await until(d.pilot, lambda: not row.display)
        assert d.main.query_one(SidePanel).params == SamplingParams(top_k=5)
        assert not d.notices
        await d.press(*"/unban", "enter")
        assert d.notices == ["No character is banned or favoured."]


async def test_what_is_typed_is_scored_and_the_ghost_accepted() -> None:
    async with desk() as d:
        await d.type("AB")
        prompt = d.main.query_one(Prompt)
        await until(d.pilot, lambda: prompt.ghost == "GHOST")
        await sees_row(d, "After your words")
        row = d.main.query_one("#prompt-row")
        assert "2.9 bits a character" in str(row.border_subtitle)
        await d.press("tab")
        assert prompt.text == "ABGHOST"
        await until(d.pilot, lambda: "ABGHOST" in str(d.engine.asked(Look)[-1]))
        await until(d.pilot, lambda: d.main.writer.gaze.seen is not None)
        await d.press("enter")
        origin = d.main.writer.document.origin(3)
        assert origin is not None
        assert (origin.rank, origin.author, origin.token_id) == (3, Author.USER, CHARS.find("H"))
        assert str(row.border_subtitle) == ""


async def test_a_ghost_stands_behind_all_the_words() -> None:
    async with desk() as d:
        prompt = d.main.query_one(Prompt)
        await d.type("AB")
        await until(d.pilot, lambda: prompt.ghost == "GHOST")
        await d.press("left")
        assert prompt.ghost == ""
        await d.press("right")
        assert (prompt.text, prompt.ghost) == ("AB", "GHOST")  # back at the end, it is there again
        await d.press("home", "right", "end", "right")
        assert prompt.text == "ABGHOST"


async def test_a_ghost_is_that_of_the_words() -> None:
    async with desk(ScriptedEngine(looks=False)) as d:
        prompt = d.main.query_one(Prompt)
        await d.type("AB")
        look = d.engine.asked(Look)[-1]
        assert isinstance(look, Look)
        d.engine.see(look)
        await until(d.pilot, lambda: prompt.ghost == "GHOST")
        await d.press("G")
        assert prompt.ghost == "HOST"  # its beginning is typed
        await d.press("backspace")
        assert prompt.ghost == "GHOST"
        await d.press("backspace")
        assert (prompt.text, prompt.ghost) == ("A", "")
        await d.press("B")
        assert (prompt.text, prompt.ghost) == ("AB", "GHOST")
        prompt.write("CD")  # as Up does
        await d.press("left", "right")
        assert (prompt.text, prompt.ghost) == ("CD", "")


async def test_the_cursor_is_seen_after_every_key() -> None:
    async with desk() as d:
        prompt = d.main.query_one(Prompt)
        await d.type("AB")
        prompt.blink_timer._callback = lambda: None  # it is not to blink while one looks
        for key in ("left", "backspace", "end"):
            prompt._cursor_visible = False  # as while it blinks
            await d.press(key)
            assert prompt._cursor_visible, key


@pytest.mark.parametrize("theme", ["ansi-dark", "ansi-light"])
async def test_a_ghost_is_dim_in_the_colours_of_the_terminal(theme: str) -> None:
    async with desk() as d:
        prompt = d.main.query_one(Prompt)
        prompt.cursor_blink = False  # else at times there is none
        d.app.theme = theme
        await d.type("AB")
        await until(d.pilot, lambda: prompt.ghost == "GHOST")
        dim = {s.text: s.style and s.style.dim for s in prompt.render_line(0)}
        assert dim["HOST"]  # the cursor is on the G
        assert not dim["A"]


async def test_a_ghost_ends_at_a_tab() -> None:
    async with desk(ScriptedEngine(looks=False)) as d:
        await d.type("A")
        look = d.engine.asked(Look)[-1]
        assert isinstance(look, Look)
        d.engine.see(look, "GH\tOST")
        await until(d.pilot, lambda: d.main.query_one(Prompt).ghost == "GH")


async def test_a_late_answer_about_other_words_is_dropped() -> None:
    async with desk(ScriptedEngine(looks=False)) as d:
        await d.type("AB")
        await d.type("C")
        old, new = d.engine.asked(Look)[-2:]
        assert isinstance(old, Look)
        assert isinstance(new, Look)
        d.engine.see(old, "OLD")
        d.engine.see(new, "NEW")
        await until(d.pilot, lambda: d.main.query_one(Prompt).ghost == "NEW")
        d.engine.see(old, "OLD")
        await until(d.pilot, lambda: not d.engine.unheard)
        assert d.main.query_one(Prompt).ghost == "NEW"


async def test_a_forced_candidate_behind_typed_words_sends_them_too() -> None:
    async with desk() as d:
        await d.type("AB")
        await sees_row(d, "After your words")
        d.main.query_one(CandidatesPanel).focus()
        await d.press("enter")
        assert (d.text, d.main.query_one(Prompt).text) == ("ABA", "")
        assert d.engine.last_generate.text == "ABA"


async def test_a_candidate_that_knows_less_than_was_typed_is_not_forced() -> None:
    async with desk() as d:
        await d.type("AB")
        await sees_row(d, "After your words")
        d.engine.looks = False
        await d.type("CD")
        d.main.query_one(CandidatesPanel).focus()
        await d.press("enter")
        assert (d.main.query_one(Prompt).text, d.text) == ("ABCD", "")


async def test_heat_goes_round_and_says_what_it_means() -> None:
    async with desk(size=(120, 30)) as d:
        await wrote(d, "BCAB")
        legend = d.main.query_one(HeatLegend)
        assert not legend.display
        seen = []
        for _ in range(4):
            await d.press("f6")
            seen.append(legend.render().plain.split()[0] if legend.display else "off")
        assert seen == ["probability", "entropy", "rank", "off"]
        await d.press("f6")
        await d.pilot.pause()
        bits = 0.5 / math.log(2)
        assert f"{bits:.2f} bits/char · perplexity {math.exp(0.5):.2f}" in legend.render().plain
        view = d.main.query_one(TokenView)
        colours = {s.style.bgcolor for s in view.render_line(0) if s.style and "B" in s.text}
        plain = {s.style.bgcolor for s in view.render_line(0) if s.style and "R" in s.text}
        assert colours.isdisjoint(plain)


async def test_attention_tints_the_text_and_chooses_heads() -> None:
    async with desk(ScriptedEngine(looks=False), size=(120, 40)) as d:
        await wrote(d)
        await d.press("left", "a")
        assert d.main.query_one(AttentionPanel).display
        assert not d.main.query_one(CandidatesPanel).display
        look = d.engine.asked(Look)[-1]
        assert isinstance(look, Look)
        assert look.inside
        maps = [[[0.1, 0.2, 0.7], [0.8, 0.1, 0.1]]]
        inside = Inside("RBC", maps, [[("A", 0.9)], [("B", 0.5)]])
        d.engine.say(Seen(look.number, ROW, 3, (), "", inside))
        panel = d.main.query_one(AttentionPanel)
        await until(d.pilot, lambda: panel.inside is not None)
        view = d.main.query_one(TokenView)

        def levels() -> list[int | None]:
            assert view._shading is not None
            return [view._shading.level(i) for i in range(4)]

        assert levels() == [4, 2, 4, None]  # the mean of both heads: .45 .15 .4
        panel.focus()
        await d.press("right")
        await until(d.pilot, lambda: levels() == [1, 2, 4, None])
        assert "layer 1, head 1" in d.main.query_one(HeatLegend).render().plain
        await d.press("f7")
        assert d.main.query_one(CandidatesPanel).has_focus
        assert view._shading is None


async def test_a_look_that_cannot_see_inside_says_why() -> None:
    async with desk(ScriptedEngine(looks=False)) as d:
        await wrote(d)
        await d.press("f7")
        look = d.engine.asked(Look)[-1]
        assert isinstance(look, Look)
        d.engine.say(Seen(look.number, ROW, 3, (), "", None, "m.onnx is another file than [b]"))
        await d.is_told("another file than [b]")


async def test_a_run_goes_on_exactly_where_it_was_stopped() -> None:
    async with desk() as d:
        await d.type("R")
        await d.press("enter")
        d.engine.write("B" * 10, window=CONFIG.block_size)
        await d.sees("R" + "B" * 10)
        await d.press("escape", "enter")
        assert d.engine.last_generate.view == CONFIG.block_size // 2
        assert len(d.engine.asked(Generate)) == 2


async def test_hostile_candidates_cannot_command_the_terminal() -> None:
    async with desk() as d:
        d.main.query_one("#prompt-mark", Static)
        await wrote(d)
        panel = d.main.query_one(CandidatesPanel)
        chars = "\x1b" + CHARS[1:]
        from minigpt_tui.candidates import Place, Target, think

        place = Place(Target(0), (9.0, *ROW[1:]), (), 1)
        panel.show("Next", place, think(place, SamplingParams()), chars)
        assert "\x1b" not in "".join(shown(d))
        assert "␛" in shown(d)[1]


async def test_a_copy_cannot_command_where_it_is_pasted(clipboard: list[str]) -> None:
    async with desk() as d:
        d.main.writer.document.append_user("a\x1b[31m\u202e\tb\n")
        await d.press("f4")
        await until(d.pilot, lambda: clipboard == ["a␛[31m�\tb\n"])
        d.main.query_one(Prompt).focus()
        await d.press("ctrl+v")
        assert "\x1b" not in d.main.query_one(Prompt).text


async def test_a_copy_goes_to_the_terminal_and_to_the_system(clipboard: list[str]) -> None:
    async with desk() as d:
        await wrote(d)
        await d.press("f4")
        await until(d.pilot, lambda: clipboard == ["RBCA"])
        assert d.app.clipboard == "RBCA"
