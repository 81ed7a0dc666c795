"""Training events into what is known of a run so far, and into plain lines."""

import datetime
import json
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from minigpt.training.events import (
    Baselines,
    Begin,
    End,
    Evaluation,
    Event,
    Sample,
    Saved,
    Saving,
    Step,
)  # fmt: skip
from minigpt.training.metrics import Record, smoothed

MAX_CURVE_POINTS = 512
"""Of the training loss; more than a terminal has dots for, and few enough to draw in no time."""


RISES = 3
"""As many evaluations in a row, each worse than the one before, are no accident any more."""
MEMORISING = (
    f"validation has risen for {RISES} evaluations while training still falls: the model is "
    "memorising; --patience, more text, or dropout help"
)
STOPPING = "stopping soon, and saving; Ctrl-C now ends at once"


@dataclass(slots=True)
class Progress:
    """What is known of a run so far; `update` with each event, in order."""

    title: str
    max_steps: int
    baselines: Baselines
    tokens_per_s_at_peak: float | None = None
    """Of the device, if it did nothing but multiply; None where that is not known."""
    step: int = 0
    loss: float | None = None
    """Smoothed over some twenty steps."""
    curve: list[tuple[int, float]] = field(default_factory=list)
    """The smoothed loss at evenly spaced steps, at most MAX_CURVE_POINTS of them."""
    learning_rate: float | None = None
    gradient_norm: float | None = None
    val_losses: list[tuple[int, float]] = field(default_factory=list)
    best_val_loss: float | None = None
    best_step: int | None = None
    """Where that was; 0: at the model before its first step."""
    memorising: bool = False
    """Whether it was seen to learn the training text by heart; stays so."""
    stopping: bool = False
    """Whether it was asked to stop: after the next step, before which an evaluation may come."""
    samples: list[tuple[int, str]] = field(default_factory=list)
    """Step and text, the newest last."""
    began: float | None = None
    """When the first event came, in seconds."""
    tokens_per_s: float | None = None
    """Of training alone, over the last steps; None before there are two."""
    seconds_left: float | None = None
    """At that speed."""
    _every: int = 1
    """Steps between two points of the curve."""
    _losses: list[float] = field(default_factory=list)
    """Of the steps since the last evaluation."""
    _train_losses: list[float] = field(default_factory=list)
    """Their mean before each evaluation; nan for no steps."""
    _recent: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=50))
    """When the last steps ended (seconds), and the tokens of each."""

    @property
    def mfu(self) -> float | None:
        """The share of the device's arithmetic that is used (see `mfu.py`); None if not known."""
        if self.tokens_per_s is None or self.tokens_per_s_at_peak is None:
            return None
        return self.tokens_per_s / self.tokens_per_s_at_peak

    def recall(self, records: Sequence[Record]) -> None:
        """Take in what a resumed run went through before, but nothing of its speed."""
        for i, record in enumerate(records):
            if not isinstance(record, Baselines):
                self.update(record, now=i)
        self._recent.clear()
        self.began = self.tokens_per_s = self.seconds_left = None

    def update(self, event: Event, now: float) -> None:
        """Take in an event that came at `now`, in seconds of any steady clock."""
        if self.began is None:
            self.began = now
        match event:
            case Step():
                self.step = event.step
                self.learning_rate = event.learning_rate
                self.gradient_norm = event.gradient_norm
                self.loss = smoothed(self.loss, event.loss)
                self._losses.append(event.loss)
                self._extend_curve(event.step, self.loss)
                self._recent.append((now, event.tokens))
                self._measure()
            case Evaluation():
                self.step = event.step
                self._evaluated(event)
                # the time of an evaluation is not the time of a step
                self._recent.clear()
            case Sample():
                self.samples.append((event.step, event.text))
                self._recent.clear()
            case Begin() | Saving() | Saved() | End():
                pass

    def _evaluated(self, event: Evaluation) -> None:
        self.val_losses.append((event.step, event.val_loss))
        if event.best:
            self.best_val_loss, self.best_step = event.val_loss, event.step
        self._train_losses.append(fmean(self._losses) if self._losses else math.nan)
        self._losses.clear()
        if len(self.val_losses) > RISES:
            latest = [loss for _, loss in self.val_losses[-RISES - 1 :]]
            rises = all(after > before for before, after in pairwise(latest))
            # a mean that is nan is of no steps, and not below anything
            falls = self._train_losses[-1] < self._train_losses[-RISES]
            self.memorising |= rises and falls

    def _extend_curve(self, step: int, loss: float) -> None:
        if step % self._every:
            return
        points = [*self.curve, (step, loss)]
        if len(points) > MAX_CURVE_POINTS:
            self._every *= 2
            points = [point for point in points if point[0] % self._every == 0]
        self.curve = points  # a new list: another thread may be drawing the old one

    def _measure(self) -> None:
        seconds = self._recent[-1][0] - self._recent[0][0]
        if seconds <= 0:  # one step, or two within a tick of a coarse clock
            return
        self.tokens_per_s = sum(tokens for _, tokens in list(self._recent)[1:]) / seconds
        steps_left = self.max_steps - self.step
        self.seconds_left = steps_left * seconds / (len(self._recent) - 1)


