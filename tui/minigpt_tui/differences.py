"""Where two texts differ, word by word. Knows nothing of Textual."""

import re
from difflib import SequenceMatcher
from itertools import pairwise
from typing import NamedTuple

MOST_CHARS = 10_000
"""Of each text. Matching is quadratic: two plays of this length take 0.04 s here, twice as much
0.13 s, and twice as much of a hundred different signs 1.7 s."""

_PIECE = re.compile(r"\w+|\s|[^\w\s]")
_WHOLE_LINE = re.compile(r"\n.*\w.*\n")
_WORDS_BY_CHANCE = 2
"""So many words in a row are found in any two texts of one author."""


class Span(NamedTuple):
    """A part of the one text beside a part of the other; either may be empty, unless equal."""

    is_equal: bool
    a: range
    b: range


def differences(a: str, b: str) -> list[Span]:
    r"""Cut two texts into parts that are equal and parts that are not, by turns.

    A few words that happen to stand in both are no equal part: with them two texts that have
    nothing to do with each other would look like one that was corrected.

    >>> for span in differences("How now, my lord?", "How now, good my lord?"):
    ...     print(span)
    Span(is_equal=True, a=range(0, 9), b=range(0, 9))
    Span(is_equal=False, a=range(9, 9), b=range(9, 14))
    Span(is_equal=True, a=range(9, 17), b=range(14, 22))
    """
    a_ends, b_ends = _ends(a), _ends(b)
    a_pieces, b_pieces = (
        [text[i:j] for i, j in pairwise(ends)] for text, ends in ((a, a_ends), (b, b_ends))
    )
    spans: list[Span] = []
    a_done = b_done = 0
    for i, j, size in SequenceMatcher(None, a_pieces, b_pieces).get_matching_blocks():
        # the last one is empty and stands at both ends
        same_a = range(a_ends[i], a_ends[i + size])
        same_b = range(b_ends[j], b_ends[j + size])
        is_edge = (same_a.start, same_b.start) == (0, 0) or (
            (same_a.stop, same_b.stop) == (len(a), len(b))
        )
        if not is_edge and _is_chance(a[same_a.start : same_a.stop]):
            continue
        if (a_done, b_done) != (same_a.start, same_b.start):
            spans.append(Span(False, range(a_done, same_a.start), range(b_done, same_b.start)))
        if same_a:
            spans.append(Span(True, same_a, same_b))
        a_done, b_done = same_a.stop, same_b.stop
    return spans


def _ends(text: str) -> list[int]:
    """Where words, spaces and signs begin, and where the text ends."""
    return [0, *(match.end() for match in _PIECE.finditer(text))]


def _is_chance(text: str) -> bool:
    return len(re.findall(r"\w+", text)) <= _WORDS_BY_CHANCE and not _WHOLE_LINE.search(text)
