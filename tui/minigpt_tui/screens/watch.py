"""Watching a training run from its folder, while it goes on or afterwards."""

import contextlib
import time
from pathlib import Path

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container, Vertical
from textual.content import Content
from textual.widgets import Static

from minigpt.terminal import one_line, shell_word
from minigpt.training.progress import MEMORISING
from minigpt_tui.run_reader import RunReader, RunView
from minigpt_tui.screens.window import Window
from minigpt_tui.widgets.key_line import KeyLine
from minigpt_tui.widgets.run_chart import RunChart, most_zoom, span
from minigpt_tui.widgets.run_head import RunHead
from minigpt_tui.widgets.run_numbers import RunNumbers
from minigpt_tui.widgets.sample_view import SampleView

REFRESH_S = 0.5
"""Faster numbers cannot be read, and the training uses the same cores."""


class WatchScreen(Window):
    """Reads the folder's log twice a second, and draws only what is new."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-low"), (16, "-short"), (20, "-tall"), (32, "-high")]
    BINDINGS = [
        Binding("escape", "dismiss", "Back", id="watch.back"),
        Binding("up", "text(-1)", "Earlier", key_display="↑", id="watch.earlier"),
        Binding("down", "text(1)", "Later", key_display="↓", id="watch.later"),
        Binding("home", "first_text", show=False, id="watch.first"),
        Binding("end", "last_text", show=False, id="watch.last"),
        Binding("right,plus", "zoom(1)", "Zoom", key_display="→", id="watch.zoom_in"),
        Binding("left,minus", "zoom(-1)", "Out", key_display="←", id="watch.zoom_out"),
        Binding("l,L", "log", "Log", key_display="L", id="watch.log"),
        Binding("f1", "app.help", "Help", id="watch.help"),
    ]
    DEFAULT_CSS = """
    WatchScreen {
        #run-body { height: 1fr; }
        #run-curves { height: 2fr; padding: 0 2; }
        #run-words { height: auto; max-height: 3; }
        SampleView { padding: 0 2; }
        #run-hint { height: auto; padding: 0 2; color: $text-muted; }
    }
    WatchScreen.-high {
        RunHead { margin-bottom: 1; }
        RunChart, RunNumbers, #run-words { margin-bottom: 1; }
    }
    WatchScreen.-wide {
        #run-body { layout: horizontal; }
        #run-curves { width: 7fr; height: 100%; }
        SampleView { width: 3fr; height: 100%; min-width: 44; }
    }
    WatchScreen.-low {
        SampleView, #run-hint, KeyLine { display: none; }
    }
    WatchScreen.-short #run-hint { display: none; }
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._reader = RunReader(folder)

    def compose(self) -> ComposeResult:
        yield RunHead()
        with Container(id="run-body"):
            with Vertical(id="run-curves"):
                yield RunChart()
                yield RunNumbers()
                yield Static(id="run-words", markup=False)
            yield SampleView()
        yield Static(id="run-hint", markup=False)
        yield KeyLine()

    def on_mount(self) -> None:
        self._show()
        self._catch_up()
        self.set_interval(REFRESH_S, self.read_on)

    def _catch_up(self) -> None:
        """Read a long log in pieces, with time for keys between them."""
        self.read_on()
        if self._reader.is_behind:
            self.set_timer(0.01, self._catch_up)

    def read_on(self) -> None:
        """Show what is new in the folder."""
        if self._reader.poll(time.monotonic()):
            self._show()

    def _show(self) -> None:
        chart = self.query_one(RunChart)
        view = self._reader.view()
        if chart.zoom:
            chart.zoom = min(chart.zoom, most_zoom(view))
            view = self._reader.view(span(view, chart.zoom)[0])
        for widget in (chart, self.query_one(RunHead), self.query_one(RunNumbers)):
            widget.view = view
        texts = self.query_one(SampleView)
        texts.view = view
        chart.chosen = texts.step
        self.query_one("#run-words", Static).update(words(view))
        self.query_one("#run-hint", Static).update(Content(hint(view)))

    def action_text(self, n: int) -> None:
        """To an earlier or a later text; its evaluation is marked in the chart."""
        texts = self.query_one(SampleView)
        texts.move(n)
        self.query_one(RunChart).chosen = texts.step

    def action_first_text(self) -> None:
        self.action_text(-len(self._reader.view().samples))

    def action_last_text(self) -> None:
        self.action_text(len(self._reader.view().samples))

    def action_zoom(self, n: int) -> None:
        chart = self.query_one(RunChart)
        chart.zoom = max(0, chart.zoom + n)
        self._show()

    def action_log(self) -> None:
        chart = self.query_one(RunChart)
        chart.log_steps = not chart.log_steps


def words(view: RunView) -> Content:
    """What the numbers mean, in a sentence or two."""
    lines = [Content.styled(one_line(note), "$warning") for note in view.notes]
    if view.memorising:
        lines.append(Content.styled(MEMORISING.capitalize(), "$warning"))
    lines.append(Content(" ".join(filter(None, (_learned(view), _ended(view))))))
    return Content("\n").join(lines)


def _learned(view: RunView) -> str:
    counts, best = view.baselines, view.best
    if best is None:
        return "No evaluation yet."
    if counts is None:
        return "This log is of an older minigpt: nothing to compare with, and no texts."
    named = {
        "a blind guess": counts.uniform,
        "bigram counts": counts.bigram,
        "5-gram counts": counts.five_gram,
    }
    yardsticks = sorted(named.items(), key=lambda item: -item[1])
    beaten = [f"{name} ({loss:.2f})" for name, loss in yardsticks if best[1] < loss]
    better = [f"{name} ({loss:.2f})" for name, loss in yardsticks if best[1] >= loss]
    if not better:
        return f"Beats {beaten[-1]}: it has learned more than counting can."
    if beaten:
        return f"Beats {beaten[-1]}, not {better[0]}."
    return f"Does not beat {better[0]}{' yet' if view.state == 'running' else ''}."


def _ended(view: RunView) -> str:
    match view.state:
        case "patience":
            return "It ended early: no better evaluation came for too long."
        case "stopped" if view.step:
            return f"Stopped; {_how_on(view)}."
        case "lost":
            return f"Its process died; {_how_on(view)}."
        case _:
            return ""


def _how_on(view: RunView) -> str:
    return "the same command with --resume goes on" if view.header else "no checkpoint is left"


def hint(view: RunView) -> str:
    """How to talk to the run's model."""
    if view.header is None:
        is_new = view.state == "running" or not view.step
        return "Waiting for its first checkpoint." if is_new else "Its checkpoints are not here."
    folder, name = view.folder, one_line(view.folder.resolve().name)
    with contextlib.suppress(ValueError, OSError):  # it is elsewhere, or where we are is gone
        folder = folder.relative_to(Path.cwd())
    source, target = shell_word(one_line(str(folder))), shell_word(name + ".onnx")
    return f"Talk to it: minigpt export {source} --onnx {target}"
