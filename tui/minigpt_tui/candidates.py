"""What could come at a place of the text: the model's own chances, and those after the rules.

Everything is computed from one row of logits, so it follows a slider without asking the model.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from minigpt.runtime.params import SamplingParams


@dataclass(frozen=True, slots=True)
class Target:
    """A place of the text."""

    index: int
    """The characters before it."""
    typed: str = ""
    """What the user types there and has not sent."""
    before: str = ""
    """What will stand between: in a conversation, the name of who speaks."""
    version: int = 0
    """Of the text: of another one it is no place."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place of the text and what the model thought there."""

    target: Target
    row: tuple[float, ...]
    """Its logits of what comes there."""
    history: tuple[int, ...]
    """The ids before it that the rules on repetition look at."""
    view: int
    """How many tokens the model had in view."""
    written: int | None = None
    """The id that stands there now; None: nothing does yet."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something that could come."""

    id: int
    raw: float
    """Its probability, says the model."""
    probability: float
    """Its probability in the draw, after all rules; 0 if one cut it."""
    cut: str
    """The rule that cut it; empty: none did."""
    bias: float
    """What the user adds to its logit; minus infinity bans it."""
    logprob: float
    """Natural logarithm of `raw`."""
    rank: int
    """Its place by `raw`, from 1."""


@dataclass(frozen=True, slots=True)
class Thoughts:
    """The candidates, likeliest in the draw first, then the others by the model's own word."""

    candidates: tuple[Candidate, ...]
    entropy: float
    """Of the model's own distribution, in nats."""
    n_left: int
    """How many can be drawn."""


MOST = 200
"""Candidates that are looked at: whoever scrolls that far finds what is never drawn."""


def think(place: Place, params: SamplingParams) -> Thoughts:
    """What the settings make of what the model thought; of large vocabularies the first MOST.

    Mirostat, which depends on all that was written before, is left out.

    Raises:
        InputError: nothing can come: all is banned.
    """
    # numpy takes 80 ms to import: the first paint is long over when a model has thought something
    import numpy as np

    from minigpt.runtime.distribution import Cut
    from minigpt.runtime.sampling import distribution

    row = np.array(place.row, np.float32)
    found = distribution(row, place.history, params)
    biases: Mapping[int, float] = dict(params.logit_bias)
    cut, raw, probs, logprobs = found.cut, found.raw, found.probs, found.logprobs
    ranks = np.empty(len(row), np.int64)
    ranks[np.argsort(-row, kind="stable")] = np.arange(1, len(row) + 1)
    order = np.lexsort((ranks, -probs))[:MOST]
    candidates = tuple(
        Candidate(
            i,
            float(raw[i]),
            float(probs[i]),
            "" if cut[i] == Cut.KEPT else Cut(cut[i]).name.lower().replace("_", "-"),
            biases.get(i, 0.0),
            float(logprobs[i]),
            int(ranks[i]),
        )
        for i in order.tolist()
    )
    return Thoughts(candidates, found.entropy, int(np.count_nonzero(probs)))


def entropy(row: Sequence[float]) -> float:
    """Of the distribution that logits describe, in nats."""
    top = max(row)
    weights = [math.exp(logit - top) for logit in row]
    total = sum(weights)
    mean = sum(weight * (logit - top) for weight, logit in zip(weights, row, strict=True)) / total
    return math.log(total) - mean


def with_bias(params: SamplingParams, token: int, bias: float) -> SamplingParams:
    """The settings with another bias on one token; 0 takes it off."""
    others = [(i, b) for i, b in params.logit_bias if i != token]
    return replace(params, logit_bias=tuple(sorted([*others, *([(token, bias)] if bias else [])])))
