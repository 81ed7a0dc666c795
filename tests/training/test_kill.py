"""Runs that are killed, over and over: what they leave in the end is what no kill would have left.

The children are forked from this process, which has torch already; each is killed at a place that
a seed chooses, never after a time.
"""

import os
import random
import re
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
if not hasattr(os, "fork"):
    pytest.skip("needs fork", allow_module_level=True)

from minigpt.cli import main
from minigpt.training.metrics import MetricsLog
from tests.stops import at_call, at_operation, leave_after

SETTINGS = {
    **{"n_layer": 2, "n_head": 2, "n_embd": 32, "block_size": 32, "dropout": 0.1},
    **{"max_steps": 60, "batch_size": 4, "accumulation": 2, "warmup_steps": 10},
    **{"eval_interval": 7, "sample_chars": 20},
}
TEXT = "".join(f"{n} green bottle{'s' * (n > 1)} hanging on the wall,\n" for n in range(60, 0, -1))


def command(folder: Path, *more: str) -> list[str]:
    text = folder.parent.parent / "bottles.txt"
    text.write_text(TEXT, encoding="utf-8")
    settings = [f"--set={key}={value}" for key, value in SETTINGS.items()]
    return ["train", str(text), "--out", str(folder), "--plain", *settings, *more]


@pytest.fixture(scope="module", autouse=True)
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One thread, as forked children of many hang; what is imported late is imported once."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("warm") / "a" / "run"
    folder.parent.mkdir()
    assert main(command(folder, "--max-steps", "2")) == 0
    yield
    torch.set_num_threads(before)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def run(
    arguments: list[str], stop: Callable[[Callable[[], object]], object], lines: int | None
) -> tuple[int, str]:
    """Run the command in a child under `stop`, killed after so many lines of stderr, if any.

    Returns:
        The exit code, negative for a signal, and what it said.
    """
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(write_end, 2)
        sys.stderr = os.fdopen(write_end, "w", encoding="utf-8")
        leave_after(lambda: stop(lambda: os._exit(main(arguments))))
    os.close(write_end)
    said = []
    with os.fdopen(read_end, encoding="utf-8") as stderr:
        for line in stderr:
            said.append(line)
            if len(said) == lines:
                os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), "".join(said)


def undisturbed(work: Callable[[], object]) -> object:
    return work()


def kill_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def some_kill(
    rng: random.Random,
) -> tuple[str, Callable[[Callable[[], object]], object], int | None]:
    """Any call of any function, any call to the operating system, or any line it says."""
    match rng.randrange(3):
        case 0:
            n = rng.randrange(600_000)
            return f"call {n}", partial(at_call, n, kill_itself), None
        case 1:
            n = rng.randrange(2_500)
            return f"operation {n}", partial(at_operation, n, kill_itself), None
        case _:
            n = rng.randrange(35, 50)
            return f"line {n}", undisturbed, n


def kills_until_the_end(folder: Path, rng: random.Random) -> int:
    """Start, kill, resume, kill, resume until it ends by itself; how often it was killed."""
    n_kills = 0
    while True:
        where, stop, lines = some_kill(rng)
        # killed before it saved any checkpoint, it has left a log, which is not replaced unasked
        flag = "--resume" if any(folder.glob("[lp]*.safetensors")) else "--force"
        print(flag, where)
        code, said = run(command(folder, flag), stop, lines)
        assert code in {0, -signal.SIGKILL}, said
        assert "Traceback" not in said
        if code == 0:
            return n_kills
        n_kills += 1


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a run leaves that nobody disturbs."""
    folder = tmp_path_factory.mktemp("whole") / "a" / "run"
    folder.parent.mkdir()
    code, said = run(command(folder), undisturbed, None)
    assert code == 0, said
    return contents(folder)


@pytest.mark.parametrize("kills", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_a_run_killed_at_any_moment_goes_on_as_if_it_had_not_been(
    tmp_path: Path, whole: dict[str, bytes], kills: int
) -> None:
    rng, n_kills, n_runs = random.Random(kills), 0, 0
    while n_kills < kills:
        n_runs += 1
        folder = tmp_path / str(n_runs) / "run"
        folder.parent.mkdir()
        n_kills += kills_until_the_end(folder, rng)
        left = contents(folder)
        assert set(left) == set(whole)
        for name, content in whole.items():
            assert left[name] == content, name


def test_a_disk_that_fills_up_is_one_sentence_and_the_run_goes_on(
    tmp_path: Path, whole: dict[str, bytes]
) -> None:
    resource = pytest.importorskip("resource")
    folder = tmp_path / "a" / "run"
    folder.parent.mkdir()
    assert run(command(folder), undisturbed, 45)[0] == -signal.SIGKILL

    def nearly_full(work: Callable[[], object]) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        work()

    code, said = run(command(folder, "--resume"), nearly_full, None)
    assert code == 2, said
    sentence = f"minigpt: cannot write {folder}/[a-z]+.safetensors: File too large"
    assert re.fullmatch(sentence, said.splitlines()[-1])
    assert "Traceback" not in said
    assert run(command(folder, "--resume"), undisturbed, None)[0] == 0
    assert contents(folder) == whole


def test_a_torn_line_of_the_log_is_written_anew(tmp_path: Path, whole: dict[str, bytes]) -> None:
    """A kill can cut only what came after the checkpoint."""
    log = whole["metrics.jsonl"]
    rows = log.splitlines(keepends=True)
    # the evaluation at a checkpoint's step comes after it
    n_kept = next(n for n, row in enumerate(rows) if row.startswith(b'{"step": 35, "val_loss"'))
    kept = b"".join(rows[:n_kept])
    for end in range(len(kept), len(kept) + len(rows[n_kept]) + len(rows[n_kept + 1])):
        (tmp_path / "metrics.jsonl").write_bytes(log[:end])
        MetricsLog(tmp_path, resume_step=35)
        assert (tmp_path / "metrics.jsonl").read_bytes() == kept
