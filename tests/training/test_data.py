from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch")

import torch

from minigpt.training import data
from minigpt.training.data import copied, resident, to_device, windows

IDS = np.arange(1000, dtype=np.uint32)  # counts upwards, so a token tells where it is


def starts(n_ids: int, first: int, count: int, *, seed: int = 1, block_size: int = 8) -> list[int]:
    x, _ = windows(IDS[:n_ids], seed=seed, first=first, count=count, block_size=block_size)
    found: list[int] = x[:, 0].tolist()
    return found


def test_targets_are_the_tokens_that_follow() -> None:
    x, y = windows(IDS, seed=1, first=0, count=50, block_size=8)
    assert x.shape == y.shape == (50, 8)
    assert torch.equal(x + 1, y)
    assert x.dtype == torch.int64


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_windows_of_ids_on_a_device_are_the_same(
    monkeypatch: pytest.MonkeyPatch, dtype: npt.DTypeLike
) -> None:
    monkeypatch.setattr(data, "_PIECE", 7)  # which does not divide the length
    ids = (IDS % 251).astype(dtype)
    there = copied(ids, torch.device("cpu"))
    assert there.tolist() == ids.tolist()
    for first in (0, 117, 300):  # over the end of an epoch, too
        here, on_device = (
            windows(each, seed=3, first=first, count=20, block_size=8) for each in (ids, there)
        )
        assert all(torch.equal(a, b) for a, b in zip(here, on_device, strict=True))
        assert {x.dtype for x in on_device} == {torch.int64}


def test_a_cpu_takes_ids_and_batches_as_they_are() -> None:
    assert resident(IDS, torch.device("cpu")) is IDS
    batch = torch.arange(4)
    assert to_device(batch, torch.device("cpu")) is batch


@given(st.integers(0, 300), st.integers(1, 300), st.integers(0, 99))
def test_a_window_is_a_function_of_seed_and_number(first: int, count: int, seed: int) -> None:
    one_by_one = [starts(1000, n, 1, seed=seed)[0] for n in range(first, first + count)]
    assert starts(1000, first, count, seed=seed) == one_by_one


def test_epochs_and_seeds_differ() -> None:
    per_epoch = 999 // 8 - 1
    epochs = [starts(1000, per_epoch * i, per_epoch) for i in range(3)]
    epochs.append(starts(1000, 0, per_epoch, seed=2))
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert len({epoch[0] % 8 for epoch in map(sorted, epochs)}) > 1  # cut at other places


@given(st.integers(9, 1000), st.integers(1, 8), st.integers(0, 99))
def test_the_windows_of_an_epoch_do_not_overlap(n_ids: int, block_size: int, seed: int) -> None:
    per_epoch = max(1, (n_ids - 1) // block_size - 1)
    found = sorted(starts(n_ids, 0, per_epoch, seed=seed, block_size=block_size))
    assert found[0] >= 0
    assert found[-1] + block_size < n_ids  # the last target is there
    assert {b - a for a, b in pairwise(found)} <= {block_size}


@pytest.mark.parametrize("n_ids", [9, 11, 17, 30, 100])
def test_every_token_comes_up_in_time(n_ids: int) -> None:
    seen = {start + i for start in starts(n_ids, 0, 100 * n_ids) for i in range(8)}
    assert seen == set(range(n_ids - 1))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.uint32])
def test_any_unsigned_ids_will_do(kind: type[np.unsignedinteger[npt.NBitBase]]) -> None:
    x, _ = windows(IDS[:200].astype(kind), seed=1, first=0, count=5, block_size=8)
    assert x[:, 0].tolist() == starts(200, 0, 5)
