"""The path of --device cuda, seen without one: see `pretended_gpu.py`."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch

pytestmark = [
    pytest.mark.skipif(
        sys.platform != "linux" or not shutil.which("g++"), reason="needs g++, and Linux's loader"
    ),
    pytest.mark.skipif(torch.version.cuda is not None, reason="this PyTorch knows real GPUs"),
]

FLOAT32, BFLOAT16 = ["torch.float32"], ["torch.bfloat16"]
Seen = list[dict[str, Any]]
"""What happened in a run, in its order."""


def look(folder: Path) -> dict[str, Seen]:
    """Each run by its name."""
    pytorch = Path(torch.__file__).parent
    source, library = Path(__file__).with_name("pretended_gpu.cpp"), folder / "gpu.so"
    subprocess.run(
        ["g++", "-std=c++20", "-shared", "-fPIC", "-w", f"-I{pytorch / 'include'}", source,
         "-o", library, f"-L{pytorch / 'lib'}", "-lc10", "-ltorch_cpu",
         f"-Wl,-rpath,{pytorch / 'lib'}"],
        check=True,
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.pretended_gpu", folder / "run"],
        env=os.environ | {"LD_PRELOAD": str(library)}, capture_output=True, text=True,
    )  # fmt: skip
    assert not done.returncode, done.stderr
    found: dict[str, Seen] = json.loads(done.stdout)
    return found


def test_what_a_training_asks_of_a_gpu(tmp_path: Path) -> None:
    """One test: the two processes take 8 s, and every worker would start its own."""
    runs = look(tmp_path)
    assert list(runs) == ["as it comes", "resumed", "rotary, by AdamW", "a text that has no room"]
    for name, seen in runs.items():
        check_steps(seen, first=3 if name == "resumed" else 1)
        check_scores(seen)
        (begin,) = events(seen, "Begin")
        text = {"copied copies to the GPU"} if name != "a text that has no room" else set()
        state = {"load_state_tensors copies to the GPU"} if name == "resumed" else set()
        assert set(begin["waits"]) == {"wrap copies to the GPU"} | text | state


def check_steps(seen: Seen, first: int) -> None:
    """They wait for the numbers of the one before alone, and multiply in bfloat16."""
    steps = events(seen, "Step")
    assert [event["step"] for event in steps] == list(range(first, 5))
    assert seen[-1]["event"] == "End"
    for event in steps:
        assert event["waits"] == ["read waits for an event"]
    # the step whose numbers are known last is done before they are
    assert {tuple(event["products"]) for event in steps} == {tuple(BFLOAT16), ()}


def check_scores(seen: Seen) -> None:
    """They are of the exported model, in float32; and where there are waits, they are seen."""
    for event in events(seen, "Evaluation", "Sample"):
        assert event["products"] == FLOAT32
        assert event["waits"]
    for event in events(seen, "Saved"):
        assert set(event["waits"]) == {"save reads a number", "gathered copies from the GPU"}


def events(seen: Seen, *kinds: str) -> Seen:
    return [event for event in seen if event["event"] in kinds]
