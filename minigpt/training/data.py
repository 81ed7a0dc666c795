"""Windows of text as a pure function of (seed, number): no place in the data needs to be saved."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from minigpt.corpus import Ids


def windows(
    ids: Ids, *, seed: int, first: int, count: int, block_size: int
) -> tuple[Tensor, Tensor]:
    """Some of an endless sequence of windows, and for each position the token that follows.

    An epoch is all of the text, cut into windows that do not overlap, in a random order; each one
    is cut at other places. Windows at random places leave out a third of the text in one epoch's
    time; what that costs is in benchmarks/ablations.md.

    Args:
        ids: the training part, longer than a window.
        seed: of the run.
        first: number of the first window.
        count: how many.
        block_size: their length.

    Returns:
        Inputs and targets, both int64 (count, block_size).
    """
    n_targets = len(ids) - 1
    per_epoch = max(1, n_targets // block_size - 1)  # one less, so that the cuts have room to move
    starts = [
        cut + order[i] * block_size
        for number in range(first, first + count)
        for epoch, i in [divmod(number, per_epoch)]
        for cut, order in [_epoch(seed, epoch, per_epoch, n_targets - per_epoch * block_size)]
    ]
    rows = ids[np.array(starts)[:, None] + np.arange(block_size + 1)].astype(np.int64)
    both = torch.from_numpy(rows)
    return both[:, :-1], both[:, 1:]


@lru_cache(maxsize=2)  # a batch may lie in two of them
def _epoch(seed: int, epoch: int, n_windows: int, room: int) -> tuple[int, npt.NDArray[np.int64]]:
    """Where an epoch's first window begins, in [0, room], and the order of its windows."""
    rng = np.random.Generator(np.random.Philox(key=seed, counter=[0, epoch, 0, 0]))
    return int(rng.integers(room + 1)), rng.permutation(n_windows)
