"""Characters as things to point at, and bars of block characters. No Textual here."""

from minigpt.terminal import printable

_MARKS = {"\n": "↵", "\t": "⇥"}
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def visible(text: str, *, space: str = "␣") -> str:
    r"""Safe to show on one line, with what takes no ink as a symbol of one cell.

    >>> visible("Ay me!\n\tO"), visible("Ay me!", space=" ")
    ('Ay␣me!↵⇥O', 'Ay me!')
    """
    marks = {**_MARKS, " ": space}
    return "".join(marks.get(char) or printable(char) for char in text)


def bar(cells: float) -> str:
    """A bar so many cells long, to an eighth of a cell.

    >>> bar(2.5), bar(0.0)
    ('██▌', '')
    """
    eighths = int(cells * 8)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
