"""Conversations in text, and text that a model writes in them."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minigpt.errors import InputError
from minigpt.runtime import decoder
from minigpt.runtime.chat import END, MAX_NAME, Roles, answer, likely_speakers, speakers, words
from minigpt.runtime.decoder import TooManyTexts
from minigpt.runtime.library import load
from minigpt.runtime.params import SamplingParams
from minigpt.tokenizer import CharTokenizer
from tests.conftest import ScriptedDecoder, cycle

PLAY = Roles("ROMEO", "JULIET")
TALK = """\
ROMEO:
who art thou?

JULIET:
Thine.
Ever.

"""

# what could be taken for a turn, an empty line or the end of one
TRICKY = st.lists(
    st.one_of(
        st.sampled_from(["\n", "\n\n", "JULIET:", "ROMEO:\n", ":", " ", "\r\n", "\u2028", "\x1b"]),
        st.text(max_size=5),
    ),
    max_size=8,
).map("".join)


def said(roles: Roles, text: str) -> list[tuple[bool, str]]:
    return [(turn.mine, text[turn.start : turn.end]) for turn in roles.turns(text)]


def test_turns_are_found_where_they_are() -> None:
    mine, yours = PLAY.turns(TALK)
    assert (mine.speaker, yours.speaker) == ("ROMEO", "JULIET")
    assert (mine.mine, yours.mine) == (True, False)
    assert TALK[mine.start : mine.end] == "who art thou?"
    assert TALK[yours.begin :] == "\n\nJULIET:\nThine.\nEver.\n\n"
    assert TALK[yours.start : yours.end] == "Thine.\nEver."


def test_what_stands_before_the_first_name_is_no_turn() -> None:
    text = f"A room.\nEnter: all\n\n{TALK}Nurse:\nMadam!"
    assert [turn.speaker for turn in PLAY.turns(text)] == ["ROMEO", "JULIET", "Nurse"]
    assert speakers(text) == ["ROMEO", "JULIET", "Nurse"]
    assert PLAY.turns("A room.") == Roles().turns("") == []


def test_a_text_broken_off_goes_on_with_a_turn_of_its_own() -> None:
    for end in ("b", "b\n", ""):
        broken = f"ROMEO:\na\n\nJULIET:\n{end}"
        text = broken + PLAY.prompt(broken, "c")
        assert said(PLAY, text)[2:] == [(True, "c"), (False, "")]
        broken = f"a\n\n{end}"
        text = broken + Roles().prompt(broken, "c")
        assert said(Roles(), text)[2:] == [(True, "c"), (False, "")]


def test_who_says_nothing_lets_the_other_speak() -> None:
    assert PLAY.prompt("", " \n ") == "JULIET:\n"
    assert PLAY.prompt("JULIET:\nAy me!", "") == "\n\nJULIET:\n"


@given(st.lists(st.tuples(TRICKY, st.text("ab:J\n", max_size=6)), max_size=5), st.booleans())
@example([("a\n\nJULIET:\nb", ""), ("", "\n")], True)
def test_turns_are_exactly_what_was_said(exchanges: list[tuple[str, str]], named: bool) -> None:
    roles = PLAY if named else Roles()
    text, expected = "", []
    for typed, written in exchanges:
        text += roles.prompt(text, typed)
        if words(typed) or not named:
            expected.append((True, words(typed)))
        answered = written.split(END)[0].removeprefix("\n")  # as `answer` keeps to
        text += answered
        expected.append((False, answered.rstrip("\n")))
    assert said(roles, text) == expected
    for i, turn in enumerate(roles.turns(text)):
        if turn.mine:
            before = text[: turn.begin]
            assert said(roles, before) == expected[:i]
            edited = before + roles.prompt(before, "anew")
            assert said(roles, edited) == [*expected[:i], (True, "anew"), (False, "")]


@given(TRICKY)
def test_words_have_no_empty_line_and_no_control_character(typed: str) -> None:
    found = words(typed)
    assert found == words(found)
    assert all(line.strip() and line.isprintable() for line in found.split("\n")) or not found


def test_a_name_must_be_one() -> None:
    Roles("KING RICHARD III", "Нянька")
    for bad in ("", "A:", "A\nB", " A", "A" * (MAX_NAME + 1), "\x1b"):
        with pytest.raises(InputError, match=r"1 to 30 characters|two names"):
            Roles("ROMEO", bad)
    with pytest.raises(InputError, match="two names"):
        Roles("ROMEO", "ROMEO")


def test_an_answer_ends_with_its_turn() -> None:
    letters = CharTokenizer("ab\n")
    rows = [[0.0, 9.0, 0.0], [0.0, 0.0, 9.0], [0.0, 0.0, 9.0]]  # a, b, and line breaks without end
    params = SamplingParams(temperature=0.0, max_new_tokens=20)

    def written(text: str) -> str:
        decoder = ScriptedDecoder(rows, block_size=32)
        return "".join(t.text for t in answer(decoder, letters, text, lambda: params))

    assert written("a\n\na") == "b"
    assert written("a\n\n") == "ab"  # not "", though a line break is what is likeliest
    assert written("€") == "ab"  # nothing is known: as a text that begins


def test_an_answer_hears_of_new_settings() -> None:
    settings = iter([4, 4, 2, 2, 2])
    tokens = answer(
        ScriptedDecoder(cycle(3), block_size=32), CharTokenizer("ab\n"), "a",
        lambda: SamplingParams(temperature=0.0, max_new_tokens=next(settings)),
    )  # fmt: skip
    assert "".join(token.text for token in tokens) == "b\n"


def test_the_shipped_model_names_those_it_knows() -> None:
    model = load()
    names = likely_speakers(model.decoder, model.tokenizer, "ROMEO:\nhello", n=32)
    of_his_play = {"ROMEO", "JULIET", "MERCUTIO", "BENVOLIO", "FRIAR LAURENCE", "Nurse"}
    assert set(names[:7]) == of_his_play | {"MENENIUS"}
    for text in ("", "a man is here."):
        assert len(likely_speakers(model.decoder, model.tokenizer, text)) == 8


def test_a_model_too_large_for_many_texts_at_once_names_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = load("laptop")
    known = likely_speakers(model.decoder, model.tokenizer, "ROMEO:\nhello", n=32)
    monkeypatch.setattr(decoder, "MAX_BATCH_BYTES", 16 * 8 * 4 * 128 * 64)
    with pytest.raises(TooManyTexts, match="at most 16 do not"):
        model.decoder.batch(17)
    names = likely_speakers(model.decoder, model.tokenizer, "ROMEO:\nhello")
    assert len(names) == 8
    assert set(names) <= set(known)
    monkeypatch.setattr(decoder, "MAX_BATCH_BYTES", 0)
    assert likely_speakers(model.decoder, model.tokenizer, "ROMEO:\nhello") == []


def test_a_model_of_no_plays_names_nobody() -> None:
    assert likely_speakers(ScriptedDecoder(cycle(3)), CharTokenizer("abc")) == []
    flat = [[0.0] * 28] * 28
    letters = CharTokenizer("\n:abcdefghijklmnopqrstuvwxyz")
    assert likely_speakers(ScriptedDecoder(flat, block_size=64), letters) == []


def test_a_name_that_commands_a_terminal_is_none() -> None:
    assert speakers("\x1b]0;x\x07:\nhello\n\nROMEO:\nho") == ["ROMEO"]
