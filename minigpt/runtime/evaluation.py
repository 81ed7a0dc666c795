"""How well does a model predict a text? The same measure for every Decoder."""

from collections.abc import Sequence

import numpy as np

from minigpt.errors import InputError
from minigpt.runtime.generation import Decoder
from minigpt.runtime.sampling import Logits


def evaluate(decoder: Decoder, ids: Sequence[int]) -> float:
    """Mean loss in nats per token over a whole text, each token but the first predicted once.

    The text is read in windows of block_size that do not overlap, so the first token of a window
    is predicted from one token of context, the last from a full window: a deterministic number
    that does not flatter.

    Args:
        decoder: the model; its cache is overwritten.
        ids: the text, at least two tokens.

    Raises:
        InputError: the text is shorter.
    """
    if len(ids) < 2:
        raise InputError("evaluation needs a text of at least two characters that the model knows")
    total = 0.0
    for start in range(0, len(ids) - 1, decoder.block_size):
        window = list(ids[start : start + decoder.block_size + 1])
        decoder.rewind(0)
        total += losses(decoder.feed(window[:-1]), window[1:]).sum()
    return total / (len(ids) - 1)


def losses(logits: Logits, targets: Sequence[int]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Nats of each target (T,) under its row of logits (T,V)."""
    z = logits.astype(np.float64)
    z -= z.max(axis=1, keepdims=True)
    log_total = np.log(np.exp(z).sum(axis=1))
    chosen = z[np.arange(len(targets)), list(targets)]
    return np.asarray(log_total - chosen)
