"""metrics.jsonl: a run as it went: what counting reaches, each step, each evaluation, each text.

Reading it needs no PyTorch.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import TypeGuard

from minigpt.config import checked
from minigpt.errors import InputError
from minigpt.files import open_regular, write_atomically
from minigpt.training.events import Baselines, Evaluation, Event, Sample, Saving, Step

METRICS = "metrics.jsonl"

Record = Baselines | Step | Evaluation | Sample
"""What a line of the log says."""
_FIELDS = {kind: {f.name: f.type for f in fields(kind)}
           for kind in (Step, Evaluation, Sample, Baselines)}  # fmt: skip


class MetricsLog:
    """metrics.jsonl: one JSON object a line, of nothing that depends on the clock.

    So the log of a resumed run is, byte for byte, that of a run that was never stopped.
    """

    def __init__(self, folder: Path, *, resume_step: int | None) -> None:
        """Open the log, empty, or cut back to what was known at `resume_step`."""
        self._path = folder / METRICS
        kept = [] if resume_step is None else _rows(folder)
        lines = [json.dumps(row) + "\n" for row in kept if _before(row, resume_step or 0)]
        write_atomically(self._path, "".join(lines).encode())

    def write(self, event: Event | Baselines) -> None:
        """Append what belongs there; put all on the disk before a checkpoint counts on it.

        Raises:
            InputError: the disk is full, or the like.
        """
        match event:
            case Baselines() | Step() | Evaluation() | Sample() | Saving():
                try:
                    with self._path.open("a", encoding="utf-8", newline="\n") as file:
                        if isinstance(event, Saving):
                            os.fsync(file.fileno())
                        else:
                            file.write(json.dumps(asdict(event)) + "\n")
                except OSError as error:
                    raise InputError(f"cannot write {self._path}: {error.strerror}") from None
            case _:
                pass


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """The steps and evaluations of a run's log, as they stand there.

    A line that was being written when the power went is left out.

    Raises:
        InputError: there is a log, but it cannot be read.
    """
    return [row for row in _rows(folder) if type(row.get("step")) is int and _is_numeric(row)]


def read_records(folder: Path) -> list[Record]:
    """The log as the records it was written from; lines of another minigpt's are left out."""
    return [record for row in _rows(folder) if (record := _record(row))]


def parse_record(line: bytes) -> Record | None:
    """What one line of a log says; None for a line that no log of this minigpt has."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return _record(row) if isinstance(row, dict) else None


def _record(row: dict[str, object]) -> Record | None:
    for kind, types in _FIELDS.items():
        if row.keys() == types.keys():
            try:
                values = {name: checked(name, types[name], value) for name, value in row.items()}
            except InputError:
                return None
            return kind(**values)  # type: ignore[arg-type]
    return None


def _rows(folder: Path) -> Iterator[dict[str, object]]:
    """The JSON objects of the log, to where it is damaged."""
    path = folder / METRICS
    if not path.exists():
        return
    with open_regular(path, "a log that minigpt train wrote") as file:
        lines = file.read().decode(errors="replace").splitlines()
    for line in lines:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            return
        if isinstance(row, dict):
            yield row


def _is_numeric(row: dict[str, object]) -> TypeGuard[dict[str, float]]:
    return all(isinstance(value, int | float) for value in row.values())


def _before(row: dict[str, object], resume_step: int) -> bool:
    step = row.get("step", -1)  # what counting reaches is known before the first step
    if type(step) is not int:
        return False
    # a checkpoint is written after its last step and before the evaluation at that step
    return step <= resume_step if "loss" in row else step < resume_step


def smoothed(before: float | None, loss: float) -> float:
    """The running mean of a noisy loss over some twenty steps, one step on."""
    return loss if before is None else before + 0.05 * (loss - before)
