"""The one decode loop: a Decoder and a prompt in, a stream of Token records out."""

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from minigpt.errors import InputError
from minigpt.runtime.decoder import Decoder
from minigpt.runtime.distribution import Logits
from minigpt.runtime.draft import Draft
from minigpt.runtime.params import SamplingParams
from minigpt.runtime.reader import Reader
from minigpt.runtime.sampling import Mirostat, Uniforms, distribution
from minigpt.tokenizer import CharTokenizer

if TYPE_CHECKING:  # most texts follow no pattern, and its automata take 20 ms to import
    from minigpt.runtime.pattern import Pattern


class Token(NamedTuple):
    """One generated token and what the model thought when it was drawn."""

    id: int
    text: str
    logprob: float
    """Natural logarithm of the probability the model itself gave it (before the rules)."""
    entropy: float
    """Of the model's own distribution, in nats: how undecided it was."""
    rank: int
    """Its place among all the model could have written, by the model's own probability; from 1."""
    position: int
    """Its index in the text, prompt included."""
    window: int
    """How many tokens the model had in view."""
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
    pattern: "Pattern | None" = None,
    draft: Draft | None = None,
    keep_logits: bool = False,
    view: int | None = None,
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
        pattern: what is written can only become a match of it; where it is one that cannot go on,
            the text ends.
        draft: makes it faster, and changes not a letter of what `Draft.idle()` gives; None: each
            token is read alone, see `Reader`.
        keep_logits: give every record its row of logits.
        view: read at first so many of the prompt's newest tokens instead of block_size, to go on
            where another text was broken off: see `window.view_after`.

    Raises:
        InputError: the prompt is empty, or a stop text is.
    """
    check(prompt, stop)
    tokens = _decode(
        Reader(decoder, prompt, draft, view=view),
        Drawing(tokenizer, pattern),
        len(prompt),
        params,
        keep_logits,
    )
    return _until(tokens, StopTexts(stop)) if stop else tokens


def check(prompt: Sequence[int], stop: Sequence[str]) -> None:
    """Refuse what nothing can be written for.

    Raises:
        InputError: the prompt is empty, or a stop text is.
    """
    if not prompt:
        raise InputError("the prompt has no character that the model knows; give it another one")
    StopTexts(stop)


def _decode(
    text: Reader,
    drawing: "Drawing",
    start: int,
    params: Callable[[], SamplingParams],
    keep_logits: bool,
) -> Iterator[Token]:
    for position in count(start):
        now = params()
        if position - start >= now.max_new_tokens or drawing.ended:
            return
        row = text.row()
        token = drawing.token(row, text.newest, now, position, text.window, text.slid)
        yield token._replace(logits=row.copy()) if keep_logits else token
        text.append(token.id)


class Drawing:
    """Draws the tokens of one text; holds what its rules remember of it."""

    def __init__(self, tokenizer: CharTokenizer, pattern: "Pattern | None" = None) -> None:
        self._tokenizer = tokenizer
        self._uniforms = Uniforms()
        self._mirostat: Mirostat | None = None
        self._pattern = pattern
        self._state = pattern.start if pattern else 0
        self._allowed = pattern.allowed(self._state) if pattern else None

    @property
    def ended(self) -> bool:
        """Whether the pattern lets nothing come next."""
        return self._allowed is not None and not self._allowed.any()

    def token(
        self,
        row: Logits,
        newest: Sequence[int],
        params: SamplingParams,
        position: int,
        window: int,
        slid: bool,
    ) -> Token:
        """Draw the next token.

        Args:
            row: the logits after the text (V,).
            newest: the tokens in view of the rules on repetition.
            params: the settings.
            position: the token's index in the text.
            window: see Token.
            slid: see Token.

        Raises:
            InputError: as `distribution`.
        """
        chances = before = distribution(row, newest, params, allowed=self._allowed)
        if params.mirostat:
            self._mirostat = self._mirostat or Mirostat(params)
            chances = self._mirostat.narrow(before)
        place = chances.draw(self._uniforms(params.seed, position))
        chosen = chances.token(place)
        if self._mirostat and params.mirostat:
            self._mirostat.learn(before, place, params)
        if self._pattern:
            self._state = self._pattern.next(self._state, chosen)
            self._allowed = self._pattern.allowed(self._state)
        return Token(
            id=chosen,
            text=self._tokenizer.decode((chosen,)),
            logprob=chances.logprob(chosen),
            entropy=chances.entropy,
            rank=chances.rank(place),
            position=position,
            window=window,
            slid=slid,
        )


class StopTexts:
    """Passes a text's tokens on until they hold a stop text; holds back what may begin one.

    Raises:
        InputError: a stop text is empty.
    """

    def __init__(self, stop: Sequence[str]) -> None:
        if "" in stop:
            raise InputError("a stop text must have at least one character")
        self._stop = tuple(stop)
        self._held: list[Token] = []
        self.found = False
        """Whether the text has come to a stop text: then it has ended."""

    def pass_on(self, token: Token) -> list[Token]:
        """The tokens that, now that another one has come, belong to the text for sure."""
        held = [*self._held, token]
        text = "".join(t.text for t in held)
        found = [at for s in self._stop if (at := text.find(s)) >= 0]
        if found:
            self.found = True
            return held[: min(found)]  # a token is a character
        keep = max(
            (n for s in self._stop for n in range(1, len(s)) if text.endswith(s[:n])), default=0
        )
        sure, self._held = held[: len(held) - keep], held[len(held) - keep :]
        return sure

    def rest(self) -> list[Token]:
        """What is held back, when no more tokens come."""
        return self._held


def _until(tokens: Iterator[Token], stop: StopTexts) -> Iterator[Token]:
    for token in tokens:
        yield from stop.pass_on(token)
        if stop.found:
            return
    yield from stop.rest()
