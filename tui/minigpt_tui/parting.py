"""Where two texts that go on from one beginning part. Pure data."""

from dataclasses import dataclass

from minigpt_tui.glyphs import visible

_WORD = 16
"""Characters of the words at which they part; more would not fit beside each other."""


@dataclass
class Parting:
    """Follows two texts that only grow: a reading looks only at what has come since the last.

    >>> parting = Parting(len("To be"))
    >>> parting.read("To be or", "To be at")
    >>> parting.common, parting.has_parted
    (6, True)
    >>> parting.verdict("To be or", "To be at", is_writing=True)
    'The same for 1 character, then A “or” and B “at”'
    """

    beginning: int
    """The characters that both were given."""
    common: int = 0
    """The first so many are the same, the beginning included."""
    has_parted: bool = False
    """Whether both have a character there, and not the same one."""

    def __post_init__(self) -> None:
        self.common = self.beginning

    def read(self, one: str, other: str) -> None:
        """Go on to where they part, or to the end of the shorter."""
        shorter = min(len(one), len(other))
        while self.common < shorter and one[self.common] == other[self.common]:
            self.common += 1
        self.has_parted = self.common < shorter

    def is_mark(self, text: str, index: int) -> bool:
        """Whether a character of one of them shows where they part.

        That is the first that differs; a new line cannot be seen, so what follows it is, too.
        """
        ahead = index - self.common
        return self.has_parted and 0 <= ahead <= 2 and not text[self.common : index].strip("\n")

    def verdict(self, one: str, other: str, *, is_writing: bool) -> str:
        """How far they are the same, and what comes then; empty before there is anything."""
        n_same = self.common - self.beginning
        if self.has_parted:
            then = f"A “{_word(one, self.common)}” and B “{_word(other, self.common)}”"
            if n_same:
                return f"The same for {_characters(n_same)}, then {then}"
            return f"Different from the first character on: {then}"
        if is_writing:
            return f"The same so far: {_characters(n_same)}" if n_same else ""
        if len(one) == len(other):
            return f"The same from beginning to end: {_characters(n_same)}" if n_same else ""
        return f"The same for {_characters(n_same)}, then {'AB'[len(one) > len(other)]} ends"


def _characters(n: int) -> str:
    return f"{n:,} character{'s' * (n != 1)}"


def _word(text: str, index: int) -> str:
    """The word that a character is in, up to it and on to the word's end."""
    char = text[index]
    start = index
    while start and not text[start - 1].isspace():
        start -= 1
    end = index + 1
    while not char.isspace() and end < len(text) and not text[end].isspace():
        end += 1
    return visible(text[max(start, end - _WORD) : end])
