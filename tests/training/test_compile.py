"""Runs whose steps are compiled, and those that had to do without."""

import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch
from torch import nn

from minigpt.corpus import Corpus
from minigpt.model import GPT
from minigpt.training.checkpoint import BEST, LAST, TO_GO_ON, load, load_first, model_weights
from minigpt.training.events import Begin, Event, Step
from minigpt.training.loop import train
from minigpt.training.metrics import METRICS
from minigpt.training.run import Run
from tests.training.test_loop import small_run

Forward = Callable[[torch.Tensor], torch.Tensor]


def run_in(folder: Path, corpus: Corpus, *, compiled: bool = True) -> Run:
    """A run that would be compiled; all folders of one name, as it is on the model's card."""
    (folder / "run").mkdir(parents=True)
    return replace(small_run(folder / "run", corpus), compile=compiled)


def losses(events: list[Event]) -> list[float]:
    return [event.loss for event in events if isinstance(event, Step)]


def failing(model: nn.Module) -> Forward:
    """Fails at its first use."""

    def forward(tokens: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("no compiler\nand a long explanation")

    return forward


def refusing(model: nn.Module) -> Forward:
    """As torch.compile is on a Python that it does not know."""
    raise RuntimeError("no compiler\nfor this Python")


def without_headers(model: nn.Module) -> Forward:
    """As Triton is where its C compiler fails."""

    def forward(tokens: torch.Tensor) -> torch.Tensor:
        raise subprocess.CalledProcessError(1, "gcc")

    return forward


@pytest.mark.parametrize(
    ("compiler", "why"),
    [
        (failing, "RuntimeError: no compiler"),
        (refusing, "RuntimeError: no compiler"),
        (without_headers, "CalledProcessError: Command 'gcc' returned non-zero exit status 1."),
    ],
)
def test_where_compiling_fails_the_run_is_the_plain_one(
    tmp_path: Path,
    corpus: Corpus,
    monkeypatch: pytest.MonkeyPatch,
    compiler: Callable[[nn.Module], Forward],
    why: str,
) -> None:
    monkeypatch.setattr(torch, "compile", compiler)
    begin, *events = train(run_in(tmp_path / "a", corpus))
    assert begin == Begin(0, not_compiled=why)
    plain = list(train(run_in(tmp_path / "b", corpus, compiled=False)))
    assert losses(events) == losses(plain)
    for name in (LAST, BEST):
        assert (tmp_path / "a/run" / name).read_bytes() == (tmp_path / "b/run" / name).read_bytes()


def test_advice_that_is_not_taken_is_not_shown(
    tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    def advising(model: nn.Module) -> Forward:
        def forward(tokens: torch.Tensor) -> torch.Tensor:
            # as torch/_inductor/compile_fx.py does on a GPU
            warnings.warn("TensorFloat32 tensor cores for float32 ... not enabled", stacklevel=1)
            logits: torch.Tensor = model(tokens)
            return logits

        return forward

    monkeypatch.setattr(torch, "compile", advising)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert next(train(run_in(tmp_path, corpus))) == Begin(0)


def test_only_steps_are_compiled_and_weights_keep_their_names(
    tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[bool] = []

    class Compiled(nn.Module):
        """As torch's, with the model under this name."""

        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self._orig_mod = model

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            called.append(self._orig_mod.training)
            logits: torch.Tensor = self._orig_mod(tokens)
            return logits

    monkeypatch.setattr(torch, "compile", Compiled)
    run = run_in(tmp_path, corpus)
    assert next(train(run)) == Begin(0)
    assert called == [True]  # it is compiled when this is said
    assert losses(list(train(run)))
    assert called == [True] * (2 + run.train.max_steps * run.train.accumulation)
    found = load(run.folder / LAST)
    assert found.weights.keys() == model_weights(GPT(run.model)).keys()
    assert found.machine.compiled
    begin = next(train(replace(run, compile=False), found))
    assert begin == Begin(run.train.max_steps, differs="compiled True -> False")


def test_a_machine_without_a_compiler_is_told_in_a_line(tmp_path: Path, text_file: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "minigpt", "train", str(text_file), "--out", str(tmp_path / "run"),
         "--compile", "--max-steps=1", "--set=n_layer=1", "--set=sample_chars=0"],
        capture_output=True, text=True, check=False,
        env={**os.environ, "CXX": "no-such-compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path),
             "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    (note,) = [i for i, line in enumerate(lines) if line.startswith("note: training without")]
    assert lines[note - 1].startswith("compiling: ")
    assert lines[note + 1].startswith("run: ")  # how the view begins


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="needs g++")
def test_a_compiled_run_on_several_threads_can_be_repeated(tmp_path: Path, text_file: Path) -> None:
    logs = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        subprocess.run(
            [sys.executable, "-m", "minigpt", "train", str(text_file), "--out", str(folder / "run"),
             "--preset=laptop", "--compile", "--max-steps=12", "--set=sample_chars=0", "--plain",
             "--set=eval_tokens=1000"],
            check=True, env={**os.environ, "OMP_NUM_THREADS": "2"}, cwd=folder.parent,
        )  # fmt: skip
        logs.append((folder / "run" / METRICS).read_bytes())
    assert logs[0] == logs[1]


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="needs g++")
def test_a_compiled_run_learns_the_same_and_can_be_resumed(tmp_path: Path, corpus: Corpus) -> None:
    def without_dropout(run: Run) -> Run:
        return replace(run, model=replace(run.model, dropout=0.0))

    begin, *events = train(without_dropout(run_in(tmp_path / "compiled", corpus)))
    assert begin == Begin(0)
    plain = train(without_dropout(run_in(tmp_path / "plain", corpus, compiled=False)))
    assert losses(events) == pytest.approx(losses(list(plain)), abs=1e-3)  # bfloat16, maybe

    whole, parts = run_in(tmp_path / "whole", corpus), run_in(tmp_path / "parts", corpus)
    list(train(whole))
    seen: list[Event] = []
    for event in train(parts, stop=lambda: len(losses(seen)) == 7):
        seen.append(event)
    list(train(parts, load_first(parts.folder, TO_GO_ON)[0]))
    for name in (LAST, BEST):
        assert (whole.folder / name).read_bytes() == (parts.folder / name).read_bytes()
