"""The settings of the draw, with what a flag or a slider needs to know of each.

Standard library only: the command line's --help and the terminal app read it before anything else.
"""

import contextlib
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from numbers import Real
from types import MappingProxyType
from typing import Any

from minigpt.errors import InputError


@dataclass(frozen=True, slots=True)
class Knob:
    """What a flag and a slider need to know of a parameter."""

    low: float
    high: float
    """End of the slider's scale; `limit` is what is accepted."""
    step: float
    help: str
    limit: float | None = None
    """The largest value accepted; None: no largest."""
    neutral: float = 0.0
    """The value at which a rule changes nothing."""


def _knob(knob: Knob, default: float) -> Any:
    return field(default=default, metadata=MappingProxyType({"knob": knob}))


MAX_BIAS = 1e6
"""More is as good as a ban or a command already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """The settings of the draw. Each field's `Knob` makes its command line flag and its slider.

    Raises:
        InputError: a value is out of its range; the message names both.
    """

    temperature: float = _knob(
        Knob(0.0, 2.0, 0.05, "0 always takes the likeliest token, 1 is the model as trained",
             limit=100.0, neutral=1.0),
        0.8,
    )  # fmt: skip
    top_k: int = _knob(Knob(0, 100, 1, "draw from the K likeliest tokens; 0 from all"), 0)
    typical_p: float = _knob(
        Knob(0.0, 1.0, 0.01, "draw from the tokens that surprise as much as usual, up to this "
             "probability; 1 from all", limit=1.0, neutral=1.0),
        1.0,
    )  # fmt: skip
    top_p: float = _knob(
        Knob(0.0, 1.0, 0.01, "draw from the fewest tokens that reach this probability; 1 from all",
             limit=1.0, neutral=1.0),
        0.95,
    )  # fmt: skip
    min_p: float = _knob(
        Knob(0.0, 1.0, 0.01, "leave out what is less likely than this share of the likeliest",
             limit=1.0),
        0.0,
    )  # fmt: skip
    repetition_penalty: float = _knob(
        Knob(1.0, 2.0, 0.05, "divide the logits of tokens in view by this; 1 leaves them alone",
             limit=100.0, neutral=1.0),
        1.0,
    )  # fmt: skip
    presence_penalty: float = _knob(
        Knob(-2.0, 2.0, 0.1, "take this off the logit of every token in view", limit=100.0), 0.0
    )
    frequency_penalty: float = _knob(
        Knob(-2.0, 2.0, 0.1, "take this off a logit for every time the token is in view",
             limit=100.0),
        0.0,
    )  # fmt: skip
    no_repeat_ngram: int = _knob(
        Knob(0, 50, 1, "never write the same N tokens twice within view; 0 may"), 0
    )
    mirostat: float = _knob(
        Knob(0.0, 8.0, 0.1, "steer the surprise of the text to this many bits a token; 0 does not",
             limit=100.0),
        0.0,
    )  # fmt: skip
    mirostat_rate: float = _knob(Knob(0.0, 1.0, 0.01, "how fast mirostat steers", limit=1.0), 0.1)
    max_new_tokens: int = _knob(Knob(1, 5000, 50, "the most tokens to write"), 500)
    seed: int = _knob(Knob(0, 9999, 1, "the same seed writes the same text", 2**64 - 1), 1337)
    logit_bias: tuple[tuple[int, float], ...] = ()
    """(id, what to add to its logit); minus infinity bans a token."""

    def __post_init__(self) -> None:
        for name, knob in KNOBS.items():
            value = _number(name, getattr(self, name))
            object.__setattr__(self, name, value)
            limit = float("inf") if knob.limit is None else knob.limit
            if not knob.low <= value <= limit:  # also refuses NaN
                span = f"at least {_shown(knob.low)}" if knob.limit is None else (
                    f"between {_shown(knob.low)} and {_shown(limit)}"
                )  # fmt: skip
                raise InputError(f"{name} must be {span}, not {value}")
        biases = tuple((token, _number("a logit_bias", bias)) for token, bias in self.logit_bias)
        object.__setattr__(self, "logit_bias", biases)
        for _, bias in biases:
            if not (abs(bias) <= MAX_BIAS or bias == float("-inf")):  # also refuses NaN
                raise InputError(
                    f"a logit_bias must be between -{_shown(MAX_BIAS)} and {_shown(MAX_BIAS)}, or "
                    f"minus infinity, not {bias}"
                )


def _shown(number: float) -> str:
    """A finite number, a whole one with all its digits: the largest seed is no 1.84467e+19."""
    return str(int(number)) if number == int(number) else f"{number:g}"


def _number(name: str, value: Any) -> float:
    """The value as a number of Python's own: numpy's have a precision, and a largest value.

    Raises:
        InputError: it is no number, or not a whole one where one is needed.
    """
    if name in _WHOLE:
        with contextlib.suppress(TypeError):
            if not isinstance(value, bool):
                return operator.index(value)
        raise InputError(f"{name} must be a whole number, not {value!r:.40}")
    if type(value) is int:
        return value
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InputError(f"{name} must be a number, not {value!r:.40}")
    return float(value)


_WHOLE = frozenset(f.name for f in fields(SamplingParams) if f.type is int)

KNOBS: Mapping[str, Knob] = MappingProxyType(
    {f.name: f.metadata["knob"] for f in fields(SamplingParams) if "knob" in f.metadata}
)
"""The Knob of every parameter that has one, in the order in which they are shown."""


OF_CHANCE = ("temperature", "top_k", "typical_p", "top_p", "min_p", "mirostat")
"""How to draw among the candidates, which beam search does not."""


def neutral(*names: str) -> dict[str, Any]:
    """The values at which the rules of these names change nothing."""
    return {n: (int if n in _WHOLE else float)(KNOBS[n].neutral) for n in names}


def change(params: SamplingParams, pairs: Sequence[str]) -> SamplingParams:
    """The settings with texts like "temperature=0.5" applied, all at once.

    Raises:
        InputError: a text is not of this form, or names no parameter, or its value is no number or
            out of range.
    """
    changes: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        name = key.replace("-", "_")
        if not equals or name not in KNOBS:
            raise InputError(
                f"a setting is changed as in temperature=0.5, not {pair!r:.40}; the settings are "
                f"{', '.join(KNOBS)}"
            )
        try:
            changes[name] = int(value) if name in _WHOLE else float(value)
        except ValueError:
            kind = "a whole number" if name in _WHOLE else "a number"
            raise InputError(f"{name} must be {kind}, not {value!r:.40}") from None
    return replace(params, **changes)
