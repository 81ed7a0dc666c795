import errno
import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

from minigpt.config import ModelCard, TrainConfig
from minigpt.errors import InputError
from minigpt.runs_command import runs_table
from minigpt.tokenizer import CharTokenizer
from minigpt.training.checkpoint import BEST, LAST, Checkpoint, model_weights, save
from minigpt.training.events import Evaluation, Event
from minigpt.training.lock import LOCK, lock_folder
from minigpt.training.metrics import METRICS, MetricsLog
from minigpt.training.runs import RunSummary, find_runs, read_run
from tests.conftest import CARD, SMALL
from tests.models import random_gpt
from tests.training.test_progress import step

MAX_STEPS = 6


def make_run(
    folder: Path, losses: list[float], patience: int = 0, *, card: ModelCard = CARD
) -> Path:
    """A run with an evaluation after every second step, and a checkpoint at the last of them."""
    folder.mkdir()
    log = MetricsLog(folder, resume_step=None)
    events: list[Event] = []
    for i, loss in enumerate(losses):
        events += [Evaluation(2 * i, loss, best=loss == min(losses[: i + 1]))]
        events += [step(2 * i + 1), step(2 * i + 2)] if i + 1 < len(losses) else []
    for event in events:
        log.write(event)
    for name, loss in ((LAST, losses[-1]), (BEST, min(losses))):
        found = Checkpoint(
            model=SMALL,
            train=TrainConfig(max_steps=MAX_STEPS, patience=patience),
            tokenizer=CharTokenizer("abcde"),
            card=replace(card, steps=2 * losses.index(loss), val_loss=loss),
            excerpt="",
            draft="",
            best_val_loss=min(losses),
            evaluations_since_best=max(0, len(losses) - losses.index(min(losses)) - 2),
            weights=model_weights(random_gpt(SMALL)),
            optimizer={},
        )
        save(found, folder / name)
    return folder


def test_a_run_is_told_from_its_files(tmp_path: Path) -> None:
    run = read_run(make_run(tmp_path / "one", [4.0, 2.5, 2.0, 2.25]))
    assert run == RunSummary(
        name="one",
        folder=str(tmp_path / "one"),
        corpus="letters",
        corpus_sha256=CARD.corpus_sha256,
        parameters=SMALL.n_params(),
        steps=6,
        max_steps=MAX_STEPS,
        best_val_loss=2.0,
        best_step=4,
        val_loss=2.25,
        state="finished",
        training=[(n, 2.0) for n in range(1, 7)],
        validation=[(0, 4.0), (2, 2.5), (4, 2.0), (6, 2.25)],
        notes=[],
    )


def test_runs_are_sorted_by_their_best_loss(tmp_path: Path) -> None:
    make_run(tmp_path / "a", [4.0, 3.0])
    make_run(tmp_path / "b", [4.0, 2.0, 2.1])
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / METRICS).touch()
    (tmp_path / "no run").mkdir()
    (tmp_path / "file").touch()
    found = find_runs([tmp_path])
    assert [(run.name, run.steps, run.state) for run in found] == [
        ("b", 4, "stopped"), ("a", 2, "stopped"), ("c", 0, "stopped")
    ]  # fmt: skip
    # a run's own folder too, and nothing twice
    assert find_runs([tmp_path / "a"]) == [found[1]]
    assert [run.name for run in find_runs([tmp_path / "a", tmp_path])] == ["b", "a", "c"]
    with pytest.raises(InputError, match="not a folder"):
        find_runs([tmp_path / "nowhere"])


def test_losses_are_compared_on_one_text_alone(tmp_path: Path) -> None:
    verse = replace(CARD, corpus="verse", corpus_sha256="5" * 64)
    for name, card, loss in (
        ("a", CARD, 1.5), ("b", verse, 1.0), ("c", CARD, 1.1), ("d", verse, 2.0)
    ):  # fmt: skip
        make_run(tmp_path / name, [4.0, loss], card=card)
    runs = find_runs([tmp_path])
    assert [run.name for run in runs] == ["b", "d", "c", "a"]
    table = runs_table([*runs, *(replace(run, corpus_sha256=None) for run in runs)])
    assert [row.style for row in table.rows] == ["bold", "", "bold", "", *[""] * 4]


def test_a_run_that_patience_ended_is_done(tmp_path: Path) -> None:
    assert read_run(make_run(tmp_path / "on", [4.0, 2.0, 2.5], patience=2)).state == "stopped"
    folder = make_run(tmp_path / "out", [4.0, 2.0, 2.5], patience=1)
    assert read_run(folder).state == "patience"
    lines = (folder / METRICS).read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / METRICS).write_text("".join(lines[:-1]), encoding="utf-8")
    assert read_run(folder).state == "stopped"  # killed before the evaluation that ends it


