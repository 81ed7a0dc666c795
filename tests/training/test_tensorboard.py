import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("tensorboard")

from tensorboard.backend.event_processing import event_accumulator, plugin_event_accumulator

from minigpt.errors import InputError
from minigpt.training.events import Evaluation, Event, Sample, Saved
from minigpt.training.metrics import MetricsLog
from minigpt.training.tensorboard import check_installed, clear, tensorboard_log
from tests.training.test_progress import step


def run(folder: Path, events: list[Event], resume_step: int | None = None) -> None:
    """What the command does with a run's events."""
    log = MetricsLog(folder, resume_step=resume_step)
    with tensorboard_log(folder, resume_step=resume_step) as board:
        for event in events:
            log.write(event)
            board(event)


def scalars(folder: Path, tag: str) -> list[tuple[int, float]]:
    found: Any = event_accumulator.EventAccumulator(str(folder / "tensorboard"))
    found.Reload()
    return [(event.step, event.value) for event in found.Scalars(tag)]


def samples(folder: Path) -> list[tuple[int, str]]:
    # what TensorBoard itself reads with; the one above forgets no texts
    found: Any = plugin_event_accumulator.EventAccumulator(str(folder / "tensorboard"))
    found.Reload()
    events = found.Tensors("sample/text_summary")
    return [(event.step, event.tensor_proto.string_val[0].decode()) for event in events]


def test_events_can_be_read_back(tmp_path: Path) -> None:
    run(tmp_path, [Evaluation(0, 4.0, best=True), step(1, 3.5), Sample(1, "O\n\x1b *Romeo*")])
    assert scalars(tmp_path, "loss/training") == [(1, 3.5)]
    assert scalars(tmp_path, "loss/validation") == [(0, 4.0)]
    assert scalars(tmp_path, "gradient_norm") == [(1, 0.5)]
    assert scalars(tmp_path, "learning_rate")[0][1] == pytest.approx(1e-3)
    assert samples(tmp_path) == [(1, "    O\n    ␛ *Romeo*")]


@pytest.mark.parametrize("stopped_at", [2, 3])
def test_a_resumed_run_has_each_event_once(tmp_path: Path, stopped_at: int) -> None:
    def at(n: int) -> list[Event]:
        """A step; at even ones checkpoint, evaluation and text come after it."""
        evaluated: list[Event] = [
            Saved(n, tmp_path),
            Evaluation(n, 3.0 + n, best=False),
            Sample(n, str(n)),
        ]
        return [step(n, 1.0 + n), *(evaluated if n % 2 == 0 else [])]

    # killed at step 5, and begun again from the checkpoint
    run(tmp_path, [Evaluation(0, 3.0, best=True), *(e for n in range(1, 6) for e in at(n))])
    again = at(2)[2:] if stopped_at == 2 else []  # where the loop goes on, it evaluates anew
    again += [event for n in range(stopped_at + 1, 7) for event in at(n)]
    run(tmp_path, again, resume_step=stopped_at)
    assert scalars(tmp_path, "loss/training") == [(n, 1.0 + n) for n in range(1, 7)]
    assert scalars(tmp_path, "loss/validation") == [(n, 3.0 + n) for n in (0, 2, 4, 6)]
    assert samples(tmp_path) == [(n, f"    {n}") for n in (2, 4, 6)]


def test_what_was_trained_before_a_checkpoint_is_on_the_disk(tmp_path: Path) -> None:
    with tensorboard_log(tmp_path, resume_step=None) as board:
        board(step(1, 3.5))
        board(Saved(1, tmp_path))
        assert scalars(tmp_path, "loss/training") == [(1, 3.5)]


def test_a_new_run_clears_the_old_events_and_nothing_else(tmp_path: Path) -> None:
    run(tmp_path, [step(1)])
    note = tmp_path / "tensorboard" / "note.txt"
    note.touch()
    clear(tmp_path)
    assert list((tmp_path / "tensorboard").iterdir()) == [note]
    clear(tmp_path / "nowhere")


def test_where_it_is_missing_a_sentence_names_the_install_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check_installed()
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(InputError, match=r"pip install .*\[tensorboard\]"):
        check_installed()
