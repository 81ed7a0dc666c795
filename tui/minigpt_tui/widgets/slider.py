"""A slider in one row: its name, a track with a knob, and its value as text."""

from dataclasses import dataclass

from rich.segment import Segment
from textual import events
from textual.binding import Binding
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from minigpt_tui.pace import NOTICE_S
from minigpt_tui.widgets.scale import VALUE_CELLS, Scale

COARSE = 10
FINE = 0.1


class Slider(Widget, can_focus=True):
    """A number to slide: keys, mouse or typed digits. Posts `Changed` for every new value."""

    ALLOW_SELECT = False
    COMPONENT_CLASSES = {
        "slider--label",
        "slider--filled",
        "slider--knob",
        "slider--track",
        "slider--value",
        "slider--typing",
    }
    DEFAULT_CSS = """
    Slider {
        height: 1;
        .slider--label { color: $foreground; }
        .slider--filled { color: $secondary; }
        .slider--knob { color: $secondary; text-style: bold; }
        .slider--track { color: $foreground 30%; }
        .slider--value { color: $foreground; }
        .slider--typing { color: $primary; text-style: bold; }

        &:focus {
            .slider--label { color: $primary; text-style: bold; }
            .slider--filled { color: $primary; }
            .slider--knob { color: $primary; }
            .slider--value { color: $primary; text-style: bold; }
        }
    }
    """

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

    @property
    def text(self) -> str:
        """Name and value in words, as "temperature 0.8"."""
        value = self.scale.format(self.value)
        return f"{self._label} {value.removesuffix('0') if '.' in value else value}"

    @property
    def is_default(self) -> bool:
        """Whether the value is the one that Backspace restores."""
        return self.value == self.scale.default

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
            self._type(event.character.replace(",", "."))
        elif event.character == "-" and not self.typed:
            self._type("-")
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

    def _type(self, character: str) -> None:
        self.typed = (self.typed + character)[:VALUE_CELLS]

    def _accept_typed(self) -> None:
        """Take over what was typed, as far as it is accepted; say so if it is not."""
        typed, self.typed = self.typed, ""
        if not typed:
            return
        try:
            value = float(typed)
        except ValueError:  # as 1.2.3, or a lone dot
            self._tell(f"{self._label} must be a number, not {typed}")
            return
        self.set_to(value)
        if not self.scale.accepts(value):
            self._tell(
                f"{self._label} cannot be {typed}; it is {self.scale.format(self.value)} now"
            )

    def _tell(self, sentence: str) -> None:
        self.notify(sentence, severity="error", timeout=NOTICE_S, markup=False)

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

    def _scroll_by(self, event: events.MouseEvent, direction: int) -> None:
        # without the focus the wheel is meant for the page
        if self.has_focus:
            self.action_step(direction * (FINE if event.shift else COARSE if event.ctrl else 1))
            event.stop()
            event.prevent_default()

    @property
    def _value_cells(self) -> int:
        return min(VALUE_CELLS + 1, self.size.width)

    @property
    def _name_cells(self) -> int:
        """Where there is no room for both, the name is cut, never the value."""
        return min(self._label_cells, self.size.width - self._value_cells)

    @property
    def _track_cells(self) -> int:
        return max(self.size.width - self._name_cells - self._value_cells - 1, 0)

    def _is_on_track(self, event: events.MouseEvent) -> bool:
        x = event.get_content_offset_capture(self).x - self._name_cells
        return 0 <= x < self._track_cells + 1

    def _slide_to(self, event: events.MouseEvent) -> None:
        if cells := self._track_cells:
            x = event.get_content_offset_capture(self).x - self._name_cells
            # the first cell is the lowest value, the last cell the highest
            self.set_to(self.scale.at(x / max(cells - 1, 1)))

    def render_line(self, y: int) -> Strip:
        focus = "›" if self.has_focus else " "
        name = f"{focus}{self._label:<{self._label_cells - 1}}"[: self._name_cells]
        value, style = self.scale.format(self.value), "slider--value"
        if self.typed:
            value, style = f"{self.typed}▏", "slider--typing"
        rest = self.size.width - self._name_cells - self._track_cells
        parts = [
            (name, "slider--label"),
            *self._track(),
            (f"{value:>{rest}}"[:rest], style),
        ]
        return Strip(
            Segment(text, self.get_component_rich_style(part)) for text, part in parts if text
        )

    def _track(self) -> list[tuple[str, str]]:
        """The track's pieces, each with its style: `━━━●───`, between two cells `━━━●╾──`.

        Where the value is beyond the end of the scale, the knob is an arrow.
        """
        cells = self._track_cells
        if not cells:
            return []
        halves = round(self.scale.fraction(self.value) * (cells - 1) * 2)
        at, half = divmod(halves, 2)
        return [
            ("━" * at, "slider--filled"),
            ("▶" if self.value > self.scale.high else "●", "slider--knob"),
            ("╾" * half, "slider--filled"),
            ("─" * (cells - 1 - at - half), "slider--track"),
        ]
