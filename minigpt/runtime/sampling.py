"""From logits to the distribution the settings describe, and from it to one token.

The order of the rules, each working on what the ones before have left. "In view" are the newest
tokens of the text, as many as the model's window holds.

1. repetition_penalty divides the logits of tokens in view that are above 0, and multiplies those
   below (Keskar et al., 2019); presence_penalty is taken off once for each such token,
   frequency_penalty once for each time it is in view;
2. no_repeat_ngram bans what would complete a run of N tokens that is in view already (unless that
   would ban all);
3. temperature divides the logits (0: the likeliest token alone, "greedy", and the end);
4. top_k keeps the k likeliest;
5. typical_p keeps, in order of how little their surprise differs from the mean surprise, the
   fewest tokens whose probabilities reach p together (Meister et al., 2023);
6. top_p keeps the fewest of the likeliest whose probabilities reach p together (Holtzman et al.,
   2020, "nucleus sampling");
7. min_p keeps what is at least p times as likely as the likeliest (Nguyen et al., 2024).

Among equals the lowest id counts as the likelier one, everywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from minigpt.errors import InputError
from minigpt.runtime.params import KNOBS, SamplingParams

Logits = npt.NDArray[np.float32]
Probabilities = npt.NDArray[np.float64]


class Cut(IntEnum):
    """Which rule took a candidate out of the draw."""

    KEPT = 0
    NO_REPEAT_NGRAM = 1
    TEMPERATURE = 2
    TOP_K = 3
    TYPICAL_P = 4
    TOP_P = 5
    MIN_P = 6


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


def distribution(logits: Logits, history: Sequence[int], params: SamplingParams) -> Distribution:
    """Apply the rules to one row of logits.

    A worked example: probabilities 0.5, 0.3, 0.15, 0.05 with top_k=3 leave the first three, which
    become 0.526, 0.316, 0.158; top_p=0.8 then keeps the first two, 0.625 and 0.375.

    Args:
        logits: (V,).
        history: the ids in view, for the rules on repetition.
        params: the settings.

    Raises:
        InputError: a logit is NaN or infinite, so the model is damaged.
    """
    if not np.isfinite(logits).all():
        raise InputError("the model is damaged: it returned logits that are NaN or infinite")
    z = logits.astype(np.float64)
    logprobs = z - z.max()
    raw = np.exp(logprobs)
    total = raw.sum()
    logprobs -= np.log(total)
    raw /= total
    cut = np.zeros(len(z), np.uint8)
    z = _penalized(z, history, params)
    if banned := _repeated(history, params.no_repeat_ngram, len(z)):
        z[banned] = -np.inf
        cut[banned] = Cut.NO_REPEAT_NGRAM
    z -= z.max()
    if params.temperature == 0:
        best = int(z.argmax())
        probs = np.zeros_like(raw)
        probs[best] = 1.0
        cut[cut == Cut.KEPT] = Cut.TEMPERATURE
        cut[best] = Cut.KEPT
        return Distribution(logprobs, raw, probs, cut)
    # A tiny temperature would divide 0 differences by 0 in float: the floor changes no draw.
    probs = np.exp(z / max(params.temperature, 1e-6))
    probs /= probs.sum()
    if _narrows(params):
        _narrow(probs, cut, np.argsort(-z, kind="stable")[: len(z) - len(banned)], params)
    return Distribution(logprobs, raw, probs, cut)


def explain(
    logits: Logits, history: Sequence[int], params: SamplingParams
) -> list[tuple[str, Distribution]]:
    """The distribution after each rule that is set, by name, in order; the model's own first."""
    order = (
        "repetition_penalty", "presence_penalty", "frequency_penalty", "no_repeat_ngram",
        "temperature", "top_k", "typical_p", "top_p", "min_p",
    )  # fmt: skip
    neutral = {name: KNOBS[name].neutral for name in order}
    so_far = replace(params, **neutral)  # type: ignore[arg-type]
    steps = [("model", distribution(logits, history, so_far))]
    for name in order:
        if getattr(params, name) != neutral[name]:
            so_far = replace(so_far, **{name: getattr(params, name)})
            steps.append((name, distribution(logits, history, so_far)))
    return steps


def _penalized(
    z: npt.NDArray[np.float64], history: Sequence[int], params: SamplingParams
) -> npt.NDArray[np.float64]:
    divisor, presence = params.repetition_penalty, params.presence_penalty
    if not history or (divisor == 1 and presence == 0 and params.frequency_penalty == 0):
        return z
    counts = np.bincount(np.asarray(history), minlength=len(z))
    seen = counts > 0
    divided = np.where(z > 0, z / divisor, z * divisor)
    penalty = presence * seen + params.frequency_penalty * counts
    return np.where(seen, divided, z) - penalty


def _repeated(history: Sequence[int], n: int, vocab_size: int) -> list[int]:
    """The tokens that would complete a run of n that is in `history` already."""
    ids = list(history)
    if n == 0 or len(ids) < n:
        return []
    begun = ids[len(ids) - n + 1 :]
    ends = {ids[i + n - 1] for i in range(len(ids) - n + 1) if ids[i : i + n - 1] == begun}
    return sorted(ends) if len(ends) < vocab_size else []


def _narrows(params: SamplingParams) -> bool:
    return bool(params.top_k or params.typical_p < 1 or params.top_p < 1 or params.min_p)


def _narrow(
    probs: Probabilities,
    cut: npt.NDArray[np.uint8],
    order: npt.NDArray[np.int64],
    params: SamplingParams,
) -> None:
    """Cut candidates in place; `order` is those that are left, likeliest first."""

    def keep(kept: npt.NDArray[np.bool_], rule: Cut) -> npt.NDArray[np.int64]:
        dropped = order[~kept]
        cut[dropped] = rule
        probs[dropped] = 0.0
        np.divide(probs, probs.sum(), out=probs)
        return order[kept]

    if 0 < params.top_k < len(order):
        order = keep(np.arange(len(order)) < params.top_k, Cut.TOP_K)
    if params.typical_p < 1:
        p = probs[order]
        surprise = -np.log(np.maximum(p, 1e-300))  # what underflowed counts as most surprising
        unusual = np.argsort(np.abs(surprise - p @ surprise), kind="stable")
        kept = np.zeros(len(order), np.bool_)
        kept[unusual[: _n_reaching(p[unusual], params.typical_p)]] = True
        order = keep(kept, Cut.TYPICAL_P)
    if params.top_p < 1:
        order = keep(np.arange(len(order)) < _n_reaching(probs[order], params.top_p), Cut.TOP_P)
    if params.min_p:
        keep(probs[order] >= params.min_p * probs[order[0]], Cut.MIN_P)


def _n_reaching(p: Probabilities, limit: float) -> int:
    """How many of p, in order, it takes to reach a sum; at least one."""
    return 1 + int(np.searchsorted(np.cumsum(p[:-1]), limit, side="left"))


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
