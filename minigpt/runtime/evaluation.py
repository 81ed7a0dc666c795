"""How well does a model predict a text? The same measure for every Decoder."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from minigpt.errors import InputError
from minigpt.runtime.decoder import Decoder
from minigpt.runtime.distribution import Logits
from minigpt.runtime.reader import CHUNK
from minigpt.runtime.sampling import DAMAGED


def logprobs(decoder: Decoder, ids: Sequence[int]) -> npt.NDArray[np.float64]:
    """The natural log-probability of each token but the first, given those before it.

    The text is read in windows of block_size that do not overlap, so the first token of a window
    is predicted from one token of context, the last from a full window: deterministic numbers
    that do not flatter.

    Args:
        decoder: the model; its cache is overwritten.
        ids: the text, n tokens, at least two.

    Returns:
        n - 1 numbers.

    Raises:
        InputError: the text is shorter, or a logit is NaN or infinite, so the model is damaged.
    """
    if len(ids) < 2:
        raise InputError("scoring needs a text of at least two characters that the model knows")
    found = np.empty(len(ids) - 1)
    for start in range(0, len(ids) - 1, decoder.block_size):
        window = list(ids[start : start + decoder.block_size + 1])
        decoder.rewind(0)
        for at in range(0, len(window) - 1, CHUNK):
            inputs, targets = window[:-1][at : at + CHUNK], window[1:][at : at + CHUNK]
            place = slice(start + at, start + at + len(inputs))
            found[place] = _chosen(decoder.feed(inputs), targets)
    return found


def evaluate(decoder: Decoder, ids: Sequence[int]) -> float:
    """Mean loss in nats per token: minus the mean of `logprobs`, which see."""
    return 0.0 - float(logprobs(decoder, ids).mean())  # which is never -0


def _chosen(logits: Logits, targets: Sequence[int]) -> npt.NDArray[np.float64]:
    """Log-probability of each target (T,) under its row of logits (T,V)."""
    z = logits.astype(np.float64)
    if not np.isfinite(z).all():
        raise InputError(DAMAGED)
    z -= z.max(axis=1, keepdims=True)
    log_total = np.log(np.exp(z).sum(axis=1))
    return np.asarray(z[np.arange(len(targets)), list(targets)] - log_total)
