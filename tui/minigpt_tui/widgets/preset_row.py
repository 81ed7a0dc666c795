"""The name of the preset in force, in the panel's heading; left and right go through them."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from textual import events
from textual.binding import Binding
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

TITLE = " Sampling "


class PresetRow(Widget, can_focus=True):
    """`Sampling      ◂ balanced* ▸`: the star says that a slider was moved since.

    It posts which preset was chosen; whoever applies it tells the row by `show`.
    """

    ALLOW_SELECT = False
    COMPONENT_CLASSES = {"preset-row--title", "preset-row--arrow", "preset-row--name"}
    DEFAULT_CSS = """
    PresetRow {
        height: 1;
        .preset-row--title { color: $secondary; text-style: bold; }
        .preset-row--arrow { color: $text-muted; }
        .preset-row--name { color: $foreground; }

        &:focus {
            .preset-row--title, .preset-row--arrow { color: $primary; text-style: bold; }
            .preset-row--name { color: $primary; text-style: bold; }
        }
    }
    """
    BINDINGS = [
        Binding("left", "choose(-1)", "Preset before", show=False, id="preset.previous"),
        Binding("right", "choose(1)", "Next preset", show=False, id="preset.next"),
        Binding(
            "enter,backspace", "choose(0)", "Same preset again", show=False, id="preset.restore"
        ),
    ]

    current: reactive[str] = reactive("")
    is_changed: reactive[bool] = reactive(False, bindings=True)

    @dataclass
    class Chosen(Message):
        """This preset is to be applied."""

        name: str

    def __init__(self, names: Sequence[str], current: str, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.names = tuple(names)
        self.set_reactive(PresetRow.current, current)

    @property
    def text(self) -> str:
        """The preset in words, as "balanced*"."""
        return self.current + "*" * self.is_changed

    def show(self, name: str, *, is_changed: bool) -> None:
        """Show which preset is in force."""
        self.current, self.is_changed = name, is_changed

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        # nothing to bring back: Enter is what it is on a slider
        return self.is_changed or (action, parameters) != ("choose", (0,))

    def action_choose(self, step: int) -> None:
        at = self.names.index(self.current) + step
        self.post_message(self.Chosen(self.names[at % len(self.names)]))

    def on_click(self, event: events.Click) -> None:
        """On the left arrow the one before, on the name and the right arrow the next."""
        name_x = self.size.width - self._name_cells - 2
        if event.x >= name_x - 3:  # an arrow is small: around it is good too
            self.action_choose(-1 if event.x < name_x else 1)

    @property
    def _name_cells(self) -> int:
        room = self.size.width - len(TITLE) - 4
        return max(min(cell_len(self.text), room), 0)

    def render_line(self, y: int) -> Strip:
        cells, name = self._name_cells, self.text
        if cells and cell_len(name) > cells:
            name = set_cell_size(name, cells - 1) + "…"
        title = "›" + TITLE[1:] if self.has_focus else TITLE
        gap = self.size.width - len(TITLE) - 4 - cells
        parts = (
            (title + " " * gap, "preset-row--title"),
            ("◂ ", "preset-row--arrow"),
            (set_cell_size(name, cells), "preset-row--name"),
            (" ▸", "preset-row--arrow"),
        )
        return Strip(
            Segment(text, self.get_component_rich_style(part)) for text, part in parts
        ).adjust_cell_length(self.size.width, self.rich_style)
