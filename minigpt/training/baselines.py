"""The honest yardsticks: what guessing and counting reach on the same validation text.

A model that does not beat counting has learned nothing. All losses are nats per token over the
validation text that the model itself is scored on.
"""

import math

import numpy as np
import numpy.typing as npt

from minigpt.corpus import Ids
from minigpt.training.events import Baselines

MOST_COUNTED = 10_000_000
"""Tokens: counting so many takes 0.7 GB."""

_Array = npt.NDArray[np.int64]


def baselines(train: Ids, val: Ids, vocab_size: int) -> Baselines:
    """All three, measured on `val` and learned from `train`.

    Of more than `MOST_COUNTED` tokens, that many are counted, the last ones, as memory is finite:
    then the model saw more text than the counts did.
    """
    train = train[-MOST_COUNTED:]
    return Baselines(
        uniform=math.log(vocab_size),
        bigram=witten_bell(train, val, vocab_size, order=2),
        five_gram=witten_bell(train, val, vocab_size, order=5),
    )


def witten_bell(train: Ids, val: Ids, vocab_size: int, *, order: int) -> float:
    r"""Loss of an interpolated n-gram model with Witten-Bell smoothing.

    With C(h) occurrences of a context h, T(h) distinct symbols seen after it, and h' the context
    without its oldest symbol (Witten and Bell, 1991; Chen and Goodman, 1999):

        p(c | h) = (C(h c) + T(h) p(c | h')) / (C(h) + T(h)),   p(c | no context) below = 1 / V

    Args:
        train: ids to count.
        val: ids to predict, each but the first, from those before it.
        vocab_size: number of symbols.
        order: symbols of context plus one.

    Returns:
        Nats per predicted id. The context of the first few is what of `val` there is.
    """
    targets = val[1:].astype(np.int64)
    probability = np.full(len(targets), 1.0 / vocab_size)
    train_ids, val_ids = train.astype(np.int64), val.astype(np.int64)
    # A context is known by a dense number; a longer one is (number of the shorter, older symbol).
    train_context = np.zeros(len(train_ids), np.int64)  # of the symbols before each position
    val_context = np.zeros(len(targets), np.int64)
    for length in range(order):
        if length:
            train_context, val_context = _extend(
                train_context, val_context, train_ids, val_ids, length, vocab_size
            )
        known = val_context >= 0
        new = _interpolate(
            train_context[length:] * vocab_size + train_ids[length:],
            train_context[length:],
            val_context[known] * vocab_size + targets[known],
            val_context[known],
            probability[known],
            vocab_size,
        )
        probability[known] = new
    return 0.0 - float(np.log(probability).mean())  # a minus alone would make -0.0 of none


def _extend(
    train_context: _Array, val_context: _Array, train: _Array, val: _Array, length: int, vocab: int
) -> tuple[_Array, _Array]:
    """Contexts of `length` symbols from those of one less; -1 where unseen or cut short."""
    longer = train_context[length:] * vocab + train[:-length]
    seen, numbers = np.unique(longer, return_inverse=True)
    train_context = np.concatenate((np.full(length, -1), numbers))
    # the target at index i is val[i + 1], its context of `length` starts at val[i + 1 - length]
    wanted = np.full(len(val_context), -1)
    start = length - 1
    wanted[start:] = val_context[start:] * vocab + val[: max(0, len(val) - length)]
    place = np.searchsorted(seen, wanted).clip(max=len(seen) - 1)
    found = (val_context >= 0) & (wanted >= 0) & (seen[place] == wanted)
    return train_context, np.where(found, place, -1)


def _interpolate(
    train_pairs: _Array,
    train_context: _Array,
    pairs: _Array,
    contexts: _Array,
    shorter: npt.NDArray[np.float64],
    vocab: int,
) -> npt.NDArray[np.float64]:
    """Witten-Bell's formula for the (context, symbol) pairs, given the shorter contexts' result."""
    pair_values, pair_counts = np.unique(train_pairs, return_counts=True)
    n_contexts = int(train_context.max()) + 1
    total = np.bincount(train_context, minlength=n_contexts)
    # every distinct pair adds one distinct symbol to its context
    types = np.bincount(pair_values // vocab, minlength=n_contexts)
    place = np.searchsorted(pair_values, pairs).clip(max=len(pair_values) - 1)
    count = np.where(pair_values[place] == pairs, pair_counts[place], 0)
    distinct = types[contexts]
    return np.asarray((count + distinct * shorter) / (total[contexts] + distinct))
