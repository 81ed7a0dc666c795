"""Text that can only become a match of a regular expression: what may come next, at every step.

interegular turns the expression into a finite automaton over characters, and here the automaton is
laid over a model's vocabulary: a table with a row for every state and a column for every token.
States from which the model's characters cannot reach a match are taken out beforehand, so a text
never ends up where nothing fits.
"""

import re

import interegular
import numpy as np
import numpy.typing as npt

from minigpt.errors import InputError
from minigpt.runtime.sampling import Mask
from minigpt.tokenizer import CharTokenizer


class Pattern:
    """A regular expression as an automaton over a model's tokens; a state is a row number.

    >>> pattern = Pattern("ab*", CharTokenizer("abc"))
    >>> pattern.allowed(pattern.start).tolist()
    [True, False, False]
    >>> pattern.allowed(pattern.next(pattern.start, 0)).tolist()
    [False, True, False]

    Raises:
        InputError: not a regular expression, one with parts that no automaton has (anchors, word
            boundaries, references to groups), or one that the model's characters cannot match.
    """

    def __init__(self, regex: str, tokenizer: CharTokenizer) -> None:
        try:
            re.compile(regex)  # its complaints are better than the automaton's
            automaton = interegular.parse_pattern(regex).to_fsm()
        except (re.error, interegular.InvalidSyntax) as error:
            raise InputError(f"the pattern {regex!r} is no regular expression: {error}") from None
        except interegular.Unsupported as error:
            raise InputError(
                f"the pattern {regex!r} has a part that cannot be followed character by character: "
                f"{error}; a pattern always covers the whole text, so it needs no ^ and no $"
            ) from None
        states = sorted(automaton.states)
        row = {state: i for i, state in enumerate(states)}
        keys = [automaton.alphabet[char] for char in tokenizer.chars]
        self._next = np.full((len(states), len(keys)), -1)
        for state, ways in automaton.map.items():
            to = {key: row[target] for key, target in ways.items() if target in row}
            self._next[row[state]] = [to.get(key, -1) for key in keys]
        live = _leading_to(self._next, {row[state] for state in automaton.finals})
        self._allowed = (self._next >= 0) & live[self._next]
        self.start = row[automaton.initial]
        if not live[self.start]:
            raise InputError(f"the model has no characters to write a match of {regex!r} with")

    def allowed(self, state: int) -> Mask:
        """The tokens that may come next (V,); none where the text is a match and cannot go on."""
        mask: Mask = self._allowed[state]
        return mask

    def next(self, state: int, token: int) -> int:
        """The state after an allowed token."""
        return int(self._next[state, token])


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