Show = Callable[[Event], None]
"""Takes in an event and shows what changed."""


@contextmanager
def plain_view(
    progress: Progress, say: Callable[[str], None], *, every: int = 50
) -> Iterator[Show]:
    """A line for each evaluation, and one every so many steps: for logs and pipes.

    One more as soon as it is known how long all of it will take.
    """

    def show(event: Event) -> None:
        known, unmeasured = progress.memorising, progress.seconds_left is None
        progress.update(event, time.perf_counter())
        measured = unmeasured and progress.seconds_left is not None
        match event:
            case Step() if measured or event.step % every == 0:
                speed = progress.tokens_per_s
                words = f"loss {loss_text(progress.loss)} tokens/s {speed or 0:,.0f}"
                words += "" if progress.mfu is None else f" MFU {progress.mfu:.1%}"
                line = f"{words} left {duration_text(progress.seconds_left)}"
            case Evaluation():
                line = f"validation {event.val_loss:.4f}{' best' if event.best else ''}"
            case Sample():
                line = f"sample {json.dumps(event.text, ensure_ascii=False)}"
            case _:
                return
        say(f"step {event.step} {line}")
        if progress.memorising and not known:
            say(MEMORISING)

    say(progress.title)
    yield show


def verdict(
    baselines: Baselines, val_loss: float, best_step: int | None, *, memorising: bool = False
) -> RenderableType:
    """The model beside the yardsticks, for the end of a run.

    Args:
        baselines: the yardsticks.
        val_loss: the lowest of the run.
        best_step: where that was, if it is known.
        memorising: whether it was seen to learn the training text by heart.
    """
    table = Table(box=None, padding=(0, 2))
    table.add_column("")
    table.add_column("validation loss", justify="right")
    rows = [
        ("uniform guess", baselines.uniform),
        ("bigram counts", baselines.bigram),
        ("5-gram counts", baselines.five_gram),
        (model := "this model" + (f", at step {best_step:,}" if best_step else ""), val_loss),
    ]
    for name, loss in sorted(rows, key=lambda row: -row[1]):
        table.add_row(name, f"{loss:.4f}", style="bold" if name == model else "")
    counted = min(baselines.bigram, baselines.five_gram)
    yardstick = "a blind guess" if baselines.uniform < counted else "counting"
    least = min(baselines.uniform, counted)
    if val_loss == least:
        words = f"It is as good as {yardstick}, and no better."
    elif best_step == 0:
        words = (
            "No evaluation was better than the model before its first step, so that one is what "
            "is kept: try lower learning rates, more steps, or more text."
        )
    elif val_loss < least:
        words = "It has learned more than counting can."
    elif memorising:
        words = (
            f"{yardstick.capitalize()} does better still: train a smaller model, or on more text."
        )
    else:
        words = f"{yardstick.capitalize()} does better still: train longer, or on more text."
    return Group(table, Text(words))


def loss_text(value: float | None) -> str:
    """Four digits, or a dash."""
    return "-" if value is None else f"{value:.4f}"


def duration_text(seconds: float | None) -> str:
    """Hours, minutes and seconds, or a dash."""
    if seconds is None:
        return "-"
    return str(datetime.timedelta(seconds=round(seconds)))
