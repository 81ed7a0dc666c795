import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from minigpt.training.data import batch

IDS = np.arange(1000, dtype=np.uint32)


def draw(seed: int = 1, step: int = 0, part: int = 0) -> torch.Tensor:
    return batch(IDS, seed=seed, step=step, part=part, batch_size=4, block_size=8)[0]


def test_targets_are_the_tokens_that_follow() -> None:
    x, y = batch(IDS, seed=1, step=0, part=0, batch_size=50, block_size=8)
    assert x.shape == y.shape == (50, 8)
    assert torch.equal(x + 1, y)  # the text counts upwards
    assert x.dtype == torch.int64


def test_a_batch_is_a_function_of_seed_step_and_part() -> None:
    assert torch.equal(draw(), draw())
    others = [draw(seed=2), draw(step=1), draw(part=1)]
    assert not any(torch.equal(draw(), other) for other in others)


def test_the_first_and_the_last_window_are_drawn_too() -> None:
    ids = np.arange(11, dtype=np.uint32)
    x, _ = batch(ids, seed=0, step=0, part=0, batch_size=200, block_size=8)
    assert set(x[:, 0].tolist()) == {0, 1, 2}
