"""A training run read from its folder while it goes on: what its log tells, a piece at a time."""

import math
from array import array
from bisect import bisect_left
from collections import deque
from dataclasses import astuple, dataclass
from pathlib import Path

from minigpt.errors import InputError
from minigpt.files import open_regular
from minigpt.training.events import Baselines, Step
from minigpt.training.metrics import METRICS, Record, parse_record
from minigpt.training.progress import Progress
from minigpt.training.runs import (
    Plan,
    RunHeader,
    State,
    read_newest_header,
    read_plan,
    run_state,
)

MOST_BYTES = 2**19
"""Read at once: 4,000 steps, 0.1 s. A longer log comes in pieces, or the screen would stand."""
MOST_POINTS = 512
"""Of a curve; more than a terminal has dots for."""
MOST_READS = 120
"""Over so many reads that found something the speed is measured: a minute, of a fast run."""
_TAIL_BYTES = 200

_UNKNOWN = Baselines(math.nan, math.nan, math.nan)


@dataclass(frozen=True, slots=True)
class RunView:
    """What is known of a run at one moment; None for what is not."""

    folder: Path
    header: RunHeader | None
    """From its checkpoints; there is none in a run's first moments."""
    plan: Plan | None
    state: State
    step: int
    """Done."""
    baselines: Baselines | None
    loss: float | None
    """In training, smoothed over some twenty steps."""
    training: tuple[tuple[int, float], ...]
    """Steps and smoothed losses, at most some MOST_POINTS of them."""
    validation: tuple[tuple[int, float], ...]
    best: tuple[int, float] | None
    """Step and validation loss."""
    learning_rate: float | None
    gradient_norm: float | None
    tokens_per_s: float | None
    """As it was seen, evaluations left out."""
    seconds_left: float | None
    """As it was seen, evaluations included."""
    memorising: bool
    """Whether it was seen to learn the training text by heart."""
    samples: tuple[tuple[int, str], ...]
    """Steps and texts, the newest last."""
    notes: tuple[str, ...]
    """What is wrong with its log."""

    @property
    def max_steps(self) -> int | None:
        """To do."""
        return max(self.plan.max_steps, self.step) if self.plan else None


@dataclass(frozen=True, slots=True)
class _Read:
    """What came between two reads."""

    seconds: float
    steps: int
    tokens: int
    steps_only: bool
    """No evaluation, and no text."""


