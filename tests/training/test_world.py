"""Two processes, started by torchrun, train as one does."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch

from minigpt.corpus import Corpus
from minigpt.errors import InputError
from minigpt.training.checkpoint import BEST, LAST, load
from minigpt.training.events import Begin, Evaluation, Step
from minigpt.training.loop import train
from minigpt.training.run import Run
from minigpt.training.world import World, joined
from tests.training.test_loop import small_run

# in bfloat16 the halves of a batch are rounded otherwise than the whole
pytestmark = pytest.mark.usefixtures("in_float32")

# on Linux, which names threads: one of gloo's that drops a tensor while Python ends would abort it
AT_THE_END = """
import time
deadline = time.monotonic() + 10
while True:
    threads = []
    for file in Path("/proc/self/task").glob("*/comm"):
        with contextlib.suppress(OSError):  # it has ended
            threads.append(file.read_text().strip())
    if not any("gloo" in name for name in threads):
        break
    assert time.monotonic() < deadline, threads
    time.sleep(0.05)  # one that was waited for may be there a moment longer
"""

# run by each of the processes
TRAIN = """
import contextlib
import sys
from dataclasses import replace
from pathlib import Path
import torch
from minigpt.corpus import Corpus
from minigpt.errors import InputError
from minigpt.training.checkpoint import TO_GO_ON, load_first
from minigpt.training.events import Step
from minigpt.training.loop import train
from minigpt.training.metrics import MetricsLog
from minigpt.training.world import joined
from tests.training.test_loop import small_run

torch.cpu._is_avx512_bf16_supported = lambda: False  # as in the test that starts this
folder, text, dropout, stop_at, resume, shard = sys.argv[1:]
with joined("cpu", shard=shard == "yes") as world:
    run = small_run(Path(folder), Corpus("test", Path(text).read_text()), sample_chars=0)
    run = replace(run, model=replace(run.model, dropout=float(dropout)), world=world)
    found = load_first(Path(folder), TO_GO_ON)[0] if resume == "yes" else None
    at = found.card.steps if found else None
    log = MetricsLog(Path(folder), resume_step=at) if world.first else None
    step = 0
    for event in train(run, found, stop=lambda: world.rank == 1 and step >= int(stop_at)):
        if isinstance(event, Step):
            step = event.step
        if log:
            log.write(event)
