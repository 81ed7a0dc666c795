"""Characters as things to point at, bars of block characters, cut texts. No Textual here."""

import math
import unicodedata
from collections.abc import Iterable

from rich.cells import cell_len, set_cell_size

from minigpt.terminal import printable

_MARKS = {"\n": "↵", "\t": "⇥"}
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def visible(text: str, *, space: str = "␣") -> str:
    r"""Safe to show on one line, with what takes no ink as a symbol of one cell.

    >>> visible("Ay me!\n\tO"), visible("Ay me!", space=" ")
    ('Ay␣me!↵⇥O', 'Ay me!')

    What takes ink only with its neighbours is marked where it has none: an accent, what joins two
    emoji, a space that does not break.

    >>> visible("\u0301"), visible("\u200d"), visible("\u00a0"), visible("e\u0301") == "e\u0301"
    ('◌́', '�', '⍽', True)
    """
    marks = {**_MARKS, " ": space}
    if len(text) == 1 and text not in marks:
        marks[text] = _alone(text)
    return "".join(marks.get(char) or printable(char) for char in text)


def _alone(char: str) -> str:
    match unicodedata.category(char):
        case "Mn" | "Me" | "Mc":
            on_circle = f"◌{char}"
            # a sign that says how wide the one before it is makes the circle wide
            return on_circle if cell_len(on_circle) == 1 else "�"
        case "Zs":
            return "⍽"
        case "Cf" | "Zl" | "Zp":
            return "�"
        case _:
            shown = printable(char)
            return shown if cell_len(shown) else "�"  # the later jamo of a syllable


def biased(biases: Iterable[tuple[int, float]], chars: str) -> str:
    """Which tokens are banned, and favoured by how much; by number if their vocabulary is unknown.

    >>> biased(((0, float("-inf")), (2, float("-inf")), (1, 2)), "e Q"), biased(((7, -1.5),), "")
    ('no e Q · ␣ +2', '#7 -1.5')
    """
    names = [(visible(chars[id]) if id < len(chars) else f"#{id}", bias) for id, bias in biases]
    banned = " ".join(name for name, bias in names if bias == -math.inf)
    favoured = [f"{name} {bias:+g}" for name, bias in names if bias != -math.inf]
    return " · ".join(([f"no {banned}"] if banned else []) + favoured)


def bar(cells: float) -> str:
    """A bar so many cells long, to an eighth of a cell.

    >>> bar(2.5), bar(0.0)
    ('██▌', '')
    """
    eighths = int(cells * 8)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def cut(text: str, n_cells: int, *, end: str = "") -> str:
    """A text that takes at most so many cells; where there is room, an `end` that it has stays.

    >>> [cut("ROMEO: But soft! (copy)", 16, end=end) for end in ("", " (copy)")]
    ['ROMEO: But soft…', 'ROMEO: B… (copy)']
    """
    if cell_len(text) <= n_cells:
        return text
    end = end if text.endswith(end) and n_cells >= 2 * cell_len(end) else ""
    return f"{set_cell_size(text, max(n_cells - 1 - cell_len(end), 0))}…{end}"
