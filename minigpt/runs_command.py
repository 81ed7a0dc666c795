"""`minigpt runs`: the training runs of a folder as a table, as JSON, as one picture."""

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from minigpt.errors import InputError
from minigpt.files import refuse_to_overwrite
from minigpt.runtime.library import RUNS, run_path
from minigpt.terminal import one_line, print_json, say
from minigpt.training.runs import RunSummary, find_runs

WIDEST = 1000
"""Columns where no terminal sets a limit: nothing is cut for a pipe."""


def list_runs(arguments: argparse.Namespace) -> int:
    """Compare runs as the arguments say; returns the exit code."""
    if arguments.plot is not None:
        if arguments.plot.suffix != ".png":
            raise InputError(f"--plot writes a .png file, not {arguments.plot.name!r}")
        refuse_to_overwrite(arguments.plot, force=True)
    if not (arguments.folders or RUNS.is_dir()):
        raise InputError(f"there is no folder {RUNS}; give a run's folder, or one that holds runs")
    runs = find_runs(list(map(run_path, arguments.folders)) or [RUNS])
    if arguments.plot is not None:
        _plot(runs, arguments.plot)
    if arguments.json:
        print_json({"runs": [_facts(run) for run in runs]})
    elif runs:
        if sys.stdout.isatty():
            Console(highlight=False).print(runs_table(runs))
        else:  # rich itself would call it a failure if nobody reads
            console = Console(width=WIDEST, highlight=False)
            with console.capture() as table:
                console.print(runs_table(runs))
            sys.stdout.write(table.get())
        for run in runs:
            if run.notes:
                say(one_line(f"note: {run.folder}: {'; '.join(run.notes)}"))
    else:
        say("no runs there; `minigpt train` makes one")
    return 0


def runs_table(runs: list[RunSummary]) -> Table:
    """A row a run, of several on one text the best in bold; it fits 80 columns."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("run")
    for name in ("parameters", "steps", "best val", "at step", "last val"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("corpus")
    texts = [run.corpus_sha256 for run in runs]
    for i, run in enumerate(runs):
        is_best = (
            run.corpus_sha256 is not None
            and run.best_val_loss is not None
            and texts.count(run.corpus_sha256) > 1
            and texts.index(run.corpus_sha256) == i
        )
        of = "?" if run.max_steps is None else f"{run.max_steps:,}"
        table.add_row(
            Text(one_line(run.name)),  # Text, so that nothing in a name is markup
            "-" if run.parameters is None else f"{run.parameters:,}",
            f"{run.steps:,}/{of}",
            "-" if run.best_val_loss is None else f"{run.best_val_loss:.4f}",
            "-" if run.best_step is None else f"{run.best_step:,}",
            "-" if run.val_loss is None else f"{run.val_loss:.4f}",
            run.state,
            Text(one_line(run.corpus or "-")),
            style="bold" if is_best else "",
        )
    return table


def _facts(run: RunSummary) -> dict[str, object]:
    """All but the curves, which are in each run's metrics.jsonl."""
    return {key: value for key, value in asdict(run).items() if not isinstance(value, list)} | {
        "notes": run.notes
    }


def _plot(runs: list[RunSummary], path: Path) -> None:
    from minigpt.training.plot import plot_runs

    drawn = [run for run in runs if run.validation]
    if not drawn:
        raise InputError("--plot has nothing to draw: no run there has a validation loss")
    names = [run.name for run in drawn]
    curves = {
        run.name if names.count(run.name) == 1 else run.folder: (run.training, run.validation)
        for run in drawn
    }
    plot_runs(curves, path)
    say(f"{path}: {len(drawn)} of {len(runs)} runs")
