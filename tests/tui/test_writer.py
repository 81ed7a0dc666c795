from dataclasses import replace
from pathlib import Path

import pytest

from minigpt.runtime.chat import Roles
from minigpt.runtime.params import SamplingParams
from minigpt_tui.candidates import Candidate
from minigpt_tui.document import Document
from minigpt_tui.gauge import Gauge
from minigpt_tui.protocol import (
    Applied,
    Change,
    Died,
    Failed,
    Generate,
    Open,
    Opened,
    Refused,
    Skipped,
    Stop,
    Tokens,
    Written,
)
from minigpt_tui.writer import State, Writer
from tests.tui.scripted_engine import CARD, CHARS, CONFIG, MODEL, ScriptedEngine

PARAMS = SamplingParams()


def ready() -> tuple[Writer, ScriptedEngine]:
    engine = ScriptedEngine()
    writer = Writer(engine)
    writer.open(MODEL)
    assert writer.hear() == []
    return writer, engine


def test_goes_from_loading_over_writing_to_ready() -> None:
    engine = ScriptedEngine()
    writer = Writer(engine)
    states = [writer.state]
    writer.open(MODEL)
    states.append(writer.state)
    writer.hear()
    states.append(writer.state)
    writer.write("ROMEO:", PARAMS)
    states.append(writer.state)
    assert states == [State.NO_MODEL, State.LOADING, State.READY, State.WRITING]
    assert engine.last_generate == Generate(1, "ROMEO:", PARAMS, model="f" * 64)
    engine.write(" Ay", elapsed_s=0.010)
    engine.write(" me!", elapsed_s=0.015)
    writer.hear()
    assert writer.document.text == "ROMEO: Ay me!"
    assert writer.gauge.first_token_s == 0.010
    assert round(writer.gauge.tokens_per_s) == round(6 / 0.005)
    engine.finish()
    writer.hear()
    assert writer.state.value == "ready"
    assert writer.gauge.tokens_per_s == 4321.0


def test_after_a_stop_not_a_letter_more_appears() -> None:
    writer, engine = ready()
    writer.write("a", PARAMS)
    engine.write("b")
    writer.hear()
    engine.write("late")
    writer.stop()
    engine.write("later")
    writer.hear()
    assert writer.document.text == "ab"
    assert engine.asked(Stop) == [Stop(1)]


def test_records_of_an_old_run_are_dropped() -> None:
    writer, engine = ready()
    writer.write("a", PARAMS)
    engine.write("old")
    writer.write("b", PARAMS)
    engine.write("new")
    writer.hear()
    assert writer.document.text == "abnew"
    assert [type(r) for r in engine.requests] == [Open, Generate, Stop, Generate]


def test_a_change_is_sent_only_while_writing() -> None:
    writer, engine = ready()
    writer.change(PARAMS)
    writer.write("a", PARAMS)
    writer.change(PARAMS)
    assert engine.asked(Change) == [Change(PARAMS)]


def test_settings_that_are_none_other_are_no_change_of_the_run() -> None:
    writer, engine = ready()
    writer.write("a", PARAMS)
    cold = replace(PARAMS, temperature=0.1)
    for n_tokens, params in enumerate((PARAMS, cold, cold, PARAMS)):
        engine.say(Applied(1, n_tokens, params))
    writer.hear()
    assert writer.document.runs[-1].changes == [(1, cold), (3, PARAMS)]


def test_names_unknown_characters_once_and_safely() -> None:
    writer, engine = ready()
    writer.write("é\x1b", PARAMS)
    engine.say(Skipped(1, "é\x1b\t"))
    notices = writer.hear()
    assert [n.sentence for n in notices] == ["The model has never seen é ␛ ⇥: it reads past them."]
    writer.write("", PARAMS)
    engine.say(Skipped(2, "é\x1b"))
    assert writer.hear() == []
    engine.say(Skipped(2, "é😀"))
    notices = writer.hear()
    assert [n.sentence for n in notices] == ["The model has never seen 😀: it reads past it."]


