"""What the main screen shows of its writer: the text, and around it how it goes."""

from textual.screen import Screen

from minigpt_tui.pace import NUMBERS_S, Pace
from minigpt_tui.protocol import Opened
from minigpt_tui.screens.sight import Sight
from minigpt_tui.widgets.heat_legend import HeatLegend
from minigpt_tui.widgets.prompt import Prompt
from minigpt_tui.widgets.prompt_row import PromptRow
from minigpt_tui.widgets.status_bar import Status, StatusBar
from minigpt_tui.widgets.talk import Talk
from minigpt_tui.widgets.token_view import TokenView
from minigpt_tui.widgets.welcome import Welcome
from minigpt_tui.writer import Writer


class Page:
    """Brings the widgets up to what the writer has come to."""

    def __init__(self, screen: Screen[object], writer: Writer, sight: Sight) -> None:
        self._screen, self._writer, self._sight = screen, writer, sight
        self._numbers = Pace(screen, NUMBERS_S, self._show_numbers)
        self._shown_model: Opened | None = None

    def show(self) -> None:
        """Show the text as it is now, and the numbers less often."""
        writer, find = self._writer, self._screen.query_one
        is_empty, is_writing = not len(writer.document), writer.is_running
        find(TokenView).sync(window=writer.gauge.window, is_writing=is_writing)
        self._show_status()
        self.invite()
        if not is_writing:
            self._sight.show()
        welcome, talk = find(Welcome), find(Talk)
        welcome.display = is_empty and writer.roles is None
        talk.display = is_empty and writer.roles is not None
        if is_empty and writer.roles is not None:
            talk.invite(writer.roles)
        if writer.model is not None and writer.model is not self._shown_model:
            self._shown_model = writer.model
            welcome.invite(writer.model.card)

    def invite(self) -> None:
        """Say in the prompt what the keys do there, or how to come back to it."""
        writer, focused = self._writer, self._screen.focused
        self._screen.query_one(PromptRow).invite(
            writer.roles, is_empty=not len(writer.document), is_writing=writer.is_running,
            is_left=focused is not None and focused is not self._screen.query_one(Prompt),
        )  # fmt: skip

    def _show_status(self) -> None:
        """At once if the state is another one, else with the other numbers.

        Numbers that change at every frame cannot be read, nor are they cheap: Textual draws
        everything inside the smallest rectangle around what has changed, and one around the text
        and this row holds the panel too.
        """
        if self._writer.state is not self._screen.query_one(StatusBar).status.state:
            self._numbers.now()
        else:
            self._numbers.ask()

    def _show_numbers(self) -> None:
        self._screen.query_one(StatusBar).status = Status.of(self._writer)
        self._sight.show()
        self._screen.query_one(HeatLegend).sum_up(self._writer.document)
