"""Training events into what a person sees: a live view or plain lines, a log, a plot."""

import datetime
import json
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.panel import Panel
from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from minigpt.files import write_atomically
from minigpt.terminal import printable
from minigpt.training.baselines import Baselines
from minigpt.training.loop import Begin, End, Evaluation, Event, Sample, Saved, Step
from minigpt.training.shards import Report

METRICS = "metrics.jsonl"
PLOT = "loss.png"


@dataclass(slots=True)
class Progress:
    """What is known of a run so far; `update` with each event, in order."""

    title: str
    max_steps: int
    baselines: Baselines
    step: int = 0
    loss: float | None = None
    """Smoothed over some twenty steps."""
    learning_rate: float = 0.0
    val_losses: list[tuple[int, float]] = field(default_factory=list)
    best_val_loss: float | None = None
    sample: str = ""
    tokens_per_s: float | None = None
    """Of training alone, over the last steps; None before there are two."""
    seconds_left: float | None = None
    """At that speed."""
    _recent: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=50))
    """When the last steps ended (seconds), and the tokens of each."""

    def update(self, event: Event, now: float) -> None:
        """Take in an event that came at `now`, in seconds of any steady clock."""
        match event:
            case Step():
                self.step = event.step
                self.learning_rate = event.learning_rate
                seen = event.loss if self.loss is None else self.loss
                self.loss = seen + 0.05 * (event.loss - seen)
                self._recent.append((now, event.tokens))
                self._measure()
            case Evaluation():
                self.step = event.step
                self.val_losses.append((event.step, event.val_loss))
                if event.best:
                    self.best_val_loss = event.val_loss
                # the time of an evaluation is not the time of a step
                self._recent.clear()
            case Sample():
                self.sample = event.text
                self._recent.clear()
            case Begin() | Saved() | End():
                pass

    def _measure(self) -> None:
        if len(self._recent) < 2:
            return
        seconds = self._recent[-1][0] - self._recent[0][0]
        self.tokens_per_s = sum(tokens for _, tokens in list(self._recent)[1:]) / seconds
        steps_left = self.max_steps - self.step
        self.seconds_left = steps_left * seconds / (len(self._recent) - 1)


Show = Callable[[Event], None]
"""Takes in an event and shows what changed."""


@contextmanager
def live_view(progress: Progress, console: Console) -> Iterator[Show]:
    """A panel that redraws itself: losses, speed, time left, and what the model writes by now."""
    with Live(console=console, refresh_per_second=8, get_renderable=lambda: _panel(progress)):
        yield lambda event: progress.update(event, time.perf_counter())


def _panel(p: Progress) -> RenderableType:
    numbers = Table.grid(padding=(0, 3))
    speed = p.tokens_per_s
    numbers.add_row(
        _number("loss", _loss(p.loss)),
        _number("validation", _loss(p.val_losses[-1][1] if p.val_losses else None)),
        _number("best", _loss(p.best_val_loss)),
        _number("5-gram", _loss(p.baselines.five_gram)),
    )
    numbers.add_row(
        _number("step", f"{p.step:,}/{p.max_steps:,}"),
        _number("tokens/s", f"{speed:,.0f}" if speed else "-"),
        _number("left", _duration(p.seconds_left)),
        _number("rate", f"{p.learning_rate:.1e}"),
    )
    # padded, because a bar alone does not end its line
    bar = Padding(ProgressBar(total=p.max_steps, completed=p.step), (0, 0, 1, 0))
    parts: list[RenderableType] = [bar, numbers]
    if p.sample:
        parts += [Text(), Text(printable(p.sample.strip()), style="italic")]
    return Panel(Group(*parts), title=Text(p.title), title_align="left", padding=(1, 2))


