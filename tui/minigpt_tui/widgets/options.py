"""A list to choose from."""

from typing import Literal

from textual.widgets import OptionList


class Options(OptionList):
    """Stays where it is when a page is to be turned and no room is left for a row.

    Textual's own list, which has laid out no rows then, would end the app with a KeyError.
    """

    def _move_page(self, direction: Literal[-1, 1]) -> None:
        if all(self.scrollable_content_region.size):
            super()._move_page(direction)
