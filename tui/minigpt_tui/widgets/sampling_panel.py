"""The settings of the draw: a slider for every parameter, a field for the seed."""

import random
from dataclasses import replace

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.widgets import Input, Static

from minigpt.errors import InputError
from minigpt.runtime.params import KNOBS, SamplingParams
from minigpt.terminal import printable
from minigpt_tui.messages import ParamsChanged
from minigpt_tui.protocol import Opened
from minigpt_tui.widgets.scale import Scale
from minigpt_tui.widgets.slider import Slider

LABEL_CELLS = 13
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
HINT = "Tab to a slider: ← → slide it while the model writes, digits set it."


class SamplingPanel(VerticalScroll, can_focus=False):
    """Holds the newest SamplingParams and posts ParamsChanged for each new one."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.params = DEFAULTS

    def compose(self) -> ComposeResult:
        yield Static("Sampling", classes="heading")
        for name, scale in SLIDERS.items():
            label = SHORT_NAMES.get(name, name.replace("_", "-"))
            yield Slider(label, scale, label_cells=LABEL_CELLS, id=name.replace("_", "-"))
        with Horizontal(id="seed-row"):
            yield Static(" seed", id="seed-label")
            yield Input(
                str(DEFAULTS.seed), restrict=r"\d*", max_length=20, compact=True, id="seed",
                select_on_focus=True,
            )  # fmt: skip
            yield Static("^R new", id="seed-hint")
        yield Static(HINT, id="hint", markup=False)
        yield Static("Model", classes="heading")
        yield Static("", id="facts", markup=False)

    def show_model(self, model: Opened) -> None:
        """Say what is known of the model."""
        self.query_one("#facts", Static).update(_facts(model))

    def reset(self) -> None:
        """Everything but the seed back to its default."""
        for slider in self.query(Slider):
            slider.reset()

    def new_seed(self) -> int:
        """Draw another seed from the range that the parameter suggests."""
        knob = KNOBS["seed"]
        seed = random.randint(int(knob.low), int(knob.high))
        self.query_one("#seed", Input).value = str(seed)
        return seed

    @on(Slider.Changed)
    def _take_slider(self, message: Slider.Changed) -> None:
        message.stop()
        name = str(message.slider.id).replace("-", "_")
        value = int(message.value) if SLIDERS[name].is_integer else message.value
        self._take(**{name: value})

    @on(Input.Changed, "#seed")
    def _take_seed(self, message: Input.Changed) -> None:
        message.stop()
        try:
            self._take(seed=int(message.value))
        except (ValueError, InputError):
            return  # half typed, or too large: the last good seed stays

    @on(Input.Submitted, "#seed")
    @on(Input.Blurred, "#seed")
    def _show_seed(self, message: Input.Submitted | Input.Blurred) -> None:
        """The seed that counts, which is not what was typed if that was too large."""
        message.stop()
        message.input.value = str(self.params.seed)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        name = str(event.widget.id).replace("-", "_")
        if name in KNOBS:
            self.query_one("#hint", Static).update(KNOBS[name].help)

    def on_descendant_blur(self) -> None:
        self.query_one("#hint", Static).update(HINT)

    def _take(self, **change: float) -> None:
        params = replace(self.params, **change)  # type: ignore[arg-type]
        if params != self.params:
            self.params = params
            self.post_message(ParamsChanged(params))


def _facts(model: Opened) -> str:
    card, config = model.card, model.config
    rows = (
        ("corpus", card.corpus),
        ("", f"{card.corpus_chars:,} characters"),
        ("layers", f"{config.n_layer} × {config.n_embd}, {config.arch}"),
        ("window", f"{config.block_size} tokens"),
        ("trained", f"{card.steps:,} steps"),
        ("loss", f"{card.val_loss:.3f} (validation)"),
    )
    lines = (f" {name:<8}{value}".replace("\n", " ") for name, value in rows)
    return printable("\n".join(lines))
