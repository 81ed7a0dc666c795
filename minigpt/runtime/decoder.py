"""What a model is to everything that runs it: tokens in, logits out, and a way back."""

from collections.abc import Sequence
from typing import Protocol

from minigpt.config import GPTConfig
from minigpt.errors import InputError
from minigpt.runtime.distribution import Logits

MAX_BATCH_BYTES = 2**32


class Batch(Protocol):
    """Several texts of the same length that are read on side by side, a token each at a time."""

    def begin(self, row: int) -> None:
        """Let a row go on from what its decoder's cache holds; all rows must be as long."""

    def step(self, tokens: Sequence[int]) -> Logits:
        """Append a token to every row; return the logits after them (B,V).

        The array may be overwritten by the next call.

        Raises:
            ValueError: not a token for every row, or as `Decoder.feed`.
        """

    def reorder(self, rows: Sequence[int]) -> None:
        """Let row i go on as what rows[i] was."""


class Decoder(Protocol):
    """A model with a KV cache. Prefill, a step, scoring and going back are `feed` and `rewind`."""

    n_feeds: int
    """How often it was fed: who finds more than its own was interrupted by another text."""

    @property
    def block_size(self) -> int:
        """The most tokens the cache holds."""

    @property
    def vocab_size(self) -> int:
        """The length of a row of logits."""

    @property
    def position(self) -> int:
        """The number of tokens in the cache."""

    @property
    def steady_from(self) -> int | None:
        """A row of logits does not depend, to the last bit, on how many tokens are fed at once.

        That is so from this number of tokens on; None: it never is. See `reader.py`. To find out
        may overwrite the cache.
        """

    def feed(self, tokens: Sequence[int]) -> Logits:
        """Append `tokens` to the cache; return the logits after each of them (T,V).

        The array may be overwritten by the next call.

        Raises:
            ValueError: no tokens, an id outside the vocabulary, or more than the cache holds.
        """

    def batch(self, n: int) -> Batch:
        """Room for n texts, each with a cache of its own, that go on from this decoder's.

        Raises:
            TooManyTexts: their caches take more than MAX_BATCH_BYTES.
        """

    def beside(self) -> "Decoder":
        """Another decoder of the same model, its cache empty; they share the weights."""

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


class TooManyTexts(InputError):
    """There is no room for so many at once; `most` of them would do."""

    def __init__(self, n: int, most: int, bytes_each: int) -> None:
        super().__init__(
            f"{n} texts at once would take {n * bytes_each / 2**30:.0f} GiB of memory with this "
            f"model; at most {most} do not take more than {MAX_BATCH_BYTES // 2**30}"
        )
        self.most = most


def check_batch(config: GPTConfig, n: int) -> None:
    """Raises TooManyTexts as `Decoder.batch` says."""
    bytes_each = 8 * config.n_layer * config.n_embd * config.block_size
    if n > (most := MAX_BATCH_BYTES // bytes_each):
        raise TooManyTexts(n, most, bytes_each)


def check_step(
    tokens: Sequence[int], n_rows: int, position: int, vocab_size: int, block_size: int
) -> None:
    """What every Batch checks before it touches its caches; raises ValueError as `step` says."""
    if len(tokens) != n_rows:
        raise ValueError(f"a step needs a token for each of {n_rows} texts, not {len(tokens)}")
    if min(tokens) < 0 or max(tokens) >= vocab_size:
        raise ValueError(f"token ids must be in [0, {vocab_size}), not {list(tokens)}")
    if position >= block_size:
        raise ValueError(f"a token after {position} exceeds block_size {block_size}")
