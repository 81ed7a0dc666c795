"""Beside the text: the sliders, and below them what the model thinks where the gaze rests."""

from collections.abc import Mapping

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical

from minigpt.errors import InputError
from minigpt.runtime.params import SamplingParams
from minigpt_tui.candidates import Place, think, with_bias
from minigpt_tui.gaze import Gaze
from minigpt_tui.presets import Changes
from minigpt_tui.protocol import Opened
from minigpt_tui.widgets.attention_panel import AttentionPanel
from minigpt_tui.widgets.candidates_panel import CandidatesPanel
from minigpt_tui.widgets.sampling_panel import SamplingPanel


class SidePanel(Vertical):
    """Shows the candidates of a place, or what the layers do there."""

    def __init__(
        self, defaults: SamplingParams, own_presets: Mapping[str, Changes], *, id: str
    ) -> None:
        super().__init__(id=id)
        self._defaults, self._own_presets = defaults, own_presets
        self._shown: tuple[Place | None, SamplingParams] | None = None

    def compose(self) -> ComposeResult:
        yield SamplingPanel(defaults=self._defaults, own_presets=self._own_presets, id="sampling")
        yield CandidatesPanel(id="candidates")
        yield AttentionPanel(id="attention")

    def on_mount(self) -> None:
        self.query_one(AttentionPanel).display = False

    @property
    def params(self) -> SamplingParams:
        """The settings of the draw."""
        return self.query_one(SamplingPanel).params

    def show(self, gaze: Gaze, model: Opened) -> None:
        """Show what the model thinks there, if it is something new."""
        attention = self.query_one(AttentionPanel)
        if attention.display and gaze.inside is not attention.inside:
            attention.show(gaze.inside)
        if self._shown != (shown := (gaze.place, self.params)):
            self._shown = shown
            self._show_candidates(gaze, model)

    def _show_candidates(self, gaze: Gaze, model: Opened) -> None:
        panel, place = self.query_one(CandidatesPanel), gaze.place
        if place is None:
            panel.show("Next character", None, model.chars)
            return
        title = (
            "After your words" if gaze.target.typed
            else "Next character" if gaze.is_at_end
            else f"Character {gaze.target.index + 1:,}"
        )  # fmt: skip
        try:
            thoughts = think(place, self.params)
        except InputError:  # all is banned
            panel.show("All is banned", None, model.chars)
        else:
            panel.show(title, thoughts, model.chars, place.written)

    def turn(self, *, inside: bool) -> None:
        """Show what the layers do instead of the candidates, or these again."""
        candidates, attention = self.query_one(CandidatesPanel), self.query_one(AttentionPanel)
        had_focus = candidates.has_focus or attention.has_focus
        candidates.display, attention.display = not inside, inside
        attention.show(None)
        if had_focus:
            self.focus_thoughts()

    def focus_thoughts(self) -> None:
        """Give the focus to whichever of the two is shown."""
        attention = self.query_one(AttentionPanel)
        (attention if attention.display else self.query_one(CandidatesPanel)).focus()

    @on(CandidatesPanel.Biased)
    def _bias(self, message: CandidatesPanel.Biased) -> None:
        message.stop()
        sampling = self.query_one(SamplingPanel)
        params = with_bias(sampling.params, message.token, message.bias)
        # as the sliders' own deed: what they post while a parent's handler runs ends at the parent
        sampling.call_later(sampling.take, params)
