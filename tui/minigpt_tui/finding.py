"""Words in a text: where they stand, and what to show of it.

SQLite's index says in which texts they are. Its own `snippet` takes time with the square of the
hits, 1.3 s for a "t" in 200,000 characters, so the places are found here, by the same rules: a word
is a run of letters and digits, case and accents do not count, and the beginning of a word will do.
"""

import re
import unicodedata
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from minigpt.terminal import one_line, printable

_WORD, _BETWEEN = r"[^\W_]", r"[\W_]+"
"""A character of one; what may be between two."""
_BEFORE, _AFTER = 30, 120
"""Characters shown before where the words stand, and from there on."""


class Hit(NamedTuple):
    """A place at which one of the words stands."""

    start: int
    end: int
    """Of the whole word in the text, which may be longer."""
    word: int
    """Which of the words it is, by a number of its own."""


def words_in(line: str) -> list[str]:
    """What of a line can be looked for."""
    return [printable(word) for word in line.split() if re.search(_WORD, word)]


def query(words: Sequence[str]) -> str:
    """All of them, as FTS5 wants to be asked.

    >>> query(["not", "be"])
    '"not"* "be"*'
    """
    return " ".join('"{}"*'.format(word.replace('"', '""')) for word in words)


def hits(text: str, words: Sequence[str]) -> Iterator[Hit]:
    """Where the words stand, in the order of the text.

    >>> [text[hit.start : hit.end] for text in ["To be, or not to be"] for hit in hits(text, ["t"])]
    ['To', 'to']
    """
    if words:
        # the longest first: of "t" and "to" it is "to" that stands in "tomorrow"
        parts = (re.findall(f"{_WORD}+", _plain(word)) for word in sorted(words, key=len)[::-1])
        any_of_them = "|".join(f"({_BETWEEN.join(part)})" for part in parts)
        for found in re.finditer(f"(?<!{_WORD})(?:{any_of_them}){_WORD}*", _plain(text)):
            yield Hit(found.start(), found.end(), found.lastindex or 0)


def has(text: str, words: Sequence[str]) -> bool:
    """Whether all of the words stand in it.

    >>> has("To be, or not to be", ["no", "be"]), has("To be, or not to be", ["not", "bee"])
    (True, False)
    """
    return all(any(hits(text, [word])) for word in words)


def where(text: str, words: Sequence[str]) -> int | None:
    """Where as many of the words as can be first stand close together; None: none does."""
    best, most = None, 0
    near: deque[Hit] = deque()
    for hit in hits(text, words):
        near.append(hit)
        while near[0].start < hit.end - _AFTER:
            near.popleft()
        n = len({other.word for other in near})
        if n > most:
            best, most = near[0].start, n
        if n == len(words):
            break
    return best


def snippet(text: str, words: Sequence[str]) -> tuple[tuple[str, bool], ...]:
    """A piece of a text around where the words stand, cut at its hits: (characters, is it one?).

    It is safe to show, on one line.

    >>> snippet("To be, or not to be", ["not"])
    (('To be, or ', False), ('not', True), (' to be', False))
    """
    place = where(text, words) or 0
    start, stop = max(place - _BEFORE, 0), min(place + _AFTER, len(text))
    if start and (broken := re.match(r"\S*\s+", text[start:place])):
        start += broken.end()
    piece = text[start:stop]
    pieces, at = [("…" * (start > 0), False)], 0
    for hit in hits(piece, words):
        pieces += [(piece[at : hit.start], False), (piece[hit.start : hit.end], True)]
        at = hit.end
    pieces += [(piece[at:] + "…" * (stop < len(text)), False)]
    return tuple((one_line(piece), is_hit) for piece, is_hit in pieces if piece)


def _plain(text: str) -> str:
    """As many characters, in small letters without accents."""
    return text.translate({ord(char): _plain_character(char) for char in set(text)})


def _plain_character(char: str) -> str:
    decomposed = unicodedata.normalize("NFD", char)
    is_accented = all(map(unicodedata.combining, decomposed[1:]))
    return (decomposed[0] if is_accented else char).lower()[0]
