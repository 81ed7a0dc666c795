"""From logits to the distribution the settings describe, and from it to one token.

The order of the rules, each working on what the ones before have left. "In view" are the newest
tokens of the text, as many as the model's window holds.

1. logit_bias is added; minus infinity bans a token;
2. a pattern forbids what cannot come next in it (see `pattern.py`);
3. repetition_penalty divides the logits of tokens in view that are above 0, and multiplies those
   below (Keskar et al., 2019); presence_penalty is taken off once for each such token,
   frequency_penalty once for each time it is in view;
4. no_repeat_ngram bans what would complete a run of N tokens that is in view already (unless that
   would ban all);
5. temperature divides the logits (0: the likeliest token alone, "greedy", and the end);
6. top_k keeps the k likeliest;
7. typical_p keeps, in order of how little their surprise differs from the mean surprise, the
   fewest tokens whose probabilities reach p together (Meister et al., 2023);
8. top_p keeps the fewest of the likeliest whose probabilities reach p together (Holtzman et al.,
   2020, "nucleus sampling");
9. min_p keeps what is at least p times as likely as the likeliest (Nguyen et al., 2024);
10. mirostat keeps what surprises less than a limit, which moves after each token so that the
    surprise of the text comes to the target (version 2 of Basu et al., 2021).

Among equals the lowest id counts as the likelier one, everywhere.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from minigpt.errors import InputError
from minigpt.runtime.params import SamplingParams, neutral

Logits = npt.NDArray[np.float32]
Probabilities = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Ids = npt.NDArray[np.int64]
Codes = npt.NDArray[np.uint8]


class Cut(IntEnum):
    """Which rule took a candidate out of the draw."""

    KEPT = 0
    LOGIT_BIAS = 1
    PATTERN = 2
    NO_REPEAT_NGRAM = 3
    TEMPERATURE = 4
    TOP_K = 5
    TYPICAL_P = 6
    TOP_P = 7
    MIN_P = 8
    MIROSTAT = 9


DAMAGED = "the model is damaged: it returned logits that are NaN or infinite"

_SMALL_VOCABULARY = 2048
_NEAR = 9.0  # nats: what is 8,000 times less likely than the likeliest is rarely looked at
_KEPT = Cut.KEPT.value  # a plain int: numpy takes 4 us to look at a member of an enumeration


class Distribution(NamedTuple):
    """The next token's probabilities before and after the rules.

    A tuple, as one is made for every token: a frozen dataclass takes a microsecond more.
    """

    logprobs: Probabilities
    """Natural logarithms of the model's own probabilities: log-softmax of the logits (V,)."""
    raw: Probabilities
    """The model's own probabilities (V,)."""
    entropy: float
    """Of the model's own probabilities, in nats."""
    probs: Probabilities
    """What the draw uses (V,); 0 where a rule cut."""
    ruled_out: Codes | None
    """The `Cut` of each token by the rules before temperature (V,); None: they cut nothing."""
    keepers: tuple[tuple[Cut, Ids], ...]
    """The rules that chose among what was left then, in order, and what each kept."""

    @property
    def cut(self) -> Codes:
        """The `Cut` of each token (V,). Made when it is asked for: a draw needs it not."""
        cut = np.zeros(len(self.raw), np.uint8) if self.ruled_out is None else self.ruled_out.copy()
        for rule, ids in self.keepers:
            gone = cut == _KEPT
            gone[ids] = False
            cut[gone] = rule.value
        return cut


def distribution(
    logits: Logits,
    history: Sequence[int],
    params: SamplingParams,
    *,
    allowed: Mask | None = None,
) -> Distribution:
    """Apply the rules, all but mirostat (which has a memory: see `Mirostat`), to a row of logits.

    A worked example: probabilities 0.5, 0.3, 0.15, 0.05 with top_k=3 leave the first three, which
    become 0.526, 0.316, 0.158; top_p=0.8 then keeps the first two, 0.625 and 0.375.

    Args:
        logits: (V,).
        history: the ids in view, for the rules on repetition.
        params: the settings.
        allowed: what a pattern lets come next (V,), at least one; None: everything.

    Raises:
        InputError: a logit is NaN or infinite, so the model is damaged; or nothing is left that
            is neither banned nor forbidden.
    """
    # Methods of arrays and `math`, not functions of numpy: at 65 tokens calls are all the cost.
    z = logits.astype(np.float64)
    top, bottom = float(z[z.argmax()]), float(z[z.argmin()])  # NaN counts as both
    if not (math.isfinite(top) and math.isfinite(bottom)):
        raise InputError(DAMAGED)
    z -= top
    raw = np.exp(z)
    total = float(raw.sum())
    # at a large vocabulary BLAS would wake its threads for raw.dot(z), and einsum does not
    mean = float(raw.dot(z) if len(z) < 4096 else np.einsum("i,i->", raw, z)) / total
    log_total = math.log(total)
    raw /= total
    logprobs = z - log_total
    ruled_out, keepers = None, []
    if allowed is not None or _adjusts(params):
        # the penalties look at the sign of a logit, so they get the logits themselves
        z, ruled_out = _adjusted(logits.astype(np.float64), history, params, allowed)
        z -= z[z.argmax()]
    if params.temperature == 0:
        keepers = [(Cut.TEMPERATURE, np.array([z.argmax()]))]
        probs = np.zeros(len(raw))
        probs[keepers[0][1]] = 1.0
    else:
        # A tiny temperature would divide 0 differences by 0 in float: the floor changes no draw.
        z /= max(params.temperature, 1e-6)
        probs = np.exp(z)
        probs /= probs.sum()
        if params.top_k or params.typical_p < 1 or params.top_p < 1 or params.min_p:
            n_left = len(z) - (0 if ruled_out is None else int(np.count_nonzero(ruled_out)))
            probs, keepers = _narrowed(z, probs, n_left, params)
    return Distribution(logprobs, raw, log_total - mean, probs, ruled_out, tuple(keepers))