def test_a_refused_model_ends_the_run_that_waits_for_it() -> None:
    engine = ScriptedEngine(refuses="it is damaged")
    writer = Writer(engine)
    writer.open(Path("bad.onnx"))
    writer.write("a", PARAMS)
    assert engine.asked(Generate) == []
    assert [n.sentence for n in writer.hear()] == ["it is damaged"]
    assert writer.state == State.NO_MODEL
    writer.write("b", PARAMS)
    engine.say(Failed(engine.run, "no model is open"))
    assert [n.sentence for n in writer.hear()] == ["no model is open"]


def test_a_death_ends_the_run_and_is_told() -> None:
    writer, engine = ready()
    writer.write("a", PARAMS)
    engine.say(Died("the engine stopped"))
    assert [n.is_error for n in writer.hear()] == [True]
    assert writer.state == State.READY


def test_what_is_written_while_a_model_opens_waits_for_it() -> None:
    engine = ScriptedEngine(opens=False)
    writer = Writer(engine)
    writer.open(MODEL)
    writer.write("a", PARAMS)
    warmer = SamplingParams(temperature=1.5)
    writer.change(warmer)
    assert (engine.asked(Generate), writer.is_running) == ([], True)
    engine.open(MODEL)
    writer.hear()
    assert engine.last_generate == Generate(1, "a", warmer, model="f" * 64)
    assert [run.model_sha256 for run in writer.document.runs] == ["f" * 64]


def test_a_stop_while_a_model_opens_asks_for_nothing() -> None:
    engine = ScriptedEngine(opens=False)
    writer = Writer(engine)
    writer.open(MODEL)
    writer.write("a", PARAMS)
    writer.stop()
    engine.open(MODEL)
    writer.hear()
    assert (engine.asked(Generate), engine.asked(Stop)) == ([], [])


def test_a_new_text_forgets_everything_but_the_model() -> None:
    writer, engine = ready()
    writer.write("a", PARAMS)
    engine.write("b")
    writer.hear()
    writer.adopt(Document())
    engine.write("late")
    writer.hear()
    assert (writer.document.text, writer.gauge.window, writer.state) == ("", 0, State.READY)


def test_what_the_model_has_in_view_is_known_without_a_run() -> None:
    writer, engine = ready()
    writer.write("a", PARAMS)
    engine.write("B", window=7)
    engine.finish()
    writer.hear()
    written = writer.document
    writer.forget_model()  # as when another screen has had the engine
    writer.open(MODEL)
    writer.hear()
    assert (writer.gauge.window, writer.gauge.tokens_per_s) == (7, 0.0)
    writer.adopt(Document())
    assert writer.gauge.window == 0
    writer.adopt(written)
    assert writer.gauge.window == 7
    engine.say(Opened(MODEL, CARD, CONFIG, CHARS, "another"))
    writer.hear()
    assert writer.gauge == Gauge()  # that one has not had it in view


def test_what_the_model_has_in_view_is_that_of_the_end_after_going_back() -> None:
    writer, engine = ready()
    for text, window in (("B", 7), ("C", 12)):
        writer.write("a", PARAMS)
        engine.write(text, window=window)
        engine.finish()
        writer.hear()
    leaf, speed = writer.document.head, writer.gauge.tokens_per_s
    writer.undo()
    assert (writer.document.text, writer.gauge.window) == ("aB", 7)
    writer.redo()
    assert (writer.document.text, writer.gauge.window) == ("aBaC", 12)
    writer.take_back()
    assert (writer.document.text, writer.gauge.window) == ("aB", 7)
    writer.checkout(leaf)
    assert (writer.gauge.window, writer.gauge.tokens_per_s) == (12, speed)


def test_of_an_empty_text_there_is_nothing_to_tell_after_an_undo() -> None:
    writer, engine = ready()
    writer.write("a", PARAMS)
    slid = Written(CHARS.find("B"), "B", -0.5, 1.5, 2, 32, True)
    engine.say(Tokens(1, (slid,), 0.5, ()))
    engine.finish()
    writer.hear()
    assert writer.gauge.n_slides == 1
    writer.undo()
    assert (writer.document.text, writer.gauge) == ("", Gauge())


def test_late_records_are_none_of_a_run_that_waits() -> None:
    writer, engine = ready()
    writer.write("a", PARAMS)
    engine.opens = False
    writer.open(MODEL)
    writer.write("b", PARAMS)
    engine.write("late")
    engine.finish()
    writer.hear()
    assert (writer.document.text, writer.is_running) == ("ab", True)
    engine.open(MODEL)
    writer.hear()
    assert engine.last_generate.text == "ab"


