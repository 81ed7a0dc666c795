"""The one decode loop: a Decoder and a prompt in, a stream of Token records out."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Protocol

from minigpt.errors import InputError
from minigpt.runtime.params import SamplingParams
from minigpt.runtime.sampling import Logits, Uniforms, distribution, draw
from minigpt.tokenizer import CharTokenizer


class Decoder(Protocol):
    """A model with a KV cache. Prefill, one step, scoring and going back are these two calls."""

    @property
    def block_size(self) -> int:
        """The most tokens the cache holds."""

    @property
    def vocab_size(self) -> int:
        """The length of a row of logits."""

    @property
    def position(self) -> int:
        """The number of tokens in the cache."""

    def feed(self, tokens: Sequence[int]) -> Logits:
        """Append `tokens` to the cache; return the logits after each of them (T,V).

        The array may be overwritten by the next call.

        Raises:
            ValueError: no tokens, an id outside the vocabulary, or more than the cache holds.
        """

    def rewind(self, position: int) -> None:
        """Forget all tokens from `position` on.

        Raises:
            ValueError: fewer than `position` tokens are in the cache.
        """


def check_feed(decoder: Decoder, tokens: Sequence[int]) -> None:
    """What every Decoder checks before it touches its cache; raises ValueError as `feed` says."""
    if not tokens:
        raise ValueError("feed needs at least one token")
    if min(tokens) < 0 or max(tokens) >= decoder.vocab_size:
        raise ValueError(f"token ids must be in [0, {decoder.vocab_size}), not {list(tokens)}")
    if decoder.position + len(tokens) > decoder.block_size:
        raise ValueError(
            f"{len(tokens)} tokens after {decoder.position} exceed block_size {decoder.block_size}"
        )


def check_rewind(decoder: Decoder, position: int) -> None:
    """Raises ValueError as `Decoder.rewind` says."""
    if not 0 <= position <= decoder.position:
        raise ValueError(f"cannot rewind to {position}: the cache holds {decoder.position} tokens")


@dataclass(frozen=True, slots=True)
class Token:
    """One generated token and what the model thought when it was drawn."""

    id: int
    text: str
    logprob: float
    """Natural logarithm of the probability the model itself gave it (before the rules)."""
    entropy: float
    """Of the model's own distribution, in nats: how undecided it was."""
    position: int
    """Its index in the text, prompt included."""
    slid: bool
    """Whether the window slid just before it: see `generate`."""
    logits: Logits | None = None
    """The row it was drawn from (V,), on request."""


def generate(
    decoder: Decoder,
    tokenizer: CharTokenizer,
    prompt: Sequence[int],
    params: Callable[[], SamplingParams],
    *,
    stop: Sequence[str] = (),
    keep_logits: bool = False,
) -> Iterator[Token]:
    """Write on from `prompt`, a token at a time, past the window if need be.

    The window: a prompt longer than block_size is read from its newest block_size tokens on. When
    the window is full, it slides: the newest half is kept, read again from position 0, and the
    writing goes on; such a token has `slid` set. So a token is drawn with between block_size / 2
    and block_size tokens in view, and a slide costs one pass over half a window.

    Args:
        decoder: the model; its cache is overwritten.
        tokenizer: gives the tokens their text.
        prompt: ids to go on from, at least one.
        params: asked before every token, so that a slider acts on the next one.
        stop: texts at which to end. The stop text itself is not part of the result, nor is what
            might become one held back for longer than that takes to decide.
        keep_logits: give every record its row of logits.

    Raises:
        InputError: the prompt is empty, or a stop text is.
    """
    if not prompt:
        raise InputError("the prompt has no character that the model knows; give it another one")
    if "" in stop:
        raise InputError("a stop text must have at least one character")
    tokens = _decode(decoder, tokenizer, prompt, params, keep_logits=keep_logits)
    return _until(tokens, tuple(stop)) if stop else tokens


def _decode(
    decoder: Decoder,
    tokenizer: CharTokenizer,
    prompt: Sequence[int],
    params: Callable[[], SamplingParams],
    *,
    keep_logits: bool,
) -> Iterator[Token]:
    uniforms = Uniforms()
    # all that a slide can need, so that a million tokens take no more memory than a thousand
    newest = deque(prompt, maxlen=decoder.block_size)
    unread = list(newest)
    decoder.rewind(0)
    slid = False
    for position in count(len(prompt)):
        now = params()
        if position - len(prompt) >= now.max_new_tokens:
            return
        if decoder.position + len(unread) > decoder.block_size:
            decoder.rewind(0)
            # a window of one token keeps none but the newest
            unread = list(newest)[-max(decoder.block_size // 2, 1) :]
            slid = True
        row = decoder.feed(unread)[-1]
        chances = distribution(row, newest, now)
        chosen = draw(chances.probs, uniforms(now.seed, position))
        yield Token(
            id=chosen,
            text=tokenizer.decode((chosen,)),
            logprob=float(chances.logprobs[chosen]),
            entropy=chances.entropy,
            position=position,
            slid=slid,
            logits=row.copy() if keep_logits else None,
        )
        newest.append(chosen)
        unread = [chosen]
        slid = False


def _until(tokens: Iterator[Token], stop: tuple[str, ...]) -> Iterator[Token]:
    """Pass tokens on until their text holds a stop text; hold back what may begin one."""
    held: list[Token] = []
    for token in tokens:
        held.append(token)
        text = "".join(t.text for t in held)
        found = [at for s in stop if (at := text.find(s)) >= 0]
        if found:
            yield from _first(held, min(found))
            return
        keep = max((n for s in stop for n in range(1, len(s)) if text.endswith(s[:n])), default=0)
        while held and sum(len(t.text) for t in held) - len(held[0].text) >= keep:
            yield held.pop(0)
    yield from held


def _first(tokens: list[Token], n_chars: int) -> Iterator[Token]:
    """The tokens of the first `n_chars` characters, the last one cut to fit."""
    for token in tokens:
        if n_chars <= 0:
            return
        yield token if len(token.text) <= n_chars else replace(token, text=token.text[:n_chars])
        n_chars -= len(token.text)