def explain(
    logits: Logits, history: Sequence[int], params: SamplingParams, *, allowed: Mask | None = None
) -> list[tuple[str, Distribution]]:
    """The distribution after each rule that is set, by name, in order; the model's own first.

    What mirostat leaves is that of a text's first token.
    """
    order = (
        "repetition_penalty", "presence_penalty", "frequency_penalty", "no_repeat_ngram",
        "temperature", "top_k", "typical_p", "top_p", "min_p",
    )  # fmt: skip
    changes_nothing = neutral(*order)
    so_far = replace(params, logit_bias=(), **changes_nothing)
    steps = [("model", distribution(logits, history, so_far))]
    if params.logit_bias:
        so_far = replace(so_far, logit_bias=params.logit_bias)
        steps.append(("logit_bias", distribution(logits, history, so_far)))
    if allowed is not None:
        steps.append(("pattern", distribution(logits, history, so_far, allowed=allowed)))
    for name in order:
        if getattr(params, name) != changes_nothing[name]:
            so_far = replace(so_far, **{name: getattr(params, name)})
            steps.append((name, distribution(logits, history, so_far, allowed=allowed)))
    if params.mirostat:
        steps.append(("mirostat", Mirostat(params).narrow(steps[-1][1])))
    return steps


def _adjusts(params: SamplingParams) -> bool:
    return bool(
        params.logit_bias
        or params.no_repeat_ngram
        or params.repetition_penalty != 1
        or params.presence_penalty
        or params.frequency_penalty
    )


def _adjusted(
    z: Probabilities,
    history: Sequence[int],
    params: SamplingParams,
    allowed: Mask | None,
) -> tuple[Probabilities, Codes]:
    """The logits after the rules that change them, minus infinity if ruled out; by which rule."""
    cut = np.zeros(len(z), np.uint8)
    for token, bias in params.logit_bias:
        if not 0 <= token < len(z):
            raise InputError(f"logit_bias has id {token}; the model's ids are below {len(z)}")
        z[token] += bias
        if bias == -math.inf:
            cut[token] = Cut.LOGIT_BIAS
    if allowed is not None:
        z[~allowed] = -math.inf
        cut[~allowed & (cut == _KEPT)] = Cut.PATTERN
    if cut.all():
        raise InputError("nothing can come next: all that the model could write is banned")
    z = _penalized(z, history, params)
    repeated = _repeated(history, params.no_repeat_ngram)
    left = cut == _KEPT
    left[repeated] = False
    if left.any():
        z[repeated] = -math.inf
        cut[(cut == _KEPT) & ~left] = Cut.NO_REPEAT_NGRAM
    return z, cut


def _penalized(z: Probabilities, history: Sequence[int], params: SamplingParams) -> Probabilities:
    divisor, presence = params.repetition_penalty, params.presence_penalty
    if not history or (divisor == 1 and presence == 0 and params.frequency_penalty == 0):
        return z
    counts = np.bincount(np.asarray(history), minlength=len(z))
    seen = counts > 0
    divided = np.where(z > 0, z / divisor, z * divisor)
    penalty = presence * seen + params.frequency_penalty * counts
    return np.where(seen, divided, z) - penalty


def _repeated(history: Sequence[int], n: int) -> list[int]:
    """The tokens that would complete a run of n that is in `history` already."""
    ids = list(history)
    if n == 0 or len(ids) < n:
        return []
    begun = ids[len(ids) - n + 1 :]
    return [ids[i + n - 1] for i in range(len(ids) - n + 1) if ids[i : i + n - 1] == begun]


def _narrowed(
    z: Probabilities, probs: Probabilities, n_left: int, params: SamplingParams
) -> tuple[Probabilities, list[tuple[Cut, Ids]]]:
    """What top_k, typical_p, top_p and min_p leave of `probs`, and what each of them kept."""
    ids = _likeliest(z, probs, n_left, params)
    p = probs[ids]
    keepers = []

    def keep(chosen: slice | Ids | Mask, rule: Cut) -> tuple[Ids, Probabilities]:
        """The chosen of the candidates, their probabilities summing to one again."""
        keepers.append((rule, ids[chosen]))
        left = p[chosen]
        return ids[chosen], left / left.sum()

    if 0 < params.top_k < n_left:
        ids, p = keep(slice(params.top_k), Cut.TOP_K)
    if params.typical_p < 1:
        surprise = -np.log(np.maximum(p, 1e-300))  # what underflowed counts as most surprising
        unusual = np.abs(surprise - p @ surprise).argsort(kind="stable")
        usual = np.sort(unusual[: _n_reaching(p[unusual], params.typical_p)])
        ids, p = keep(usual, Cut.TYPICAL_P)
    if params.top_p < 1:
        ids, p = keep(slice(_n_reaching(p, params.top_p)), Cut.TOP_P)
    if params.min_p:
        ids, p = keep(p >= params.min_p * p[0], Cut.MIN_P)
    narrowed = np.zeros(len(probs))
    narrowed[ids] = p
    return narrowed, keepers


