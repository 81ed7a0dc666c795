"""Choosing a model by its card."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from rich.cells import set_cell_size
from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from minigpt.runtime.library import list_models
from minigpt.terminal import one_line, printable
from minigpt_tui.cards import Card, read_card
from minigpt_tui.glyphs import cut
from minigpt_tui.keymap import keys_of
from minigpt_tui.screens.window import Window
from minigpt_tui.widgets.options import Options

NAME_CELLS = 21
NONE = """There is no .onnx file in this folder or in checkpoints/.

Train one:    minigpt train book.txt
Export it:    minigpt export checkpoints/book --onnx book.onnx
Open another: minigpt-tui PATH"""


class ModelPicker(ModalScreen[Path | None], Window):
    """Lists the models there are; closes with the chosen path, or with None.

    What is typed filters the list. The cards are read meanwhile, in a thread.
    """

    CSS = """
    ModelPicker {
        .window { width: 78; }
        #library { height: auto; min-height: 12; max-height: 100%; }
        #list { width: 33; height: auto; max-height: 100%; padding-right: 1; }
        #filter { color: $text-muted; text-wrap: nowrap; text-overflow: ellipsis; }
        #filter.-typed { color: $primary; }
        #card { width: 1fr; height: auto; max-height: 100%; padding-left: 2;
                border-left: solid $border-blurred; scrollbar-size-vertical: 1; }
        #card-name { color: $primary; text-style: bold; margin-bottom: 1; }
        &.-narrow {
            #library { layout: vertical; }
            #list { width: 100%; max-height: 50%; }
            #card { width: 100%; border-left: none; padding-left: 0; margin-top: 1;
                    scrollbar-gutter: stable; }
        }
    }
    """
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (66, "-medium")]
    BINDINGS = [
        Binding("f1", "app.help", "Help", show=False, id="picker.help"),
        Binding("escape,f2", "dismiss(None)", "Close", id="picker.close"),
        # priority, or it would filter, as small letters do
        Binding("S", "sort", "Sort", priority=True, id="picker.sort"),
        Binding("backspace", "erase", "Erase", show=False, id="picker.erase"),
    ]

    @dataclass
    class Read(Message):
        """A card is known."""

        card: Card

    def __init__(self, current: Path | None) -> None:
        super().__init__()
        self._current = current.resolve() if current else None
        self._models = list_models()
        self._n_called = Counter(path.stem for path in self._models)
        self._shown: list[Path] = []
        self._cards: dict[Path, Card] = {}
        self._typed = ""
        self._by_loss = False

    def compose(self) -> ComposeResult:
        with Vertical(classes="window") as window:
            window.border_title = "Models"
            keys = keys_of(self)
            sort, close = keys["picker.sort"], keys["picker.close"]
            window.border_subtitle = f"Enter opens · {sort} sorts · {close} closes"
            if not self._models:
                yield Static(NONE, markup=False)
                return
            with Horizontal(id="library"):
                with Vertical(id="list"):
                    yield Static("", id="filter", markup=False)
                    yield Options(markup=False, compact=True)
                with VerticalScroll(id="card", can_focus=False):
                    yield Static("", id="card-name", markup=False)
                    yield Static("", id="facts", markup=False)

    def on_mount(self) -> None:
        if self._models:
            self.query_one(OptionList).focus()
            self._list(next((p for p in self._models if p.resolve() == self._current), None))
            self._read()

    @work(thread=True)
    def _read(self) -> None:
        for path in self._models:
            if not self.is_attached:
                return
            self.post_message(self.Read(read_card(path)))

    @on(Read)
    def _take_card(self, message: Read) -> None:
        card = message.card
        self._cards[card.path] = card
        marked = self._marked
        if self._by_loss:
            self._list(marked)
        elif card.path in self._shown:
            self.query_one(OptionList).replace_option_prompt_at_index(
                self._shown.index(card.path), self._line(card.path)
            )
        if card.path == marked:
            self._show_card()

    @property
    def _marked(self) -> Path | None:
        at = self.query_one(OptionList).highlighted
        return self._shown[at] if at is not None and at < len(self._shown) else None

    def _list(self, marked: Path | None) -> None:
        """Show those that fit what is typed, in order."""
        part = self._typed.casefold()
        self._shown = [path for path in self._models if part in self._called(path).casefold()]
        self._shown.sort(key=lambda path: self._called(path).casefold())
        if self._by_loss:
            losses = {p: self._cards[p].loss if p in self._cards else 0.0 for p in self._shown}
            self._shown.sort(key=losses.__getitem__)
        options = self.query_one(OptionList)
        options.set_options(Option(self._line(path), id=str(path)) for path in self._shown)
        at = self._shown.index(marked) if marked in self._shown else 0
        options.highlighted = at if self._shown else None
        words, order = self.query_one("#filter", Static), "by loss" if self._by_loss else "by name"
        found = f"{len(self._shown)} of {len(self._models)} {order}"
        words.update(f"› {self._typed}  {found}" if self._typed else f"Type to filter · {order}")
        words.set_class(bool(self._typed), "-typed")
        self._show_card()

    def _show_card(self) -> None:
        path = self._marked
        card = self._cards.get(path) if path else None
        name = card.card.name if card and card.card else path.name if path else "None of that name"
        text = card.text if card else "Reading ..." if path else "Backspace erases what is typed."
        self.query_one("#card-name", Static).update(one_line(name))
        self.query_one("#facts", Static).update(printable(text))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return bool(self._models) or action not in {"sort", "erase"}

    def on_key(self, event: events.Key) -> None:
        if self._models and event.is_printable and event.character:
            self._typed += event.character
            self._list(self._marked)
            event.stop()

    def action_erase(self) -> None:
        self._typed = self._typed[:-1]
        self._list(self._marked)

    def action_sort(self) -> None:
        self._by_loss = not self._by_loss
        self._list(self._marked)

    @on(OptionList.OptionHighlighted)
    def _turn_to(self) -> None:
        self._show_card()

    @on(OptionList.OptionSelected)
    def _choose(self, message: OptionList.OptionSelected) -> None:
        # not by its index: what is shown may be another selection by now, or in another order
        self.dismiss(Path(str(message.option_id)))

    def _called(self, path: Path) -> str:
        """Two of one name are told apart by their folders."""
        return path.stem if self._n_called[path.stem] == 1 else f"{path.parent.name}/{path.stem}"

    def _line(self, path: Path) -> str:
        mark = "●" if path.resolve() == self._current else " "
        card = self._cards.get(path)
        loss = "" if card is None else f"{card.loss:.3f}" if card.card else "refused"
        name = set_cell_size(cut(one_line(self._called(path)), NAME_CELLS), NAME_CELLS)
        return f"{mark} {name} {loss:>7}"
