"""The laptop half must not need, nor even load, PyTorch or onnx."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from minigpt.runtime.library import shipped_model

HEAVY = ("torch", "onnx", "matplotlib", "safetensors")


def modules_after(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after some code."""
    probe = f"{code}\nimport sys, json\nprint(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True, encoding="utf-8"
    )
    return {name.split(".")[0] for name in json.loads(done.stderr.splitlines()[-1])}


def test_a_generation_loads_no_torch_and_no_onnx() -> None:
    code = "from minigpt.cli import main; assert main(['generate', '--max-new-tokens', '5']) == 0"
    loaded = modules_after(code)
    assert "onnxruntime" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_what_an_onnx_file_answers_loads_no_torch(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("To be, or not to be, that is the question. " * 5, encoding="utf-8")
    evaluate = ["eval", str(shipped_model()), str(text)]
    look = ["look", "--text", "To be", "--layer", "1"]
    for command in (["info"], look, evaluate, [*evaluate, "--memorized", "--max-new-tokens", "50"]):
        assert modules_after(f"from minigpt.cli import main; main({command!r})").isdisjoint(HEAVY)


def test_turns_are_found_without_numpy() -> None:
    loaded = modules_after("import minigpt.runtime.chat")
    assert loaded.isdisjoint({*HEAVY, "onnxruntime", "numpy"})


def test_listing_runs_loads_no_torch(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}', encoding="utf-8")
    code = f"from minigpt.cli import main; assert main(['runs', {str(tmp_path)!r}]) == 0"
    assert modules_after(code).isdisjoint({*HEAVY, "onnxruntime", "numpy"})


def test_the_terminal_app_loads_no_torch_and_no_onnxruntime() -> None:
    loaded = modules_after("import minigpt_tui.app")
    assert loaded.isdisjoint({*HEAVY, "onnxruntime"})


def test_documents_are_kept_exported_and_replayed_without_textual() -> None:
    loaded = modules_after("import minigpt_tui.sessions, minigpt_tui.exports, minigpt_tui.replay")
    assert loaded.isdisjoint({*HEAVY, "onnxruntime", "numpy", "textual"})


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "from minigpt.cli import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit: pass"
    )  # fmt: skip
    assert modules_after(code).isdisjoint({*HEAVY, "onnxruntime", "numpy", "textual", "rich"})
