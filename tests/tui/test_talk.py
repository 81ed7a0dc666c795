"""A conversation, from key to screen, with a scripted engine."""

import pytest
from textual.widgets import Input, OptionList, Static

from minigpt.runtime.chat import Roles
from minigpt_tui.candidates import think
from minigpt_tui.protocol import Generate, Look, Speakers
from minigpt_tui.screens.help import HelpScreen
from minigpt_tui.screens.roles import ASKING, RolesScreen
from minigpt_tui.widgets.candidates_panel import CandidatesPanel
from minigpt_tui.widgets.prompt import Prompt
from minigpt_tui.widgets.side_panel import SidePanel
from minigpt_tui.widgets.talk import Talk
from minigpt_tui.widgets.token_view import TokenView
from minigpt_tui.widgets.welcome import Welcome
from tests.tui.scripted_engine import CHARS, ScriptedEngine, until
from tests.tui.test_app import Desk, desk


async def begins(d: Desk) -> None:
    """A conversation with the names that the model comes up with."""
    await d.says("ready")
    await d.press("ctrl+t")
    await until(d.pilot, lambda: d.is_on(RolesScreen))
    await until(d.pilot, lambda: d.app.screen.query_one("#you", Input).value == "JULIET")
    await d.press("enter")
    await until(d.pilot, lambda: not d.is_on(RolesScreen))


async def answers(d: Desk, words: str) -> None:
    d.engine.write(words)
    d.engine.finish("stop text")
    await d.says("ready")


async def asks_who_speaks(d: Desk, text: str) -> None:
    """The dialog of a conversation, over a text that is there."""
    await d.type(text)
    await d.press("enter")
    d.engine.finish()
    await d.says("ready")
    await d.press("ctrl+t")
    await until(d.pilot, lambda: d.is_on(RolesScreen))


async def test_one_speaks_and_the_model_answers_as_another() -> None:
    async with desk() as d:
        await begins(d)
        prompt = d.main.query_one(Prompt)
        assert str(prompt.placeholder) == "Speak as ROMEO; JULIET answers"
        await d.type("HO!")
        look = d.engine.asked(Look)[-1]
        assert isinstance(look, Look)
        assert look.text == "ROMEO:\nHO!"
        await d.press("enter")
        asked = d.engine.last_generate
        assert asked.text == "ROMEO:\nHO!\n\nJULIET:\n"
        assert asked.stop == ("\n\n",)
        document = d.main.writer.document
        known = [origin.rank if (origin := document.origin(i)) else 0 for i in range(12)]
        assert known == [0] * 7 + [3] * 3 + [0] * 2  # the words, not the names
        assert (asked.not_first, asked.changes) == ("\n", ())
        assert document.runs[-1].not_first == "\n"
        await answers(d, "AY.")
        await d.type("WELL?")
        await d.press("enter")
        assert d.engine.last_generate.text == (
            "ROMEO:\nHO!\n\nJULIET:\nAY.\n\nROMEO:\nWELL?\n\nJULIET:\n"
        )


def invitation(d: Desk) -> str:
    talk = d.main.query_one(Talk)
    return str(talk.render()) if talk.display else ""


async def test_an_empty_conversation_offers_no_beginnings() -> None:
    async with desk() as d:
        await begins(d)
        assert not d.main.query_one(Welcome).display
        assert invitation(d).split("\n\n") == [
            "You speak as ROMEO; JULIET answers.", "Enter alone lets JULIET begin.",
        ]  # fmt: skip
        await d.press("enter")
        assert d.engine.last_generate.text == "JULIET:\n"
        assert not invitation(d)
        await d.press("ctrl+n")
        assert "lets JULIET begin" in invitation(d)
        await d.press("ctrl+t")
        assert d.main.query_one(Welcome).display
        assert not invitation(d)


async def test_names_are_no_markup() -> None:
    async with desk() as d:
        d.main.converse(Roles("[/KING]", "[B]"))
        await d.pilot.pause()
        assert invitation(d).startswith("You speak as [/KING]; [B] answers.")
        prompt = d.main.query_one(Prompt)
        assert str(prompt.placeholder) == "Speak as [/KING]; [B] answers"


async def test_nobody_is_interrupted_by_what_one_types() -> None:
    async with desk() as d:
        await begins(d)
        await d.type("A\n\nJULIET:\nI AM THINE")
        await d.press("enter")
        assert d.engine.last_generate.text == "ROMEO:\nA\nJULIET:\nI AM THINE\n\nJULIET:\n"


