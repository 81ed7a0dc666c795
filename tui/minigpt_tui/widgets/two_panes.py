"""Two texts that are written from one beginning, and what is the same in them."""

from dataclasses import replace

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Container, Vertical
from textual.content import Content
from textual.widgets import Static

from minigpt_tui.keymap import keys_of
from minigpt_tui.parting import Parting
from minigpt_tui.widgets.pane import Pane
from minigpt_tui.writer import Notice


class TwoPanes(Vertical):
    """Keeps one seed for both, and marks in both where they part.

    One of them is the chosen one: that which had the focus last.
    """

    DEFAULT_CSS = """
    TwoPanes {
        /* not 1fr: that leaves out the margin of what is below */
        width: 100%;
        height: 1fr;
        #panes { width: 100%; height: 1fr; layout: horizontal; }
        #a { padding-right: 1; }  /* or its rows would be longer than B's */
        #b { border-left: solid $border-blurred; }
        #verdict { height: 1; padding: 0 2; text-wrap: nowrap; text-overflow: ellipsis; }
    }
    """

    def __init__(self, a: Pane, b: Pane) -> None:
        super().__init__()
        self.a, self.b = a, b
        self.chosen = self.b
        self._parting = Parting(0)

    def compose(self) -> ComposeResult:
        with Container(id="panes"):
            yield from self.panes
        yield Static(id="verdict")

    @property
    def panes(self) -> tuple[Pane, Pane]:
        """A and B."""
        return self.a, self.b

    @property
    def is_writing(self) -> bool:
        """Whether one of them is."""
        return any(pane.writer.is_running for pane in self.panes)

    def other(self, pane: Pane) -> Pane:
        """The one beside it."""
        return self.b if pane is self.a else self.a

    # writing

    def write(self, text: str) -> None:
        """Begin anew with `text`."""
        self._parting = Parting(len(text))
        for pane in self.panes:
            pane.write(text)
            pane.show_text()
        self.show_numbers()

    def stop(self) -> None:
        """End both runs; the texts stay."""
        for pane in self.panes:
            pane.writer.stop()
            pane.show_text()
        self.show_numbers()

    def hear(self) -> list[Notice]:
        """Take in what the engines have said, and show how the texts have grown."""
        notices = []
        for pane in self.panes:
            for notice in pane.hear():
                notices.append(replace(notice, sentence=f"{pane.letter}: {notice.sentence}"))
            pane.show_text()
        if not self._parting.has_parted:
            self._parting.read(self.a.text, self.b.text)
            self.mark()
        return notices

    def mark(self) -> None:
        """Show where they part, in the colours of the theme."""
        if self._parting.has_parted:
            for pane in self.panes:
                pane.mark(self._parting)

    def show_numbers(self) -> None:
        """Show all that changes too often to be read at every frame."""
        for pane in self.panes:
            pane.show_heading(self.other(pane), is_chosen=pane is self.chosen)
        said = self._parting.verdict(self.a.text, self.b.text, is_writing=self.is_writing)
        mark = ("◆ ", "bold $accent") if self._parting.has_parted else ""
        verdict = Content.assemble(mark, said or (self._advice(), "$text-muted"))
        self.query_one("#verdict", Static).update(verdict, layout=False)

    def _advice(self) -> str:
        keys = keys_of(self.screen)
        go, sliders, model = keys["ab.next"], keys["ab.sliders"], keys["ab.models"]
        way = f"{go} to a slider" if self.a.panel.display else f"{sliders} for the sliders"
        return f"{way}, or {model} for another model; then {keys['ab.write']} writes with both."

    # settings

    def choose(self, pane: Pane) -> None:
        """Mark the letter of another pane."""
        if pane is not self.chosen:
            self.chosen = pane
            self.show_numbers()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        for pane in self.panes:
            if pane in event.widget.ancestors:
                self.choose(pane)

    @on(Pane.Changed)
    def _keep_one_seed(self, message: Pane.Changed) -> None:
        seed = message.pane.params.seed
        other = self.other(message.pane)
        if other.params.seed != seed:
            other.panel.take(replace(other.params, seed=seed))
        self.show_numbers()

    def new_seed(self) -> None:
        """Draw another seed for both."""
        seed = self.a.panel.new_seed()
        for pane in self.panes:
            pane.panel.take(replace(pane.params, seed=seed))

    def copy_settings(self) -> None:
        """Give the other pane the settings of the chosen one."""
        self.other(self.chosen).take_settings(self.chosen)
        self.show_numbers()

    # moving

    def go_to_difference(self) -> bool:
        """Show the place where the two part, and the next time the end again; False: none."""
        if self._parting.has_parted:
            for pane in self.panes:
                at = self._parting.common
                pane.view.action_move_to(-1 if pane.view.cursor == at else at)
        return self._parting.has_parted

    def page(self, direction: int) -> None:
        """Scroll both, up if `direction` is negative."""
        for pane in self.panes:
            scroll = pane.view.scroll_page_up if direction < 0 else pane.view.scroll_page_down
            scroll(animate=False)

    def go_to_top(self) -> None:
        """Show the beginning of both."""
        for pane in self.panes:
            pane.view.scroll_home(animate=False)

    def go_to_end(self) -> None:
        """Show the end of both, and stay there as they grow."""
        for pane in self.panes:
            pane.view.release()
            pane.view.follow()
