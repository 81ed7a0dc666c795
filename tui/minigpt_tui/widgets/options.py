"""A list to choose from."""

from typing import Literal

from textual.geometry import Size
from textual.widgets import OptionList


class Options(OptionList):
    """Bears having no room, where Textual's own list would end the app.

    It would wrap its rows at a width of no cells, and turn a page of rows that it has not laid out.
    """

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return super().get_content_height(container, viewport, max(width, self._beside + 1))

    def _update_lines(self) -> None:
        if self._has_room:
            super()._update_lines()

    def _move_page(self, direction: Literal[-1, 1]) -> None:
        if self._has_room:
            super()._move_page(direction)

    @property
    def _beside(self) -> int:
        """Cells beside the words of a row."""
        return self.get_component_styles("option-list--option").padding.width

    @property
    def _has_room(self) -> bool:
        room = self.scrollable_content_region
        return room.height > 0 and room.width > self._beside
