"""The training runs in a folder, side by side: read without PyTorch, and without any weights."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from minigpt.config import GPTConfig, ModelCard, from_fields
from minigpt.errors import InputError
from minigpt.files import open_regular
from minigpt.runtime.library import CHECKPOINTS
from minigpt.settings import RUN_FILE, read_run_file
from minigpt.training.lock import LOCK, is_locked
from minigpt.training.metrics import METRICS, read_metrics

MAX_HEADER_BYTES = 64 * 2**20
"""Far more than names, configs and the table of guesses take."""

State = Literal["running", "finished", "patience", "stopped", "lost"]
"""A run that goes on; or why it does not: all its steps are done, it had no patience left, it was
asked to stop or failed, or its process died without a word."""


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a run's folder tells of it; None where it does not tell."""

    name: str
    folder: str
    corpus: str | None
    corpus_sha256: str | None
    """Losses can be compared where it is the same."""
    parameters: int | None
    steps: int
    """Done, as far as the log or a checkpoint knows."""
    max_steps: int | None
    best_val_loss: float | None
    best_step: int | None
    val_loss: float | None
    """The last one."""
    state: State
    training: list[tuple[int, float]]
    """Steps and losses."""
    validation: list[tuple[int, float]]
    notes: list[str]
    """What is wrong with its files."""


@dataclass(frozen=True, slots=True)
class Plan:
    """When a run is to end."""

    max_steps: int
    patience: int


@dataclass(frozen=True, slots=True)
class RunHeader:
    """What a checkpoint says of its run."""

    model: GPTConfig
    card: ModelCard
    plan: Plan


def find_runs(folders: Sequence[Path]) -> list[RunSummary]:
    """The runs that the folders are, or hold: of each text the best first, unmeasured ones last.

    The text with the best run comes first, runs that do not tell theirs come last.

    Raises:
        InputError: one of the folders does not exist.
    """
    found = {path.resolve(): read_run(path) for folder in folders for path in _runs_in(folder)}
    runs = sorted(
        found.values(),
        key=lambda run: (math.inf if run.best_val_loss is None else run.best_val_loss, run.folder),
    )
    texts = list(dict.fromkeys(run.corpus_sha256 for run in runs))
    return sorted(runs, key=lambda run: (run.corpus_sha256 is None, texts.index(run.corpus_sha256)))


def _runs_in(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give a run's folder, or one that holds runs")
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"cannot read {folder}: {error.strerror}") from None
    for path in [folder, *inside]:
        if _is_run(path):
            yield path


def _is_run(folder: Path) -> bool:
    try:
        return (folder / METRICS).exists() or any(folder.glob(CHECKPOINTS))
    except OSError:  # somebody else's
        return False


def read_run(folder: Path) -> RunSummary:
    """What one folder tells; damage becomes a note."""
    headers, notes = _read_headers(folder)
    newest = _newest(headers)
    plan = newest.plan if newest else read_plan(folder)
    if not headers and not notes:
        notes.append("no checkpoint")

    training: list[tuple[int, float]] = []
    validation: list[tuple[int, float]] = []
    try:
        rows = read_metrics(folder)
    except InputError as error:
        rows, notes = [], [*notes, str(error)]
    for row in rows:
        for key, curve in (("loss", training), ("val_loss", validation)):
            step, loss = row["step"], row.get(key)
            if type(step) is int and type(loss) is float and math.isfinite(loss):
                curve.append((step, loss))
    if not training and not validation:
        notes.append(f"no {METRICS}" if not (folder / METRICS).exists() else f"empty {METRICS}")
    if not validation and headers:
        # a card's loss may be older than its step, and is infinite before the first evaluation
        measured = [(h.card.steps, h.card.val_loss) for h in headers]
        validation = sorted(pair for pair in measured if math.isfinite(pair[1]))

    steps = [step for step, _ in training + validation]
    done = max(steps + [header.card.steps for header in headers], default=0)
    best = min(validation, key=lambda pair: pair[1], default=None)
    return RunSummary(
        name=folder.resolve().name,
        folder=str(folder),
        corpus=newest.card.corpus if newest else None,
        corpus_sha256=newest.card.corpus_sha256 if newest else None,
        parameters=newest.model.n_params() if newest else None,
        steps=done,
        max_steps=plan.max_steps if plan else None,
        best_val_loss=best[1] if best else None,
        best_step=best[0] if best else None,
        val_loss=validation[-1][1] if validation else None,
        state=run_state(folder, plan, validation),
        training=training,
        validation=validation,
        notes=notes,
    )


def run_state(folder: Path, plan: Plan | None, validation: Sequence[tuple[int, float]]) -> State:
    """How it stands with the run in a folder.

    Args:
        folder: the run's.
        plan: when it is to end, as far as that is known.
        validation: its evaluations so far, steps and losses.
    """
    if is_locked(folder):
        return "running"
    if plan is not None and validation:
        losses = [loss for _, loss in validation]
        since_best = len(losses) - 1 - losses.index(min(losses))
        if validation[-1][0] >= plan.max_steps:
            return "finished"
        if 0 < plan.patience <= since_best:
            return "patience"
    # a run that ends takes its lock's file away
    return "lost" if (folder / LOCK).exists() else "stopped"


def read_newest_header(folder: Path) -> RunHeader | None:
    """What the newest whole checkpoint in a folder says; None if there is none."""
    return _newest(_read_headers(folder)[0])


def read_plan(folder: Path) -> Plan | None:
    """What the settings in a folder say, for where no checkpoint is left; None: nothing."""
    try:
        settings = read_run_file(folder / RUN_FILE).settings
    except InputError:
        return None
    steps, patience = settings.get("max_steps"), settings.get("patience", 0)
    return Plan(steps, patience) if isinstance(steps, int) and isinstance(patience, int) else None


def _newest(headers: Sequence[RunHeader]) -> RunHeader | None:
    return max(headers, key=lambda header: header.card.steps, default=None)


def _read_headers(folder: Path) -> tuple[list[RunHeader], list[str]]:
    """Those of all checkpoints that are whole, and what is wrong with the others."""
    headers, notes = [], []
    for path in sorted(folder.glob(CHECKPOINTS)):
        try:
            headers.append(_read_header(path))
        except InputError as error:
            notes.append(f"{path.name}: {error}")
    return headers, notes


def _read_header(path: Path) -> RunHeader:
    """The safetensors header: its length in 8 bytes, then JSON. `checkpoint.py` writes it.

    Raises:
        InputError: it is not whole, or of another minigpt.
    """
    try:
        with open_regular(path, "a checkpoint") as file:
            length = int.from_bytes(file.read(8), "little")
            header: dict[str, Any] = json.loads(file.read(min(length, MAX_HEADER_BYTES)))
            info = json.loads(header.pop("__metadata__")["minigpt"])
            end = 8 + length + max(tensor["data_offsets"][1] for tensor in header.values())
            whole = file.seek(0, 2) == end
        found = RunHeader(
            model=from_fields(GPTConfig, info["model"]),
            card=from_fields(ModelCard, info["card"]),
            # its other settings may be newer than ours
            plan=Plan(int(info["train"]["max_steps"]), int(info["train"].get("patience", 0))),
        )
    except InputError:
        raise
    except (ValueError, OverflowError, LookupError, TypeError, AttributeError, RecursionError):
        raise InputError("damaged, or not a checkpoint of minigpt") from None
    if not whole:
        raise InputError("cut short")
    return found
