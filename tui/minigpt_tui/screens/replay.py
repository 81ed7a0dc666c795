"""A document's runs written anew, beside what they wrote then."""

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from minigpt_tui.document import Author, Document
from minigpt_tui.nodes import ROOT, UNKNOWN
from minigpt_tui.pace import FRAME_S
from minigpt_tui.protocol import Written
from minigpt_tui.replay import Outcome, Replay, summary
from minigpt_tui.run_record import RunRecord
from minigpt_tui.screens.window import Window
from minigpt_tui.widgets.key_line import KeyLine
from minigpt_tui.widgets.token_view import TokenView

BAR_CELLS = 24
MOST_PROMPT = 2000
"""Characters of the user's that are shown before what a run wrote."""
MARKS = {
    Outcome.SAME: ("✓", "$success"),
    Outcome.DIFFERENT: ("≠", "$error"),
    Outcome.OTHER_MODEL: ("–", "$warning"),
    Outcome.FAILED: ("!", "$error"),
}


class ReplayScreen(Window):
    """Shows a replay that has begun; Esc gives it up."""

    BINDINGS = [Binding("escape", "dismiss", "Back", id="replay.close")]
    CSS = """
    ReplayScreen {
        #replay-head { height: 1; padding: 0 2; background: $panel; }
        #replay-panes { height: 1fr; }
        #replay-panes Vertical { width: 1fr; border-right: solid $panel; }
        #replay-panes Static { height: 1; padding: 0 4; color: $secondary; text-style: bold; }
        TokenView { padding: 0 1 0 2; scrollbar-size-vertical: 0; }
        #replay-verdicts { height: auto; max-height: 40%; padding: 1 2; background: $surface; }
    }
    """

    def __init__(self, replay: Replay) -> None:
        super().__init__()
        self._replay = replay
        self._run: RunRecord | None = None
        self._n_before = 0
        self._n_shown = -1

    def compose(self) -> ComposeResult:
        yield Static(id="replay-head", markup=False)
        with Horizontal(id="replay-panes"):
            for name, title in (("then", "Then"), ("now", "Now")):
                with Vertical():
                    yield Static(title)
                    view = TokenView(Document(), id=f"replay-{name}")
                    view.can_focus = False
                    yield view
        with VerticalScroll(id="replay-verdicts"):
            yield Static(id="replay-words", markup=False)
        yield KeyLine()

    def on_mount(self) -> None:
        self._frames = self.set_interval(FRAME_S, self._show)
        self._show()

    def on_unmount(self) -> None:
        self._replay.stop()

    def _show(self) -> None:
        replay = self._replay
        if replay.run is not None:
            self._show_run(replay.run)
        if len(replay.verdicts) != self._n_shown:
            self._n_shown = len(replay.verdicts)
            self.query_one("#replay-words", Static).update(self._words())
            self.query_one("#replay-verdicts").scroll_end(animate=False)
        # with layout, which this row never needs, it would cost a fifth of a core
        self.query_one("#replay-head", Static).update(self._head(), layout=False)
        if replay.is_over:
            self._frames.stop()

    def _show_run(self, run: RunRecord) -> None:
        """Let both texts grow alike, so that they break their rows alike."""
        replay, is_new = self._replay, run is not self._run
        self._run = run
        for name, text in (("then", replay.stored), ("now", replay.written)):
            view = self.query_one(f"#replay-{name}", TokenView)
            if is_new:
                view.show(Document())
                view.document.append_user(prompt_of(replay.document, run))
                self._n_before = len(view.document)
            n = len(view.document) - self._n_before
            piece = text[n : len(replay.written)]
            view.document.append_token(Written(UNKNOWN, piece, 0.0, 0.0, 0, 0, False))
            view.sync(is_writing=replay.is_writing)

    def _head(self) -> Content:
        replay = self._replay
        n_runs, n_over = len(replay.runs), len(replay.verdicts)
        n_all = sum(run.n_chars for run in replay.runs)
        n_done = sum(verdict.run.n_chars for verdict in replay.verdicts)
        n_done += len(replay.written) if replay.is_writing else 0
        n_cells = BAR_CELLS * n_done // n_all if n_all else BAR_CELLS
        return Content.assemble(
            ("Replay  ", "bold $primary"),
            ("━" * n_cells, "$primary"),
            ("─" * (BAR_CELLS - n_cells), "$text-muted"),
            f"  {n_over} of {n_runs} runs  ",
            (f"{n_done:,} of {n_all:,} characters", "$text-muted"),
        )

    def _words(self) -> Content:
        """A line for each run, then all in a sentence."""
        lines = []
        for verdict in self._replay.verdicts:
            mark, colour = MARKS[verdict.outcome]
            line = (f"{mark} ", f"bold {colour}"), f"run {verdict.run.number}: {verdict.sentence}"
            lines.append(Content.assemble(*line))
        if self._replay.is_over:
            lines.append(Content.assemble((summary(self._replay.verdicts), "bold")))
        return Content("\n").join(lines)


def prompt_of(document: Document, run: RunRecord) -> str:
    """What the user wrote, or chose, directly before a run, or the end of it."""
    if run.head == ROOT:
        return ""
    nodes, first = document.nodes, run.head + 1
    start = max(nodes.stretch(run.head).start, first - MOST_PROMPT)
    while first > start and nodes.author(first - 1) is not Author.MODEL:
        first -= 1
    return nodes.text(range(first, run.head + 1))
