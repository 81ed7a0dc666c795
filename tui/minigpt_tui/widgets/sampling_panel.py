"""The settings of the draw: the preset, a slider for every parameter, a field for the seed."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, Static

from minigpt.errors import InputError
from minigpt.runtime.params import KNOBS, SamplingParams, change
from minigpt_tui import presets
from minigpt_tui.messages import ParamsChanged
from minigpt_tui.pace import NOTICE_S
from minigpt_tui.preferences import choice
from minigpt_tui.widgets.in_turn import Line
from minigpt_tui.widgets.more_row import MoreRow
from minigpt_tui.widgets.preset_row import PresetRow
from minigpt_tui.widgets.scale import Scale
from minigpt_tui.widgets.slider import Slider

LABEL_CELLS = 13
SENTENCE_CHARS = 100
SHORT_NAMES = {
    "repetition_penalty": "repetition",
    "presence_penalty": "presence",
    "frequency_penalty": "frequency",
    "no_repeat_ngram": "no repeat",
    "mirostat_rate": "miro rate",
    "max_new_tokens": "max tokens",
}
"""Where a flag's own name would leave the track no room."""
DEFAULTS = SamplingParams()
SLIDERS = {
    name: Scale(
        low=knob.low,
        high=knob.high,
        step=knob.step,
        default=getattr(DEFAULTS, name),
        limit=knob.limit,
        is_integer=isinstance(getattr(DEFAULTS, name), int),
    )
    for name, knob in KNOBS.items()
    if name != "seed"
}
"""A parameter that SamplingParams gains has its slider here at once."""
MAIN = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
"""Always in sight; the others are behind a row, and named there when they are not at rest."""


