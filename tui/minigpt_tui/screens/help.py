"""The keys, by area."""

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from minigpt_tui.screens.window import Window

KEY_CELLS = 16
AREAS: dict[str, tuple[tuple[str, str], ...]] = {
    "Writing": (
        ("Enter", "add your words; the model writes on"),
        ("Enter, empty", "go on writing"),
        ("Esc, Ctrl+C", "stop, the text stays"),
        ("Ctrl+J", "a new line in the prompt"),
        ("↑ ↓", "earlier prompts"),
        ("Ctrl+N", "a new text"),
    ),
    "Reading": (
        ("PgUp PgDn", "scroll, also from the prompt"),
        ("Ctrl+Home / End", "the beginning, the end"),
        ("mouse", "select; Ctrl+C copies the selection"),
        ("F4", "copy the selection or the whole text"),
        ("F5", "save the text to a file"),
        ("▎", "beside what the model has in view"),
    ),
    "Sliders": (
        ("Tab, Shift+Tab", "to the next, the previous"),
        ("← →", "a step; with Shift a fine, with Ctrl a coarse one"),
        ("Home End", "lowest, highest"),
        ("0–9 .", "type a value, Enter sets it"),
        ("Backspace", "back to the default (or double click)"),
        ("Ctrl+R", "another seed"),
    ),
    "Watching a run": (
        ("↑ ↓", "an earlier, a later text; ◆ is its place on the curve"),
        ("Home End", "the first text, the newest one"),
        ("← →, - +", "less, more of the last steps"),
        ("L", "the first steps wide, the last ones narrow"),
    ),
    "App": (
        ("F2", "choose a model"),
        ("F3", "show or hide the sliders"),
        ("F9", "watch a training run"),
        ("Ctrl+P", "every command, and the themes"),
        ("Ctrl+Q", "quit"),
    ),
}
PLAIN = (
    "A slider acts on the very next character. The same text, settings and seed write the same.\n\n"
    "Without this interface, for pipes and screen readers:  minigpt generate --help"
)


class HelpScreen(ModalScreen[None], Window):
    """Esc or F1 closes it."""

    BINDINGS = [Binding("escape,f1,q", "dismiss", "Close", id="help.close")]

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="window") as window:
            window.border_title = "Help"
            window.border_subtitle = "↑ ↓ scroll · Esc closes"
            for area, keys in AREAS.items():
                yield Static(area, classes="heading")
                lines = (
                    Content.assemble((f"{key:<{KEY_CELLS}}", "bold"), meaning)
                    for key, meaning in keys
                )
                yield Static(Content("\n").join(lines), classes="keys")
            yield Static(PLAIN, markup=False)
