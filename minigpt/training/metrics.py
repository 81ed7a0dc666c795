"""metrics.jsonl: the losses of a run, a line a step and a line an evaluation.

Reading it needs no PyTorch.
"""

import json
import os
from dataclasses import asdict
from pathlib import Path

from minigpt.errors import InputError
from minigpt.files import open_regular, write_atomically
from minigpt.training.events import Evaluation, Event, Saving, Step

METRICS = "metrics.jsonl"


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
        """Append a step or an evaluation; put all on the disk before a checkpoint counts on it.

        Raises:
            InputError: the disk is full, or the like.
        """
        if not isinstance(event, Step | Evaluation | Saving):
            return
        try:
            with self._path.open("a", encoding="utf-8") as file:
                if isinstance(event, Saving):
                    os.fsync(file.fileno())
                else:
                    file.write(json.dumps(asdict(event)) + "\n")
        except OSError as error:
            raise InputError(f"cannot write {self._path}: {error.strerror}") from None


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """The rows of a run's log; a line that was being written when the power went is left out.

    Raises:
        InputError: there is a log, but it cannot be read.
    """
    path = folder / METRICS
    if not path.exists():
        return []
    with open_regular(path, "a log that minigpt train wrote") as file:
        lines = file.read().decode(errors="replace").splitlines()
    rows = []
    for line in lines:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            break
        numbers = isinstance(row, dict) and all(isinstance(n, int | float) for n in row.values())
        if numbers and type(row.get("step")) is int:
            rows.append(row)
    return rows


def read_events(folder: Path) -> list[Step | Evaluation]:
    """The log as the events it was written from; rows of another minigpt's fields are left out."""
    events: list[Step | Evaluation] = []
    for row in read_metrics(folder):
        try:
            events.append((Step if "loss" in row else Evaluation)(**row))  # type: ignore[arg-type]
        except TypeError:
            continue
    return events


def _before(row: dict[str, float], step: int) -> bool:
    # a checkpoint is written after its last step and before the evaluation at that step
    return row["step"] <= step if "loss" in row else row["step"] < step


def smoothed(before: float | None, loss: float) -> float:
    """The running mean of a noisy loss over some twenty steps, one step on."""
    return loss if before is None else before + 0.05 * (loss - before)