async def test_an_answer_is_given_again_with_another_seed() -> None:
    async with desk() as d:
        await begins(d)
        await d.press(*"HO", "enter")
        await answers(d, "AY.")
        seed = d.engine.last_generate.params.seed
        await d.press("ctrl+g")
        assert d.engine.last_generate.text == "ROMEO:\nHO\n\nJULIET:\n"
        assert d.engine.last_generate.params.seed != seed
        await answers(d, "NO.")
        assert d.text.endswith("JULIET:\nNO.")
        await d.press("ctrl+z")
        assert d.text.endswith("JULIET:\nAY.")


async def test_what_was_said_is_edited() -> None:
    async with desk() as d:
        await begins(d)
        await d.press(*"HO", "enter")
        await answers(d, "AY.")
        await d.press("ctrl+l")
        assert (d.text, d.main.query_one(Prompt).text) == ("", "HO")
        await d.press("!", "enter")
        assert d.engine.last_generate.text == "ROMEO:\nHO!\n\nJULIET:\n"


async def test_an_earlier_turn_is_edited_at_the_cursor() -> None:
    async with desk() as d:
        await begins(d)
        for words in ("HO", "WELL"):
            await d.type(words)
            await d.press("enter")
            await answers(d, "AY.")
        d.main.query_one(TokenView).action_move_to(d.text.index("AY"))
        await d.press("ctrl+l")
        assert (d.text, d.main.query_one(Prompt).text) == ("", "HO")


async def test_editing_keeps_what_is_being_typed() -> None:
    async with desk() as d:
        await d.says("ready")
        await d.type("//NEW")  # the text's, and no command
        await d.press("enter")
        d.engine.finish()
        await d.type("A DRAFT")
        await d.press("ctrl+l")
        prompt = d.main.query_one(Prompt)
        assert prompt.text == "//NEW"
        await d.press("up")
        assert prompt.text == "A DRAFT"
        await d.press("enter")
        assert d.engine.last_generate.text == "A DRAFT"


async def test_the_names_in_the_text_come_before_the_models() -> None:
    async with desk() as d:
        await asks_who_speaks(d, "HAMLET:\nHO.\n\nOPHELIA:\nHO.")
        d.engine.name_speakers()
        await d.pilot.pause(0.1)
        me, you = (d.app.screen.query_one(id, Input).value for id in ("#me", "#you"))
        assert (me, you) == ("HAMLET", "OPHELIA")
        await d.press("Y")  # what is typed takes the place of what was proposed
        assert d.app.screen.query_one("#me", Input).value == "Y"


async def test_nothing_to_write_anew_leaves_the_seed() -> None:
    async with desk() as d:
        await d.says("ready")
        seed = d.main.query_one(SidePanel).params.seed
        await d.press("ctrl+g")
        await d.is_told("nothing here that it could write anew")
        assert d.main.query_one(SidePanel).params.seed == seed


async def test_editing_goes_back_to_the_last_words_whatever_came_since() -> None:
    async with desk() as d:
        await begins(d)
        await d.type("HO")
        await d.press("enter")
        await answers(d, "AY.")
        await d.press("ctrl+g")  # another answer to the same
        await answers(d, "NO.")
        await d.press("ctrl+l")
        assert (d.text, d.main.query_one(Prompt).text) == ("", "HO")
        await d.press("ctrl+z")  # of the text: nothing was typed
        assert d.text.endswith("NO.")
        assert d.main.query_one(Prompt).text == ""  # they are in the text again
        await d.type("A DRAFT")
        d.main.action_new()  # nobody has said anything here
        await d.press("ctrl+l")
        await d.is_told("nothing to edit")
        assert d.main.query_one(Prompt).text == "A DRAFT"


async def test_an_undo_of_something_else_leaves_what_was_taken_back() -> None:
    async with desk() as d:
        await begins(d)
        for words in ("HO", "WELL"):
            await d.type(words)
            await d.press("enter")
            await answers(d, "AY.")
        await d.press("ctrl+l", "ctrl+g", "ctrl+z")
        assert d.main.query_one(Prompt).text == "WELL"
        await d.press("ctrl+z")
        assert d.main.query_one(Prompt).text == ""


async def test_a_candidate_behind_what_one_says_is_added_to_it() -> None:
    async with desk() as d:
        await begins(d)
        await d.type("HO")
        await until(d.pilot, lambda: d.main.query_one(CandidatesPanel).candidate is not None)
        await d.press("shift+tab", "enter")
        assert d.main.query_one(Prompt).text == "HOA"
        assert not d.engine.asked(Generate)


