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

import numpy as np

from minigpt.errors import InputError
from minigpt.runtime.distribution import Codes, Cut, Distribution, Logits, Mask, Probabilities
from minigpt.runtime.params import SamplingParams, neutral

DAMAGED = "the model is damaged: it returned logits that are NaN or infinite"


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
        logits: (V,); the result looks at them, so they must not change while it is used.
        history: the ids in view, for the rules on repetition.
        params: the settings.
        allowed: what a pattern lets come next (V,), at least one; None: everything.

    Raises:
        InputError: a logit is NaN or infinite, so the model is damaged; or nothing is left that
            is neither banned nor forbidden.
    """
    # Methods of arrays, ufuncs and `math`, not functions of numpy: at 65 tokens calls are all the
    # cost, and after a pass of 10.8M, which leaves nothing of them in the cache, 3 us each.
    # Values are sorted, not ids: of 50,257 numpy sorts those ten times as fast (0.3 ms, 4).
    ordered: Logits | Probabilities = _falling(logits)
    z = ordered.astype(np.float64)
    top, bottom = z.item(0), z.item(-1)
    if not (math.isfinite(top) and math.isfinite(bottom)):  # NaN comes first
        raise InputError(DAMAGED)
    z -= top
    raw = np.exp(z)
    total = float(np.add.reduce(raw))
    # at a large vocabulary BLAS would wake its threads for raw.dot(z), and einsum does not
    mean = float(raw.dot(z) if len(z) < 4096 else np.einsum("i,i->", raw, z)) / total
    adjusted: Logits | Probabilities = logits
    ruled_out = None
    if allowed is not None or _adjusts(params):
        # the penalties look at the sign of a logit, so they get the logits themselves
        adjusted, ruled_out = _adjusted(logits.astype(np.float64), history, params, allowed)
        ordered = _falling(adjusted)[: len(ruled_out) - int(np.count_nonzero(ruled_out))]
        z = ordered - ordered[0]
    if params.temperature == 0:
        z = z[:1]
    # Over a tiny temperature 1 is infinite, and that times 0 not a number: hence the floor. At
    # 50,257 a product takes a third of a quotient's time.
    z *= 1 / max(params.temperature, 1e-6)
    weights = np.exp(z, out=z)
    entropy, sums = math.log(total) - mean, np.add.accumulate(weights)
    chances = Distribution(
        logits, top, total, entropy, adjusted, ruled_out, ordered, (), weights, sums
    )
    if params.temperature == 0:
        return chances.first(1, Cut.TEMPERATURE)
    return _narrowed(chances, params)


def _falling(values: Logits | Probabilities) -> Logits | Probabilities:
    """From the largest to the smallest; NaN first."""
    rising = values.copy()
    rising.sort()
    return rising[::-1]


def explain(
    logits: Logits, history: Sequence[int], params: SamplingParams, *, allowed: Mask | None = None
) -> list[tuple[str, Distribution]]:
    """The distribution after each rule that is set, by name, in order; the model's own first.

    What mirostat leaves is that of a text's first token. The logits are looked at as by
    `distribution`.
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
        cut[~allowed & (cut == Cut.KEPT.value)] = Cut.PATTERN
    if cut.all():
        raise InputError("nothing can come next: all that the model could write is banned")
    z = _penalized(z, history, params)
    repeated = _repeated(history, params.no_repeat_ngram)
    left = cut == Cut.KEPT.value
    left[repeated] = False
    if left.any():
        z[repeated] = -math.inf
        cut[(cut == Cut.KEPT.value) & ~left] = Cut.NO_REPEAT_NGRAM
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


def _narrowed(chances: Distribution, params: SamplingParams) -> Distribution:
    """What top_k, typical_p, top_p and min_p leave of all that the rules before have left."""
    if params.top_k:
        chances = chances.first(params.top_k, Cut.TOP_K)
    if params.typical_p < 1:
        p = chances.weights / chances.sums[-1]
        surprise = -np.log(np.maximum(p, 1e-300))  # what underflowed counts as most surprising
        unusual = np.abs(surprise - p @ surprise).argsort(kind="stable")
        usual = np.sort(unusual[: _n_reaching(p[unusual].cumsum(), params.typical_p)])
        keepers, weights = (*chances.keepers, (Cut.TYPICAL_P, usual)), chances.weights[usual]
        chances = chances._replace(keepers=keepers, weights=weights, sums=weights.cumsum())
    if params.top_p < 1:
        chances = chances.first(_n_reaching(chances.sums, params.top_p), Cut.TOP_P)
    if params.min_p:
        enough = chances.weights >= params.min_p * chances.weights[0]
        chances = chances.first(int(np.count_nonzero(enough)), Cut.MIN_P)
    return chances


def _n_reaching(sums: Probabilities, share: float) -> int:
    """How many, in order, it takes to reach a share, below 1, of the last of these sums."""
    return 1 + int(sums.searchsorted(share * sums.item(-1), side="left"))


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
        p = before.weights / before.sums[-1]
        n = int(np.count_nonzero(p >= min(2.0**-self.limit, float(p[0]))))
        return before.first(n, Cut.MIROSTAT)

    def learn(self, before: Distribution, place: int, params: SamplingParams) -> None:
        """Move the limit, now that the token at a place is drawn."""
        surprise = -math.log2(before.prob(place))
        moved = self.limit - params.mirostat_rate * (surprise - params.mirostat)
        # bounded, or a target that cannot be reached would wind it up, for a later one to unwind
        self.limit = min(max(moved, 0.0), 4 * params.mirostat)


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
