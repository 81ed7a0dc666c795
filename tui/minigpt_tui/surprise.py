"""Bits per character and perplexity of what is shown, kept up to date as it grows."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from minigpt_tui.document import Document
from minigpt_tui.nodes import INSIDE, UNKNOWN, Author, Nodes


@dataclass(frozen=True, slots=True)
class Surprise:
    """The sum of what a model thought of some characters."""

    nats: float = 0.0
    n_tokens: int = 0
    n_chars: int = 0

    def __add__(self, more: "Surprise") -> "Surprise":
        return Surprise(
            self.nats + more.nats, self.n_tokens + more.n_tokens, self.n_chars + more.n_chars
        )

    def __str__(self) -> str:
        """In words; "" without characters."""
        if not self.n_chars:
            return ""
        return f"{self.bits_per_char:.2f} bits/char · perplexity {self.perplexity:.2f}"

    @property
    def bits_per_char(self) -> float:
        """0 without characters."""
        return self.nats / math.log(2) / self.n_chars if self.n_chars else 0.0

    @property
    def perplexity(self) -> float:
        """Of a token: as unsure as among so many equally likely ones. 1 without tokens."""
        return math.exp(min(self.nats / self.n_tokens, 700.0)) if self.n_tokens else 1.0


@dataclass
class Tally:
    """Sums over the shown text; each reading takes in only what has come since the last.

    Sampling picks what is likely, so what the model wrote itself surprises it less than a text of
    somebody else's, which only `scored` holds.
    """

    document: Document
    written: Surprise = field(default_factory=Surprise)
    """What the model wrote."""
    scored: Surprise = field(default_factory=Surprise)
    """All that a model has read: what the user typed and chose too."""
    _length: int = 0
    _version: int = 0

    def read(self) -> None:
        """Bring the sums up to date."""
        if self._version != self.document.version:
            self._version, self._length = self.document.version, 0
            self.written = self.scored = Surprise()
        if self._length == len(self.document):
            return
        by_author = add_up(self.document.nodes, self.document.spans(self._length))
        self._length = len(self.document)
        self.written += by_author[Author.MODEL]
        self.scored = sum(by_author.values(), self.scored)


def add_up(nodes: Nodes, spans: Iterable[range]) -> dict[Author, Surprise]:
    """What a model thought of some nodes, by who wrote them."""
    sums = {author: [0.0, 0, 0] for author in Author}
    for span in spans:
        part = slice(span.start, span.stop)
        for author, token_id, flags, logprob in zip(
            nodes.columns["authors"][part],
            nodes.columns["token_ids"][part],
            nodes.columns["flags"][part],
            nodes.columns["logprobs"][part],
            strict=True,
        ):
            if token_id != UNKNOWN:
                sum_ = sums[author]
                sum_[2] += 1
                if not flags & INSIDE:  # a token's logprob stands at each of its characters
                    sum_[0] -= logprob
                    sum_[1] += 1
    return {
        author: Surprise(nats, int(n_tokens), int(n_chars))
        for author, (nats, n_tokens, n_chars) in sums.items()
    }


def surprise(document: Document) -> Tally:
    """The sums of a text that is not going to change."""
    tally = Tally(document)
    tally.read()
    return tally
