"""Choosing a model."""

from pathlib import Path

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from minigpt.runtime.library import list_models
from minigpt.terminal import printable
from minigpt_tui.screens.window import Window

NAME_CELLS = 30


class ModelPicker(ModalScreen[Path | None], Window):
    """Lists the models there are; closes with the chosen path, or with None."""

    BINDINGS = [
        Binding("escape,f2", "dismiss(None)", "Close", id="picker.close"),
    ]

    def __init__(self, current: Path | None) -> None:
        super().__init__()
        self._current = current
        self._models = list_models()

    def compose(self) -> ComposeResult:
        with Vertical(classes="window") as window:
            window.border_title = "Models"
            window.border_subtitle = "Enter opens · Esc closes"
            if self._models:
                yield OptionList(
                    *(Option(self._describe(path)) for path in self._models),
                    markup=False,
                    compact=True,
                )
            else:
                yield Static(
                    "There is no .onnx file in this folder or in checkpoints/.\n\n"
                    "Train one:    minigpt train\n"
                    "Export it:    minigpt export\n"
                    "Open another: minigpt-tui PATH",
                    markup=False,
                )

    def on_mount(self) -> None:
        for options in self.query(OptionList):
            options.focus()
            current = self._current.resolve() if self._current else None
            paths = [path.resolve() for path in self._models]
            options.highlighted = paths.index(current) if current in paths else 0

    @on(OptionList.OptionSelected)
    def _choose(self, message: OptionList.OptionSelected) -> None:
        self.dismiss(self._models[message.option_index])

    def _describe(self, path: Path) -> str:
        is_open = self._current is not None and path.resolve() == self._current.resolve()
        mark = "●" if is_open else " "
        stems = [other.stem for other in self._models]
        # two of one name are told apart by their folders
        full_name = path.stem if stems.count(path.stem) == 1 else f"{path.parent.name}/{path.stem}"
        name = printable(full_name).replace("\n", "␊")[:NAME_CELLS]
        try:
            size = f"{path.stat().st_size / 1e6:7.1f} MB"
        except OSError:
            size = "gone"
        return f"{mark} {name:<{NAME_CELLS}} {size}"
