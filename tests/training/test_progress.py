import io
import re
from pathlib import Path

import pytest

pytest.importorskip("torch")

from rich.console import Console

from minigpt.errors import InputError
from minigpt.training.events import Baselines, Evaluation, Event, Sample, Step
from minigpt.training.live_view import live_view
from minigpt.training.metrics import MetricsLog, Record, read_records
from minigpt.training.progress import (
    MAX_CURVE_POINTS,
    MEMORISING,
    Progress,
    plain_view,
    verdict,
)

YARDSTICKS = Baselines(uniform=4.17, bigram=2.49, five_gram=1.67)


def step(n: int, loss: float = 2.0) -> Step:
    return Step(n, loss, 1e-3, 0.5, tokens=100)


def plain(shown: str) -> str:
    """Without the cursor's movements."""
    return re.sub(r"\x1b\[[\d;?]*\w", "", shown)


def test_speed_and_time_left_come_from_the_last_steps() -> None:
    progress = Progress("t", 10, YARDSTICKS)
    assert progress.tokens_per_s is None
    for n in range(1, 6):
        progress.update(step(n), now=100 + 0.5 * n)
    assert progress.tokens_per_s == pytest.approx(200)
    assert progress.seconds_left == pytest.approx(2.5)
    assert progress.began == 100.5


def test_the_time_of_an_evaluation_does_not_count_as_training() -> None:
    progress = Progress("t", 10, YARDSTICKS)
    progress.update(step(1), now=1)
    progress.update(Evaluation(1, 2.0, best=True), now=100)
    progress.update(step(2), now=101)
    progress.update(step(3), now=102)
    assert progress.tokens_per_s == pytest.approx(100)
    assert progress.best_val_loss == 2.0


def test_the_curve_stays_short_and_even_however_long_the_run() -> None:
    progress = Progress("t", 10_000, YARDSTICKS)
    for n in range(1, 3 * MAX_CURVE_POINTS):
        progress.update(step(n, loss=1 / n), now=n)
    steps = [point[0] for point in progress.curve]
    assert steps == list(range(4, 3 * MAX_CURVE_POINTS, 4))
    assert len(steps) <= MAX_CURVE_POINTS
    losses = [point[1] for point in progress.curve]
    assert losses == sorted(losses, reverse=True)


def test_what_a_resumed_run_recalls_has_no_speed() -> None:
    whole, resumed = Progress("t", 10, YARDSTICKS), Progress("t", 10, YARDSTICKS)
    past: list[Record] = [Evaluation(0, 4.0, best=True), *map(step, range(1, 5))]
    for event in past:
        assert not isinstance(event, Baselines)
        whole.update(event, now=7)
    resumed.recall([YARDSTICKS, *past])
    assert resumed.tokens_per_s is resumed.seconds_left is resumed.began is None
    assert (resumed.curve, resumed.val_losses) == (whole.curve, whole.val_losses)
    assert (resumed.loss, resumed.best_val_loss, resumed.best_step) == (whole.loss, 4.0, 0)
    resumed.update(step(5), now=100)
    resumed.update(step(6), now=101)
    assert resumed.tokens_per_s == pytest.approx(100)


def events_of(train_losses: list[float], val_losses: list[float]) -> list[Event]:
    """An evaluation after every two steps, whose losses are around the given ones."""
    events: list[Event] = []
    for i, (train_loss, val_loss) in enumerate(zip(train_losses, val_losses, strict=True)):
        events += [step(2 * i + 1, train_loss - 0.9), step(2 * i + 2, train_loss + 0.9)]
        events.append(Evaluation(2 * i + 2, val_loss, best=val_loss == min(val_losses[: i + 1])))
    return events


@pytest.mark.parametrize(
    ("train_losses", "val_losses", "after"),
    [
        ([2.5, 2.4, 2.2, 2.3, 2.0], [2.6, 2.5, 2.51, 2.52, 2.53], 5),
        ([2.5, 2.4, 2.2, 2.3, 2.0], [2.6, 2.5, 2.51, 2.51, 2.53], None),  # two rises and a half
        ([2.5, 2.4, 2.2, 2.3, 2.2], [2.6, 2.5, 2.51, 2.52, 2.53], None),  # training does not fall
        ([2.5, 2.4, 2.3, 2.2, 2.1, 2.0], [2.5, 2.51, 2.52, 2.53, 2.54, 2.55], 4),
        ([2.5, 2.4, 2.3], [2.5, 2.51, 2.52], None),
    ],
)
def test_learning_by_heart_is_named_once(
    train_losses: list[float], val_losses: list[float], after: int | None
) -> None:
    lines: list[str] = []
    with plain_view(Progress("t", 100, YARDSTICKS), lines.append) as show:
        for event in events_of(train_losses, val_losses):
            show(event)
    evaluations = [line for line in lines if "validation" in line]
    said = [i for i, line in enumerate(evaluations) if "the model is memorising" in line]
    assert said == ([] if after is None else [after])