def test_another_document_has_nothing_to_write_anew() -> None:
    writer, engine = ready()
    writer.write("", PARAMS)
    engine.write("abc")
    engine.finish()
    writer.hear()
    other = Document()
    other.append_user("stored")
    writer.adopt(other)
    assert not writer.can_write_again
    assert other.text == "stored"


def test_what_was_written_before_a_text_was_opened_is_written_anew() -> None:
    writer, engine = ready()
    for words in ("A", "B"):
        writer.write(words, PARAMS)
        engine.write("xyz")
        engine.finish()
        writer.hear()
    document = writer.document
    writer.adopt(Document())
    writer.adopt(document)
    assert writer.can_write_again
    writer.again(PARAMS)
    assert engine.last_generate.text == "AxyzB"
    writer.again(PARAMS)  # before a letter has come: the same one
    assert engine.last_generate.text == "AxyzB"


def test_what_is_left_of_a_text_is_written_anew() -> None:
    writer, engine = ready()
    writer.roles = Roles("ROMEO", "JULIET")
    for _ in range(2):
        writer.write("HO", PARAMS)
        engine.write("AY.")
        engine.finish("stop text")
        writer.hear()
    assert writer.take_back() == "HO"
    assert writer.can_write_again
    writer.again(PARAMS)
    asked = engine.last_generate
    assert (asked.text, asked.not_first) == ("ROMEO:\nHO\n\nJULIET:\n", "\n")


def test_a_model_that_was_asked_for_before_another_one_is_passed_over() -> None:
    engine = ScriptedEngine(opens=False)
    writer = Writer(engine)
    writer.open(MODEL)
    writer.open(Path("other.onnx"))
    writer.write("a", PARAMS)
    engine.open(MODEL)
    writer.hear()
    assert (writer.state, engine.asked(Generate)) == (State.LOADING, [])
    engine.open(Path("other.onnx"))
    writer.hear()
    assert writer.model is not None
    assert writer.model.path == Path("other.onnx")
    assert engine.last_generate.text == "a"


def test_the_model_on_the_way_is_the_one_if_the_last_is_refused() -> None:
    writer, engine = ready()
    engine.opens = False
    on_the_way, last = Path("on-the-way.onnx"), Path("last.onnx")
    writer.open(on_the_way)
    writer.open(last)
    engine.open(on_the_way)
    engine.say(Refused(last, "it is damaged"))
    assert [n.sentence for n in writer.hear()] == ["it is damaged"]
    assert writer.model is not None
    assert (writer.state, writer.model.path) == (State.READY, on_the_way)


def test_what_another_model_needs_to_be_told_is_told_again() -> None:
    writer, engine = ready()
    writer.ask_who_speaks()
    writer.write("é", SamplingParams(logit_bias=((3, 1.0),)))
    engine.say(Skipped(engine.run, "é"))
    assert len(writer.hear()) == 1
    assert writer.speakers
    engine.opens = False
    writer.open(Path("other.onnx"))
    writer.write("", SamplingParams(logit_bias=((3, 1.0),)))
    engine.chars = CHARS[::-1]
    engine.open(Path("other.onnx"))
    writer.hear()
    assert engine.last_generate.params.logit_bias == ()  # ids of the other vocabulary
    assert writer.speakers == ()
    engine.say(Skipped(engine.run, "é"))
    assert len(writer.hear()) == 1


def test_two_writers_at_one_engine_do_not_take_each_others_answers() -> None:
    one, engine = ready()
    other = one.beside()
    one.write("a", PARAMS)
    late = engine.run
    one.stop()
    other.open(MODEL)
    other.write("b", PARAMS)
    engine.say(Tokens(late, (Written(1, "x", -0.5, 1.5, 2, 32, False),), 0.5))
    other.hear()
    assert other.document.text == "b"


def test_what_a_dead_engine_thought_is_of_no_other_place() -> None:
    writer, engine = ready()
    writer.write("A", PARAMS)
    engine.write("BCD")
    writer.hear()
    assert writer.gaze.place is not None
    engine.say(Died("it died"))
    writer.hear()
    assert writer.gaze.place is None


