"""Beside the text: the sliders, and below them what the model thinks where the gaze rests."""

from collections.abc import Mapping

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from minigpt.errors import InputError
from minigpt.runtime.params import KNOBS, SamplingParams, change
from minigpt_tui.candidates import Place, think, with_bias
from minigpt_tui.gaze import Gaze
from minigpt_tui.glyphs import biased, cut
from minigpt_tui.messages import ParamsChanged, Preferred
from minigpt_tui.pace import NOTICE_S
from minigpt_tui.preferences import choice
from minigpt_tui.presets import Changes, preset_name
from minigpt_tui.protocol import Opened
from minigpt_tui.widgets.attention_panel import AttentionPanel
from minigpt_tui.widgets.candidates_panel import CandidatesPanel
from minigpt_tui.widgets.sampling_panel import SamplingPanel

BIAS_CELLS = 20
"""Of the panel's 30, beside how to lift them."""


class SidePanel(Vertical):
    """Shows the candidates of a place, or what the layers do there."""

    def __init__(
        self,
        defaults: SamplingParams,
        own_presets: Mapping[str, Changes],
        *,
        seed_hint: str,
        id: str,
    ) -> None:
        super().__init__(id=id)
        self._seed_hint = seed_hint
        self._defaults, self._own_presets = defaults, own_presets
        self._shown: tuple[Place | None, SamplingParams] | None = None
        self._chars = ""
        """The model's."""

    def compose(self) -> ComposeResult:
        yield SamplingPanel(
            defaults=self._defaults, own_presets=self._own_presets, seed_hint=self._seed_hint,
            id="sampling",
        )  # fmt: skip
        yield Static(id="biases", markup=False)
        yield CandidatesPanel(id="candidates")
        yield AttentionPanel(id="attention")

    def on_mount(self) -> None:
        self.query_one(AttentionPanel).display = False

    @property
    def sampling(self) -> SamplingPanel:
        """The sliders."""
        return self.query_one(SamplingPanel)

    @property
    def params(self) -> SamplingParams:
        """The settings of the draw."""
        return self.sampling.params

    def show(self, gaze: Gaze, model: Opened | None) -> None:
        """Show what the model thinks there, if it is something new."""
        if (chars := model.chars if model else "") != self._chars:
            self._chars = chars
            self._tell_of_biases()
        attention = self.query_one(AttentionPanel)
        if attention.display and gaze.inside is not attention.inside:
            attention.show(gaze.inside)
        place = gaze.place if model else None
        if self._shown != (shown := (place, self.params)):
            self._shown = shown
            self._show_candidates(gaze, place)

    def _show_candidates(self, gaze: Gaze, place: Place | None) -> None:
        panel, chars = self.query_one(CandidatesPanel), self._chars
        if place is None:
            panel.show("Next character", None, None, chars)
            return
        title = (
            "After your words" if gaze.target.typed
            else "Next character" if gaze.is_at_end
            else f"Character {gaze.target.index + 1:,}"
        )  # fmt: skip
        try:
            thoughts = think(place, self.params)
        except InputError:  # all is banned
            panel.show("All is banned", place, None, chars)
        else:
            panel.show(title, place, thoughts, chars)

    @on(ParamsChanged)
    def _tell_of_biases(self) -> None:
        """They act at every place, in the next text too, and the list shows those of one place."""
        row, biases = self.query_one("#biases", Static), self.params.logit_bias
        row.display = bool(biases)
        row.update(f" {cut(biased(biases, self._chars), BIAS_CELLS)} · /unban")

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

    # the settings

    def action_set(self, settings: str) -> None:
        """Change settings, as in "temperature=0.5 top_k=5".

        Raises:
            InputError: there is none of that name, or as `params.change`.
        """
        for setting in settings.split():
            name, equals, _ = setting.partition("=")
            if name and equals:  # else `change` says how one is written
                choice("setting", name.replace("-", "_"), KNOBS)
        self.sampling.take(change(self.params, settings.split()))

    def action_new_seed(self, number: str = "") -> None:
        """Another seed, or the one that is given.

        Raises:
            InputError: it is not a seed.
        """
        if number:
            self.action_set(f"seed={number}")
        else:
            self.sampling.new_seed()

    def action_reset(self) -> None:
        """The sliders back to their defaults."""
        self.sampling.reset()

    def action_unban(self) -> None:
        """No character is banned or favoured any more."""
        if not self.params.logit_bias:
            self.notify("No character is banned or favoured.", timeout=NOTICE_S)
        self.sampling.unban()

    def action_preset(self, name: str) -> None:
        """Use a preset.

        Raises:
            InputError: there is none of that name.
        """
        self.sampling.choose_preset(name)

    def action_keep_preset(self, name: str = "") -> None:
        """Save the settings as a preset, of this name or of one that the user is asked for."""
        if name:
            self.sampling.save_preset(name)
        else:
            from minigpt_tui.screens.ask import Ask

            question = Ask("Save preset", "A name for the sliders as they are now:", preset_name)
            self.app.push_screen(
                question, lambda name: self.sampling.save_preset(name) if name else None
            )

    @on(SamplingPanel.PresetSaved)
    def _keep_preset(self, message: SamplingPanel.PresetSaved) -> None:
        done = f"The preset {message.name} is saved in"
        self.app.post_message(
            Preferred(lambda p: p.with_preset(message.name, message.changes), done)
        )

    def action_forget_preset(self, name: str) -> None:
        """Have a preset no more; the sliders stay where they are.

        Raises:
            InputError: it is built in, or there is none of that name.
        """
        self.sampling.forget_preset(name)
        done = f"The preset {name} is no longer in"
        self.app.post_message(Preferred(lambda p: p.without_preset(name), done))

    def action_keep_defaults(self) -> None:
        """Let the sliders begin like this from now on."""
        self.sampling.keep_as_defaults()
        params, done = self.params, "The sliders' defaults are saved in"
        self.app.post_message(Preferred(lambda p: p.with_params(params), done))

    @on(CandidatesPanel.Biased)
    def _bias(self, message: CandidatesPanel.Biased) -> None:
        message.stop()
        params = with_bias(self.params, message.token, message.bias)
        # as the sliders' own deed: what they post while a parent's handler runs ends at the parent
        self.sampling.call_later(self.sampling.take, params)
