"""What the model thinks of a text that somebody else wrote: the engine's second pair of eyes.

It has a cache of its own beside the writing one's, so a look in the middle of a run disturbs
nothing, and only what has changed since the last look is read again: a character typed is a pass
over one token.
"""

from collections import deque
from collections.abc import Sequence

import numpy as np

from minigpt.errors import InputError
from minigpt.runtime.distribution import Logits, rank
from minigpt.runtime.inspector import Inspection, Inspector
from minigpt.runtime.model import Model
from minigpt.runtime.params import SamplingParams
from minigpt.runtime.reader import CHUNK
from minigpt.runtime.sampling import distribution
from minigpt.runtime.window import newest_half
from minigpt_tui.inside import Inside
from minigpt_tui.protocol import Look, Score, Seen

_GUESSES = 6  # of each layer
_DIGITS = 4  # of a logit that travels: a probability is right to 0.01%


class Looker:
    """Looks at one text after another."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._inspector: Inspector | None = None
        self._inspection: Inspection | None = None
        self._tokenizer = model.tokenizer
        self._decoder = model.decoder.beside()
        self._ids: list[int] = []
        """What the cache holds."""
        self._rows = np.zeros((0, self._decoder.vocab_size), np.float32)
        """The logits after each of them (T,V)."""

    def look(self, request: Look) -> Seen:
        """Answer a request.

        Raises:
            InputError: the text has no character that the model knows.
        """
        known = [self._tokenizer.encode(char) for char in request.text]
        ids = [i for found in known for i in found]
        if not ids:
            raise InputError("the text has no character that the model knows")
        in_view = ids[-min(request.view or self._decoder.block_size, self._decoder.block_size) :]
        self._read(in_view)
        view = len(in_view)
        row = self._rows[-1].copy()
        scores = self._scores(known, request.n_scored)
        inside, trouble = None, ""
        if request.inside:
            try:
                inside = self._inside(in_view)
            except InputError as error:  # the file has changed, or there is not enough memory
                trouble = str(error)
        ghost = self._ghost(request.n_ghost)
        return Seen(request.number, plain(row), view, scores, ghost, inside, trouble)

    def _read(self, ids: Sequence[int]) -> None:
        same = 0
        while same < min(len(ids) - 1, len(self._ids)) and ids[same] == self._ids[same]:
            same += 1
        self._forget(same)
        for start in range(same, len(ids), CHUNK):
            self._feed(ids[start : start + CHUNK])

    def _feed(self, ids: Sequence[int]) -> None:
        self._rows = np.concatenate([self._rows, self._decoder.feed(ids)])
        self._ids += ids

    def _forget(self, position: int) -> None:
        self._decoder.rewind(position)
        del self._ids[position:]
        self._rows = self._rows[:position]

    def _scores(self, known: Sequence[list[int]], n_scored: int) -> tuple[Score | None, ...]:
        """Of the last characters, each under what the model thought before it."""
        at = len(self._ids)
        scores: list[Score | None] = []
        for found in reversed(known[len(known) - min(n_scored, len(known)) :]):
            at -= len(found)
            scores.append(_score(self._rows[at - 1], found[0], at) if found and at > 0 else None)
        return tuple(reversed(scores))

    def _inside(self, ids: Sequence[int]) -> Inside:
        """What the layers do at the last of some tokens; a text looked into before is not again."""
        seen, n = self._inspection, len(ids)
        if seen is None or seen.tokens[:n] != tuple(ids):
            self._inspector = self._inspector or self._model.inspector()
            seen = self._inspection = self._inspector.look(ids)
        return Inside(
            self._tokenizer.decode(ids),
            seen.attention[:, :, n - 1, :n].astype(np.float64).round(_DIGITS).tolist(),
            [
                [(self._tokenizer.decode((token,)), round(p, _DIGITS)) for token, p in rung]
                for rung in seen.ladder(n - 1, _GUESSES)
            ],
        )

    def _ghost(self, n_chars: int) -> str:
        """The likeliest way on, to the end of the line; where the window is full, it slides."""
        start, ghost = len(self._ids), ""
        while len(ghost) < n_chars:
            token = int(self._rows[-1].argmax())
            char = self._tokenizer.decode((token,))
            if char == "\n":
                break
            ghost += char
            if len(self._ids) == self._decoder.block_size:
                start = 0  # nothing is left of what was read
                self._read(newest_half(deque([*self._ids[1:], token])))
            else:
                self._feed([token])
        self._forget(start)
        return ghost


def plain(row: Logits) -> tuple[float, ...]:
    """A row of logits as it travels."""
    return tuple(row.astype(np.float64).round(_DIGITS).tolist())


def _score(row: Logits, token: int, window: int) -> Score:
    own = distribution(row, (), SamplingParams())  # what the rules make of it is not asked for
    return Score(token, own.logprob(token), own.entropy, rank(row, token), window)
