"""Writing the text to a file: in which form, and under which name."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import count
from pathlib import Path

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option
from textual.worker import get_current_worker

from minigpt.files import is_no_name
from minigpt.terminal import one_line
from minigpt_tui.document import Document
from minigpt_tui.exports import Form, export
from minigpt_tui.heat import Heat, Palette
from minigpt_tui.keymap import keys_of
from minigpt_tui.screens.window import Window
from minigpt_tui.widgets.in_turn import Line
from minigpt_tui.widgets.options import Options

FORMS = {
    Form.TEXT: ("Plain text", "the text as it stands"),
    Form.MARKDOWN: ("Markdown", "your words in bold, and the settings"),
    Form.JSON: ("JSON", "all that is known, the branches too"),
    Form.SVG: ("SVG picture", "{heat}"),
    Form.HTML: ("Web page", "{heat}"),
}


class ExportScreen(ModalScreen[Path | None], Window):
    """Closes with the path of the file that was written, or with None.

    An existing file is never written over. A long text takes seconds, in a thread; Esc gives it up.
    """

    BINDINGS = [Binding("escape,f5", "dismiss(None)", "Close", id="export.close")]
    CSS = """
    ExportScreen {
        .window { width: 76; }
        OptionList { text-wrap: nowrap; text-overflow: ellipsis; }
        #export-name, #export-name:focus { border: none; height: 1; padding: 0 1;
                                           background: $panel; margin: 1 0; }
        #export-said { height: auto; max-height: 3; color: $text-muted; }
    }
    """

    @dataclass
    class Wrote(Message):
        """The file is there."""

        path: Path

    @dataclass
    class Failed(Message):
        """It is not, for a reason; perhaps under another name."""

        sentence: str
        name: str | None = None

    def __init__(
        self, document: Document, heat: Heat, palette: Palette, *, is_dark: bool, title: str = ""
    ) -> None:
        super().__init__()
        self._document = document
        self._heat = heat
        self._export = partial(export, heat=heat, palette=palette, is_dark=is_dark, title=title)
        self._is_writing = False

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="window", can_focus=False) as window:
            window.border_title = "Save as"
            close = keys_of(self)["export.close"]
            window.border_subtitle = f"Enter saves · Tab to the name · {close} closes"
            yield Options(*map(self._option, FORMS), markup=False, compact=True)
            name = f"minigpt-{datetime.now():%Y%m%d-%H%M%S}.{Form.TEXT}"
            yield Line(name, id="export-name", select_on_focus=False)
            yield Static(id="export-said", markup=False)

    def on_mount(self) -> None:
        options = self.query_one(OptionList)
        options.focus()
        options.highlighted = 0
        self._say_what()

    def _option(self, form: Form) -> Option:
        name, words = FORMS[form]
        keys = keys_of(self.app.screen_stack[0])
        heat = (
            f"coloured by {self._heat}" if self._heat is not Heat.OFF
            else f"without colours; {keys['heat']} in the text turns them on"
        )  # fmt: skip
        words = words.format(heat=heat)
        return Option(Content.assemble(f"{name:<13}", (f".{form:<6}{words}", "$text-muted")))

    def _say(self, sentence: str) -> None:
        self.query_one("#export-said", Static).update(Content(one_line(sentence)))

    def _say_what(self) -> None:
        self._say(f"{len(self._document):,} characters, into this folder or where the name says.")

    @property
    def _form(self) -> Form:
        return list(FORMS)[self.query_one(OptionList).highlighted or 0]

    @on(OptionList.OptionHighlighted)
    def _change_ending(self) -> None:
        field = self.query_one("#export-name", Input)
        if _form_of(field.value) is not None:  # another one is the user's own
            with field.prevent(Input.Changed):
                field.value = f"{field.value.rpartition('.')[0]}.{self._form}"
            if not self._is_writing:
                self._say_what()

    @on(Input.Changed)
    def _change_form(self, message: Input.Changed) -> None:
        """An ending that the user types chooses the form, as choosing one writes the ending.

        What was wrong with the name before is said no longer.
        """
        if not self._is_writing:
            self._say_what()
        if (form := _form_of(message.value)) is not None:
            options = self.query_one(OptionList)
            with options.prevent(OptionList.OptionHighlighted):
                options.highlighted = list(FORMS).index(form)

    @on(OptionList.OptionSelected)
    @on(Input.Submitted)
    def _begin(self) -> None:
        if self._is_writing:
            return
        name = self.query_one("#export-name", Input).value.strip()
        if not name:
            self._say("The file needs a name.")
            return
        self._is_writing = True
        self._say("Writing ...")
        # a copy, as the model may be writing on
        self._write(name, partial(self._export, deepcopy(self._document), self._form))

    @work(thread=True)
    def _write(self, name: str, content: Callable[[], bytes]) -> None:
        worker = get_current_worker()
        data = content()
        if worker.is_cancelled:
            return
        try:
            path = Path(name).expanduser().absolute()
            if path.is_dir():
                self.post_message(self.Failed(f"{name} is a folder; add a file's name."))
                return
            try:
                write_new(path, data)
            except FileExistsError:
                other = str(Path(name).with_name(free_name(path).name))
                self.post_message(self.Failed(f"{name} exists already; {other} does not.", other))
                return
        except OSError as error:
            self.post_message(self.Failed(f"{name} could not be saved: {error.strerror}."))
        except (ValueError, RuntimeError):  # a NUL in it, or the home of nobody
            self.post_message(self.Failed(f"{name} is no name for a file; give it another one."))
        else:
            self.post_message(self.Wrote(path))

    @on(Wrote)
    def _end(self, message: Wrote) -> None:
        self._is_writing = False
        self._say(f"Saved to {message.path}.")  # if the help lies over this, it stays
        self.dismiss(message.path)

    @on(Failed)
    def _tell(self, message: Failed) -> None:
        self._is_writing = False
        self._say(message.sentence)
        if message.name is not None:
            field = self.query_one("#export-name", Input)
            with field.prevent(Input.Changed):
                field.value = message.name


def _form_of(name: str) -> Form | None:
    """The form that a file's name says.

    >>> [_form_of(name) for name in ("a.html", "A.SVG ", "a.htm", "json")]
    [<Form.HTML: 'html'>, <Form.SVG: 'svg'>, None, None]
    """
    _, dot, ending = name.strip().lower().rpartition(".")
    return Form(ending) if dot and ending in list(Form) else None


def write_new(path: Path, content: bytes) -> None:
    """Write a file that was not there.

    Raises:
        FileExistsError: it was.
        OSError: it cannot be written, and is not there.
        ValueError: Windows has no such names.
    """
    if is_no_name(path.name):
        raise ValueError(path.name)
    file = path.open("xb")
    try:
        with file:
            file.write(content)
    except OSError:
        path.unlink()
        raise


def free_name(path: Path) -> Path:
    """A path beside `path` where nothing is.

    Raises:
        OSError: no file can have a longer name.
    """
    for n in count(2):
        other = path.with_stem(f"{path.stem}-{n}")
        try:
            other.lstat()  # which tells a name that is too long from one that is free
        except FileNotFoundError:
            break
    return other
