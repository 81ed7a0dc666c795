"""What could come next, with which chance, and what took the others out.

The one result that drawing a token, `--explain`, beam search and the terminal app's candidates
read; `sampling.py` makes it.
"""

import math
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Logits = npt.NDArray[np.float32]
Probabilities = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Ids = npt.NDArray[np.int64]
Codes = npt.NDArray[np.uint8]
Places = slice | Ids
"""In the order of a `Distribution`: a beginning, or rising places."""


class Cut(IntEnum):
    """Which rule took a candidate out of the draw.

    To be compared by its value: numpy takes 4 us to look at a member of an enumeration.
    """

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


class Distribution(NamedTuple):
    """The next token's probabilities before and after the rules.

    It is kept in order, the likeliest first: then most rules keep a beginning, and a draw is a
    place in a running sum. What is told by id (V,) is made each time that it is asked for, `probs`
    and `cut` by sorting all ids (5 ms for 50,257).

    A tuple, as one is made for every token: a frozen dataclass takes a microsecond more.
    """

    logits: Logits
    """The model's own (V,)."""
    top: float
    """The largest of them."""
    total: float
    """The sum of exp(logits - top)."""
    entropy: float
    """Of the model's own probabilities, in nats."""
    adjusted: Logits | Probabilities
    """The logits after the rules before temperature (V,), minus infinity where those cut."""
    ruled_out: Codes | None
    """The `Cut` of each token by these rules (V,); None: none is set, `adjusted` is `logits`."""
    ordered: Logits | Probabilities
    """The adjusted logits that are left then, from the largest to the smallest."""
    keepers: tuple[tuple[Cut, Places], ...]
    """The rules that chose among these, in order, and the places that each kept."""
    weights: Probabilities
    """Of what is left in the end, in order: its probabilities but for a factor."""
    sums: Probabilities
    """Of the weights, up to each."""

    @property
    def logprobs(self) -> Probabilities:
        """Natural logarithms of the model's own probabilities: log-softmax of the logits (V,)."""
        return self.logits.astype(np.float64) - self.top - math.log(self.total)

    @property
    def raw(self) -> Probabilities:
        """The model's own probabilities (V,)."""
        raw: Probabilities = np.exp(self.logits.astype(np.float64) - self.top) / self.total
        return raw

    @property
    def probs(self) -> Probabilities:
        """What the draw uses (V,); 0 where a rule cut."""
        probs = np.zeros(len(self.logits))
        probs[self._order[self._left]] = self.weights / self.weights.sum()
        return probs

    @property
    def cut(self) -> Codes:
        """The `Cut` of each token (V,)."""
        n, order = len(self.logits), self._order
        cut = np.zeros(n, np.uint8) if self.ruled_out is None else self.ruled_out.copy()
        for rule, places in self.keepers:
            gone = cut == Cut.KEPT.value
            gone[order[places]] = False
            cut[gone] = rule.value
        return cut

    @property
    def _order(self) -> Ids:
        """The ids of `ordered`."""
        return (-self.adjusted).argsort(kind="stable")[: len(self.ordered)]

    @property
    def _left(self) -> Places:
        """Where in `ordered` the `weights` belong."""
        return self.keepers[-1][1] if self.keepers else slice(None)

    def logprob(self, token: int) -> float:
        """One of `logprobs`."""
        return float(self.logits[token]) - self.top - math.log(self.total)

    def draw(self, uniform: float) -> int:
        """The place in `ordered` at which the cumulative probability passes a number in [0, 1).

        One number per token, so whatever decides the number decides the text.
        """
        left = self._left
        at = int(self.sums.searchsorted(uniform * self.sums.item(-1), side="right"))
        return at if isinstance(left, slice) else int(left[at])

    def prob(self, place: int) -> float:
        """What the draw uses for the token at a place that is left."""
        left = self._left
        at = place if isinstance(left, slice) else int(left.searchsorted(place))
        return self.weights.item(at) / self.sums.item(-1)

    def token(self, place: int) -> int:
        """The id at a place in `ordered`; of equals the lowest comes first."""
        logit = self.ordered[place]
        ids = (self.adjusted == logit).nonzero()[0]
        n_before = int(np.count_nonzero(self.ordered > logit)) if len(ids) > 1 else place
        return int(ids[place - n_before])

    def rank(self, place: int) -> int:
        """Where that token is in the model's own order; the likeliest is 1."""
        return place + 1 if self.ruled_out is None else rank(self.logits, self.token(place))

    def first(self, n: int, rule: Cut) -> "Distribution":
        """With only the `n` likeliest of what is left."""
        left = self._left
        places = slice(n) if isinstance(left, slice) else left[:n]
        keepers = (*self.keepers, (rule, places))
        # what comes before the keepers stays; `_replace` by names takes three times as long
        return Distribution(*self[:7], keepers, self.weights[:n], self.sums[:n])


def rank(logits: Logits, token: int) -> int:
    """A token's place when the likeliest comes first: 1 for that one."""
    its = logits[token]
    likelier = np.count_nonzero(logits > its) + np.count_nonzero(logits[:token] == its)
    return 1 + int(likelier)
