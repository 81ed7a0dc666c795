import io
import json
import re
from pathlib import Path

import pytest

pytest.importorskip("torch")

from rich.console import Console

from minigpt.training.baselines import Baselines
from minigpt.training.loop import End, Evaluation, Event, Sample, Step
from minigpt.training.progress import (
    MetricsLog,
    Progress,
    live_view,
    plain_view,
    plot_losses,
    read_metrics,
    tokenizing_view,
    verdict,
)

YARDSTICKS = Baselines(uniform=4.17, bigram=2.49, five_gram=1.67)


def plain(shown: str) -> str:
    """Without the cursor's movements."""
    return re.sub(r"\x1b\[[\d;?]*\w", "", shown)


def step(n: int, loss: float = 2.0) -> Step:
    return Step(n, loss, 1e-3, 0.5, tokens=100)


def test_speed_and_time_left_come_from_the_last_steps() -> None:
    progress = Progress("t", 10, YARDSTICKS)
    assert progress.tokens_per_s is None
    for n in range(1, 6):
        progress.update(step(n), now=100 + 0.5 * n)
    assert progress.tokens_per_s == pytest.approx(200)
    assert progress.seconds_left == pytest.approx(2.5)


def test_the_time_of_an_evaluation_does_not_count_as_training() -> None:
    progress = Progress("t", 10, YARDSTICKS)
    progress.update(step(1), now=1)
    progress.update(Evaluation(1, 2.0, best=True), now=100)
    progress.update(step(2), now=101)
    progress.update(step(3), now=102)
    assert progress.tokens_per_s == pytest.approx(100)
    assert progress.best_val_loss == 2.0


def test_plain_lines_for_pipes() -> None:
    lines: list[str] = []
    with plain_view(Progress("title", 100, YARDSTICKS), lines.append, every=2) as show:
        for event in (step(1), step(2), Evaluation(2, 1.5, best=True), Sample(2, "a\x1b\nb")):
            show(event)
    assert lines[0] == "title"
    assert lines[1].startswith("step 2 loss 2.0000")
    assert lines[2:] == ["step 2 validation 1.5000 best", 'step 2 sample "a\\u001b\\nb"']


def test_the_live_view_shows_the_numbers_and_the_sample() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, color_system=None)
    with live_view(Progress("my run", 100, YARDSTICKS), console) as show:
        for event in (step(1), Evaluation(1, 1.5, best=True), Sample(1, "[bold]O Romeo\x1b[2J")):
            show(event)
    shown = out.getvalue()
    assert "loss 2.0000   validation 1.5000   best 1.5000" in plain(shown)
    for words in ("my run", "1.5000", "1/100", "5-gram 1.6700", "[bold]O Romeo␛[2J"):
        assert words in shown


def test_bars_for_a_large_text() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, color_system=None)
    with tokenizing_view(console) as report:
        report("hash", 50_000_000, 100_000_000)
        report("hash", 100_000_000, 100_000_000)
        report("ids", 25_000_000, 100_000_000)
    assert "hash" in plain(out.getvalue())
    assert "25.0/100.0 MB" in plain(out.getvalue())


def test_the_log_is_cut_back_to_where_a_run_goes_on(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path, resume_step=None)
    events: list[Event] = [
        Evaluation(0, 4.0, best=True),
        step(1),
        step(2),
        Evaluation(2, 3.0, best=True),
        step(3),
    ]
    for event in events:
        log.write(event)
    log.write(End(3, 3.0, stopped=True))
    assert len(read_metrics(tmp_path)) == 5
    MetricsLog(tmp_path, resume_step=2)
    assert [(r["step"], "loss" in r) for r in read_metrics(tmp_path)] == [
        (0, False), (1, True), (2, True)
    ]  # fmt: skip
    MetricsLog(tmp_path, resume_step=None)
    assert read_metrics(tmp_path) == []


def test_half_a_line_at_the_end_is_left_out(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path, resume_step=None)
    log.write(step(1))
    with (tmp_path / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('3\n{"step": 2, "lo')
    assert [row["step"] for row in read_metrics(tmp_path)] == [1]


def test_the_log_holds_nothing_of_the_clock(tmp_path: Path) -> None:
    MetricsLog(tmp_path, resume_step=None).write(step(1))
    row = json.loads((tmp_path / "metrics.jsonl").read_text(encoding="utf-8"))
    assert set(row) == {"step", "loss", "learning_rate", "gradient_norm", "tokens"}


def test_a_plot_is_drawn(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path, resume_step=None)
    for event in (Evaluation(0, 4.0, best=True), step(1), Evaluation(1, 3.0, best=True)):
        log.write(event)
    path = plot_losses(tmp_path, YARDSTICKS)
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("loss", "words"), [(1.5, "more than counting"), (1.9, "Counting does")])
def test_the_verdict_is_honest(loss: float, words: str) -> None:
    out = io.StringIO()
    Console(file=out, width=80).print(verdict(YARDSTICKS, loss))
    assert words in out.getvalue()
    assert "1.6700" in out.getvalue()
