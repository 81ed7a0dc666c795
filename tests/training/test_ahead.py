"""A GPU is given the next step before the numbers of the last one are read: the same run."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from minigpt.corpus import Corpus
from minigpt.training import state
from minigpt.training.checkpoint import BEST, LAST, load
from minigpt.training.events import Event, Saved, Step
from minigpt.training.loop import train
from minigpt.training.state import Diverged, Training
from minigpt.training.world import World
from tests.training.test_loop import small_run


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the numbers that Python reads from tensors: for each a GPU would be waited for."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.reads = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        self.reads += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(World, "on_gpu", property(lambda _: True))


@pytest.mark.parametrize("muon_learning_rate", [0.0, 0.02])
def test_no_step_waits_for_a_number(
    tmp_path: Path, corpus: Corpus, muon_learning_rate: float
) -> None:
    training = Training(small_run(tmp_path, corpus, muon_learning_rate=muon_learning_rate), None)
    with Watch() as watch:
        assert [training.advance(ahead=3) for _ in range(3)] == [[], [], []]
        assert watch.reads == 0
        torch.ones(1).item()
        assert watch.reads == 1  # it does see them
    assert [step.step for step in training.advance(ahead=3)] == [1]
    assert [step.step for step in training.known_steps()] == [2, 3, 4]


def run_in(folder: Path, corpus: Corpus) -> list[Event]:
    """All events of a run in folder/run: one name for all, as it is on the model's card."""
    folder.mkdir()
    return list(train(small_run(folder / "run", corpus)))


def test_a_run_ahead_of_its_numbers_is_the_same_run(
    tmp_path: Path, corpus: Corpus, request: pytest.FixtureRequest
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    expected = [replace(event, path=there / "run" / LAST) if isinstance(event, Saved) else event
                for event in run_in(here, corpus)]  # fmt: skip
    request.getfixturevalue("as_on_a_gpu")
    assert run_in(there, corpus) == expected
    for name in (LAST, BEST):
        assert (here / "run" / name).read_bytes() == (there / "run" / name).read_bytes()


@pytest.mark.usefixtures("as_on_a_gpu")
@pytest.mark.parametrize("broken", [5, 6, 9, 10])  # 0, 5 and 10 are saved
def test_a_divergence_that_is_seen_late_is_seen_before_a_save(
    tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch, broken: int
) -> None:
    def no_number(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return logits.sum() * math.nan

    events = train(small_run(tmp_path, corpus, sample_chars=0))
    # the one after it is on its way by now
    next(event for event in events if isinstance(event, Step) and event.step == broken - 2)
    monkeypatch.setattr(state, "next_token_loss", no_number)
    with pytest.raises(Diverged, match=f"diverged at step {broken} "):
        list(events)
    assert load(tmp_path / LAST).card.steps == 5 * ((broken - 1) // 5)
