"""Choosing a training run to watch."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rich.cells import set_cell_size
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from minigpt.errors import InputError
from minigpt.runtime.library import RUNS
from minigpt.terminal import one_line
from minigpt.training.metrics import METRICS
from minigpt.training.progress import loss_text
from minigpt.training.runs import RunSummary, find_runs
from minigpt_tui.glyphs import cut
from minigpt_tui.keymap import keys_of
from minigpt_tui.screens.window import Window
from minigpt_tui.widgets.options import Options
from minigpt_tui.widgets.run_head import STATES

NAME_CELLS = 18


@dataclass
class Found(Message):
    """The runs that there are."""

    runs: list[RunSummary]


class RunPicker(ModalScreen[Path | None], Window):
    """Lists the runs there are; closes with the folder of the chosen one, or with None.

    Those that go on come first, then of each text the best ones.
    """

    BINDINGS = [
        Binding("escape,f9", "dismiss(None)", "Close", id="run_picker.close"),
    ]
    CSS = """
    RunPicker {
        .window { width: 78; }
        #run-columns { color: $text-muted; }
        #run-columns, OptionList { text-wrap: nowrap; text-overflow: ellipsis; }
    }
    """

    def compose(self) -> ComposeResult:
        with Vertical(classes="window") as window:
            window.border_title = "Training runs"
            window.border_subtitle = self._closes
            yield Static("Reading checkpoints/ ...", markup=False, id="run-columns")

    @property
    def _closes(self) -> str:
        return f"{keys_of(self)['run_picker.close']} closes"

    def on_mount(self) -> None:
        self._runs: list[RunSummary] = []
        self._find()

    @work(thread=True)
    def _find(self) -> None:
        """In a thread: long logs take some tenths of a second."""
        try:
            found = [run for run in find_runs([RUNS]) if (Path(run.folder) / METRICS).exists()]
            runs = sorted(found, key=lambda run: run.state != "running")
        except InputError:
            runs = []
        self.post_message(Found(runs))

    @on(Found)
    def _list(self, message: Found) -> None:
        self._runs = runs = message.runs
        text = self.query_one(Static)
        if not runs:
            text.update(
                "There is no training run in checkpoints/.\n\n"
                "Begin one:     minigpt train book.txt\n"
                "Watch another: minigpt-tui FOLDER"
            )
            return
        text.update(f"  {'run':<{NAME_CELLS}} {'steps':>15}  best    last step")
        options = Options(
            *(Option(_describe(run)) for run in runs), markup=False, compact=True
        )  # fmt: skip
        window = self.query_one(".window")
        window.border_subtitle = f"Enter watches · {self._closes}"
        window.mount(options)
        options.focus()
        options.highlighted = 0

    @on(OptionList.OptionSelected)
    def _choose(self, message: OptionList.OptionSelected) -> None:
        self.dismiss(Path(self._runs[message.option_index].folder).absolute())


def _describe(run: RunSummary) -> str:
    mark, _, word = STATES[run.state]
    steps = f"{run.steps:,}" + (f"/{run.max_steps:,}" if run.max_steps else "")
    try:
        seconds = (Path(run.folder) / METRICS).stat().st_mtime
        date = f"{datetime.fromtimestamp(seconds):%d %b %H:%M}"
    except OSError:
        date = "gone"
    return (
        f"{mark} {set_cell_size(cut(one_line(run.name), NAME_CELLS), NAME_CELLS)} {steps:>15}  "
        f"{loss_text(run.best_val_loss):<6}  {date}  {word}"
    )