async def test_a_hostile_candidate_is_added_as_a_symbol(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.tui.scripted_engine.CHARS", CHARS.replace("A", "\u202e"))
    async with desk() as d:
        await begins(d)
        await d.type("HO")
        panel = d.main.query_one(CandidatesPanel)
        await until(d.pilot, lambda: panel.candidate is not None)
        panel.focus()
        await d.press("enter")
        assert d.main.query_one(Prompt).text == "HO�"


async def test_a_candidate_within_an_answer_may_be_followed_by_a_line_break() -> None:
    async with desk() as d:
        await begins(d)
        await d.type("HO")
        await d.press("enter")
        await answers(d, "AY.")
        await d.press("left", "enter", "enter")
        asked = d.engine.last_generate
        assert (asked.text[-3:], asked.stop, asked.not_first) == ("AYA", ("\n\n",), "")


async def test_a_line_break_that_ends_an_answer_ends_it() -> None:
    async with desk() as d:
        await begins(d)
        await d.type("HO")
        await d.press("enter")
        await answers(d, "AY.\n")
        n_runs = len(d.engine.asked(Generate))
        panel = d.main.query_one(CandidatesPanel)
        await until(d.pilot, lambda: panel.candidate is not None)
        panel.focus()
        place = d.main.writer.gaze.place
        assert place is not None
        ids = [c.id for c in think(place, d.main.query_one(SidePanel).params).candidates]
        panel.chosen = ids.index(CHARS.index("\n"))
        await d.press("enter")
        assert d.text.endswith("AY.\n\n")
        assert len(d.engine.asked(Generate)) == n_runs


async def test_the_conversation_ends_and_the_model_just_writes_on() -> None:
    async with desk() as d:
        await begins(d)
        await d.press("ctrl+t")
        await d.type("A")
        await d.press("enter")
        assert (d.engine.last_generate.text, d.engine.last_generate.stop) == ("A", ())


async def test_the_models_names_follow_the_one_in_the_text() -> None:
    async with desk() as d:
        await asks_who_speaks(d, "JULIET:\nHO.")
        names = d.app.screen.query_one(OptionList)
        await until(d.pilot, lambda: names.option_count == 3)
        assert [name.id for name in names.options] == ["JULIET", "ROMEO", "NURSE"]
        fields = [d.app.screen.query_one(id, Input) for id in ("#me", "#you")]
        assert [field.value for field in fields] == ["JULIET", "ROMEO"]


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [("me", "You have no name yet"), ("you", "The model has no name yet")],
)
async def test_a_name_that_is_missing_is_asked_for(missing: str, sentence: str) -> None:
    async with desk() as d:
        await d.says("ready")
        await d.press("ctrl+t")
        await until(d.pilot, lambda: d.is_on(RolesScreen))
        field, trouble = (d.app.screen.query_one(f"#{id}") for id in (missing, "trouble"))
        assert isinstance(field, Input)
        assert isinstance(trouble, Static)
        await until(d.pilot, lambda: bool(field.value))
        field.value = ""
        await d.press("enter")
        assert d.is_on(RolesScreen)
        assert sentence in str(trouble.render())
        assert field.has_focus


async def test_a_name_that_is_none_is_told_in_the_dialog() -> None:
    async with desk() as d:
        await d.says("ready")
        await d.press("ctrl+t")
        await until(d.pilot, lambda: d.is_on(RolesScreen))
        me = d.app.screen.query_one("#me", Input)
        me.value = "A:B"
        await d.press("enter")
        assert d.is_on(RolesScreen)
        await d.press("down", "down")
        assert me.value == "JULIET"
        await d.press("escape")
        assert d.main.writer.roles is None


async def test_the_name_that_was_clicked_is_taken_whoever_is_offered_by_then() -> None:
    async with desk() as d:
        await d.says("ready")
        await d.press("ctrl+t")
        await until(d.pilot, lambda: d.is_on(RolesScreen))
        screen = d.app.screen
        assert isinstance(screen, RolesScreen)
        names = screen.query_one(OptionList)
        await until(d.pilot, lambda: names.option_count > 2)
        clicked = names.options[2].id
        names.highlighted = 2
        names.action_select()
        screen.offer(["A", "B"])
        await until(d.pilot, lambda: screen.query_one("#me", Input).value == clicked)


