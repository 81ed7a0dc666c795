"""A run's folder as a training leaves it, written by hand: no PyTorch."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from minigpt.config import TrainConfig
from minigpt.training.events import Baselines, Evaluation, Sample, Step
from minigpt.training.metrics import METRICS, Record
from tests.conftest import CARD, SMALL

COUNTS = Baselines(uniform=4.17, bigram=2.49, five_gram=1.67)
MAX_STEPS = 40


def records(steps: int = 30, every: int = 10) -> list[Record]:
    """What counting reaches, then steps, with an evaluation and a text every so many of them."""
    found: list[Record] = [COUNTS, Evaluation(0, 4.2, best=True)]
    for n in range(1, steps + 1):
        found.append(Step(n, 4 - 2.1 * n / MAX_STEPS, 1e-3, 0.5, tokens=100))
        if n % every == 0:
            found += [Evaluation(n, 4 - 2 * n / MAX_STEPS, best=True), Sample(n, f"text {n}\né")]
    return found


def lines(written: Iterable[Record]) -> bytes:
    return "".join(json.dumps(asdict(record)) + "\n" for record in written).encode()


def append(folder: Path, content: bytes) -> None:
    with (folder / METRICS).open("ab") as file:
        file.write(content)


def write_checkpoint(folder: Path, steps: int = 0) -> None:
    """A checkpoint's header, and no weights."""
    info = {
        "model": asdict(SMALL),
        "card": asdict(CARD) | {"steps": steps},
        "train": asdict(TrainConfig(max_steps=MAX_STEPS)),
    }
    weight = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    header = json.dumps({"__metadata__": {"minigpt": json.dumps(info)}, "w": weight}).encode()
    path = folder / "last.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