def test_a_run_that_is_still_going_is_further_than_its_checkpoint(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "one", [4.0, 3.0])
    with (folder / METRICS).open("a", encoding="utf-8") as file:
        file.write('{"step": 3, "loss": 2.0}\n{"step": 4, "lo')
    assert (read_run(folder).steps, read_run(folder).state) == (3, "stopped")


def test_a_run_goes_on_while_its_lock_is_held(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "one", [4.0, 3.0])
    assert read_run(folder).state == "stopped"
    with lock_folder(folder):
        assert read_run(folder).state == "running"
    (folder / LOCK).touch()  # as a killed process leaves it
    assert read_run(folder).state == "lost"


def test_a_run_without_patience_ends_early(tmp_path: Path) -> None:
    losses = [4.0, 2.0, 2.1]
    assert read_run(make_run(tmp_path / "one", losses, patience=1)).state == "patience"
    assert read_run(make_run(tmp_path / "two", losses, patience=2)).state == "stopped"


def test_a_folder_that_must_not_be_read_hides_no_other_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(tmp_path / "mine", [4.0, 2.0])
    (tmp_path / "theirs").mkdir()
    exists = Path.exists

    def refuses(path: Path, **how: bool) -> bool:
        if path.parent.name == "theirs":
            raise PermissionError(errno.EACCES, "Permission denied")
        return exists(path, **how)

    monkeypatch.setattr(Path, "exists", refuses)
    assert [run.name for run in find_runs([tmp_path])] == ["mine"]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def swap(path: Path, old: str, new: str) -> None:
    path.write_bytes(path.read_bytes().replace(old.encode(), new.encode()))


def instead(path: Path, content: bytes | None) -> None:
    """Other content, or a folder."""
    path.unlink()
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)


def without_checkpoints(run: Path) -> None:
    for path in run.glob("*.safetensors"):
        path.unlink()


OTHER_ROWS = b"""{"step": "a", "loss": 1.0}
{"step": 1, "loss": "b"}
{"step": 1, "val_loss": NaN}
{"step": 2, "val_loss": 1%s}
[1]
""" % (b"0" * 400)

DAMAGED = "last.safetensors: damaged"
DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "cut short": (lambda run: cut(run / LAST), "last.safetensors: cut short"),
    "empty": (lambda run: instead(run / LAST, b""), DAMAGED),
    "no JSON": (lambda run: swap(run / LAST, "__metadata__", '"'), DAMAGED),
    "another file": (lambda run: instead(run / LAST, b"\x02" + bytes(7) + b"{}"), DAMAGED),
    "a list": (lambda run: instead(run / LAST, b"\x02" + bytes(7) + b"[]"), DAMAGED),
    "long header": (lambda run: instead(run / LAST, b"\xff" * 8 + b"{}"), DAMAGED),
    "newer": (lambda run: swap(run / LAST, "dropout", "blowout"), "another version of minigpt"),
    "a folder": (lambda run: instead(run / LAST, None), "is a folder"),
    "noise": (lambda run: instead(run / METRICS, bytes(range(256))), f"empty {METRICS}"),
    "other rows": (lambda run: instead(run / METRICS, OTHER_ROWS), f"empty {METRICS}"),
    "a folder as log": (lambda run: instead(run / METRICS, None), "is a folder"),
    "no log": (lambda run: (run / METRICS).unlink(), f"no {METRICS}"),
    "no checkpoint": (without_checkpoints, "no checkpoint"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_a_note_and_the_rest_is_told(tmp_path: Path, kind: str) -> None:
    folder = make_run(tmp_path / "one", [4.0, 2.5, 2.75])
    damage, words = DAMAGE[kind]
    damage(folder)
    (run,) = find_runs([tmp_path])
    assert words in "; ".join(run.notes)
    # the log and the checkpoints stand in for each other
    assert run.best_val_loss == 2.5
    assert run.best_step == 2
    assert run.corpus == (None if kind == "no checkpoint" else "letters")


def test_no_byte_of_a_header_can_break_it(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "one", [4.0, 2.5])
    shutil.copy(folder / LAST, whole := tmp_path / "whole")
    (folder / BEST).unlink()
    content = whole.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    n_noted = 0
    for at in range(0, end, 7):
        (folder / LAST).write_bytes(content[:at] + bytes([content[at] ^ 0x15]) + content[at + 1 :])
        run = read_run(folder)
        assert run.best_val_loss == 2.5
        n_noted += bool(run.notes)
    assert n_noted > 0.1 * end / 7


def test_an_unmeasured_checkpoint_has_no_loss(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "one", [math.inf])
    (folder / METRICS).unlink()
    assert read_run(folder).best_val_loss is None
    assert json.loads(json.dumps(read_run(folder).validation)) == []
