"""Guesses at the next tokens, by counting: a few of them are checked in one pass of the model.

A pass over three tokens costs little more than one over a single token, as the weights are read
once in both. So what probably comes next is guessed, the model reads the guesses along with the
newest token, and as far as the tokens that are drawn then equal them, their passes are saved
("speculative decoding", Leviathan et al., 2023, in its simplest form; see `reader.py`). A wrong
guess costs its place in a pass and never a letter of the text.

The guess is the token that most often followed the last four (else three, two, one) in the training
text. On a model of Shakespeare's letters that is right 55 times in 100; longer contexts do worse.
"""

import base64
import binascii
import statistics
import zlib
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
import numpy.typing as npt

from minigpt.errors import InputError

ORDER = 4
"""Tokens of context."""
MAX_STORED_CHARS = 300_000
"""Of a table in a file; no file with a longer one is opened."""
MAX_CONTEXTS = 40_000
"""In a table that is stored: 135 kB, or 252 with the largest vocabulary; tiny Shakespeare's 5,600
take 22 kB."""
MIN_TIMES = 16
"""A context is counted if it occurs so often: rarer ones guess no better than shorter ones do."""
_MAX_LEARNT = 8_192
_MAX_COUNTED = 4_000_000  # tokens
# A context is known by a hash alone: Knuth's multiplier, 2**32 over the golden ratio. Of its 22
# bits 17,000 contexts fill 0.4%: so often a stranger's guess is found, and it is merely wrong.
_MULTIPLIER = 2654435761
_LOW_32 = 2**32 - 1
_BITS = 22
_SHIFT = 32 - _BITS

Ids = npt.NDArray[np.uint64]


class Draft:
    """A table of guesses; an empty one can learn from the text so far ("prompt lookup").

    >>> draft = Draft({})
    >>> for end in range(2, 7):
    ...     draft.learn([3, 1, 4, 3, 1, 4][:end])
    >>> draft.guess([3], 3)
    [1, 4, 3]
    """

    def __init__(self, guesses: Mapping[int, int], *, learns: bool | None = None) -> None:
        """Take what follows each context, by its hash; an empty table learns unless told not to."""
        self._guesses = dict(guesses)
        self.learns = not guesses if learns is None else learns
        """Whether it is to be shown the text as it grows."""
        self.pace = Pace()
        """How many guesses are worth their place in a pass here."""

    @classmethod
    def from_text(cls, ids: npt.NDArray[np.integer], vocab_size: int) -> Self:
        """Count what follows what in a text."""
        return cls(_counted(ids[:_MAX_COUNTED].astype(np.uint64), vocab_size))

    @classmethod
    def idle(cls) -> Self:
        """One that never guesses: the text is read in the way that gives what guesses give."""
        return cls({}, learns=False)

    def beside(self) -> "Draft":
        """One with the same table and a pace of its own, for a text at the same time."""
        other = Draft({}, learns=self.learns)
        other._guesses = dict(self._guesses) if self.learns else self._guesses  # else only read
        return other

    def guess(self, newest: Sequence[int], n: int) -> list[int]:
        """At most `n` tokens that may follow `newest`; fewer where the table knows nothing."""
        known = self._guesses.get
        context = [newest[-i] for i in range(1, min(ORDER, len(newest)) + 1)]  # newest first
        found: list[int] = []
        while len(found) < n:
            best, key = -1, 0
            for token in context:  # of ever longer contexts the longest known decides
                key = (key + token + 1) * _MULTIPLIER & _LOW_32
                best = known(key >> _SHIFT, best)
            if best < 0:
                break
            found.append(best)
            context = [best, *context[: ORDER - 1]]
        return found

    def learn(self, newest: Sequence[int]) -> None:
        """Remember the last token as what follows those before it."""
        if len(self._guesses) > _MAX_LEARNT:  # a long text must not take more and more memory
            self._guesses.clear()
        key = 0
        for i in range(2, min(ORDER + 1, len(newest)) + 1):
            key = (key + newest[-i] + 1) * _MULTIPLIER & _LOW_32
            self._guesses[key >> _SHIFT] = newest[-1]

    def to_text(self) -> str:
        """The form that is stored: gaps between hashes, then guesses, compressed, in ASCII.

        An empty table is an empty text.
        """
        if not self._guesses:
            return ""
        hashes = np.array(sorted(self._guesses), "<u4")
        guesses = np.array([self._guesses[key] for key in hashes.tolist()], "<u4")
        raw = np.diff(hashes, prepend=np.uint32(0)).tobytes() + guesses.tobytes()
        return base64.b64encode(zlib.compress(raw, 9)).decode()

    @classmethod
    def from_stored(cls, text: str, vocab_size: int) -> Self:
        """Read what `to_text` wrote.

        Raises:
            InputError: it is something else, or guesses a token that there is not.
        """
        if not text:
            return cls({})
        try:
            unpacking = zlib.decompressobj()
            packed = base64.b64decode(text, validate=True)
            raw = unpacking.decompress(packed, 8 * MAX_CONTEXTS + 1)
            gaps, guesses = np.frombuffer(raw, "<u4").reshape(2, -1)
        except (ValueError, zlib.error, binascii.Error):
            raise InputError("it is damaged: its table of guesses is not one") from None
        if not unpacking.eof:
            raise InputError("it is damaged: its table of guesses is cut short")
        if len(guesses) > MAX_CONTEXTS or (len(guesses) and guesses.max() >= vocab_size):
            raise InputError("it is damaged: its table of guesses is not one for its tokenizer")
        return cls(dict(zip(gaps.cumsum().tolist(), guesses.tolist(), strict=True)))


