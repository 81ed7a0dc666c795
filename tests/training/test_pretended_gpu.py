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

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("g++"), reason="needs g++, and Linux's loader"
)

FLOAT32, BFLOAT16 = ["torch.float32"], ["torch.bfloat16"]
AS_IT_COMES, RESUMED, NO_ROOM = "as it comes", "resumed", "a text that has no room"
EACH = pytest.mark.parametrize("name", [AS_IT_COMES, RESUMED, "rotary, by AdamW", NO_ROOM])
Event = dict[str, Any]
Seen = dict[str, list[Event]]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    folder, pytorch = tmp_path_factory.mktemp("gpu"), Path(torch.__file__).parent
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
    found: Seen = json.loads(done.stdout)
    return found


def events(seen: list[Event], *kinds: str) -> list[Event]:
    return [event for event in seen if event["event"] in kinds]


@EACH
def test_a_run_comes_to_its_end(seen: Seen, name: str) -> None:
    steps = [event["step"] for event in events(seen[name], "Step")]
    assert steps == ([3, 4] if name == RESUMED else [1, 2, 3, 4])
    assert seen[name][-1]["event"] == "End"


@EACH
def test_a_step_waits_for_the_numbers_of_the_one_before_alone(seen: Seen, name: str) -> None:
    for step in events(seen[name], "Step"):
        assert step["waits"] == ["read waits for an event"]


def test_what_is_waited_for_is_seen(seen: Seen) -> None:
    (begin,) = events(seen[AS_IT_COMES], "Begin")
    assert set(begin["waits"]) == {"copied copies to the GPU", "wrap copies to the GPU"}
    for saved in events(seen[AS_IT_COMES], "Saved"):
        assert set(saved["waits"]) == {"save reads a number", "gathered copies from the GPU"}


def test_a_text_that_has_no_room_is_not_copied_there(seen: Seen) -> None:
    (begin,) = events(seen[NO_ROOM], "Begin")
    assert set(begin["waits"]) == {"wrap copies to the GPU"}


@EACH
def test_steps_multiply_in_bfloat16_and_scores_in_float32(seen: Seen, name: str) -> None:
    # the step whose numbers are known last is done before they are
    assert {tuple(e["products"]) for e in events(seen[name], "Step")} == {tuple(BFLOAT16), ()}
    for event in events(seen[name], "Evaluation", "Sample"):
        assert event["products"] == FLOAT32
