"""The notebook runs from its first cell to its last, and its exercises can be solved."""

import json
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "from_counting_to_gpt.ipynb"
STEPS = "STEPS = 600\n"
EXERCISES = ("attention", "norm", "causal_weights", "windows")


def cells(kind: str) -> list[dict[str, Any]]:
    every = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in every if cell["cell_type"] == kind]


def sources(kind: str) -> list[str]:
    return ["".join(cell["source"]) for cell in cells(kind)]


def printed(code: str, folder: Path) -> str:
    """What the code prints, run as a program of its own."""
    script = folder / "notebook.py"
    script.write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-X", "utf8", script], cwd=folder, capture_output=True, text=True,
        encoding="utf-8", env=os.environ | {"MPLBACKEND": "Agg"},
    )  # fmt: skip
    assert not done.returncode, done.stderr
    return done.stdout


def test_every_cell_runs_and_the_answers_are_right(tmp_path: Path) -> None:
    code = "\n".join(sources("code"))
    assert code.count(STEPS) == 1
    answers = re.findall(r"```python\n(def .*?)```", "\n".join(sources("markdown")), re.DOTALL)
    checks = [f"check_{name}()" for name in EXERCISES]
    whole = "\n".join([code.replace(STEPS, "STEPS = 30\n"), *answers, *checks])
    said = re.findall(r"^(\w+): (not yet|right)$", printed(whole, tmp_path), re.MULTILINE)
    assert said == [(name, state) for state in ("not yet", "right") for name in EXERCISES]


@pytest.mark.slow
def test_each_idea_is_worth_something(tmp_path: Path) -> None:
    data = Path(os.environ.get("MINIGPT_DATA", "")) / "tinyshakespeare.txt"
    if not data.is_file():
        pytest.skip("MINIGPT_DATA names no folder with tinyshakespeare.txt")
    (tmp_path / "shakespeare.txt").write_bytes(data.read_bytes())
    text = printed("\n".join(sources("code")), tmp_path)
    rungs = re.findall(r"^(\d\.\d+)  █+ +(.*)$", text, re.MULTILINE)
    loss = {name: float(value) for value, name in rungs}
    ideas = (
        "the average of what came", "attention", "attention that knows places", "four heads",
        "four heads and an MLP", "four layers, added", "the same GPT by minigpt train",
    )  # fmt: skip
    assert all(loss[before] > loss[after] + 0.05 for before, after in pairwise(ideas))
    assert abs(loss["pairs, learned"] - loss["counting pairs"]) < 0.02
    assert loss["four layers, nothing added"] > loss["counting characters"] - 0.1
    assert loss["a GPT: added, with norms"] < loss["four heads and an MLP"] - 0.05
    exploded, safe = (
        float(n) for n in re.findall(r"^long steps, .*: (\S+) with", text, re.MULTILINE)
    )
    assert not exploded <= 10 * safe  # it may be no number at all


def test_what_is_stored_is_of_one_run_from_top_to_bottom() -> None:
    code = cells("code")
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = json.dumps([cell["outputs"] for cell in code])
    assert '"error"' not in outputs
    assert '"stderr"' not in outputs
