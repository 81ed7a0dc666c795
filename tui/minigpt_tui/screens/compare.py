"""Two branches side by side."""

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Static

from minigpt_tui.branches import called
from minigpt_tui.comparison import Comparison, Side
from minigpt_tui.differences import MOST_CHARS
from minigpt_tui.screens.window import Window
from minigpt_tui.widgets.key_line import KeyLine
from minigpt_tui.widgets.side_by_side import SideBySide

FACT_CELLS = 20
MOST_VALUES = 4
"""Of one setting; whoever moves a slider all the time has more."""


class CompareScreen(Window):
    """Esc closes it."""

    DEFAULT_CSS = """
    CompareScreen {
        #compare-head { height: 1; padding: 0 2; background: $panel; text-wrap: nowrap; }
        #compare-sides { height: auto; max-height: 40%; overflow-y: auto; padding: 0 1 0 0; }
        .side { width: 1fr; height: auto; padding: 1 1 0 2; }
        #compare-b { padding: 1 1 0 3; }
        #compare-texts { height: 1fr; border-top: solid $border-blurred; }
    }
    """
    BINDINGS = [Binding("escape,q,c", "dismiss", "Close", id="compare.close")]

    def __init__(self, comparison: Comparison) -> None:
        super().__init__()
        self.comparison = comparison

    def compose(self) -> ComposeResult:
        comparison = self.comparison
        yield Static(self._head(), id="compare-head")
        with Horizontal(id="compare-sides"):
            for letter, colour, side in (
                ("A", "$primary", comparison.a),
                ("B", "$secondary", comparison.b),
            ):
                about = self._about(letter, colour, side)
                yield Static(about, classes="side", id=f"compare-{letter.lower()}")
        yield SideBySide(comparison, id="compare-texts")
        yield KeyLine()

    def on_mount(self) -> None:
        self.query_one(SideBySide).focus()

    def _head(self) -> Content:
        n = sum(not span.is_equal for span in self.comparison.spans)
        found = f"{n:,} difference{'' if n == 1 else 's'}" if n else "no difference"
        cut = f" in the first {MOST_CHARS:,} characters" if self.comparison.is_cut else ""
        fork = self.comparison.fork
        return Content.assemble(
            ("Side by side", "bold $primary"),
            f"  {found}{cut}",
            (f"   after the {fork:,} that both share" if fork else "", "$text-muted"),
        )

    def _about(self, letter: str, colour: str, side: Side) -> Content:
        length, surprise = side.branch.length, side.surprise
        bits = f"{surprise.bits_per_char:.2f}" if surprise.n_chars else "not by a model"
        facts = [("bits per character", bits)]
        facts += [(name, _listed(values)) for name, values in side.settings.items()]
        lines = [
            Content.assemble(
                (f"{letter} ", f"bold {colour}"), (called(side.branch), "bold"),
                (" ●" if side.branch.is_current else "", "bold $primary"),
            ),
            Content(f"{length:,} characters, {length - self.comparison.fork:,} its own"),
        ]  # fmt: skip
        lines += [
            Content.assemble((f"{name:<{FACT_CELLS}}", "$text-muted"), value)
            for name, value in facts
        ]
        return Content("\n").join(lines)


def _listed(values: tuple[str, ...]) -> str:
    more = ("…",) if len(values) > MOST_VALUES else ()
    return " → ".join((*values[:MOST_VALUES], *more)) or "none"