class SamplingPanel(VerticalScroll, can_focus=False):
    """Holds the newest SamplingParams and posts ParamsChanged for each new one."""

    DEFAULT_CSS = """
    SamplingPanel {
        #seed-row { height: 1; }
        #seed-row:focus-within #seed-label { color: $primary; text-style: bold; }
        #seed-label { width: 13; }
        #seed { width: 1fr; background: $panel; }
        #seed-hint { width: auto; padding: 0 0 0 1; color: $text-muted; }
        #more-sliders { height: auto; display: none; }
        &.-more #more-sliders { display: block; }
    }
    """
    BINDINGS = [
        Binding("up", "app.focus_previous", "Row above", show=False, id="sampling.above"),
        Binding("down", "app.focus_next", "Row below", show=False, id="sampling.below"),
    ]

    @dataclass
    class Explained(Message):
        """What the focused slider is for; nothing, if none has the focus."""

        help: str

    @dataclass
    class PresetSaved(Message):
        """The user has made a preset; these are its changes."""

        name: str
        changes: presets.Changes

    def __init__(
        self,
        *,
        defaults: SamplingParams = DEFAULTS,
        own_presets: Mapping[str, presets.Changes] | None = None,
        seed_hint: str = "",
        id: str | None = None,
    ) -> None:
        """Make the panel.

        Args:
            defaults: what it begins with, and what Backspace restores.
            own_presets: the user's, in the row after the built-in ones.
            seed_hint: how to get another seed.
            id: of the widget.
        """
        super().__init__(id=id)
        self._seed_hint = seed_hint
        self.params = defaults
        self._defaults = defaults
        self.presets = {**presets.PRESETS, **(own_presets or {})}
        """By name, the user's own behind the built-in ones."""

    def compose(self) -> ComposeResult:
        yield PresetRow(tuple(self.presets), presets.BALANCED, id="preset")
        for name in MAIN:
            yield self._slider(name)
        with Horizontal(id="seed-row"):
            yield Static(" seed", id="seed-label")
            yield Line(
                str(self.params.seed), restrict=r"-?\d*", compact=True, id="seed",
                select_on_focus=True,
            )  # fmt: skip
            yield Static(self._seed_hint, id="seed-hint", markup=False)
        yield MoreRow(id="more")
        with Vertical(id="more-sliders"):
            for name in SLIDERS:
                if name not in MAIN:
                    yield self._slider(name)

    def on_mount(self) -> None:
        self._show_rows()

    def on_resize(self) -> None:
        self._fit_seed()

    def _fit_seed(self) -> None:
        """Let the hint make room for a long seed, which would look like another one."""
        hint, seed = self.query_one("#seed-hint"), self.query_one("#seed", Input)
        label, row = self.query_one("#seed-label"), self.query_one("#seed-row")
        if row.size.width:  # else it is not laid out yet
            room = row.size.width - label.size.width - len(self._seed_hint) - 1
            hint.display = len(seed.value) < room  # the cursor takes one

    def _slider(self, name: str) -> Slider:
        label = SHORT_NAMES.get(name, name.replace("_", "-"))
        scale = replace(SLIDERS[name], default=getattr(self._defaults, name))
        slider = Slider(label, scale, label_cells=LABEL_CELLS, id=name.replace("_", "-"))
        slider.tooltip = KNOBS[name].help
        return slider

    def take(self, params: SamplingParams) -> None:
        """Show other settings, and post them once."""
        for slider in self.query(Slider):
            with slider.prevent(Slider.Changed):
                slider.set_to(getattr(params, _parameter(slider)))
        seed = self.query_one("#seed", Input)
        with seed.prevent(Input.Changed):
            seed.value = str(params.seed)
        self._fit_seed()
        self._take(params)

    def reset(self) -> None:
        """Everything but the seed back to its default; nothing is banned or favoured any more."""
        self.take(replace(self._defaults, seed=self.params.seed, logit_bias=()))

    def unban(self) -> None:
        """Nothing is banned or favoured any more."""
        self.take(replace(self.params, logit_bias=()))

    def keep_as_defaults(self) -> None:
        """Let Backspace and `reset` go back to what is set now."""
        self._defaults = self.params
        for slider in self.query(Slider):
            slider.scale = replace(slider.scale, default=slider.value)
        self._show_rows()

    def choose_preset(self, name: str) -> None:
        """Apply a preset.

        Raises:
            InputError: there is none of that name.
        """
        choice("preset", name, self.presets)
        self.query_one(PresetRow).current = name
        self.take(presets.apply(self.params, self.presets[name]))

    def save_preset(self, name: str) -> None:
        """Make a preset of the settings, or another one of that name; posts PresetSaved.

        Raises:
            InputError: the name is not one for a preset.
        """
        name = presets.preset_name(name)
        self.presets[name] = presets.changes_of(self.params)
        row = self.query_one(PresetRow)
        row.names = tuple(self.presets)
        row.current = name
        self._show_rows()
        self.post_message(self.PresetSaved(name, self.presets[name]))

    def forget_preset(self, name: str) -> None:
        """Have a preset no more; the settings stay.

        Raises:
            InputError: it is built in, or there is none of that name.
        """
        choice("preset", name, self.presets)
        if name in presets.PRESETS:
            raise InputError(f"the preset {name!r} is built in; only your own can be forgotten")
        del self.presets[name]
        row = self.query_one(PresetRow)
        row.names = tuple(self.presets)
        if row.current == name:
            row.current = presets.BALANCED  # changed, or another one's name, says the next line
        self._show_rows()

    def new_seed(self) -> int:
        """Draw another seed from the range that the parameter suggests."""
        knob = KNOBS["seed"]
        seed = random.randint(int(knob.low), int(knob.high))
        self.query_one("#seed", Input).value = str(seed)
        return seed

    @on(Slider.Changed)
    def _take_slider(self, message: Slider.Changed) -> None:
        message.stop()
        name = _parameter(message.slider)
        value = message.slider.value  # not the message's: a preset may have come in between
        change: dict[str, Any] = {name: int(value) if SLIDERS[name].is_integer else value}
        self._take(replace(self.params, **change))

    @on(PresetRow.Chosen)
    def _take_preset(self, message: PresetRow.Chosen) -> None:
        message.stop()
        self.choose_preset(message.name)

    @on(MoreRow.Toggled)
    def _show_more(self, message: MoreRow.Toggled) -> None:
        message.stop()
        self.set_class(message.is_open, "-more")

    @on(Input.Changed, "#seed")
    def _take_seed(self, message: Input.Changed) -> None:
        message.stop()
        self._fit_seed()
        try:
            self._take(replace(self.params, seed=int(message.input.value)))
        except (ValueError, InputError):
            return  # half typed, or none: the last good seed stays

    @on(Input.Submitted, "#seed")
    @on(Input.Blurred, "#seed")
    def _show_seed(self, message: Input.Submitted | Input.Blurred) -> None:
        """The seed that counts, which is not what was typed if that is none."""
        message.stop()
        if typed := message.input.value:
            try:
                change(self.params, [f"seed={typed}"])
            except InputError as error:
                sentence = str(error)[:SENTENCE_CHARS]  # of thousands of digits
                self.notify(sentence, severity="error", timeout=NOTICE_S, markup=False)
        message.input.value = str(self.params.seed)

    @on(events.DescendantFocus)
    @on(events.DescendantBlur)
    def _explain_focused(self) -> None:
        # not the event's widget: one's blur may come after the next one's focus
        name = _parameter(self.screen.focused)
        self.post_message(self.Explained(KNOBS[name].help if name in KNOBS else ""))

    def _take(self, params: SamplingParams) -> None:
        if params != self.params:
            self.params = params
            self.post_message(ParamsChanged(params))
        self._show_rows()

    def _show_rows(self) -> None:
        """Name what is in force: the preset, and what was changed out of sight."""
        row = self.query_one(PresetRow)
        if presets.apply(self.params, self.presets[row.current]) == self.params:
            row.show(row.current, is_changed=False)
        else:
            name = presets.find(self.params, self.presets)
            row.show(name or row.current, is_changed=name is None)
        self.query_one(MoreRow).changed = [
            slider.text for slider in self.query("#more-sliders Slider").results(Slider)
            if not slider.is_default
        ]  # fmt: skip


def _parameter(widget: Widget | None) -> str:
    """The parameter that a widget is for, if it is for one."""
    return str(widget.id).replace("-", "_") if widget else ""
