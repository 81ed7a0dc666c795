"""What the main screen shows of the mind of the model: its thoughts at a place, and in colours."""

from dataclasses import replace

from textual.screen import Screen

from minigpt_tui.heat import PALETTES, Heat
from minigpt_tui.inside import Inside
from minigpt_tui.messages import Preferred
from minigpt_tui.preferences import Preferences, choice
from minigpt_tui.protocol import Seen
from minigpt_tui.widgets.attention_panel import AttentionPanel
from minigpt_tui.widgets.heat_legend import HeatLegend
from minigpt_tui.widgets.prompt import Prompt
from minigpt_tui.widgets.prompt_row import PromptRow
from minigpt_tui.widgets.shades import by_attention, by_heat, styles
from minigpt_tui.widgets.side_panel import SidePanel
from minigpt_tui.widgets.token_view import TokenView
from minigpt_tui.writer import Writer


class Sight:
    """Asks what the model thinks where the user looks, and shows it in the widgets of a screen.

    Args of the constructor:
        screen: has the widgets.
        writer: knows the text, and asks the model.
        preferences: with which colours to begin.
    """

    def __init__(self, screen: Screen[object], writer: Writer, preferences: Preferences) -> None:
        self._screen = screen
        self._writer = writer
        self.heat = Heat(preferences.heat)
        """What the colours of the text tell."""
        self.palette = PALETTES[preferences.palette]
        self._shown_inside: Inside | None = None
        self._shown_seen: Seen | None = None

    @property
    def _is_dark(self) -> bool:
        return self._screen.app.current_theme.dark

    def look(self) -> None:
        """Look where the cursor stands, else behind what is typed, else at the end."""
        writer, cursor = self._writer, self._screen.query_one(TokenView).cursor
        document, gaze = writer.document, writer.gaze
        if cursor is not None:
            gaze.at(document, cursor)
        elif not writer.is_running:
            typed = self._screen.query_one(Prompt).words
            # in a conversation what one says stands behind one's name
            before = writer.roles.before(document.text) if writer.roles and typed else ""
            gaze.at(document, len(document), typed, before)
        else:
            gaze.follow_end()
        self.show()

    def show(self) -> None:
        """Show what the model thinks where the gaze rests, if it is something new."""
        gaze = self._writer.gaze
        if gaze.seen is not self._shown_seen:
            self._shown_seen = gaze.seen
            levels = styles(self.palette, is_dark=self._is_dark)
            self._screen.query_one(PromptRow).show_thoughts(gaze.seen, levels)
        self._screen.query_one(SidePanel).show(gaze, self._writer.model)
        if gaze.inside is not self._shown_inside:
            self._shown_inside = gaze.inside
            self.shade()

    def shade(self) -> None:
        """Colour the text by heat, or by what a head looked at, and say what the colours mean."""
        text, legend = self._screen.query_one(TokenView), self._screen.query_one(HeatLegend)
        gaze, is_dark = self._writer.gaze, self._is_dark
        levels = styles(self.palette, is_dark=is_dark)
        if gaze.looks_inside:
            attention = self._screen.query_one(AttentionPanel)
            text.shade(by_attention(gaze.in_view(text.document), attention.weights, levels))
            layer, head = attention.chosen_layer, attention.chosen_head
            legend.explain_attention(layer, head, self.palette, is_dark=is_dark)
        else:
            text.shade(by_heat(text.document, self.heat, levels))
            legend.explain(self.heat, self.palette, is_dark=is_dark)
        legend.sum_up(text.document)

    def turn_inside(self) -> None:
        """Show what the layers do at a place instead of the candidates, and back again."""
        gaze = self._writer.gaze
        gaze.looks_inside = not gaze.looks_inside
        self._screen.query_one(SidePanel).turn(inside=gaze.looks_inside)
        self.shade()
        self.look()

    def turn_heat(self, kind: str) -> None:
        """To the heat of that name; without one to the next, and off again.

        Raises:
            InputError: there is none of that name.
        """
        kinds = list(Heat)
        following = kinds[(kinds.index(self.heat) + 1) % len(kinds)]
        self.heat = heat = Heat(choice("heat", kind, kinds)) if kind else following
        if self._writer.gaze.looks_inside:
            self.turn_inside()
        self.shade()
        self._screen.post_message(Preferred(lambda p: replace(p, heat=heat.value)))

    def turn_palette(self, name: str) -> None:
        """To the colours of that name; without one to the next.

        Raises:
            InputError: there are none of that name.
        """
        names = list(PALETTES)
        following = names[(names.index(self.palette.name) + 1) % len(names)]
        self.palette = PALETTES[choice("palette", name or following, PALETTES)]
        self.shade()
        chosen = self.palette.name
        self._screen.post_message(Preferred(lambda p: replace(p, palette=chosen)))
