"""Runs written anew, by a scripted engine and by a real model in a real one."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from minigpt.runtime.chat import Roles
from minigpt.runtime.library import find_model
from minigpt.runtime.params import SamplingParams
from minigpt_tui.candidates import think
from minigpt_tui.document import Document
from minigpt_tui.engine_client import EngineClient
from minigpt_tui.protocol import Died, Generate, Stop, Written
from minigpt_tui.replay import Outcome, Replay, summary
from minigpt_tui.screens.replay import prompt_of
from minigpt_tui.sessions import Sessions
from minigpt_tui.writer import Writer
from tests.tui.scripted_engine import MODEL, ScriptedEngine

PARAMS = SamplingParams(max_new_tokens=50)
MANY = 1_000_000


def ready() -> tuple[Writer, ScriptedEngine]:
    engine = ScriptedEngine(looks=False)
    writer = Writer(engine)
    writer.open(MODEL)
    writer.hear()
    return writer, engine


def write(writer: Writer, engine: ScriptedEngine, typed: str, text: str) -> None:
    writer.write(typed, PARAMS)
    if text:
        engine.write(text)
    engine.finish()
    writer.hear()


def begun(writer: Writer) -> Replay:
    replay = writer.write_anew(writer.document)
    assert replay is not None
    return replay


def test_every_run_is_asked_for_as_it_was() -> None:
    writer, engine = ready()
    write(writer, engine, "A", "BC")
    writer.document.runs[0].stops = ("X",)
    warm = replace(PARAMS, temperature=1.5)
    writer.document.runs[0].changes.append((1, warm))
    write(writer, engine, "", "EFG")
    replay = begun(writer)
    first = engine.last_generate
    assert first == Generate(
        first.run, "A", replace(PARAMS, max_new_tokens=2), None, ("X",), "",
        ((1, replace(warm, max_new_tokens=2)),), model="f" * 64,
    )  # fmt: skip
    engine.write("B")
    writer.hear()
    assert (replay.run, replay.written, replay.stored) == (writer.document.runs[0], "B", "BC")
    engine.write("C")
    engine.finish()
    writer.hear()
    second = engine.last_generate
    assert (second.text, second.params.max_new_tokens, second.view) == ("ABC", 3, 33)
    engine.write("EFG")
    engine.finish()
    writer.hear()
    assert replay.is_over
    assert [(v.outcome, v.n_same) for v in replay.verdicts] == [
        (Outcome.SAME, 2), (Outcome.SAME, 3),
    ]  # fmt: skip
    assert summary(replay.verdicts) == (
        "All 2 runs came out the same: 5 characters, and not one is another."
    )
    assert writer.document.text == "ABCEFG"
    assert len(writer.document.runs) == 2


@pytest.mark.parametrize(
    ("pieces", "n_same", "then", "now"),
    [
        (["BC", "XE"], 2, "“BC[D]E”", "“BC[X]E”"),
        (["X"], 0, "“[B]CDE”", "“[X]”"),
        (["B", "CD"], 3, "“BCD[E]”", "“BCD[its end]”"),
        (["BCDEF"], 4, "“BCDE[its end]”", "“BCDE[F]”"),
    ],
)
def test_the_first_difference_is_told(pieces: list[str], n_same: int, then: str, now: str) -> None:
    writer, engine = ready()
    write(writer, engine, "A", "BCDE")
    replay = begun(writer)
    for piece in pieces:
        engine.write(piece)
    engine.finish()
    writer.hear()
    (verdict,) = replay.verdicts
    assert (verdict.outcome, verdict.n_same) == (Outcome.DIFFERENT, n_same)
    assert f"after {n_same} of 4 characters: then {then}, now {now}" in verdict.sentence
    assert "onnxruntime" in summary(replay.verdicts)


def test_what_needs_another_model_is_told_and_not_written() -> None:
    writer, engine = ready()
    write(writer, engine, "A", "B")
    write(writer, engine, "C", "D")
    writer.document.runs[0].model_sha256 = "0123456789abcdef"
    writer.document.runs[0].model_name = "old\x1b[2J"
    replay = begun(writer)
    assert engine.last_generate.text == "ABC"
    engine.write("D")
    engine.finish()
    writer.hear()
    other, same = replay.verdicts
    assert other.outcome is Outcome.OTHER_MODEL
    assert "open old␛[2J (sha256 0123456789ab…)" in other.sentence
    assert same.outcome is Outcome.SAME
    assert summary(replay.verdicts) == "1 of 2 runs came out the same."


def test_where_all_needs_another_model_nothing_failed() -> None:
    writer, engine = ready()
    write(writer, engine, "A", "B")
    writer.document.runs[0].model_sha256 = "0123456789abcdef"
    assert summary(begun(writer).verdicts).startswith("Nothing was written anew")


def test_runs_that_cannot_be_written_are_told() -> None:
    writer, engine = ready()
    write(writer, engine, "A", "B")
    write(writer, engine, "C", "D")
    write(writer, engine, "E", "")
    replay = begun(writer)
    engine.fail("no memory\nleft")
    writer.hear()
    engine.say(Died("gone"))
    writer.hear()
    assert [v.sentence for v in replay.verdicts] == ["no memory␊left", "gone"]
    assert replay.is_over


def test_a_replay_that_is_given_up_hears_nothing_more() -> None:
    writer, engine = ready()
    write(writer, engine, "A", "BC")
    replay = begun(writer)
    engine.write("B")
    writer.hear()
    replay.stop()
    assert engine.requests[-1] == Stop(engine.run)
    engine.write("C")
    again = begun(writer)
    writer.hear()
    assert (replay.verdicts, replay.is_writing, again.written) == ([], False, "")


def test_what_a_run_goes_on_from_is_shown_with_what_was_chosen() -> None:
    document = Document()
    document.append_user("to ")
    document.append_token(Written(7, "be", -0.5, 1.0, 2, 3, False))
    document.append_forced(Written(8, "'", -0.5, 1.0, 2, 3, False))
    assert prompt_of(document, document.begin_run(SamplingParams())) == "'"
    document.append_user(", or")
    assert prompt_of(document, document.begin_run(SamplingParams())) == "', or"


def test_a_text_of_the_user_alone_has_no_runs() -> None:
    writer, _ = ready()
    writer.document.append_user("A")
    replay = begun(writer)
    assert replay.is_over
    assert "No model has written here" in summary(replay.verdicts)


class Desk:
    """A writer with a real model, and the waiting that goes with a real engine."""

    def __init__(self) -> None:
        self.engine = EngineClient()
        self._spoke = threading.Event()
        self.engine.listen(self._spoke.set)
        self.writer = Writer(self.engine)
        self.writer.open(find_model("laptop"))
        self.until(lambda: self.writer.model is not None)

    @property
    def document(self) -> Document:
        return self.writer.document

    def until(self, condition: Callable[[], bool]) -> None:
        while True:
            notices = self.writer.hear()
            assert not any(notice.is_error for notice in notices), notices
            if condition():
                return
            assert self._spoke.wait(300)
            self._spoke.clear()

    def written(self) -> None:
        self.until(lambda: not self.writer.is_running)

    def verdicts(self, document: Document) -> list[tuple[Outcome, int]]:
        replay = self.writer.write_anew(document)
        assert replay is not None
        self.until(lambda: replay.is_over)
        return [(verdict.outcome, verdict.n_same) for verdict in replay.verdicts]


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.engine.close()


def test_a_real_model_writes_everything_again(desk: Desk, tmp_path: Path) -> None:
    writer = desk.writer
    writer.adopt(Document())
    model = writer.model
    assert model is not None
    # moved sliders, past the window; most_new_tokens moves too, and ends the run
    wild = SamplingParams(max_new_tokens=MANY, temperature=1.2, top_p=1.0)
    writer.write("ROMEO:", wild)
    for n, params in enumerate(
        (
            replace(wild, temperature=0.5, frequency_penalty=0.1),
            replace(wild, mirostat=2.0, no_repeat_ngram=8),
            replace(wild, logit_bias=((1, float("-inf")),), seed=7),
        )
    ):
        before = len(desk.document)
        desk.until(lambda before=before: len(desk.document) > before + 100)  # type: ignore[misc]
        writer.change(params)
        desk.until(lambda n=n: len(desk.document.runs[0].changes) > n)  # type: ignore[misc]
    desk.until(lambda: len(desk.document) > 3 * model.config.block_size)
    writer.change(replace(wild, max_new_tokens=1))
    desk.written()
    # stopped by hand, and a change that came too late for what is kept
    writer.write("\n\nJULIET:", wild)
    desk.until(lambda: desk.document.runs[-1].n_tokens > 20)
    writer.change(replace(wild, temperature=0.1))
    writer.stop()
    # gone on from where it was broken off, which the model reads with as much in view
    writer.write("", replace(wild, max_new_tokens=300))
    desk.written()
    # an answer, which ends at a stop text and cannot begin with a line break
    writer.roles = Roles("ROMEO", "JULIET")
    writer.write("Who art thou?", wild)
    desk.written()
    writer.roles = None
    # another character in the middle
    writer.gaze.at(desk.document, 200)
    desk.until(lambda: writer.gaze.place is not None and writer.gaze.place.target.index == 200)
    place = writer.gaze.place
    assert place is not None
    there = desk.document.text[200]
    other = next(c for c in think(place, wild).candidates if model.chars[c.id] != there)
    writer.force(other, place, replace(wild, max_new_tokens=400))
    desk.written()
    # words that it has never seen among those that it has
    writer.write("é羅\ud83d King 7", replace(wild, max_new_tokens=40, temperature=0.0))
    desk.written()
    runs = desk.document.runs
    assert len(runs) == 6
    assert len(runs[0].changes) == 4
    sessions = Sessions(tmp_path / "sessions.db")
    id = sessions.save(sessions.create(), desk.document)
    stored = Sessions(tmp_path / "sessions.db").load(id)
    everything = [(Outcome.SAME, run.n_chars) for run in runs]
    text = desk.document.text
    for _ in range(2):
        assert desk.verdicts(stored) == everything
    assert desk.document.text == text
    assert desk.document.runs == stored.runs


def test_a_tampered_text_is_told_at_the_character(desk: Desk) -> None:
    writer = desk.writer
    writer.adopt(Document())
    writer.write("ROMEO:", replace(PARAMS, max_new_tokens=200))
    desk.written()
    chars = desk.document.nodes.columns["chars"]
    chars[6 + 123] = ord("#")
    assert desk.verdicts(desk.document) == [(Outcome.DIFFERENT, 123)]
    desk.document.runs[0].params = replace(PARAMS, seed=1)
    (verdict,) = desk.verdicts(desk.document)
    assert verdict[0] is Outcome.DIFFERENT