class Pace:
    """How many guesses to check in a pass: as many as have given the most tokens a second so far.

    Measured while a text is written, as it depends on the machine, the model and the text: each
    number is tried a few times at first, and the neighbours of the best one now and then.
    """

    MOST = 6
    _TRIALS = 3
    _LOOK_AROUND = 32  # passes

    def __init__(self) -> None:
        # the newest durations of passes by the number of their guesses
        self._seconds = [deque[float](maxlen=5) for _ in range(self.MOST + 1)]
        # how often the first, second, ... guess was looked at, and how often it was right
        self._looked, self._right = [1] * self.MOST, [1] * self.MOST
        self._passes = 0
        self._best = 1

    def choose(self, fewest: int) -> int:
        """The number of guesses for the next pass, from `fewest` on."""
        if self._passes < self._TRIALS * (self.MOST + 1):
            return max(fewest, self._passes % (self.MOST + 1))
        if self._passes % self._LOOK_AROUND < 2:
            return min(self.MOST, max(fewest, self._best + 2 * (self._passes % 2) - 1))
        return max(fewest, self._best)

    def learn(self, n_guesses: int, n_right: int, seconds: float) -> None:
        """Take in how a pass went."""
        self._passes += 1
        self._seconds[n_guesses].append(seconds)
        for i in range(min(n_right + 1, n_guesses)):
            self._looked[i] += 1
            self._right[i] += i < n_right
        if self._passes % 8 == 0:
            self._best = max(range(self.MOST + 1), key=self._tokens_per_s)

    def _tokens_per_s(self, n_guesses: int) -> float:
        seconds = self._seconds[n_guesses]
        if not seconds:
            return 0.0
        tokens = reached = 1.0
        for right, looked in zip(self._right[:n_guesses], self._looked, strict=False):
            reached *= right / looked
            tokens += reached
        return tokens / statistics.median(seconds)


def _counted(ids: Ids, vocab_size: int) -> dict[int, int]:
    """The table of a text. Contexts for which a shorter one guesses the same need no place."""
    table = np.full(2**_BITS, -1, np.int32)
    frequency = np.zeros(2**_BITS, np.int32)
    keys: list[Ids] = []
    for n in range(1, min(ORDER, len(ids) - 1) + 1):
        # the hashes of the contexts before each token from the n-th on, shortest context first
        keys = [key[1:] for key in keys]
        before = keys[-1] if keys else np.zeros(len(ids) - n, np.uint64)
        with_oldest = before + ids[: len(ids) - n] + np.uint64(1)
        keys.append(with_oldest * np.uint64(_MULTIPLIER) & np.uint64(_LOW_32))
        best, at, times = _likeliest_next(keys[-1], ids[n:], vocab_size)
        guess = np.full(len(at), -1, np.int32)
        for shorter in keys[:-1]:
            known = table[shorter[at] >> np.uint64(_SHIFT)]
            guess = np.where(known >= 0, known, guess)
        slot = keys[-1][at] >> np.uint64(_SHIFT)
        new = (times >= MIN_TIMES) & (guess != best) & (table[slot] < 0)
        table[slot[new]] = best[new]
        frequency[slot[new]] = times[new]
    used = frequency.nonzero()[0]
    kept = used[np.argsort(-frequency[used], kind="stable")][:MAX_CONTEXTS]
    return dict(zip(kept.tolist(), table[kept].tolist(), strict=True))


def _likeliest_next(
    keys: Ids, following: Ids, vocab_size: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """For each distinct key: what follows it most often, a place where it is, how often it is."""
    at, counts = _distinct(keys * np.uint64(vocab_size) + following)
    by_count = np.lexsort((-counts, keys[at]))
    distinct, first, group = np.unique(keys[at][by_count], return_index=True, return_inverse=True)
    times = np.bincount(group, weights=counts[by_count], minlength=len(distinct))
    place = at[by_count[first]]
    return following[place].astype(np.int32), place, times.astype(np.int64)


def _distinct(values: Ids) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """In ascending order: the first place of each distinct value, and how often it is there.

    As `np.unique` finds them, whose stable sort takes 5 times as long: 0.19 s for a million.
    """
    order = values.argsort()
    ordered = values[order]
    begins = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    first = np.minimum.reduceat(order, begins)  # equal values are in no order
    return first, np.diff(begins, append=len(order))
