"""Where the rows of a long text begin, kept up to date as the text grows.

Cells are what a terminal counts: a Chinese character takes two, a tab reaches to the next stop.
"""

from bisect import bisect_right

from rich.cells import get_character_cell_size

from minigpt.terminal import printable

TAB_CELLS = 4


class Wrapping:
    r"""The rows of a text at a width. A row breaks after its last space, or where it must.

    The spaces at which a row breaks belong to it, even where they no longer fit.

    >>> rows = Wrapping(8)
    >>> rows.extend("to be or not\nto be")
    >>> rows.starts
    [0, 9, 13]
    """

    def __init__(self, width: int) -> None:
        self.width = max(width, 1)
        self.starts = [0]
        """The index of each row's first character; there is always a row."""
        self._length = 0

    def __len__(self) -> int:
        return len(self.starts)

    def extend(self, text: str) -> None:
        """Take in a text that has grown at its end: only its last row is wrapped again."""
        at = self.starts.pop()
        while (newline := text.find("\n", at)) >= 0:
            self._wrap_line(text, at, newline)
            at = newline + 1
        self._wrap_line(text, at, len(text))
        self._length = len(text)

    def span(self, row: int) -> tuple[int, int]:
        """The first character of a row and the first one after it."""
        end = self.starts[row + 1] if row + 1 < len(self.starts) else self._length
        return self.starts[row], end

    def row_of(self, index: int) -> int:
        """The row that a character is in."""
        return bisect_right(self.starts, index) - 1

    def _wrap_line(self, text: str, start: int, end: int) -> None:
        """Add the rows of a line without its newline."""
        self.starts.append(start)
        # Half of a resize's time goes here, so the common line is not walked through:
        # short and of one cell a character (a tab is below the space).
        if end - start <= self.width:
            line = text[start:end]
            if line.isascii() and "\t" not in line:
                return
        cells = 0
        word = start  # where the word under way began
        for i in range(start, end):
            char = text[i]
            if char == " ":
                cells += 1
                word = i + 1
                continue
            size = cell_size(char, cells)
            if cells + size > self.width and word > self.starts[-1]:
                self.starts.append(word)
                cells = sum(cell_size(c, 0) for c in text[word:i])  # no tab is inside a word
            # a word that is longer than a row breaks where it must
            if cells + cell_size(char, cells) > self.width and i > self.starts[-1]:
                self.starts.append(i)
                cells = 0
            size = cell_size(char, cells)
            cells += size
            if char == "\t":
                word = i + 1


def expanded(text: str, column: int) -> tuple[str, int]:
    """A piece of a row as it is shown when it begins at a column, and the column after it."""
    if text.isascii() and text.isprintable():
        return text, column + len(text)
    shown = []
    for char in text:
        size = cell_size(char, column)
        shown.append(" " * size if char == "\t" else char)
        column += size
    return printable("".join(shown)), column


def cell_size(char: str, column: int) -> int:
    """The cells that a character takes when it begins at a column."""
    if char == "\t":
        return TAB_CELLS - column % TAB_CELLS
    # control characters are shown as a symbol of one cell
    return 1 if char < "\x7f" else get_character_cell_size(char) or _zero(char)


def _zero(char: str) -> int:
    """Marks that join the character before take no cell; other nothings are shown as one."""
    return 1 if "\x7f" <= char < "\xa0" else 0
