"""The keys, by area."""

from collections.abc import Collection, Iterable, Mapping

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from minigpt_tui.screens.window import Window
from minigpt_tui.widgets.key_table import KeyTable

AREAS: dict[str, tuple[tuple[str, str], ...]] = {
    "Writing": (
        ("prompt.submit", "add your words, or none; the model writes on"),
        ("stop", "stop, the text stays; back to the prompt"),
        ("interrupt", "copy what is selected, else stop"),
        ("prompt.newline", "a new line in the prompt"),
        (
            "prompt.earlier prompt.later",
            "what you sent, or left there, also at earlier starts",
        ),
        ("next", "accept the grey words behind your own"),
        ("/ ...", "a command, as /set top_k=5; {next} completes it"),
        ("// ...", "text that begins with a slash"),
        ("undo redo", "back to the text before; forward again"),
        ("new", "a new text"),
    ),
    "Reading": (
        ("page.up page.down", "scroll, also from the prompt"),
        ("text.top", "to the beginning"),
        ("text.bottom", "to the end"),
        ("mouse", "select; a click sets the cursor"),
        ("copy", "copy the selection or the whole text"),
        ("save", "save it: plain, Markdown, JSON, a picture"),
        ("▎", "beside what the model has in view"),
    ),
    "In the text": (
        ("text.left text.right", "from the empty prompt, back to any character"),
        ("text.up text.down", "a row up, a row down"),
        ("text.home text.end", "the beginning, the end"),
        (
            "text.select.left text.select.right",
            "select, as Shift does with those above; {interrupt} copies",
        ),
        ("text.enter", "to what else could stand there"),
        ("text.heat", "the colours, as everywhere {heat}"),
        ("text.attention", "inside the model, as everywhere {attention}"),
        ("text.undo text.redo", "undo, redo"),
    ),
    "What could come next": (
        ("candidates.above candidates.below", "choose a character"),
        ("candidates.first candidates.last", "the likeliest, the least likely"),
        ("candidates.force", "write it there, and go on from it"),
        ("candidates.favour candidates.ban", "favour it, ban it"),
        ("candidates.unbias", "neither any more; /unban ends all of them"),
        ("9% 12%", "its chance by the model, and by the sliders, or what cut it"),
        ("█ ▓ ░", "the same as a bar; what the sliders gave it, what they took"),
    ),
    "Inside the model": (
        ("attention.layer.before attention.layer.after", "another layer"),
        ("attention.head.before attention.head.after", "another head"),
        ("attention.mean", "the mean of the heads"),
    ),
    "Colours": (
        ("heat", "by probability, by entropy, by rank, none"),
        ("attention", "by what a head looked at"),
        ("/palette", "other ones, for colour-blind eyes too"),
        ("/theme", "another theme; NO_COLOR=1 has none, and marks stay"),
    ),
    "Sliders": (
        ("next previous", "to the next, the previous"),
        ("sampling.above sampling.below", "so too"),
        ("slider.less slider.more", "a step"),
        ("slider.less.fine slider.more.fine", "a fine step"),
        ("slider.less.coarse slider.more.coarse", "ten steps"),
        ("slider.low slider.high", "lowest, highest"),
        ("0–9 .", "type a value, Enter sets it"),
        ("slider.default", "back to the default (or double click)"),
        ("preset.previous preset.next", "another preset, on the uppermost row"),
        ("preset.restore", "the preset again, without what was changed"),
        ("more.toggle more.close", "show, hide the other sliders"),
        ("new_seed", "another seed"),
    ),
    "Conversations": (
        ("talk", "speak as one, be answered as another; or end it"),
        ("again", "let the model answer anew"),
        ("edit", "take back your last words, or those at the cursor"),
        ("roles.above roles.below", "the names that the model knows"),
    ),
    "Models": (
        ("models", "the list; what you type there filters it"),
        ("picker.sort", "sort it by loss, by name"),
        ("picker.erase", "erase what filters it"),
    ),
    "What was written before": (
        ("sessions", "the list of sessions"),
        ("sessions.search sessions.list", "search all texts and names; down to what was found"),
        ("sessions.rename sessions.duplicate", "name it; have it twice"),
        ("sessions.delete sessions.undelete", "delete it; bring it back"),
        ("sessions.replay", "write it anew, and see whether the same comes out"),
    ),
    "Watching a run": (
        ("runs", "the list of runs"),
        ("watch.earlier watch.later", "another text; ◆ is its place on the curve"),
        ("watch.first watch.last", "the first text, the newest one"),
        ("watch.zoom_out watch.zoom_in", "more, less of the last steps"),
        ("watch.log", "the first steps wide, the last ones narrow"),
    ),
    "Branches": (
        ("branches text.branches", "the list of them; from the text"),
        ("branches.up branches.down", "another branch"),
        ("branches.out branches.into", "what it leaves; what leaves it"),
        ("branches.first branches.last", "the first one, the last one"),
        ("branches.page.up branches.page.down", "a page up, a page down"),
        ("branches.go branches.name", "go there; name it"),
        ("branches.compare", "choose two of them, to see them side by side"),
        ("compare.previous compare.next", "where else they differ"),
        ("compare.up compare.down", "scroll both"),
    ),
    "Two texts": (
        ("ab", "two settings or two models, from one seed; back"),
        ("ab.next ab.previous", "the prompt, the sliders of A, those of B"),
        ("ab.write ab.new_seed", "write anew with both; from another seed"),
        ("ab.models", "another model for the one whose letter is marked"),
        ("ab.copy", "give the other one its settings, in the sliders"),
        ("ab.difference", "to ◆, where they part, and back to the end"),
        ("ab.keep", "go on with the one whose letter is marked"),
    ),
    "App": (
        ("sliders", "show or hide the sliders"),
        ("palette", "every command, and Textual's own"),
        ("help", "this"),
        ("quit", "quit; everything is saved"),
    ),
}
"""Of each row the ids of its bindings, or, where there is none of that id, words."""
PLAIN = (
    "A slider acts on the very next character. The same text, settings and seed write the same.\n\n"
    "Other keys: /files says where your preferences are, and there the table [keys].\n\n"
    "Without this interface, for pipes and screen readers:  minigpt chat --help"
)


