"""One of two texts beside each other: who writes it, the text, its own sliders."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message

from minigpt.runtime.params import SamplingParams
from minigpt_tui.glyphs import biased
from minigpt_tui.keeper import Keeper
from minigpt_tui.messages import ParamsChanged
from minigpt_tui.parting import Parting
from minigpt_tui.presets import Changes
from minigpt_tui.protocol import Opened
from minigpt_tui.surprise import Tally
from minigpt_tui.widgets.pane_header import Heading, PaneHeader
from minigpt_tui.widgets.sampling_panel import SHORT_NAMES, SLIDERS, SamplingPanel
from minigpt_tui.widgets.token_view import Shading, TokenView
from minigpt_tui.writer import Notice, Writer


class Pane(Vertical):
    """A Writer and all that shows it."""

    DEFAULT_CSS = """
    Pane {
        width: 1fr;
        height: 1fr;
        .pane--same { color: $text-muted; }
        .pane--parted { color: $accent; text-style: bold reverse underline; }
    }
    Pane TokenView {
        height: 1fr;
        padding: 0 0 0 1;
        background: $background;
        overflow-x: hidden;
        overflow-y: scroll;
        scrollbar-size-vertical: 1;
    }
    Pane SamplingPanel {
        height: auto;
        max-height: 6;
        padding: 0 1 0 0;
        background: $surface;
        scrollbar-size: 0 0;  /* it would touch the values */
    }
    """
    COMPONENT_CLASSES = {"pane--same", "pane--parted"}

    @dataclass
    class Changed(Message):
        """The settings are other ones now."""

        pane: "Pane"

    @dataclass
    class HeaderClicked(Message):
        """The user wants another model here."""

        pane: "Pane"

    def __init__(
        self,
        letter: str,
        writer: Writer,
        params: SamplingParams,
        presets: Mapping[str, Changes],
        keeper: Keeper,
    ) -> None:
        super().__init__(id=letter.lower())
        self.letter = letter
        self.writer = writer
        self.keeper = keeper
        """Keeps all that is written here as one session, each text as a branch."""
        self._first_params = params
        self._written_with: SamplingParams | None = None
        self._presets = presets
        self._tally = Tally(self.writer.document)

    def compose(self) -> ComposeResult:
        yield PaneHeader(self.letter)
        yield TokenView(self.writer.document)
        yield SamplingPanel(own_presets=self._presets)

    def on_mount(self) -> None:
        self.panel.take(self._first_params)

    @property
    def view(self) -> TokenView:
        """The text as it is shown."""
        return self.query_one(TokenView)

    @property
    def panel(self) -> SamplingPanel:
        """The sliders."""
        return self.query_one(SamplingPanel)

    @property
    def params(self) -> SamplingParams:
        """The settings as they are now."""
        return self.panel.params

    @property
    def text_params(self) -> SamplingParams:
        """Those that the text was written with; before there is one, the settings as they are."""
        return self._written_with or self.params

    @property
    def text(self) -> str:
        """What is written."""
        return self.writer.document.text

    def write(self, text: str) -> None:
        """Begin anew with `text`."""
        self.writer.stop()
        self.writer.document.rewind(0)
        self.writer.write(text, self.params)
        self._written_with = self.params
        self.view.shade(None)
        self.view.release()
        self.view.follow()

    def hear(self) -> list[Notice]:
        """Take in what the engine has said."""
        before = self.writer.model
        notices = self.writer.hear()
        now = self.writer.model
        if before and now and before.chars != now.chars:
            self.panel.unban()  # ids are of one vocabulary
        return notices

    def take_settings(self, other: "Pane") -> None:
        """Have the settings of another one."""
        mine, others = self.writer.model, other.writer.model
        is_alike = mine and others and mine.chars == others.chars
        bias = other.params.logit_bias if is_alike else ()
        self.panel.take(replace(other.params, logit_bias=bias))

    def show_text(self) -> None:
        """Show what has been written since."""
        self.view.sync(window=self.writer.gauge.window, is_writing=self.writer.is_running)

    def mark(self, parting: Parting) -> None:
        """Show where the two texts part: what is before is dim, what comes first stands out."""
        document = self.writer.document
        styles = tuple(map(self.get_component_rich_style, ("pane--same", "pane--parted")))

        def level(index: int) -> int | None:
            if index < parting.common:
                return 0
            return 1 if parting.is_mark(document.text, index) else None

        self.view.shade(Shading(styles, level))

    def show_heading(self, other: "Pane", *, is_chosen: bool) -> None:
        """Say what goes on, and what is not as in the other pane."""
        self._tally.read()
        mine, others = self.writer.model, other.writer.model
        self.query_one(PaneHeader).heading = Heading(
            self.letter,
            _name(mine, others),
            self._author(mine) + _model_traits(mine, others) + self._text_traits(other),
            self.writer.state,
            self.writer.gauge.tokens_per_s,
            self._tally.written.bits_per_char,
            is_chosen,
        )

    def _author(self, model: Opened | None) -> tuple[str, ...]:
        """Who wrote the text, where that is not the model that is open now."""
        runs = self.writer.document.runs
        author = runs[-1].other_author(model) if model and runs else ""
        return (f"text by {author}",) if author else ()

    def _text_traits(self, other: "Pane") -> tuple[str, ...]:
        """Settings that the text was written with; "was" says that one is another by now."""
        model = self.writer.model
        chars = model.chars if model and not self._author(model) else ""
        moved = _setting_traits(self.text_params, self.params, chars)
        traits = _setting_traits(self.text_params, other.text_params, chars)
        return tuple(f"was {trait}" if trait in moved else trait for trait in traits)

    @on(ParamsChanged)
    def _change(self, message: ParamsChanged) -> None:
        message.stop()
        self.writer.change(message.params)
        if self.writer.is_running:
            self._written_with = message.params
        self.post_message(self.Changed(self))

    @on(events.Click, "PaneHeader")
    def _ask_for_model(self) -> None:
        self.post_message(self.HeaderClicked(self))


def _name(model: Opened | None, other: Opened | None) -> str:
    """What to call a model: of two checkpoints of a run only the files have two names."""
    if model is None:
        return ""
    if other is None or other.checksum == model.checksum or other.card.name != model.card.name:
        return model.card.name
    if other.path.stem != model.path.stem:
        return model.path.stem
    return f"{model.path.parent.name}/{model.path.stem}"


def _model_traits(model: Opened | None, other: Opened | None) -> tuple[str, ...]:
    if model is None or other is None or model.checksum == other.checksum:
        return ()
    card, others = model.card, other.card
    traits = (
        card.precision if card.precision != others.precision else "",
        f"{card.steps:,} steps" if card.steps != others.steps else "",
        f"loss {card.val_loss:.2f}",
    )
    return tuple(filter(None, traits))


def _setting_traits(params: SamplingParams, other: SamplingParams, chars: str) -> tuple[str, ...]:
    """Each setting that is not the same in both; the seed is."""
    traits = []
    for name, scale in SLIDERS.items():
        if (value := getattr(params, name)) != getattr(other, name):
            traits.append(f"{SHORT_NAMES.get(name, name.replace('_', '-'))} {scale.format(value)}")
    if params.logit_bias != other.logit_bias:
        traits.append(biased(params.logit_bias, chars) or "no bans")
    return tuple(traits)
