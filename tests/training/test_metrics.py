import json
import os
from pathlib import Path

import pytest

pytest.importorskip("torch")

from minigpt.corpus import Corpus
from minigpt.training import checkpoint
from minigpt.training.events import Baselines, End, Evaluation, Event, Sample
from minigpt.training.loop import train
from minigpt.training.metrics import (
    METRICS,
    MetricsLog,
    parse_record,
    read_metrics,
    read_records,
    smoothed,
)
from minigpt.training.plot import Curve, plot_losses, plot_runs
from tests.training.test_loop import small_run
from tests.training.test_progress import YARDSTICKS, step


def test_the_log_is_cut_back_to_where_a_run_goes_on(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path, resume_step=None)
    events: list[Event | Baselines] = [
        YARDSTICKS,
        Evaluation(0, 4.0, best=True),
        step(1),
        Sample(1, "a\n\x1b\ud800é"),
        step(2),
        Evaluation(2, 3.0, best=True),
        Sample(2, "b"),
        step(3),
    ]
    for event in events:
        log.write(event)
    log.write(End(3, 3.0, "finished"))
    assert len(read_metrics(tmp_path)) == 5
    assert read_records(tmp_path) == events
    whole = (tmp_path / "metrics.jsonl").read_bytes()
    MetricsLog(tmp_path, resume_step=2)
    assert [(r["step"], "loss" in r) for r in read_metrics(tmp_path)] == [
        (0, False), (1, True), (2, True)
    ]  # fmt: skip
    assert read_records(tmp_path) == events[:5]
    for event in events[5:]:
        log.write(event)
    assert (tmp_path / "metrics.jsonl").read_bytes() == whole
    MetricsLog(tmp_path, resume_step=None)
    assert read_metrics(tmp_path) == []


def test_a_checkpoint_counts_on_no_row_that_a_power_loss_could_take(
    tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_disk: dict[int, int] = {}
    counted_on: list[int] = []
    fsync, save = os.fsync, checkpoint.save

    def watched_fsync(handle: int) -> None:
        fsync(handle)
        on_disk[os.fstat(handle).st_ino] = os.fstat(handle).st_size

    def watched_save(
        saved: checkpoint.Checkpoint, path: Path, *, keep_old_as: Path | None = None
    ) -> None:
        if path.name == checkpoint.LAST:
            found = (path.parent / METRICS).stat()
            assert on_disk[found.st_ino] == found.st_size
            counted_on.append(found.st_size)
        save(saved, path, keep_old_as=keep_old_as)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(checkpoint, "save", watched_save)
    log = MetricsLog(tmp_path, resume_step=None)
    for event in train(small_run(tmp_path, corpus), stop=lambda: len(read_metrics(tmp_path)) > 8):
        log.write(event)
    assert [size > 0 for size in counted_on] == [False, True, True]


def test_half_a_line_at_the_end_is_left_out(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path, resume_step=None)
    log.write(step(1))
    with (tmp_path / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('3\n{"step": 2, "lo')
    assert [row["step"] for row in read_metrics(tmp_path)] == [1]


def test_rows_of_other_fields_are_no_records(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path, resume_step=None)
    log.write(step(1))
    with (tmp_path / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 2, "loss": 1.0, "color": "red"}\n')
    assert read_records(tmp_path) == [step(1)]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b'{"step": 1, "lo',
        b"[]",
        b'{"step": 1}',
        b'{"step": "1", "text": "a"}',
        b'{"step": true, "text": "a"}',
        b'{"step": 1' + b"0" * 400 + b', "text": "a"}',
        b'{"step": 1, "text": "\xff"}',
        b"[" * 100_000,
    ],
)
def test_a_line_of_something_else_is_no_record(line: bytes) -> None:
    assert parse_record(line) is None


def test_the_log_holds_nothing_of_the_clock(tmp_path: Path) -> None:
    MetricsLog(tmp_path, resume_step=None).write(step(1))
    row = json.loads((tmp_path / "metrics.jsonl").read_text(encoding="utf-8"))
    assert set(row) == {"step", "loss", "learning_rate", "gradient_norm", "tokens"}


def test_smoothing_starts_at_the_first_loss() -> None:
    assert smoothed(None, 4.0) == 4.0
    assert smoothed(4.0, 2.0) == pytest.approx(3.9)


def test_a_plot_is_drawn(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path, resume_step=None)
    empty = plot_losses(tmp_path, YARDSTICKS).read_bytes()
    for event in (Evaluation(0, 4.0, best=True), step(1), Evaluation(1, 3.0, best=True)):
        log.write(event)
    drawn = plot_losses(tmp_path, YARDSTICKS).read_bytes()
    assert empty.startswith(b"\x89PNG")
    assert drawn.startswith(b"\x89PNG")
    assert drawn != empty


def test_several_runs_are_drawn_into_one_plot(tmp_path: Path) -> None:
    one: tuple[Curve, Curve] = [(1, 3.0)], [(0, 4.0), (1, 3.1)]
    other: tuple[Curve, Curve] = [], [(0, 4.0)]
    pictures = []
    for curves in ({"one": one}, {"one": one, "_$other": other, "$x^$": other, "\n": one}):
        plot_runs(curves, tmp_path / "all.png")
        pictures.append((tmp_path / "all.png").read_bytes())
    assert pictures[0].startswith(b"\x89PNG")
    assert pictures[0] != pictures[1]


def test_rows_that_are_none_are_left_out(tmp_path: Path) -> None:
    rows = ['{"step": "x", "loss": 1.0}', '{"step": 1, "loss": "x"}', '{"step": 1, "loss": 1.5}']
    (tmp_path / "metrics.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    assert read_metrics(tmp_path) == [{"step": 1, "loss": 1.5}]