class HelpScreen(ModalScreen[None], Window):
    """Opens at the keys of where one is; Esc or F1 closes it."""

    BINDINGS = [Binding("escape,f1,q", "dismiss", "Close", id="help.close")]

    def __init__(self, keys: Mapping[str, str], here: Iterable[Collection[str]]) -> None:
        """Make the screen.

        Args:
            keys: of each binding, by its id.
            here: ids of bindings: where one is, and what is around that.
        """
        super().__init__()
        self._keys = keys
        self._area = next(filter(None, map(_area_of, here)), "")

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="window") as window:
            window.border_title = "Help"
            window.border_subtitle = f"↑ ↓ scroll · {self._keys['help.close']} closes"
            for area, rows in AREAS.items():
                yield Static(area, classes="heading here" if area == self._area else "heading")
                yield KeyTable([self._row(*row) for row in rows], classes="keys")
            yield Static(PLAIN, markup=False)

    def on_mount(self) -> None:
        for heading in self.query(".here"):
            self.call_after_refresh(heading.scroll_visible, top=True, animate=False)

    def _row(self, ids: str, meaning: str) -> tuple[str, str]:
        shown = " ".join(self._keys.get(id, id) for id in ids.split())
        return shown, meaning.format_map(self._keys)


def _area_of(ids: Collection[str]) -> str:
    """The first that has one of these bindings; "": none has."""
    return next(
        (area for area, rows in AREAS.items() for row, _ in rows if set(row.split()) & set(ids)), ""
    )
