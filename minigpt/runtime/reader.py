"""The logits after a text that grows: what is read when, in as few passes of the model as possible.

Three things happen here and nowhere else. A prompt is read at once, in chunks if it is very long.
When the window is full it slides: the newest half is kept and read again from position 0. And
guesses are read along with the newest token; those that come true need no pass of their own.

The text must be the same whatever was guessed. So a row of logits may not depend on how many
tokens were read in its pass, to the last bit: an 8-bit model rounds its activations, and a
difference of 1e-7 in front of that becomes one of 0.1 in the logits. `Decoder.steady_from` says
from how many tokens on that holds. Where it is 2 (onnxruntime sums the attention of a single token
in another order), a lone token is read together with the one before it, once more.
"""

import time
from collections import deque
from collections.abc import Sequence
from itertools import pairwise

from minigpt.errors import InputError
from minigpt.runtime.decoder import Decoder
from minigpt.runtime.distribution import Logits
from minigpt.runtime.draft import ORDER, Draft
from minigpt.runtime.window import newest_half

CHUNK = 256
"""The most tokens in a pass: their logits, all of them, are kept (50 MB for 50,257 symbols)."""


class Reader:
    """Reads a text as it grows.

    Args of the constructor:
        decoder: the model; its cache is overwritten.
        prompt: the ids to begin with, at least one; the newest block_size of them are read.
        draft: guesses what comes next; a decoder that is never steady goes without. None: each
            token is read alone, which is the fastest way without guesses (by 5% in 32 bits, by a
            quarter in 8 and 4) but in the last bit not the one that guesses take.
        view: how many of the prompt's newest tokens to read at first; None: all that there is room
            for.
    """

    def __init__(
        self,
        decoder: Decoder,
        prompt: Sequence[int],
        draft: Draft | None = None,
        *,
        view: int | None = None,
    ) -> None:
        self._decoder = decoder
        self._draft = draft
        self._view = decoder.block_size if view is None else max(view, 1)
        # all that a slide can need, so that a million tokens take no more memory than a thousand
        self.newest = deque(prompt, maxlen=decoder.block_size)
        """The tokens in view of the rules on repetition, the newest last."""
        self.window = 0
        """How many tokens the model had in view for the last row."""
        self.slid = False
        """Whether the window slid for the last row."""
        self._guesses: list[int] = []
        self._n_right = 0
        self._rows: Logits | None = None
        self._seconds = 0.0  # that the last pass took; 0 for a prompt's
        self._steady_from = 1
        self._n_feeds = 0  # of the decoder, when this text was the last to feed it

    def append(self, token: int) -> None:
        """Let the text go on with a token."""
        self.newest.append(token)
        if self._draft and self._draft.learns:
            self._draft.learn(self.newest)

    def row(self) -> Logits:
        """The logits after the text (V,); to be asked for once after each token.

        Raises:
            InputError: the decoder has read another text since, over this one.
        """
        if self.window and self._decoder.n_feeds != self._n_feeds:
            raise InputError(
                "a decoder reads one text at a time, and has read another one meanwhile; "
                "decoder.beside() gives one more"
            )
        came_true = (
            self._n_right < len(self._guesses) and self.newest[-1] == self._guesses[self._n_right]
        )
        self.slid = self.window == self._decoder.block_size
        if came_true and self._rows is not None:
            self._n_right += 1
            self.window += 1
            return _row(self._rows, self._n_right)
        if self._draft and self._seconds:
            self._draft.pace.learn(len(self._guesses), self._n_right, self._seconds)
        self._guesses, self._n_right, self._seconds = [], 0, 0.0
        if self.window == 0:
            self._begin()
        row = self._read_on() if self.window and not self.slid else self._read_anew()
        self._n_feeds = self._decoder.n_feeds
        return row

    def _begin(self) -> None:
        if self._draft is None:
            return
        steady_from = self._decoder.steady_from  # the first time it is tried out, on the cache
        self._steady_from = steady_from or 1
        if steady_from is None:
            self._draft = None
        elif self._draft.learns:
            prompt = list(self.newest)
            for end in range(2, len(prompt) + 1):
                self._draft.learn(prompt[max(0, end - 1 - ORDER) : end])

    def _read_anew(self) -> Logits:
        """Read the prompt, or the newest half of a full window."""
        tokens = newest_half(self.newest) if self.slid else list(self.newest)[-self._view :]
        self.window = len(tokens)
        if len(tokens) < self._steady_from <= self._decoder.block_size:
            self._decoder.rewind(0)
            return _row(self._decoder.feed(tokens * 2), 0)
        return read(self._decoder, tokens)

    def _read_on(self) -> Logits:
        """Read the newest token, and guesses with it."""
        newest, room = self.newest[-1], self._decoder.block_size - self.window - 1
        if self._draft and room:
            n = self._draft.pace.choose(fewest=self._steady_from - 1)
            self._guesses = self._draft.guess(self.newest, min(n, room))
        self._decoder.rewind(self.window)  # forgets guesses that did not come true
        tokens = [newest, *self._guesses]
        if again := len(tokens) < self._steady_from:
            self._decoder.rewind(self.window - 1)
            tokens = [self.newest[-2], newest]
        began = time.perf_counter()
        self._rows = self._decoder.feed(tokens)
        self._seconds = time.perf_counter() - began
        self.window += 1
        return _row(self._rows, int(again))


def read(decoder: Decoder, tokens: Sequence[int]) -> Logits:
    """Read a text from its beginning, in chunks; the logits after it (V,).

    No chunk is a lone token, unless that is the text: see the top.
    """
    decoder.rewind(0)
    starts = [*range(0, len(tokens), CHUNK)]
    if len(tokens) - starts[-1] == 1 < len(tokens):
        starts[-1] -= 1
    for start, end in pairwise([*starts, len(tokens)]):
        rows = decoder.feed(tokens[start:end])
    return _row(rows, -1)


def _row(rows: Logits, index: int) -> Logits:
    row: Logits = rows[index]
    return row