class RunReader:
    """Follows a folder's log; `poll` reads on, `view` tells what is known."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / METRICS
        self._begin()

    def _begin(self) -> None:
        """Know nothing: of a run that began anew in this folder nothing older holds."""
        self._offset = 0
        self._tail = b""
        self._stamp: tuple[int, int] | None = None
        self._n_lines = 0
        self._n_foreign = self._first_foreign = 0
        self._problem: str | None = None
        self._header: RunHeader | None = None
        self._plan: Plan | None = None
        self._state: State = "stopped"
        self._baselines: Baselines | None = None
        self._progress = Progress(self.folder.name, 0, _UNKNOWN)
        self._steps, self._losses = array("q"), array("d")
        self._tokens = 0
        self._reads: deque[_Read] = deque(maxlen=MOST_READS)
        self.is_behind = True
        """Whether more of the log was there than was read at once."""
        self._grew_at: float | None = None

    def poll(self, now: float) -> bool:
        """Read what is new, at most MOST_BYTES of it.

        Args:
            now: in seconds of any steady clock.

        Returns:
            Whether there is anything new to show.
        """
        before = (self._header, self._state, self._problem)
        grew = self._read(now)
        if self._header is None:
            self._header = read_newest_header(self.folder)
            self._plan = self._header.plan if self._header else read_plan(self.folder)
        self._state = run_state(self.folder, self._plan, self._progress.val_losses)
        if not grew and self._state != "running":
            self._grew_at = None  # what comes when it goes on did not take all the time until then
        return grew or before != (self._header, self._state, self._problem)

    def _read(self, now: float) -> bool:
        try:
            found = self._path.stat()
        except OSError:  # not there yet, or not any more
            was_there = self._offset > 0
            self._begin()
            self.is_behind = False
            return was_there
        stamp = found.st_size, found.st_mtime_ns
        if stamp == self._stamp and not self.is_behind:
            return False
        try:
            with open_regular(self._path, "a log that minigpt train wrote") as file:
                file.seek(self._offset - len(self._tail))
                # another log, that of a run that began anew, or went on from an older checkpoint
                began = file.read(len(self._tail)) != self._tail
                if began:
                    self._begin()
                    file.seek(0)
                new = file.read(MOST_BYTES)
        except InputError as error:
            self._problem = str(error)
            return False
        self._stamp, self._problem = stamp, None
        return self._take_all(new, now) or began

    def _take_all(self, new: bytes, now: float) -> bool:
        """Take in the whole lines; the beginning of one is read again when more of it is there."""
        whole = new[: new.rfind(b"\n") + 1]
        if not whole and len(new) == MOST_BYTES:  # no log has such a line
            whole = new
        self._offset += len(whole)
        self._tail = (self._tail + whole)[-_TAIL_BYTES:]
        steps, tokens, others = self._progress.step, self._tokens, self._n_others()
        for line in whole.splitlines():
            self._n_lines += 1
            if not self._take(parse_record(line)):
                self._first_foreign = self._first_foreign or self._n_lines
                self._n_foreign += 1
        if whole and not self.is_behind:
            if self._grew_at is not None:
                self._reads.append(
                    _Read(
                        now - self._grew_at,
                        self._progress.step - steps,
                        self._tokens - tokens,
                        self._n_others() == others,
                    )
                )
            self._grew_at = now
        self.is_behind = len(new) == MOST_BYTES
        return bool(whole)

    def _n_others(self) -> int:
        """Evaluations and texts, which take time as steps do."""
        return len(self._progress.val_losses) + len(self._progress.samples)

    def _take(self, record: Record | None) -> bool:
        """Take in what a line says; False if it cannot be of this run."""
        match record:
            case None:
                return False
            case Baselines():
                if not all(map(math.isfinite, astuple(record))):
                    return False
                self._baselines = record
                return True
        if record.step < self._progress.step:
            return False
        if isinstance(record, Step):
            if not math.isfinite(record.loss):
                return False
            self._tokens += record.tokens
        self._progress.update(record, now=0)
        if isinstance(record, Step):
            assert self._progress.loss is not None
            self._steps.append(record.step)
            self._losses.append(self._progress.loss)
        return True

    def view(self, since: int = 0) -> RunView:
        """What is known; of the curves only what is not before step `since`."""
        progress = self._progress
        validation = [pair for pair in progress.val_losses if math.isfinite(pair[1])]
        return RunView(
            folder=self.folder,
            header=self._header,
            plan=self._plan,
            state=self._state,
            step=progress.step,
            baselines=self._baselines,
            loss=progress.loss,
            training=self._curve(since),
            validation=tuple(pair for pair in validation if pair[0] >= since),
            best=min(validation, key=lambda pair: pair[1], default=None),
            learning_rate=progress.learning_rate,
            gradient_norm=progress.gradient_norm,
            tokens_per_s=self._tokens_per_s(),
            seconds_left=self._seconds_left(),
            memorising=progress.memorising,
            samples=tuple(progress.samples),
            notes=self._notes(),
        )

    def _curve(self, since: int) -> tuple[tuple[int, float], ...]:
        first, n = bisect_left(self._steps, since), len(self._steps)
        every = max(1, (n - first) // MOST_POINTS)
        # always the same steps, or the picture would swim; and the last one
        picked = [*range(-(-first // every) * every, n - 1, every), *range(max(n - 1, first), n)]
        return tuple((self._steps[i], self._losses[i]) for i in picked)

    def _tokens_per_s(self) -> float | None:
        training = [read for read in self._reads if read.steps_only] or list(self._reads)
        seconds = sum(read.seconds for read in training)
        return sum(read.tokens for read in training) / seconds if seconds > 0 else None

    def _seconds_left(self) -> float | None:
        steps = sum(read.steps for read in self._reads)
        if self._plan is None or self._state != "running" or not steps:
            return None
        to_do = max(0, self._plan.max_steps - self._progress.step)
        return to_do * sum(read.seconds for read in self._reads) / steps

    def _notes(self) -> tuple[str, ...]:
        notes = [self._problem] if self._problem else []
        if self._n_foreign == 1:
            notes.append(
                f"line {self._first_foreign:,} of {METRICS} is not of this run and was left out"
            )
        elif self._n_foreign:
            notes.append(
                f"{self._n_foreign:,} lines of {METRICS}, the first of them line "
                f"{self._first_foreign:,}, are not of this run and were left out"
            )
        return tuple(notes)