@contextmanager
def plain_view(
    progress: Progress, say: Callable[[str], None], *, every: int = 50
) -> Iterator[Show]:
    """A line for each evaluation, and one every so many steps: for logs and pipes."""

    def show(event: Event) -> None:
        progress.update(event, time.perf_counter())
        match event:
            case Step() if event.step % every == 0:
                speed = progress.tokens_per_s
                words = f"loss {_loss(progress.loss)} tokens/s {speed or 0:,.0f}"
                line = f"{words} left {_duration(progress.seconds_left)}"
            case Evaluation():
                line = f"validation {event.val_loss:.4f}{' best' if event.best else ''}"
            case Sample():
                line = f"sample {json.dumps(event.text, ensure_ascii=False)}"
            case _:
                return
        say(f"step {event.step} {line}")

    say(progress.title)
    yield show


@contextmanager
def tokenizing_view(console: Console) -> Iterator[Report]:
    """A bar for each time that a large text is read; they vanish when all is done."""
    columns = (TextColumn("{task.description:>10}"), BarColumn(), DownloadColumn(),
               TimeRemainingColumn())  # fmt: skip
    with Bars(*columns, console=console, transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done)

        yield report


class MetricsLog:
    """metrics.jsonl: one JSON object a line, of nothing that depends on the clock.

    So the log of a resumed run is, byte for byte, that of a run that was never stopped.
    """

    def __init__(self, folder: Path, *, resume_step: int | None) -> None:
        """Open the log, empty, or cut back to what was known at `resume_step`."""
        self._path = folder / METRICS
        kept = [] if resume_step is None else read_metrics(folder)
        lines = [json.dumps(row) + "\n" for row in kept if _before(row, resume_step or 0)]
        write_atomically(self._path, "".join(lines).encode())

    def write(self, event: Event) -> None:
        """Append a step or an evaluation."""
        match event:
            case Step() | Evaluation():
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(event)) + "\n")
            case _:
                pass


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """The rows of a run's log; a line that was being written when the power went is left out."""
    path = folder / METRICS
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            break
        if isinstance(row, dict) and "step" in row:
            rows.append(row)
    return rows


def _before(row: dict[str, float], step: int) -> bool:
    # a checkpoint is written after its last step and before the evaluation at that step
    return row["step"] <= step if "loss" in row else row["step"] < step


def plot_losses(folder: Path, baselines: Baselines) -> Path:
    """Draw loss.png from the log: training and validation loss against the yardsticks."""
    import matplotlib as mpl

    mpl.use("Agg")  # no screen needed
    from matplotlib import pyplot as plt

    rows = read_metrics(folder)
    steps = [r for r in rows if "loss" in r]
    evaluations = [r for r in rows if "val_loss" in r]
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    axes.plot([r["step"] for r in steps], [r["loss"] for r in steps], lw=0.6, label="training")
    at = [r["step"] for r in evaluations]
    axes.plot(at, [r["val_loss"] for r in evaluations], marker="o", ms=4, label="validation")
    for label, style in (("bigram", ":"), ("five_gram", "--")):
        level = getattr(baselines, label)
        name = label.replace("five_gram", "5-gram")
        axes.axhline(level, ls=style, lw=1, color="gray", label=f"{name} {level:.3f}")
    axes.set(xlabel="step", ylabel="loss (nats per token)")
    axes.set_ylim(top=baselines.uniform + 0.2)
    axes.legend()
    figure.savefig(folder / PLOT, dpi=120)
    plt.close(figure)
    return folder / PLOT


def verdict(baselines: Baselines, val_loss: float) -> RenderableType:
    """The model beside the yardsticks, for the end of a run."""
    table = Table(box=None, padding=(0, 2))
    table.add_column("")
    table.add_column("validation loss", justify="right")
    rows = [
        ("uniform guess", baselines.uniform),
        ("bigram counts", baselines.bigram),
        ("5-gram counts", baselines.five_gram),
        ("this model", val_loss),
    ]
    for name, loss in sorted(rows, key=lambda row: -row[1]):
        table.add_row(name, f"{loss:.4f}", style="bold" if name == "this model" else "")
    if val_loss < baselines.five_gram:
        words = "It has learned more than counting can."
    else:
        words = "Counting does better still: train longer, or on more text."
    return Group(table, Text(words))


def _number(label: str, value: str) -> Text:
    return Text.assemble((f"{label} ", "dim"), (value, "bold"))


def _loss(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return str(datetime.timedelta(seconds=round(seconds)))
