"""Keys and what they do, in two columns."""

from collections.abc import Sequence
from itertools import zip_longest

from textual.content import Content
from textual.geometry import Size
from textual.widgets import Static

KEY_CELLS = 17


class KeyTable(Static):
    """Wraps what a key does in a column of its own.

    One widget for all: one for each key and each meaning of the help took 0.17 s longer to appear.
    """

    DEFAULT_CSS = """
    KeyTable { text-wrap: nowrap; }
    """

    def __init__(self, rows: Sequence[tuple[str, str]], *, classes: str | None = None) -> None:
        super().__init__(classes=classes)
        self._rows = rows

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self._lines(width))

    def render(self) -> Content:
        return Content("\n").join(self._lines(self.size.width))

    def _lines(self, width: int) -> list[Content]:
        cells = min(KEY_CELLS, width // 2)
        lines = []
        for keys, meaning in self._rows:
            left = Content.styled(keys, "bold").wrap(max(cells - 1, 1))
            right = Content(meaning).wrap(max(width - cells, 1))
            for key, words in zip_longest(left, right, fillvalue=Content()):
                lines.append(key.truncate(cells, pad=True) + words)
        return lines