def test_a_place_of_another_text_is_none() -> None:
    writer, engine = ready()
    writer.write("A", PARAMS)
    engine.write("BCD")
    writer.hear()
    place = writer.gaze.place
    assert place is not None
    assert writer.is_there(place)
    assert writer.model is not None
    model = writer.model
    writer.model = model._replace(chars="ab")
    assert not writer.is_there(place), "its candidates are another model's"
    writer.model = model
    writer.undo()
    assert not writer.is_there(place)


def test_the_last_words_are_taken_back_with_what_followed() -> None:
    writer, engine = ready()
    writer.write("ONE ", PARAMS)
    engine.write("two ")
    writer.hear()
    writer.write("THREE ", PARAMS)
    engine.write("four")
    writer.hear()
    assert writer.take_back() == "THREE "
    assert (writer.document.text, writer.is_running) == ("ONE two ", False)
    assert writer.take_back() == "ONE "
    assert (writer.document.text, writer.take_back()) == ("", "")
    writer.undo()
    writer.undo()
    assert writer.document.text == "ONE two THREE four"
    assert writer.take_back(at=5) == "ONE "
    writer.undo()
    assert writer.take_back(at=10) == "THREE "  # all of them, from their middle


@pytest.mark.parametrize(
    ("roles", "answer"),
    [
        (Roles("ROMEO", "JULIET"), "AY."),
        (Roles("ROMEO", "JULIET"), "AY.\n"),
        (Roles("ROMEO", "JULIET"), ""),
        (Roles(), "AY."),
        (Roles(), ""),
    ],
)
def test_what_is_said_is_taken_back_to_where_the_answer_before_it_ended(
    roles: Roles, answer: str
) -> None:
    writer, engine = ready()
    writer.roles = roles
    writer.write("HO", PARAMS)
    if answer:
        engine.write(answer, window=7)
    writer.hear()
    writer.stop()
    before, window = writer.document.text, writer.gauge.window
    writer.write("WELL", PARAMS)
    assert writer.take_back() == "WELL"
    assert (writer.document.text, writer.gauge.window) == (before, window)


def test_what_was_typed_before_a_conversation_stays_when_it_is_edited() -> None:
    writer, _ = ready()
    writer.write("ACT I", PARAMS)
    writer.roles = Roles("ROMEO", "JULIET")
    writer.write("HO", PARAMS)
    assert writer.document.text.startswith("ACT I\n\nROMEO:\n")
    assert writer.take_back() == "HO"
    assert writer.document.text == "ACT I"


def test_what_is_said_behind_a_name_of_the_models_is_taken_back_with_it() -> None:
    writer, engine = ready()
    writer.write("", PARAMS)
    engine.write("AY.\n\nROMEO:\n")
    writer.hear()
    writer.write("HO", PARAMS)
    writer.roles = Roles("ROMEO", "JULIET")
    assert writer.take_back() == "HO"
    assert writer.document.text == "AY.\n\n"


def test_what_is_said_without_names_behind_prose_is_taken_back() -> None:
    writer, engine = ready()
    writer.write("A LITTLE PROSE", PARAMS)
    engine.write(" AND MORE")
    writer.hear()
    writer.roles = Roles()
    for words in ("GOOD MORROW", "AND NOW"):
        writer.write(words, PARAMS)
        engine.write("AY.")
        writer.hear()
    before, _, _ = writer.document.text.partition("\n\nAND NOW")
    assert writer.take_back() == "AND NOW"
    assert writer.document.text == before
    assert writer.take_back() == "GOOD MORROW"
    assert writer.document.text == "A LITTLE PROSE AND MORE"
    assert writer.take_back() == "A LITTLE PROSE"  # not the model's


def test_a_candidate_is_put_where_it_was_shown() -> None:
    writer, engine = ready()
    writer.write("A", PARAMS)
    engine.write("B")
    writer.hear()
    place = writer.gaze.place
    assert place is not None
    engine.write("CD")
    writer.hear()
    writer.force(Candidate(CHARS.index("X"), 0.1, 0.1, "", 0.0, -2.3, 3), place, PARAMS)
    assert writer.document.text == "AX"
