"""Several texts at once: samples of one prompt, and the likeliest text by beam search.

The prompt is read once; then all texts are read on in one pass a token. As long as their window is
not full, that is: then each is read anew from its newest half, as `reader.py` does with one text.
"""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from minigpt.errors import InputError
from minigpt.runtime.decoder import Decoder
from minigpt.runtime.distribution import Logits
from minigpt.runtime.generation import Drawing, StopTexts, Token
from minigpt.runtime.params import OF_CHANCE, SamplingParams, neutral
from minigpt.runtime.reader import read
from minigpt.runtime.sampling import distribution
from minigpt.runtime.window import newest_half
from minigpt.tokenizer import CharTokenizer

if TYPE_CHECKING:  # as in `generation.py`
    from minigpt.runtime.pattern import Pattern

MAX_TEXTS = 256


def check(n: int) -> None:
    """Refuse a number of texts that is out of its range.

    Raises:
        InputError: it is.
    """
    if not 1 <= n <= MAX_TEXTS:
        raise InputError(f"there can be between 1 and {MAX_TEXTS} texts at once, not {n}")


class _Texts:
    """Some texts of one length, and the logits after each."""

    def __init__(self, decoder: Decoder, prompt: Sequence[int], n: int) -> None:
        if not prompt:
            raise InputError("the prompt has no character that the model knows; give another one")
        check(n)
        self._decoder = decoder
        self._batch = decoder.batch(n)
        self.newest = [deque(prompt, maxlen=decoder.block_size) for _ in range(n)]
        """The tokens of each text in view of the rules on repetition, the newest last."""
        self.window = 0
        """How many tokens the model had in view for the last rows."""
        self.slid = False
        """Whether the window slid for the last rows."""

    def rows(self) -> Logits:
        """The logits after each text (B,V); to be asked for once after each token."""
        self.slid = self.window == self._decoder.block_size
        if self.window and not self.slid:
            self.window += 1
            return self._batch.step([newest[-1] for newest in self.newest])
        found = np.zeros((len(self.newest), self._decoder.vocab_size), np.float32)
        for i, newest in enumerate(self.newest):
            if self.slid:
                found[i] = read(self._decoder, newest_half(newest))
            elif i == 0:  # at first all are the prompt
                found[:] = read(self._decoder, list(newest))
            self._batch.begin(i)
        self.window = self._decoder.position
        return found

    def append(self, tokens: Sequence[int]) -> None:
        """Let each text go on with a token."""
        for newest, token in zip(self.newest, tokens, strict=True):
            newest.append(token)

    def reorder(self, rows: Sequence[int]) -> None:
        """Let text i go on as what rows[i] was."""
        self.newest = [self.newest[row].copy() for row in rows]
        self._batch.reorder(rows)


def samples(
    decoder: Decoder,
    tokenizer: CharTokenizer,
    prompt: Sequence[int],
    params: SamplingParams,
    n: int,
    *,
    stop: Sequence[str] = (),
    pattern: "Pattern | None" = None,
) -> Iterator[tuple[int, Token]]:
    """Write n texts from one prompt; yields (text, token) as they come.

    Text i is drawn with the seed that is i above the settings'. It is the one that `generate`
    writes with that seed, as far as a pass over several texts gives the same logits as one alone.

    Args:
        decoder: the model; its cache is overwritten.
        tokenizer: gives the tokens their text.
        prompt: ids to go on from, at least one.
        params: the settings.
        n: how many texts, at most MAX_TEXTS.
        stop: texts at which a text ends; see `generate`.
        pattern: what is written can only become a match of it.

    Raises:
        InputError: the prompt is empty, or a stop text is, or n is out of its range.
    """
    texts = _Texts(decoder, prompt, n)
    drawings = [Drawing(tokenizer, pattern) for _ in range(n)]
    stops = [StopTexts(stop) for _ in range(n)]
    seeds = [replace(params, seed=(params.seed + i) % 2**64) for i in range(n)]
    return _drawn(texts, drawings, stops, seeds, len(prompt))


