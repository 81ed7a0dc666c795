"""Named settings of the draw. No Textual here.

A preset says which rules of the draw differ from minigpt's own defaults; the rules that it does
not name have these. It leaves alone what is not a rule: the seed, how much to write, and the
characters that were banned or favoured.
"""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from minigpt.errors import InputError
from minigpt.runtime.params import KNOBS, SamplingParams
from minigpt.terminal import one_line

Changes = Mapping[str, float]
"""Fields of SamplingParams and their values; whole numbers where the field is one."""

BALANCED = "balanced"
# The numbers of the last two are of the `laptop` model: at 0.5 it makes no mistakes of spelling and
# does not yet repeat itself; at 1.3 it takes a min-p to keep most words words.
PRESETS: Mapping[str, Changes] = MappingProxyType({
    "greedy": {"temperature": 0.0},
    "careful": {"temperature": 0.5, "top_p": 0.9},
    BALANCED: {},
    "wild": {"temperature": 1.3, "top_p": 1.0, "min_p": 0.05},
})  # fmt: skip
"""The presets that everybody has, from the safest to the boldest."""

RULES = tuple(name for name in KNOBS if name not in {"seed", "max_new_tokens"})
"""What a preset decides on. A parameter that SamplingParams gains is among them at once."""

MAX_NAME_CHARS = 16
_BUILT_IN = {name: getattr(SamplingParams(), name) for name in RULES}


def apply(params: SamplingParams, changes: Changes) -> SamplingParams:
    """`params` with the rules of a preset.

    >>> apply(SamplingParams(top_k=5, seed=7), {"temperature": 0.0}) == SamplingParams(
    ...     temperature=0.0, seed=7
    ... )
    True

    Raises:
        InputError: a value is out of its range.
    """
    return replace(params, **{**_BUILT_IN, **changes})


def changes_of(params: SamplingParams) -> Changes:
    """What a preset must say so that `apply` gives these rules."""
    return {name: v for name in RULES if (v := getattr(params, name)) != _BUILT_IN[name]}


def find(params: SamplingParams, presets: Mapping[str, Changes]) -> str | None:
    """The name of the first preset that is in force, if any is."""
    return next((name for name, c in presets.items() if apply(params, c) == params), None)


def preset_name(text: str) -> str:
    """A name for an own preset.

    Raises:
        InputError: it is empty, too long, not printable, or that of a built-in preset.
    """
    name = text.strip()
    if not name or len(name) > MAX_NAME_CHARS or not name.isprintable():
        raise InputError(
            f"a preset's name has 1 to {MAX_NAME_CHARS} printable characters, "
            f"not {one_line(name)!r:.40}; choose another name"
        )
    if name in PRESETS:
        raise InputError(f"the preset {name!r} is built in; choose another name")
    return name