@pytest.mark.parametrize("cut", range(15))
def test_learning_by_heart_is_seen_across_a_stop(tmp_path: Path, cut: int) -> None:
    events = events_of([2.5, 2.4, 2.2, 2.3, 2.0], [2.6, 2.5, 2.51, 2.52, 2.53])
    log = MetricsLog(tmp_path, resume_step=None)
    for event in events[:cut]:
        log.write(event)
    progress = Progress("t", 100, YARDSTICKS)
    progress.recall(read_records(tmp_path))
    assert (progress.memorising, progress.tokens_per_s) == (False, None)
    lines: list[str] = []
    with plain_view(progress, lines.append) as show:
        for event in events[cut:]:
            show(event)
    assert [line for line in lines if "memorising" in line] == [MEMORISING]
    assert progress.best_val_loss == 2.5


def test_the_live_view_names_learning_by_heart() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, color_system=None)
    with live_view(Progress("my run", 100, YARDSTICKS), console) as show:
        for event in events_of([2.5, 2.4, 2.2, 2.0], [2.5, 2.51, 2.52, 2.53]):
            show(event)
    assert "validation has risen for 3 evaluations while training still falls" in out.getvalue()


def test_plain_lines_for_pipes() -> None:
    lines: list[str] = []
    with plain_view(Progress("title", 100, YARDSTICKS), lines.append, every=2) as show:
        for event in (step(1), step(2), Evaluation(2, 1.5, best=True), Sample(2, "a\x1b\nb")):
            show(event)
    assert lines[0] == "title"
    assert lines[1].startswith("step 2 loss 2.0000")
    assert lines[2:] == ["step 2 validation 1.5000 best", 'step 2 sample "a\\u001b\\nb"']


def test_plain_lines_begin_with_the_time_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.perf_counter", iter([1.0, 3.0, 5.0, 6.0, 8.0]).__next__)
    lines: list[str] = []
    with plain_view(Progress("title", 100, YARDSTICKS), lines.append) as show:
        for event in (step(1), step(2), step(3), Evaluation(3, 1.5, best=True), step(4)):
            show(event)
    assert lines[1] == "step 2 loss 2.0000 tokens/s 50 left 0:03:16"
    assert [line.split()[1] for line in lines[1:]] == ["2", "3"]


def test_plain_lines_tell_the_share_of_a_known_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.perf_counter", iter([1.0, 2.0]).__next__)
    lines: list[str] = []
    progress = Progress("title", 100, YARDSTICKS, tokens_per_s_at_peak=250.0)
    with plain_view(progress, lines.append, every=2) as show:
        show(step(1))
        show(step(2))  # 100 tokens each
    assert "tokens/s 100 MFU 40.0% left" in lines[-1]


@pytest.mark.parametrize(
    ("loss", "best_step", "words"),
    [
        (1.5, 5, "more than counting"),
        (1.9, None, "Counting does"),
        (1.5, 0, "so that one is what is kept"),
        (4.2, 0, "so that one is what is kept"),
        (1.67, 0, "as good as counting"),  # of one letter there is nothing to learn
        (1.5, 2000, "this model, at step 2,000 1.5000"),
    ],
)
def test_the_verdict_is_honest(loss: float, best_step: int | None, words: str) -> None:
    out = io.StringIO()
    Console(file=out, width=80).print(verdict(YARDSTICKS, loss, best_step))
    assert words in " ".join(out.getvalue().split())
    assert "1.6700" in out.getvalue()


@pytest.mark.parametrize(
    ("yardsticks", "loss", "words"),
    [
        (Baselines(uniform=4.17, bigram=2.49, five_gram=2.8), 2.6, "Counting does better still"),
        (Baselines(uniform=4.17, bigram=2.49, five_gram=2.8), 2.4, "more than counting can"),
        (Baselines(uniform=2.0, bigram=2.49, five_gram=2.8), 2.3, "A blind guess does better"),
        (Baselines(uniform=2.0, bigram=2.49, five_gram=2.8), 2.0, "as good as a blind guess"),
    ],
)
def test_the_verdict_compares_with_the_best_that_needs_no_network(
    yardsticks: Baselines, loss: float, words: str
) -> None:
    out = io.StringIO()
    Console(file=out, width=80).print(verdict(yardsticks, loss, 5))
    assert words in out.getvalue()  # a little text is where longer contexts count less well


def test_the_verdict_on_what_was_learned_by_heart_does_not_ask_for_more_of_it() -> None:
    out = io.StringIO()
    Console(file=out, width=80).print(verdict(YARDSTICKS, 1.9, 5, memorising=True))
    assert "train a smaller model, or on more text" in out.getvalue()
    assert "longer" not in out.getvalue()


def test_a_log_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path, resume_step=None)
    (tmp_path / "metrics.jsonl").unlink()
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(InputError, match=r"cannot write .*metrics\.jsonl: "):
        log.write(step(1))
