"""Windows of text as a pure function of (seed, number): no place in the data needs to be saved."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from minigpt.corpus import Ids

CPU = torch.device("cpu")
SHARE_FOR_IDS = 0.25
"""Of a GPU's free memory: so much may the text take, 4 bytes a token."""
_PIECE = 2**22


def windows(
    ids: Ids | Tensor,
    device: torch.device = CPU,
    *,
    seed: int,
    first: int,
    count: int,
    block_size: int,
) -> tuple[Tensor, Tensor]:
    """Some of an endless sequence of windows, and for each position the token that follows.

    An epoch is all of the text, cut into windows that do not overlap, in a random order; each one
    is cut at other places. Windows at random places leave out a third of the text in one epoch's
    time; what that costs is in benchmarks/ablations.md.

    Args:
        ids: the training part, longer than a window; an array, or on the device by `resident`.
        device: where the windows go.
        seed: of the run.
        first: number of the first window.
        count: how many.
        block_size: their length.

    Returns:
        Inputs and targets, both int64 (count, block_size), on the device.
    """
    n_targets = len(ids) - 1
    per_epoch = max(1, n_targets // block_size - 1)  # one less, so that the cuts have room to move
    starts = np.array([
        cut + order[i] * block_size
        for number in range(first, first + count)
        for epoch, i in [divmod(number, per_epoch)]
        for cut, order in [_epoch(seed, epoch, per_epoch, n_targets - per_epoch * block_size)]
    ])  # fmt: skip
    if isinstance(ids, Tensor):
        offsets = torch.arange(block_size + 1, device=device)
        both = ids[to_device(torch.from_numpy(starts), device)[:, None] + offsets].long()
    else:
        cut_out = ids[starts[:, None] + np.arange(block_size + 1)].astype(np.int64)
        both = to_device(torch.from_numpy(cut_out), device)  # once, and before it is in two
    return both[:, :-1], both[:, 1:]


@lru_cache(maxsize=2)  # a batch may lie in two of them
def _epoch(seed: int, epoch: int, n_windows: int, room: int) -> tuple[int, npt.NDArray[np.int64]]:
    """Where an epoch's first window begins, in [0, room], and the order of its windows."""
    rng = np.random.Generator(np.random.Philox(key=seed, counter=[0, epoch, 0, 0]))
    return int(rng.integers(room + 1)), rng.permutation(n_windows)


def resident(ids: Ids, device: torch.device) -> Ids | Tensor:
    """The ids on a GPU that has room for them, so that no batch need go there; else as they are."""
    if device.type != "cuda":
        return ids
    free, _ = torch.cuda.mem_get_info(device)
    return copied(ids, device) if 4 * len(ids) <= SHARE_FOR_IDS * free else ids


def copied(ids: Ids, device: torch.device) -> Tensor:
    """The ids on a device as int32 (N,), piece by piece: they may be mapped from the disk."""
    there = torch.empty(len(ids), dtype=torch.int32, device=device)
    for i in range(0, len(ids), _PIECE):
        piece = ids[i : i + _PIECE].astype(np.int32)
        there[i : i + _PIECE] = torch.from_numpy(piece)
    return there


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device; a GPU is not waited for, which only pinned memory allows."""
    if device.type == "cuda" and not tensor.is_cuda:
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