def _drawn(
    texts: _Texts,
    drawings: list[Drawing],
    stops: list[StopTexts],
    params: list[SamplingParams],
    start: int,
) -> Iterator[tuple[int, Token]]:
    for position in range(start, start + params[0].max_new_tokens):
        going = [i for i, each in enumerate(drawings) if not (each.ended or stops[i].found)]
        if not going:
            break
        rows = texts.rows()
        # a text that has ended reads its last token again and again, until all have
        chosen = [newest[-1] for newest in texts.newest]
        for i in going:
            token = drawings[i].token(
                rows[i], texts.newest[i], params[i], position, texts.window, texts.slid
            )
            chosen[i] = token.id
            for sure in stops[i].pass_on(token):
                yield i, sure
        texts.append(chosen)
    for i, stop in enumerate(stops):
        if not stop.found:
            for held in stop.rest():
                yield i, held


@dataclass(frozen=True, slots=True)
class Beam:
    """A text that beam search has found."""

    text: str
    ids: tuple[int, ...]
    score: float
    """The sum of its tokens' natural logarithms of probability, under the rules that count."""
    logprob: float
    """The same sum of the model's own probabilities, as `Token` has them."""


def beam_search(
    decoder: Decoder,
    tokenizer: CharTokenizer,
    prompt: Sequence[int],
    params: SamplingParams,
    width: int,
    *,
    pattern: "Pattern | None" = None,
) -> list[Beam]:
    """Look for the likeliest text of max_new_tokens, keeping the best `width` at every length.

    Likeliest under the rules that count: those that change the scores (logit_bias, the penalties,
    no_repeat_ngram, and the pattern), not those that choose among them by chance.

    Args:
        decoder: the model; its cache is overwritten.
        tokenizer: gives the tokens their text.
        prompt: ids to go on from, at least one.
        params: the settings.
        width: how many texts are kept, at most MAX_TEXTS.
        pattern: what is written can only become a match of it; a text that is one and cannot go
            on stays among the best as it is.

    Returns:
        At most `width` texts, that of the highest score first.

    Raises:
        InputError: the prompt is empty, or the width out of its range.
    """
    params = replace(params, **neutral(*OF_CHANCE))
    texts = _Texts(decoder, prompt, width)
    beams = [_Growing(0.0, 0.0, (), pattern.start if pattern else 0)]
    ended: list[_Growing] = []
    for _ in range(params.max_new_tokens):
        if pattern:
            going = [beam for beam in beams if pattern.allowed(beam.state).any()]
            ended += [beam for beam in beams if beam not in going]
            ended = sorted(ended, key=_best_first)[:width]
            if len(ended) == width and going and going[0].score < ended[-1].score:
                break  # the best that goes on can only become less likely
        rows = texts.rows()
        # (minus the score, which beam, with which token, its logprob): the best are the smallest
        longer = sorted(
            (-beam.score - math.log(p), parent, token, logprob)
            for parent, beam in enumerate(beams)
            for token, p, logprob in _likeliest(
                beam, rows[parent], texts.newest[parent], params, pattern, width
            )
        )[:width]
        if not longer:
            break
        parents = [parent for _, parent, _, _ in longer]
        beams = [
            _Growing(
                -negative,
                beams[parent].logprob + logprob,
                (*beams[parent].ids, token),
                pattern.next(beams[parent].state, token) if pattern else 0,
            )
            for negative, parent, token, logprob in longer
        ]
        idle = width - len(beams)  # rows that no text needs; they read along with the first
        texts.reorder(parents + parents[:1] * idle)
        texts.append([beam.ids[-1] for beam in beams] + [beams[0].ids[-1]] * idle)
    else:
        ended += beams
    return [
        Beam(tokenizer.decode(beam.ids), beam.ids, beam.score, beam.logprob)
        for beam in sorted(ended, key=_best_first)[:width]
    ]


@dataclass(frozen=True, slots=True)
class _Growing:
    """A text that beam search follows, and where it is in the pattern."""

    score: float
    logprob: float
    ids: tuple[int, ...]
    state: int


def _best_first(beam: _Growing) -> tuple[float, tuple[int, ...]]:
    return -beam.score, beam.ids


def _likeliest(
    beam: _Growing,
    row: Logits,
    newest: Sequence[int],
    params: SamplingParams,
    pattern: "Pattern | None",
    width: int,
) -> list[tuple[int, float, float]]:
    """The `width` tokens that are likeliest to follow a text: (id, probability, logprob)."""
    allowed = pattern.allowed(beam.state) if pattern else None
    if allowed is not None and not allowed.any():
        return []
    chances = distribution(row, newest, params, allowed=allowed)
    places = range(min(width, len(chances.ordered)))
    return [
        (token := chances.token(place), p, chances.logprob(token))
        for place in places
        if (p := chances.prob(place)) > 0
    ]
