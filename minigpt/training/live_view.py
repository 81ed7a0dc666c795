"""A run on the whole screen: curves, numbers, and what the model writes by now; bars before it."""

import io
import math
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from pathlib import Path

from rich.cells import chop_cells
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from minigpt.terminal import one_line, printable
from minigpt.training.chart import ASCII, CURVE, MARK, chart, right_end
from minigpt.training.progress import (
    MEMORISING,
    STOPPING,
    Progress,
    Show,
    duration_text,
    loss_text,
)
from minigpt.training.shards import Report

REFRESH_PER_S = 4
"""Faster numbers cannot be read, and the training uses the same cores."""

TWO_COLUMNS_FROM = 120
"""Columns of a terminal in which the texts stand beside the curves."""

NUMBER_WIDTH = 24
"""Columns of one number with its name: fixed, so that nothing moves when a number grows."""


@contextmanager
def live_view(progress: Progress, console: Console) -> Iterator[Show]:
    """Show a run on the terminal's other screen; its last state stays on the first one.

    The other screen can be drawn over without being cleared before, so that nothing flickers, and
    it stays whole when the terminal changes its size. What is said on stderr meanwhile follows
    when it is left.
    """
    view, said = View(progress), io.StringIO()
    console.file = console.file  # this stream, also while sys.stderr is another one
    live = Live(
        view, console=console, screen=True, redirect_stderr=False, refresh_per_second=REFRESH_PER_S
    )
    try:
        with redirect_stderr(said):
            live.start(refresh=True)
            yield lambda event: progress.update(event, time.perf_counter())
    finally:
        progress.stopping = False  # it has
        with suppress(OSError):  # the terminal was closed
            live.stop()
            if progress.step:
                console.print(view, height=min(console.height - 2, 30))
            console.file.write(printable(said.getvalue()))


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


class View:
    """A run that rich can draw; `Live` does so in a thread of its own."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = options.height or console.height
        for line in frame(self._progress, options.max_width, height, time.perf_counter()):
            if options.ascii_only:
                line.plain = line.plain.translate(ASCII)
            yield from line.render(console, end="\n")  # as it is: nothing is to be wrapped


def frame(p: Progress, width: int, height: int, now: float) -> list[Text]:
    """The view as lines: at most `height` of them, none wider than `width` columns.

    Args:
        p: the run.
        width: of the terminal, in columns.
        height: of the terminal, in lines.
        now: by the clock of `p`'s events, in seconds.
    """
    head = [Text(one_line(p.title), style="bold"), _bar(p, width)]
    for is_so, sentence in ((p.stopping, STOPPING), (p.memorising, MEMORISING)):
        if is_so:
            head += [Text(line, style="yellow") for line in textwrap.wrap(sentence, width)]
    room = height - len(head)
    if width >= TWO_COLUMNS_FROM:
        right = width * 3 // 10
        body = _beside(_losses(p, width - right, room, now), _texts(p, right, room), width - right)
    else:
        # a text of the usual 120 characters takes four or five lines
        for_texts = max(7, room // 3) if room >= 18 else room // 4
        body = _losses(p, width, room - for_texts, now)
        body += _texts(p, width, room - len(body))
    lines = [*head, *body][: max(0, height)]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines


def _beside(left: list[Text], right: list[Text], left_width: int) -> list[Text]:
    """Two columns as one."""
    n = max(len(left), len(right))
    for lines in (left, right):
        lines += [Text() for _ in range(n - len(lines))]
    for line in left:
        line.truncate(left_width, pad=True)
    return [Text.assemble(*pair) for pair in zip(left, right, strict=True)]


def _bar(p: Progress, width: int) -> Text:
    words = f" {p.step:,}/{p.max_steps:,} steps {100 * p.step // p.max_steps:3}%"
    cells = max(0, width - len(words))
    halves = min(2 * cells, 2 * cells * p.step // p.max_steps)
    done = "━" * (halves // 2) + "╸" * (halves % 2)
    return Text.assemble((done, CURVE), ("─" * (cells - len(done)), "dim"), words)


def _losses(p: Progress, width: int, height: int, now: float) -> list[Text]:
    """The chart, if there is room, with its legend above and the other numbers below."""
    width -= 3  # to the texts, or to the edge
    validation = p.val_losses[-1][1] if p.val_losses else None
    legend = Text.assemble(
        ("━━ ", CURVE), ("training ", "dim"), (loss_text(p.loss), "bold"),
        ("   ● ", MARK), ("validation ", "dim"), (loss_text(validation), "bold"),
        ("   best ", "dim"), (loss_text(p.best_val_loss), "bold"),
        ("   nats per token", "dim"),
    )  # fmt: skip
    numbers = _numbers(p, width, now)[: max(1, height // 4)]
    room = height - len(numbers) - 4
    if width < 36 or room < 5:
        return [legend, *numbers][:height]
    levels = {
        "uniform": p.baselines.uniform,
        "bigram": p.baselines.bigram,
        "5-gram": p.baselines.five_gram,
    }
    right = right_end(p.step, p.max_steps)
    points = [point for point in p.val_losses if math.isfinite(point[1])]
    # the first, steep fall may leave the picture: the rest is what one wants to see
    losses = [loss for step, loss in [*p.curve, *points] if step >= 0.08 * right]
    losses += [p.baselines.bigram, p.baselines.five_gram]
    drawn = chart(
        p.curve, points, levels,
        right=right, bounds=(min(losses), max(losses)), width=width, height=room,
    )  # fmt: skip
    return [Text(), legend, *drawn, Text(), *numbers, Text()]


def _numbers(p: Progress, width: int, now: float) -> list[Text]:
    speed, memory = p.tokens_per_s, resident_bytes()
    numbers = {
        "tokens/s": "-" if speed is None else f"{speed:,.0f}",
        "elapsed": duration_text(None if p.began is None else now - p.began),
        "left": duration_text(p.seconds_left),
        "learning rate": "-" if p.learning_rate is None else f"{p.learning_rate:.2e}",
        "gradient norm": "-" if p.gradient_norm is None else f"{p.gradient_norm:.3g}",
        "memory": "-" if memory is None else f"{memory / 1e6:,.0f} MB",
    } | ({} if p.mfu is None else {"MFU": f"{p.mfu:.1%}"})
    cells = [Text.assemble((f"{name} ", "dim"), (text, "bold")) for name, text in numbers.items()]
    for cell in cells:
        cell.truncate(NUMBER_WIDTH, pad=True)
    n = max(1, width // NUMBER_WIDTH)
    return [Text.assemble(*cells[i : i + n]) for i in range(0, len(cells), n)]


def _texts(p: Progress, width: int, height: int) -> list[Text]:
    """The newest text, and as many of the older ones below it as there is room for."""
    lines: list[Text] = []
    for step, text in reversed(p.samples):
        if lines and len(lines) + 3 > height:
            break
        style = "dim" if lines else ""
        rule = f"── step {step:,} "
        lines.append(Text.assemble((rule.ljust(width, "─"), "dim")))
        for line in printable(text.strip("\n")).expandtabs(4).split("\n"):
            for part in textwrap.wrap(line, width, replace_whitespace=False) or [""]:
                # once more, as some characters are two columns wide
                lines += [Text(piece, style=style) for piece in chop_cells(part, width) or [""]]
        lines.append(Text())
    return lines[: max(0, height)]


def resident_bytes() -> int | None:
    """What this process holds in memory now; None where the system does not tell (only Linux)."""
    if sys.platform != "linux":
        return None
    import resource

    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()
