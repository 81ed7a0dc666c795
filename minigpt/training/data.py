"""Batches as a pure function of (seed, step): nothing about the data needs saving or restoring."""

import numpy as np
import torch
from torch import Tensor

from minigpt.corpus import Ids


def batch(
    ids: Ids, *, seed: int, step: int, part: int, batch_size: int, block_size: int
) -> tuple[Tensor, Tensor]:
    """Random windows of `ids` and, for each position, the token that follows.

    Args:
        ids: the training part.
        seed: of the run.
        step: of the run.
        part: index of the batch within the step, when gradients are accumulated.
        batch_size: windows.
        block_size: their length.

    Returns:
        Inputs and targets, both int64 (batch_size, block_size).
    """
    rng = np.random.Generator(np.random.Philox(key=seed, counter=[0, step, part, 0]))
    starts = rng.integers(0, len(ids) - block_size, size=batch_size)
    windows = ids[starts[:, None] + np.arange(block_size + 1)].astype(np.int64)
    both = torch.from_numpy(windows)
    return both[:, :-1], both[:, 1:]