def _likeliest(z: Probabilities, probs: Probabilities, n_left: int, params: SamplingParams) -> Ids:
    """The ids, likeliest first: all `n_left`, or as many as the first rule that is set can keep.

    In a large vocabulary mostly a few hundred count; only these are sorted then.
    """
    if n_left > _SMALL_VOCABULARY and (params.typical_p == 1 or params.top_k):
        near: Ids = (z > -_NEAR).nonzero()[0]
        if params.top_k:
            enough = len(near) >= params.top_k
        elif params.top_p < 1:
            enough = float(probs[near].sum()) > params.top_p + 1e-9
        else:
            enough = params.min_p > math.exp(-_NEAR)
        if enough:
            return near[_falling(z[near])]
    return _falling(z)[:n_left]


def _falling(z: Probabilities) -> Ids:
    """Where the numbers, at most 0, are from the largest to the smallest, equals in order."""
    order: Ids
    if len(z) <= _SMALL_VOCABULARY:
        order = (-z).argsort(kind="stable")
        return order
    # numpy sorts numbers ten times as fast as places (50,257: 0.3 and 4 ms), so each number brings
    # its place along: a positive float orders as its bits do. Equal is what is so in 32 bits.
    keys = np.abs(z).astype(np.float32).view(np.int32).astype(np.int64) << 32
    keys |= np.arange(len(z))
    keys.sort()
    order = keys & (2**32 - 1)
    return order


def _n_reaching(p: Probabilities, limit: float) -> int:
    """How many of p, in order, it takes to reach a sum; at least one."""
    return 1 + int(p[:-1].cumsum().searchsorted(limit, side="left"))


class Mirostat:
    """Keeps the surprise of a text near a target: version 2 of Basu et al. (2021).

    Candidates that surprise more than a limit are cut; after each token the limit moves by
    mirostat_rate times what its surprise missed the target by. The limit begins at twice the
    target. Surprise is in bits, under what the rules before have left.
    """

    def __init__(self, params: SamplingParams) -> None:
        self.limit = 2 * params.mirostat

    def narrow(self, before: Distribution) -> Distribution:
        """Cut what surprises more than the limit; the likeliest stays."""
        least = min(2.0**-self.limit, float(before.probs.max()))
        ids = (before.probs >= least).nonzero()[0]
        probs = np.zeros(len(before.probs))
        probs[ids] = before.probs[ids]
        probs /= probs.sum()
        return before._replace(probs=probs, keepers=(*before.keepers, (Cut.MIROSTAT, ids)))

    def learn(self, before: Distribution, chosen: int, params: SamplingParams) -> None:
        """Move the limit, now that a token is drawn."""
        surprise = -math.log2(before.probs[chosen])
        moved = self.limit - params.mirostat_rate * (surprise - params.mirostat)
        # bounded, or a target that cannot be reached would wind it up, for a later one to unwind
        self.limit = min(max(moved, 0.0), 4 * params.mirostat)


def draw(probs: Probabilities, uniform: float) -> int:
    """The token at which the cumulative probability passes `uniform` in [0, 1).

    One number per token, so whatever decides the number decides the text.
    """
    cumulative = probs.cumsum()
    # scaled, because rounding may leave the total a hair below 1
    return int(cumulative.searchsorted(uniform * cumulative[-1], side="right"))


def rank(logprobs: Probabilities, token: int) -> int:
    """A token's place when the likeliest comes first: 1 for that one."""
    its = logprobs[token]
    likelier = np.count_nonzero(logprobs > its) + np.count_nonzero(logprobs[:token] == its)
    return 1 + int(likelier)


class Uniforms:
    """The random number of every position: a pure function of (seed, position).

    Independent of what was drawn before, so a text can be rewound, branched or replayed at any
    position. Philox (Salmon et al., 2011) is made for this: a block of numbers is computed from
    its counter alone.
    """

    _BLOCK = 256

    def __init__(self) -> None:
        self._key = (-1, -1)
        self._numbers: list[float] = []

    def __call__(self, seed: int, position: int) -> float:
        """The number in [0, 1) for the token at `position`."""
        block, offset = divmod(position, self._BLOCK)
        if self._key != (seed, block):
            bits = np.random.Philox(key=seed, counter=[0, block, 0, 0])
            self._numbers = np.random.Generator(bits).random(self._BLOCK).tolist()
            self._key = (seed, block)
        return self._numbers[offset]
