"""Text that can only become a match of a regular expression: what may come next, at every step.

interegular turns the expression into a finite automaton over characters, and here the automaton is
laid over a model's vocabulary: a table with a row for every state and a column for every token.
States from which the model's characters cannot reach a match are taken out beforehand, so a text
never ends up where nothing fits.
"""

import re
import unicodedata
import warnings
from collections.abc import Sequence
from typing import Any

import interegular
import numpy as np
import numpy.typing as npt

from minigpt.errors import InputError
from minigpt.runtime.distribution import Mask
from minigpt.tokenizer import CharTokenizer


class Pattern:
    r"""A regular expression as an automaton over a model's tokens; a state is a row number.

    >>> pattern = Pattern("ab*", CharTokenizer("abc"))
    >>> pattern.allowed(pattern.start).tolist()
    [True, False, False]
    >>> pattern.allowed(pattern.next(pattern.start, 0)).tolist()
    [False, True, False]
    >>> pattern.is_match([]), pattern.is_match([0, 1])
    (False, True)

    The syntax is that of `re`, without what no automaton has: anchors, word boundaries, what looks
    ahead or back, references to groups. "\w", "\d" and "\s" mean those of ASCII.

    Args of the constructor:
        regex: what the whole text has to match.
        tokenizer: has the characters.
        banned: tokens that must not be written; no way leads through them.

    Raises:
        InputError: not a regular expression, one with such parts, or one that cannot be matched
            with the characters that are left.
    """

    def __init__(self, regex: str, tokenizer: CharTokenizer, banned: Sequence[int] = ()) -> None:
        automaton = _automaton(regex)
        states = sorted(automaton.states)
        row = {state: i for i, state in enumerate(states)}
        keys = [automaton.alphabet[char] for char in tokenizer.chars]
        self._next = np.full((len(states), len(keys)), -1)
        for state, ways in automaton.map.items():
            to = {key: row[target] for key, target in ways.items() if target in row}
            self._next[row[state]] = [to.get(key, -1) for key in keys]
        self._next[:, list(banned)] = -1
        self._finals = {row[state] for state in automaton.finals}
        live = _leading_to(self._next, self._finals)
        self._allowed = (self._next >= 0) & live[self._next]
        self.start = row[automaton.initial]
        if not live[self.start]:
            raise InputError(f"there are no characters to write a match of {regex:.80} with")

    def allowed(self, state: int) -> Mask:
        """The tokens that may come next (V,); none where the text is a match and cannot go on."""
        mask: Mask = self._allowed[state]
        return mask

    def next(self, state: int, token: int) -> int:
        """The state after an allowed token."""
        return int(self._next[state, token])

    def is_match(self, tokens: Sequence[int]) -> bool:
        """Whether a text that it let be written is whole, and not broken off."""
        state = self.start
        for token in tokens:
            state = self.next(state, token)
        return state in self._finals


_MOST = 3000
"""By `_size`: up to four seconds where the automaton has about a state for each character, as its
time grows with the square. It may have many more, one for each set of places where a text can be:
of "[ab]*a[ab]{12}" 8,193, which takes 20 s. interegular takes no bound on them; README warns.
"""


def _automaton(regex: str) -> interegular.FSM:
    shown = f"the pattern {regex[:80]!r}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what may once mean something else
            re.compile(regex)  # its complaints are better than the automaton's
        if other := _read_otherwise(regex):
            raise interegular.Unsupported(other)
        parsed = interegular.parse_pattern(_SPELLED.sub(_as_character, regex))
        if _size(parsed) > _MOST:
            raise InputError(
                f"{shown} stands for more than can be followed: {_MOST} characters, with all that "
                "is repeated"
            )
        return parsed.to_fsm()
    except re.error as error:
        raise InputError(f"{shown} is no regular expression: {error}") from None
    except (OverflowError, RecursionError):
        raise InputError(f"{shown} repeats or nests more than can be followed") from None
    except (interegular.InvalidSyntax, interegular.Unsupported) as error:
        raise InputError(
            f"{shown} has a part that cannot be followed character by character: {_reason(error)}"
        ) from None


def _reason(error: Exception) -> str:
    """What the parser stumbled at; it does not always say so."""
    if str(error) == r"Escape \b is not implemented":
        return r"\b, which looks at what stands beside it"
    if anchor := re.fullmatch(r"'([$^])'|Escape (\\[AZ]) is not implemented", str(error)):
        part = anchor[1] or anchor[2]
        return f"{part}; it always covers the whole text, so it needs no ^ and no $"
    return str(error) or f"at position {getattr(error.__context__, 'index', 0)}"


# Escapes; those of any character by its number or name are none to the parser.
_SPELLED = re.compile(r"\\(?:u(.{4})|U(.{8})|N\{(.+?)\}|.)", re.DOTALL)


def _as_character(escape: re.Match[str]) -> str:
    """An escape as the parser reads it."""
    number, name = escape[1] or escape[2], escape[3]
    if not (number or name):
        return escape[0]
    code = int(number, 16) if number else ord(unicodedata.lookup(name))
    # what means something in an expression is below 256, and must not do so here
    return f"\\x{code:02x}" if code < 256 else chr(code)


def _size(part: Any) -> int:
    """The characters that a part of a parsed expression has, each as often as it is repeated."""
    if hasattr(part, "base"):
        times: int = max(part.max or part.min, 1)
        return times * _size(part.base)
    inside = getattr(part, "options", None) or getattr(part, "parts", None)
    return sum(map(_size, inside)) if inside else 1


# Escapes, sets, and what may need a second look, from left to right.
_PARTS = re.compile(
    r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{\}|\(\?(?:<?[=!]|[#>])|(?:[*+?]|\{[\d,]+\})\+", re.DOTALL
)

_NAMES = {
    "(?#": "a comment",
    "(?>": "a group that gives nothing back",
    "(?=": "a look ahead",
    "(?!": "a look ahead",
    "(?<=": "a look back",
    "(?<!": "a look back",
}


def _read_otherwise(regex: str) -> str | None:
    """The first part that the parser reads in another way than `re` does.

    What is looked at and not taken, a comment, a closing bracket that is the first in its set, a
    repetition without a number, what is outside of one of several classes, and a repetition or a
    group that gives nothing back.
    """
    for part in _PARTS.findall(regex):
        classes = sum(escaped in "WDS" for escaped in re.findall(r"\\(.)", part, re.DOTALL))
        if part in _NAMES:
            return f"{part}, {_NAMES[part]}"
        if part[-1] == "+" and part[0] in "{*+?":
            return f"{part}, a repetition that gives nothing back"
        if part[0] == "{" or part.startswith(("[]", "[^]")):
            return str(part)
        if part[0] == "[" and classes > 1:
            return str(part)
    return None


def _leading_to(following: npt.NDArray[np.int64], finals: set[int]) -> Mask:
    """Which states reach a final one, themselves included."""
    before: dict[int, set[int]] = {}
    for state, ways in enumerate(following):
        for target in set(ways.tolist()):
            before.setdefault(target, set()).add(state)
    live = np.zeros(len(following), np.bool_)
    found = list(finals)
    while found:
        state = found.pop()
        if not live[state]:
            live[state] = True
            found += before.get(state, ())
    return live
