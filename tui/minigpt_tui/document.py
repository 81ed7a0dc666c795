"""The text as data: what is shown, saved and handed to the model. Knows nothing of Textual."""

from array import array
from dataclasses import dataclass

from minigpt_tui.protocol import Written

_USER = -1


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a character comes from: the token that wrote it, and what the model thought then."""

    token_id: int
    logprob: float
    entropy: float
    slid: bool


class Document:
    """A text and, for every character of it, who wrote it.

    Columns instead of a record per character: 13 bytes each, so a million characters stay small.

    >>> document = Document()
    >>> document.append_user("ab")
    >>> document.append_token(Written(7, "c", -0.5, 1.0, 2, 3, False))
    >>> document.text, document.origin(0), document.origin(2).token_id
    ('abc', None, 7)
    """

    def __init__(self) -> None:
        self.text = ""
        self.version = 0
        """Changes whenever characters are taken away; appending leaves it."""
        self._token_ids = array("i")
        self._logprobs = array("f")
        self._entropies = array("f")
        self._slid = array("b")

    def __len__(self) -> int:
        return len(self.text)

    def append_user(self, text: str) -> None:
        """Add what the user wrote."""
        self._append(text, Written(_USER, text, 0.0, 0.0, 0, 0, False))

    def append_token(self, token: Written) -> None:
        """Add what the model wrote."""
        self._append(token.text, token)

    def append_tokens(self, tokens: tuple[Written, ...]) -> None:
        """Add many at once: the text is copied once, not once a token."""
        for token in tokens:
            self._mark(len(token.text), token)
        self.text += "".join(token.text for token in tokens)

    def clear(self) -> None:
        """Begin an empty text."""
        self.text = ""
        self.version += 1
        for column in (self._token_ids, self._logprobs, self._entropies, self._slid):
            del column[:]

    def is_user(self, index: int) -> bool:
        """Whether the user wrote the character at `index`."""
        return self._token_ids[index] == _USER

    def origin(self, index: int) -> Origin | None:
        """Which token wrote the character at `index`; None where the user did."""
        if self.is_user(index):
            return None
        return Origin(
            self._token_ids[index],
            self._logprobs[index],
            self._entropies[index],
            bool(self._slid[index]),
        )

    def _append(self, text: str, origin: Written) -> None:
        self._mark(len(text), origin)
        self.text += text

    def _mark(self, n_chars: int, origin: Written) -> None:
        self._token_ids.extend([origin.id] * n_chars)
        self._logprobs.extend([origin.logprob] * n_chars)
        self._entropies.extend([origin.entropy] * n_chars)
        self._slid.extend([origin.slid] * n_chars)
