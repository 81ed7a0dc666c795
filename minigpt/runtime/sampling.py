"""From logits to the distribution the settings describe, and from it to one token.

The order of the rules, each working on what the one before has left:

1. temperature divides the logits (0: the likeliest token alone, "greedy");
2. top_k keeps the k likeliest;
3. top_p keeps the fewest of the likeliest whose probabilities reach p together
   (Holtzman et al., 2020, "nucleus sampling").

Among equals the lowest id counts as the likelier one, everywhere.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from minigpt.errors import InputError
from minigpt.runtime.params import SamplingParams

Logits = npt.NDArray[np.float32]
Probabilities = npt.NDArray[np.float64]


class Cut(IntEnum):
    """Which rule took a candidate out of the draw."""

    KEPT = 0
    TEMPERATURE = 1
    TOP_K = 2
    TOP_P = 3


@dataclass(frozen=True, slots=True)
class Distribution:
    """The next token's probabilities before and after the rules."""

    logprobs: Probabilities
    """Natural logarithms of the model's own probabilities: log-softmax of the logits (V,)."""
    raw: Probabilities
    """The model's own probabilities (V,)."""
    probs: Probabilities
    """What the draw uses (V,); 0 where a rule cut."""
    cut: npt.NDArray[np.uint8]
    """The `Cut` of each token (V,)."""

    @property
    def entropy(self) -> float:
        """Of the model's own probabilities, in nats."""
        return -float(self.raw @ self.logprobs)


def distribution(logits: Logits, params: SamplingParams) -> Distribution:
    """Apply the rules to one row of logits (V,).

    A worked example: probabilities 0.5, 0.3, 0.15, 0.05 with top_k=3 leave the first three, which
    become 0.526, 0.316, 0.158; top_p=0.8 then keeps the first two, 0.625 and 0.375.

    Raises:
        InputError: a logit is NaN or infinite, so the model is damaged.
    """
    if not np.isfinite(logits).all():
        raise InputError("the model is damaged: it returned logits that are NaN or infinite")
    z = logits.astype(np.float64)
    z -= z.max()
    raw = np.exp(z)
    total = raw.sum()
    raw /= total
    logprobs = z - np.log(total)
    cut = np.zeros(len(z), np.uint8)
    if params.temperature == 0:
        best = int(z.argmax())
        probs = np.zeros_like(raw)
        probs[best] = 1.0
        cut[:] = Cut.TEMPERATURE
        cut[best] = Cut.KEPT
        return Distribution(logprobs, raw, probs, cut)
    # A tiny temperature would divide 0 differences by 0 in float: the floor changes no draw.
    probs = np.exp(z / max(params.temperature, 1e-6))
    probs /= probs.sum()
    narrows_k, narrows_p = 0 < params.top_k < len(z), params.top_p < 1
    if narrows_k or narrows_p:
        order = np.argsort(-z, kind="stable")  # ids, likeliest first
        if narrows_k:
            dropped = order[params.top_k :]
            cut[dropped] = Cut.TOP_K
            probs[dropped] = 0.0
            order = order[: params.top_k]
            probs /= probs.sum()
        if narrows_p:
            # a token is kept while those before it have not reached p; the first one always is
            reached = np.cumsum(probs[order])
            n_kept = 1 + int(np.searchsorted(reached, params.top_p, side="left"))
            dropped = order[n_kept:]
            cut[dropped] = Cut.TOP_P
            probs[dropped] = 0.0
            probs /= probs.sum()
    return Distribution(logprobs, raw, probs, cut)


def draw(probs: Probabilities, uniform: float) -> int:
    """The token at which the cumulative probability passes `uniform` in [0, 1).

    One number per token, so whatever decides the number decides the text.
    """
    cumulative = probs.cumsum()
    # scaled, because rounding may leave the total a hair below 1
    return int(cumulative.searchsorted(uniform * cumulative[-1], side="right"))


class Uniforms:
    """The random number of every position: a pure function of (seed, position).

    Independent of what was drawn before, so a text can be rewound, branched or replayed at any
    position. Philox (Salmon et al., 2011) is made for this: a block of numbers is computed from
    its counter alone.
    """

    _BLOCK = 256

    def __init__(self) -> None:
        self._key = (-1, -1)
        self._numbers = np.empty(0)

    def __call__(self, seed: int, position: int) -> float:
        """The number in [0, 1) for the token at `position`."""
        block, offset = divmod(position, self._BLOCK)
        if self._key != (seed, block):
            bits = np.random.Philox(key=seed, counter=[0, block, 0, 0])
            self._numbers = np.random.Generator(bits).random(self._BLOCK)
            self._key = (seed, block)
        return float(self._numbers[offset])