async def test_names_that_come_while_the_help_lies_over_it_are_offered() -> None:
    engine = ScriptedEngine()
    name_speakers = engine.name_speakers
    engine.name_speakers = lambda: None  # type: ignore[method-assign]
    async with desk(engine) as d:
        await d.says("ready")
        await d.press("ctrl+t", "f1")
        await until(d.pilot, lambda: d.is_on(HelpScreen))
        name_speakers()
        await until(d.pilot, lambda: not engine.unheard)
        await d.press("escape")
        await until(d.pilot, lambda: d.is_on(RolesScreen))
        await until(d.pilot, lambda: d.app.screen.query_one("#me", Input).value == "ROMEO")


async def test_a_model_that_knows_no_names_talks_in_paragraphs() -> None:
    engine = ScriptedEngine()
    engine.name_speakers = lambda: engine.say(Speakers(()))  # type: ignore[method-assign]
    async with desk(engine) as d:
        await d.says("ready")
        await d.press("ctrl+t")
        await until(d.pilot, lambda: d.is_on(RolesScreen) and not d.main.writer.is_asking)
        assert not d.app.screen.query_one(OptionList).display
        await d.press("enter", *"HO", "enter")
        assert d.engine.last_generate.text == "HO\n\n"


async def test_who_speaks_is_waited_for() -> None:
    engine = ScriptedEngine()
    name_speakers = engine.name_speakers
    engine.name_speakers = lambda: None  # type: ignore[method-assign]
    async with desk(engine) as d:
        await d.says("ready")
        await d.press("ctrl+t")
        await until(d.pilot, lambda: d.is_on(RolesScreen))
        names, trouble = d.app.screen.query_one(OptionList), d.app.screen.query_one("#trouble")
        assert isinstance(trouble, Static)
        assert [str(option.prompt) for option in names.options] == [ASKING]
        await d.press("enter")
        assert d.is_on(RolesScreen)
        assert "not answered yet" in str(trouble.render())
        height = names.region.height
        name_speakers()
        await until(d.pilot, lambda: names.option_count == 3)
        assert (names.region.height, str(trouble.render())) == (height, "")
        await d.press("enter")
        assert d.main.writer.roles == Roles("ROMEO", "JULIET")


async def test_names_that_come_later_leave_emptied_fields_and_the_mark_alone() -> None:
    engine = ScriptedEngine()
    name_speakers = engine.name_speakers
    engine.name_speakers = lambda: None  # type: ignore[method-assign]
    async with desk(engine) as d:
        await d.says("ready")
        d.main.writer.document.append_user("HAL:\nho\n\nFAL:\nhey\n\n")
        await d.press("ctrl+t")
        await until(d.pilot, lambda: d.is_on(RolesScreen))
        names, me = d.app.screen.query_one(OptionList), d.app.screen.query_one("#me", Input)
        you = d.app.screen.query_one("#you", Input)
        assert (me.value, you.value) == ("HAL", "FAL")
        await d.press("down", *["backspace"] * 3, "tab", "backspace")
        n_names = names.option_count
        name_speakers()
        await until(d.pilot, lambda: names.option_count != n_names)
        assert (me.value, you.value) == ("", "")
        assert names.highlighted == 1


async def test_the_next_name_is_the_one_after_that_in_the_field() -> None:
    async with desk() as d:
        await d.says("ready")
        await d.press("ctrl+t")
        await until(d.pilot, lambda: d.is_on(RolesScreen))
        me, you = (d.app.screen.query_one(name, Input) for name in ("#me", "#you"))
        await until(d.pilot, lambda: (me.value, you.value) == ("ROMEO", "JULIET"))
        await d.press("down", "down")
        assert me.value == "NURSE"
        await d.press("tab", "up")
        assert (me.value, you.value) == ("NURSE", "ROMEO")
        await d.press("backspace", "up")
        assert you.value == "NURSE"
        await d.press(*"ME")  # in the place of a name that was only looked at
        assert you.value == "ME"


async def test_who_does_not_wait_talks_in_paragraphs() -> None:
    engine = ScriptedEngine()
    engine.name_speakers = lambda: None  # type: ignore[method-assign]
    async with desk(engine) as d:
        await d.says("ready")
        await d.press("ctrl+t")
        await until(d.pilot, lambda: d.is_on(RolesScreen))
        await d.press("enter", "enter")
        assert d.main.writer.roles == Roles()


async def test_again_and_edit_need_something_to_work_on() -> None:
    async with desk() as d:
        await d.says("ready")
        await d.press("ctrl+g")
        await d.is_told("nothing here that it could write anew")
        await d.press("ctrl+l")
        await d.is_told("nothing to edit")
