"""A slider in one row: its name, a track, and its value as text."""

from dataclasses import dataclass

from rich.segment import Segment
from textual import events
from textual.binding import Binding
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from minigpt_tui.widgets.scale import Scale

VALUE_CELLS = 5
COARSE = 10
FINE = 0.1


class Slider(Widget, can_focus=True):
    """A number to slide: keys, mouse or typed digits. Posts `Changed` for every new value."""

    ALLOW_SELECT = False
    COMPONENT_CLASSES = {
        "slider--label",
        "slider--filled",
        "slider--track",
        "slider--value",
        "slider--typing",
    }

    BINDINGS = [
        Binding("left", "step(-1)", "Less", show=False, id="slider.less"),
        Binding("right", "step(1)", "More", show=False, id="slider.more"),
        Binding("shift+left", "step(-0.1)", "A bit less", show=False, id="slider.less.fine"),
        Binding("shift+right", "step(0.1)", "A bit more", show=False, id="slider.more.fine"),
        Binding("ctrl+left", "step(-10)", "Much less", show=False, id="slider.less.coarse"),
        Binding("ctrl+right", "step(10)", "Much more", show=False, id="slider.more.coarse"),
        Binding("home", "set_low", "Lowest", show=False, id="slider.low"),
        Binding("end", "set_high", "Highest", show=False, id="slider.high"),
        Binding("backspace,delete", "erase", "Default", show=False, id="slider.default"),
        Binding("up", "app.focus_previous", "Slider above", show=False, id="slider.above"),
        Binding("down", "app.focus_next", "Slider below", show=False, id="slider.below"),
    ]

    value: reactive[float] = reactive(0.0)
    typed: reactive[str] = reactive("")
    """Digits that are not a value yet."""

    @dataclass
    class Changed(Message):
        """The value is another one now."""

        slider: "Slider"
        value: float

    def __init__(self, label: str, scale: Scale, *, label_cells: int, id: str) -> None:
        super().__init__(id=id)
        self.scale = scale
        self._label = label
        self._label_cells = label_cells
        self.set_reactive(Slider.value, scale.default)

    def watch_value(self, value: float) -> None:
        self.post_message(self.Changed(self, value))

    def set_to(self, value: float) -> None:
        """Take over a value as far as it is accepted."""
        self.typed = ""
        self.value = self.scale.clamped(value)

    def reset(self) -> None:
        """Back to the default."""
        self.set_to(self.scale.default)

    def action_step(self, n_steps: float) -> None:
        self._accept_typed()
        self.set_to(self.scale.stepped(self.value, n_steps))

    def action_set_low(self) -> None:
        self.set_to(self.scale.low)

    def action_set_high(self) -> None:
        self.set_to(self.scale.high)

    def action_erase(self) -> None:
        if self.typed:
            self.typed = self.typed[:-1]
        else:
            self.reset()

    def on_key(self, event: events.Key) -> None:
        if event.character and event.character in ".,0123456789":
            self.typed = (self.typed + event.character.replace(",", "."))[:VALUE_CELLS]
        elif event.key == "enter" and self.typed:
            self._accept_typed()
        elif event.key == "escape" and self.typed:
            self.typed = ""
        else:
            return
        event.stop()
        event.prevent_default()

    def on_blur(self) -> None:
        self._accept_typed()

    def _accept_typed(self) -> None:
        try:
            self.set_to(float(self.typed))
        except ValueError:  # nothing, or a lone dot
            self.typed = ""

    def on_mouse_down(self, event: events.MouseDown) -> None:
        if event.button == 1 and self._is_on_track(event):
            self.capture_mouse()
            self._slide_to(event)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self.app.mouse_captured is self:
            self._slide_to(event)

    def on_mouse_up(self) -> None:
        self.release_mouse()

    def on_click(self, event: events.Click) -> None:
        if event.chain == 2:
            self.reset()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._scroll_by(event, 1)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._scroll_by(event, -1)

    def _scroll_by(self, event: events.MouseEvent, n_steps: int) -> None:
        # without the focus the wheel is meant for the page
        if self.has_focus:
            self.action_step(n_steps)
            event.stop()
            event.prevent_default()

    @property
    def _track_cells(self) -> int:
        return max(self.size.width - self._label_cells - VALUE_CELLS - 2, 0)

    def _is_on_track(self, event: events.MouseEvent) -> bool:
        x = event.get_content_offset_capture(self).x - self._label_cells
        return 0 <= x < self._track_cells + 1

    def _slide_to(self, event: events.MouseEvent) -> None:
        if cells := self._track_cells:
            x = event.get_content_offset_capture(self).x - self._label_cells
            # the first cell is the lowest value, the last cell the highest
            self.set_to(self.scale.at(x / max(cells - 1, 1)))

    def render_line(self, y: int) -> Strip:
        cells = self._track_cells
        halves = round(self.scale.fraction(self.value) * cells * 2)
        filled = "━" * (halves // 2) + "╸" * (halves % 2)
        if self.typed:
            value = Segment(
                f"{self.typed + '▏':>{VALUE_CELLS + 1}}",
                self.get_component_rich_style("slider--typing"),
            )
        else:
            value = Segment(
                f" {self.scale.format(self.value):>{VALUE_CELLS}}",
                self.get_component_rich_style("slider--value"),
            )
        mark = "›" if self.has_focus else " "
        label = f"{mark}{self._label:<{self._label_cells - 1}}"[: self._label_cells]
        return Strip(
            [
                Segment(label, self.get_component_rich_style("slider--label")),
                Segment(filled, self.get_component_rich_style("slider--filled")),
                Segment(
                    "─" * (cells - len(filled)), self.get_component_rich_style("slider--track")
                ),
                Segment(" ", self.rich_style),
                value,
            ]
        ).adjust_cell_length(self.size.width, self.rich_style)