"""


def torchrun(*command: object) -> subprocess.CompletedProcess[str]:
    """Start two processes of a command, and wait for their end."""
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         *map(str, command)],
        capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip


def two_processes(
    folder: Path,
    corpus: Corpus,
    *,
    dropout: float = 0.0,
    stop_at: int = 99,
    resume: str = "no",
    shard: str = "no",
) -> list[dict[str, float]]:
    """Train on them; the log of the run."""
    folder.mkdir(parents=True, exist_ok=True)
    script, text = folder.parent / "train.py", folder.parent / "text"
    script.write_text(TRAIN + AT_THE_END, encoding="utf-8")
    text.write_text(corpus.text, encoding="utf-8")
    done = torchrun(script, folder, text, dropout, stop_at, resume, shard)
    assert done.returncode == 0, done.stderr
    assert "UserWarning" not in done.stderr
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("shard", ["no", "yes"])
def test_two_processes_learn_what_one_does(tmp_path: Path, corpus: Corpus, shard: str) -> None:
    one = small_run(tmp_path / "one", corpus, sample_chars=0)
    one = replace(one, model=replace(one.model, dropout=0.0))
    events = list(train(one))
    steps = [event for event in events if isinstance(event, Step)]
    scores = [event.val_loss for event in events if isinstance(event, Evaluation)]
    log = two_processes(tmp_path / "two", corpus, shard=shard)
    together = [row for row in log if "loss" in row]
    assert [row["step"] for row in together] == [step.step for step in steps]
    for row, step in zip(together, steps, strict=True):
        assert row["loss"] == pytest.approx(step.loss, abs=1e-5)
        assert row["gradient_norm"] == pytest.approx(step.gradient_norm, abs=1e-4)
    # of the averaged weights
    assert [row["val_loss"] for row in log if "val_loss" in row] == pytest.approx(scores, abs=1e-4)


@pytest.mark.parametrize("shard", ["no", pytest.param("yes", marks=pytest.mark.slow)])
def test_two_processes_resume_exactly(tmp_path: Path, corpus: Corpus, shard: str) -> None:
    # folders of one name, as it is the model's name on the card; only the second is asked to stop
    whole, parts = tmp_path / "a" / "run", tmp_path / "b" / "run"
    two_processes(whole, corpus, dropout=0.1, shard=shard)
    assert two_processes(parts, corpus, dropout=0.1, stop_at=7, shard=shard)[-1]["step"] == 7
    two_processes(parts, corpus, dropout=0.1, resume="yes", shard=shard)
    for name in (LAST, BEST, "metrics.jsonl"):
        assert (whole / name).read_bytes() == (parts / name).read_bytes(), name
    alone = small_run(whole, corpus, sample_chars=0)
    begin = next(train(alone, load(whole / LAST)))
    differs = "processes 2 -> 1" + (", sharded True -> False" if shard == "yes" else "")
    assert begin == Begin(alone.train.max_steps, differs)


def test_a_run_goes_on_whole_or_cut_up(tmp_path: Path, corpus: Corpus) -> None:
    def losses_of(run: Run, stop_at: int) -> list[float]:
        """From where the run is, if it was begun, to a step."""
        found = load(run.folder / LAST) if (run.folder / LAST).exists() else None
        losses: list[float] = []
        steps_before = found.card.steps if found else 0
        for event in train(run, found, stop=lambda: steps_before + len(losses) >= stop_at):
            if isinstance(event, Step):
                losses.append(event.loss)
        return losses

    whole, parts = (small_run(tmp_path / name, corpus, sample_chars=0) for name in ("a", "b"))
    whole, parts = (replace(run, model=replace(run.model, dropout=0.0)) for run in (whole, parts))
    expected = losses_of(whole, 12)
    losses = losses_of(parts, 4)
    rows = two_processes(parts.folder, corpus, resume="yes", shard="yes", stop_at=8)
    losses += [row["loss"] for row in rows if row["step"] > 4 and "loss" in row]
    losses += losses_of(parts, 12)
    assert losses == pytest.approx(expected, abs=1e-5)


def test_alone_nothing_is_averaged() -> None:
    with joined("cpu") as world:
        assert world == World()
        assert world.mean(torch.tensor(1.5)).item() == 1.5
        assert (world.any(False), world.any(True)) == (False, True)
        assert world.of_first(2.5) == 2.5


def test_a_process_alone_has_nobody_to_share_a_model_with() -> None:
    with pytest.raises(InputError, match=r"--shard .* torchrun"), joined("cpu", shard=True):
        pass


def test_a_process_that_is_not_torchrun_s_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with (
        pytest.raises(InputError, match="WORLD_SIZE is 2, but LOCAL_RANK is not set"),
        joined("cpu"),
    ):
        pass


@pytest.mark.parametrize("size", ["abc", "0", "-1", "1.5", ""])
def test_a_number_of_processes_that_is_none(monkeypatch: pytest.MonkeyPatch, size: str) -> None:
    monkeypatch.setenv("WORLD_SIZE", size)
    with pytest.raises(InputError, match=r"WORLD_SIZE is '.*', not a number"), joined("cpu"):
        pass


def test_a_mistake_is_told_once(tmp_path: Path, corpus: Corpus) -> None:
    text = tmp_path / "text"
    text.write_text(corpus.text, encoding="utf-8")
    out = tmp_path / "run"
    done = torchrun("-m", "minigpt", "train", text, "--set", "batch_size=15", "--out", out)
    assert done.stderr.count("minigpt: batch_size 15 cannot be shared by 2 processes") == 1
    assert "RuntimeError" not in done.stderr
    assert not (tmp_path / "run").exists()


# the arguments are who fails at the fifth loss, and the command
FAIL = """
import os, signal, sys
from minigpt.cli import main
from minigpt.training import state

computed, next_token_loss = 0, state.next_token_loss

def failing(*arguments):
    global computed
    computed += 1
    if computed == 5 and os.environ["RANK"] == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)
    return next_token_loss(*arguments)

state.next_token_loss = failing
raise SystemExit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize("failing", [0, 1])
def test_the_end_of_one_process_is_a_sentence_of_the_other(
    tmp_path: Path, text_file: Path, failing: int
) -> None:
    script = tmp_path / "fail.py"
    script.write_text(FAIL, encoding="utf-8")
    done = torchrun(script, failing, "train", text_file, "--preset=tiny", "--plain",
                    "--max-steps=9", "--out", tmp_path / "run")  # fmt: skip
    said = f"minigpt: process {1 - failing} of 2 lost another one"
    assert [line[: len(said)] for line in done.stderr.splitlines()].count(said) == 1
    assert "gloo" not in done.stderr


def test_divergence_is_told_once(tmp_path: Path, text_file: Path) -> None:
    settings = ("--preset=tiny", "--set=learning_rate=1e30", "--max-steps=9")
    done = torchrun("-m", "minigpt", "train", text_file, *settings, "--out", tmp_path / "run")
    assert done.stderr.count("minigpt: training diverged at step") == 1
