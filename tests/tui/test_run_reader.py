"""A log read while it grows tells what it tells when it is read whole."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt.training.events import Step
from minigpt.training.lock import LOCK, lock_folder
from minigpt.training.metrics import METRICS, Record, parse_record
from minigpt.training.runs import read_run
from minigpt_tui import run_reader
from minigpt_tui.run_reader import RunReader, RunView
from tests.tui.run_folder import COUNTS, MAX_STEPS, append, lines, records, write_checkpoint


def read_whole(folder: Path) -> RunView:
    reader = RunReader(folder)
    while reader.poll(now=0):
        pass
    return reader.view()


def without_speed(view: RunView) -> RunView:
    return replace(view, tokens_per_s=None, seconds_left=None)


def test_a_log_tells_all_of_a_run(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    append(tmp_path, lines(records()))
    view = read_whole(tmp_path)
    assert (view.step, view.max_steps, view.state) == (30, MAX_STEPS, "stopped")
    assert view.baselines == COUNTS
    assert [step for step, _ in view.training] == list(range(1, 31))
    assert view.validation == ((0, 4.2), (10, 3.5), (20, 3.0), (30, 2.5))
    assert view.best == (30, 2.5)
    assert view.samples == ((10, "text 10\né"), (20, "text 20\né"), (30, "text 30\né"))
    assert (view.gradient_norm, view.learning_rate) == (0.5, 1e-3)
    assert (view.tokens_per_s, view.seconds_left, view.notes) == (None, None, ())


def test_cut_at_any_byte_it_comes_to_the_same(tmp_path: Path) -> None:
    whole = lines(records(steps=12, every=5))
    append(tmp_path, whole)
    expected = read_whole(tmp_path)
    for cut in range(len(whole) + 1):
        (tmp_path / METRICS).write_bytes(whole[:cut])
        reader = RunReader(tmp_path)
        reader.poll(now=0)
        assert reader.view().notes == ()
        append(tmp_path, whole[cut:])
        assert reader.poll(now=1) == (cut < len(whole))
        assert without_speed(reader.view()) == expected, cut


@given(st.lists(st.binary(max_size=30) | st.sampled_from(list(records())), max_size=30), st.data())
def test_no_bytes_can_break_it(
    tmp_path_factory: pytest.TempPathFactory, parts: list[object], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("run")
    content = b"".join(p if isinstance(p, bytes) else lines([p]) for p in parts)  # type: ignore[list-item]
    reader = RunReader(folder)
    for cut in sorted(data.draw(st.sets(st.integers(0, len(content)), max_size=4))):
        (folder / METRICS).write_bytes(content[:cut])
        reader.poll(now=0)
    (folder / METRICS).write_bytes(content)
    reader.poll(now=0)
    assert without_speed(reader.view()) == read_whole(folder)


def test_only_what_is_new_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[bytes] = []

    def parse(line: bytes) -> Record | None:
        parsed.append(line)
        return parse_record(line)

    monkeypatch.setattr(run_reader, "parse_record", parse)
    reader = RunReader(tmp_path)
    assert not reader.poll(now=0)  # there is no log yet
    append(tmp_path, lines(records()))
    assert reader.poll(now=1)
    assert len(parsed) == len(records())
    assert not reader.poll(now=2)
    append(tmp_path, lines([Step(31, 2.0, 1e-3, 0.5, 100)]))
    assert reader.poll(now=3)
    assert len(parsed) == len(records()) + 1


def test_a_long_log_comes_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append(tmp_path, lines(records()))
    expected = read_whole(tmp_path)
    monkeypatch.setattr(run_reader, "MOST_BYTES", 500)
    reader = RunReader(tmp_path)
    assert reader.poll(now=0)
    assert 0 < reader.view().step < 30
    while reader.poll(now=0):
        pass
    assert reader.view() == expected


def test_of_a_run_that_begins_anew_nothing_older_stays(tmp_path: Path) -> None:
    reader = RunReader(tmp_path)
    for log in (records(), records(steps=3), records(steps=25, every=4), []):
        (tmp_path / METRICS).write_bytes(lines(log))
        reader.poll(now=0)
        assert without_speed(reader.view()) == read_whole(tmp_path)
    append(tmp_path, lines(records()))
    reader.poll(now=0)
    (tmp_path / METRICS).unlink()
    assert reader.poll(now=0)
    assert reader.view().step == 0
    assert not reader.poll(now=0)


def test_a_resumed_run_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    append(tmp_path, lines(records(steps=25)))
    reader = RunReader(tmp_path)
    reader.poll(now=0)
    cut = lines(records(steps=20))
    (tmp_path / METRICS).write_bytes(cut + lines([Step(21, 9.0, 1e-3, 0.5, 100)]))
    assert reader.poll(now=1)
    assert reader.view() == read_whole(tmp_path)
    assert reader.view().step == 21


@pytest.mark.parametrize(
    "line",
    [b"[1]", b'{"a": 1}', b"\xff\x00", b"", b'{"step": 3, "text": "from before"}', b"[" * 9999],
)
def test_a_foreign_line_is_one_sentence(tmp_path: Path, line: bytes) -> None:
    log = records(steps=5)
    append(tmp_path, lines(log) + line + b"\n")
    view = read_whole(tmp_path)
    assert view.notes == (f"line {len(log) + 1} of {METRICS} is not of this run and was left out",)
    append(tmp_path, line + b"\n" + lines([Step(6, 2.0, 1e-3, 0.5, 100)]))
    view = read_whole(tmp_path)
    assert view.step == 6
    assert len(view.notes) == 1
    assert "2 lines" in view.notes[0]


def test_yardsticks_that_are_no_numbers_are_none(tmp_path: Path) -> None:
    (tmp_path / METRICS).write_bytes(b'{"uniform": NaN, "bigram": NaN, "five_gram": NaN}\n')
    reader = RunReader(tmp_path)
    reader.poll(0)
    assert reader.view().baselines is None


def test_a_file_without_an_end_of_line_does_not_grow_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_reader, "MOST_BYTES", 500)
    append(tmp_path, b"x" * 1800)
    assert "3 lines" in read_whole(tmp_path).notes[0]


def test_a_log_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / METRICS).mkdir()
    reader = RunReader(tmp_path)
    assert reader.poll(now=0)
    assert "is a folder" in reader.view().notes[0]
    assert not reader.poll(now=1)


def test_speed_is_that_of_what_was_seen_to_come(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    log = records(steps=30)
    reader = RunReader(tmp_path)
    now = 0.0
    with lock_folder(tmp_path):
        append(tmp_path, lines(log[:12]))  # what was there before: 10 steps
        reader.poll(now)
        assert reader.view().tokens_per_s is None
        for record in log[12:-2]:
            now += 0.5 if isinstance(record, Step) else 3.0
            append(tmp_path, lines([record]))
            reader.poll(now)
        view = reader.view()
        # a step of 100 tokens in half a second; the time left knows of evaluations too
        assert view.tokens_per_s == pytest.approx(200)
        assert view.step == 30
        assert view.seconds_left == pytest.approx(10 * 19 / 20)
    reader.poll(now)
    assert reader.view().seconds_left is None
    now += 3600  # and resumed
    with lock_folder(tmp_path):
        for record in records(steps=MAX_STEPS)[len(log) :][:4]:
            append(tmp_path, lines([record]))
            reader.poll(now)
            now += 0.5
        assert reader.view().tokens_per_s == pytest.approx(200)


def test_how_a_run_stands_is_told_by_its_lock(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    reader = RunReader(tmp_path)
    append(tmp_path, lines(records(steps=30)))
    with lock_folder(tmp_path):
        reader.poll(now=0)
        assert reader.view().state == "running"
    assert reader.poll(now=1)  # nothing was written, and yet there is news
    assert reader.view().state == "stopped"
    (tmp_path / LOCK).touch()
    reader.poll(now=2)
    assert reader.view().state == "lost"
    append(tmp_path, lines(records(steps=MAX_STEPS)[len(records(steps=30)) :]))
    reader.poll(now=3)
    assert reader.view().state == "finished"


def test_a_run_whose_checkpoints_are_gone_stands_as_its_settings_say(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(f"[train]\nmax_steps = {MAX_STEPS}\n", encoding="utf-8")
    reader = RunReader(tmp_path)
    append(tmp_path, lines(records(steps=30)))
    reader.poll(now=0)
    assert (reader.view().state, reader.view().max_steps) == ("stopped", MAX_STEPS)
    append(tmp_path, lines(records(steps=MAX_STEPS)[len(records(steps=30)) :]))
    reader.poll(now=1)
    assert reader.view().state == "finished"
    assert read_run(tmp_path).state == "finished"
    assert read_run(tmp_path).max_steps == MAX_STEPS


def test_a_curve_has_few_points_and_its_last_one(tmp_path: Path) -> None:
    append(tmp_path, lines(Step(n, 2.0, 1e-3, 0.5, 100) for n in range(1, 3001)))
    reader = RunReader(tmp_path)
    reader.poll(now=0)
    steps = [step for step, _ in reader.view().training]
    assert len(steps) <= 2 * run_reader.MOST_POINTS
    assert steps[-1] == 3000
    assert [step for step, _ in reader.view(since=2900).training] == list(range(2900, 3001))
    before = set(steps)
    append(tmp_path, lines([Step(3001, 2.0, 1e-3, 0.5, 100)]))
    reader.poll(now=1)
    assert before - {3000} <= {step for step, _ in reader.view().training}
