"""Everything that was ever written here: find a session, open it, rename, delete, duplicate."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.timer import Timer
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from minigpt.errors import InputError
from minigpt.terminal import one_line
from minigpt_tui.finding import words_in
from minigpt_tui.keymap import keys_of
from minigpt_tui.screens.window import Window
from minigpt_tui.sessions import MOST_FOUND, Found, SessionInfo, Sessions
from minigpt_tui.widgets.in_turn import Line
from minigpt_tui.widgets.options import Options
from minigpt_tui.widgets.session_text import Row, excerpt, facts, short_title

MOST = 500
"""Sessions in the list; the others are found by searching."""
PREVIEW_S = 0.05
"""Who runs down the list does not wait for every preview: 100 ms for 200,000 characters."""
EMPTY = (
    "Nothing is stored yet.\n\n"
    "Whatever you and a model write is kept here while it is written, with all of its branches, "
    "settings and seeds: nothing has to be saved. Come back to open it, to search all of it, or "
    "to have it written again, the same to the letter."
)


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the user wants."""

    id: int | None
    """A session to open; None: none."""
    anew: bool
    """Not to go on with it, but to see it written once more."""
    is_gone: bool
    """The one that is open was deleted: it must not be written on."""
    words: str
    """Those that are searched for."""


class SessionsScreen(ModalScreen[Chosen], Window):
    """Lists the sessions, the newest first; closes with what to do."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-low"), (18, "-tall")]
    BINDINGS = [
        Binding("f1", "app.help", "Help", show=False, id="sessions.help"),
        Binding("escape,ctrl+o", "close", "Close", id="sessions.close"),
        # priority, or letters typed right after would be commands
        Binding("slash,ctrl+f", "search", "Search", priority=True, id="sessions.search"),
        Binding("down", "list", show=False, id="sessions.list"),
        Binding("r,R", "rename", "Rename", id="sessions.rename"),
        Binding("d,D", "duplicate", "Duplicate", id="sessions.duplicate"),
        Binding("p,P", "replay", "Replay", id="sessions.replay"),
        Binding("delete", "delete", "Delete", id="sessions.delete"),
        Binding("u,U,ctrl+z", "undelete", "Undo", id="sessions.undelete"),
    ]
    CSS = """
    SessionsScreen {
        .window { width: 100%; max-width: 150; height: 100%; max-height: 44; padding: 0 1; }
        Input, Input:focus { border: none; height: 1; padding: 0 1; background: $panel; }
        #sessions-said { height: 1; padding: 0 1; color: $text-muted; text-wrap: nowrap;
                         text-overflow: ellipsis; }
        #sessions-body { height: 1fr; layout: vertical; margin-top: 1; }
        #sessions-list { height: 1fr; layers: rows above; }
        OptionList { layer: rows; height: 100%; }
        #sessions-rename { layer: above; display: none; }
        #sessions-preview { height: 34vh; max-height: 9; border-top: solid $panel; padding: 0 1; }
        /* not until it is known: the list would be scrolled as if it had half the room */
        #sessions-empty { height: 1fr; padding: 1 1; display: none; }
    }
    SessionsScreen.-wide {
        #sessions-body { layout: horizontal; }
        #sessions-list { width: 3fr; }
        #sessions-preview { width: 2fr; height: 100%; max-height: 100%; border-top: none;
                            border-left: solid $panel; padding: 0 1 0 2; }
    }
    SessionsScreen.-low {
        #sessions-preview { display: none; }
        #sessions-body { margin-top: 0; }
    }
    """

    def __init__(
        self,
        sessions: Sessions,
        current: int,
        at: int | None = None,
        words: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Make the screen.

        Args:
            sessions: those that are stored.
            current: the one that is open.
            at: where the mark is at first; None: there.
            words: those that are searched for at first.
            clock: tells the time.
        """
        super().__init__()
        self._sessions = sessions
        self._current = current
        self._at_first = current if at is None else at
        self._words = words
        self._clock = clock
        self._shown: tuple[Found, ...] = ()
        """What is in the list; without a search, no snippets."""
        self._deleted: set[int] = set()
        """Here, and not brought back since."""
        self._renamed: int | None = None
        """Whose name is being written."""
        self._said = ""
        self._waiting: Timer | None = None

    def compose(self) -> ComposeResult:
        with Vertical(classes="window") as window:
            window.border_title = "Sessions"
            keys = keys_of(self)
            names = ("rename", "duplicate", "delete", "replay", "close")
            says = (f"{keys[f'sessions.{name}']} {name}" for name in names)
            window.border_subtitle = " · ".join(("Enter open", *says))
            search = f"{keys['sessions.search']} searches all texts and names"
            yield Line(self._words, placeholder=search, id="sessions-search")
            with Container(id="sessions-body"):
                with Container(id="sessions-list"):
                    yield Options(markup=False, compact=True)
                    yield Line(id="sessions-rename", placeholder="a name; empty for none")
                yield Static(id="sessions-preview", markup=False)
            yield Static(id="sessions-empty", markup=False)
            yield Static(id="sessions-said", markup=False)

    def on_mount(self) -> None:
        self.query_one(OptionList).focus()
        self.call_after_refresh(self._list, self._at_first)

    # the list

    def _list(self, highlight: int | None = None) -> None:
        """Read the list anew, and go to a session of it, or stay in the row."""
        if self._is_gone:
            return
        words = self.query_one("#sessions-search", Input).value
        if words.strip():
            self._shown = self._sessions.search(words)
        else:
            self._shown = tuple(Found(info, ()) for info in self._sessions.list(MOST))
        self._draw_rows(highlight)
        n = len(self._shown)
        is_search = bool(words.strip())
        self._say(
            Content.styled(self._said, "bold $foreground")
            if self._said
            else Content(_found(n) if is_search else _stored(n))
        )
        self.query_one("#sessions-body").display = bool(n)
        empty = self.query_one("#sessions-empty", Static)
        empty.display = not n
        empty.update(
            "No text and no name has all of these words, or longer ones that begin so."
            if is_search
            else f"{EMPTY}\n\n{one_line(str(self._sessions.path))}"
        )

    def _draw_rows(self, highlight: int | None = None) -> None:
        if self._is_gone:
            return
        options = self.query_one(OptionList)
        ids = [found.info.id for found in self._shown]
        before = options.highlighted or 0
        options.clear_options()
        now = self._clock()
        options.add_options(
            Option(Row(found, now, is_open=id == self._current), id=str(id))
            for id, found in zip(ids, self._shown, strict=True)
        )
        if ids:
            options.highlighted = ids.index(highlight) if highlight in ids else min(
                before, len(ids) - 1
            )  # fmt: skip
        self._preview_soon()

    @property
    def _is_gone(self) -> bool:
        """Whether it was closed since a timer, or a wait for a refresh, began."""
        return not self.query(OptionList) or not self.query("#sessions-search")

    @property
    def _highlighted(self) -> SessionInfo | None:
        row = self.query_one(OptionList).highlighted
        return None if row is None or row >= len(self._shown) else self._shown[row].info

    def _say(self, words: Content) -> None:
        self.query_one("#sessions-said", Static).update(words)
        self._said = ""

    # the preview

    @on(OptionList.OptionHighlighted)
    def _preview_soon(self) -> None:
        if self._waiting is not None:
            self._waiting.stop()
        self._waiting = self.set_timer(PREVIEW_S, self._preview)

    def _preview(self) -> None:
        if self._is_gone:
            return
        shown = self.query_one("#sessions-preview", Static)
        if (info := self._highlighted) is None:
            return
        try:
            document = self._sessions.peek(info.id)
        except InputError as error:
            shown.update(Content(one_line(str(error))))
            return
        words = words_in(self.query_one("#sessions-search", Input).value)
        shown.update(Content("\n\n").join((facts(info, document), excerpt(document, words))))

    # the user's side

    @on(Input.Changed, "#sessions-search")
    def _search(self) -> None:
        self._list()

    @on(Input.Submitted, "#sessions-search")
    def _open(self) -> None:
        if (info := self._highlighted) is not None:
            self._choose(info.id)

    @on(OptionList.OptionSelected)
    def _open_this(self, message: OptionList.OptionSelected) -> None:
        id = int(str(message.option_id))
        if id not in self._deleted:  # by now
            self._choose(id)

    def _choose(self, id: int | None, *, anew: bool = False) -> None:
        words = self.query_one("#sessions-search", Input).value
        self.dismiss(Chosen(id, anew, self._current in self._deleted, words))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return action != "search" or not isinstance(self.focused, Input)

    def action_search(self) -> None:
        self.set_focus(self.query_one("#sessions-search"))  # at once: the next key is for it

    def action_list(self) -> None:
        """Down in the search: to what was found."""
        self.query_one(OptionList).focus()

    def action_close(self) -> None:
        """Esc: give up the renaming, or end the search, or close."""
        search = self.query_one("#sessions-search", Input)
        if self._renamed is not None:
            self._end_renaming()
        elif search.value:
            search.value = ""
            self.query_one(OptionList).focus()
        else:
            self._choose(None)

    def action_replay(self) -> None:
        if (info := self._highlighted) is not None:
            self._choose(info.id, anew=True)

    def action_rename(self) -> None:
        """Put a field where the name is."""
        options, field = self.query_one(OptionList), self.query_one("#sessions-rename", Input)
        if (info := self._highlighted) is None or options.highlighted is None:
            return
        lines = 2 if self._shown[0].snippet else 1
        self._renamed = info.id
        field.value = info.name
        field.styles.offset = (0, lines * options.highlighted - options.scroll_offset.y)
        field.display = True
        field.focus()

    @on(Input.Submitted, "#sessions-rename")
    def _rename(self) -> None:
        """Take the name; whoever goes elsewhere is done with it, too."""
        if self._renamed is not None:
            self._sessions.rename(
                self._renamed, self.query_one("#sessions-rename", Input).value.strip()
            )
            self._end_renaming()
            self._list()

    def on_descendant_blur(self, event: events.DescendantBlur) -> None:
        if event.widget.id == "sessions-rename":
            self._rename()

    def _end_renaming(self) -> None:
        self._renamed = None
        self.query_one("#sessions-rename").display = False
        self.query_one(OptionList).focus()

    def action_delete(self) -> None:
        if (info := self._highlighted) is not None:
            self._sessions.delete(info.id)
            self._deleted.add(info.id)
            self._said = f"Deleted “{short_title(info, 40)}”; U brings it back."
            self._list()

    def action_undelete(self) -> None:
        """The last one that was deleted, also before this list was opened."""
        if (info := self._sessions.bring_back()) is None:
            self._say(Content("There is nothing to bring back."))
        else:
            self._deleted.discard(info.id)
            self._said = f"“{short_title(info, 40)}” is back."
            self._list(info.id)

    def action_duplicate(self) -> None:
        if (info := self._highlighted) is None:
            return
        try:
            copy = self._sessions.duplicate(info.id)
        except InputError as error:
            self._say(Content(one_line(str(error))))
        else:
            self._said = f"Duplicated “{short_title(info, 40)}”."
            self._list(copy)


def _stored(n: int) -> str:
    if n == MOST:
        return f"the newest {n:,} sessions; a search finds the others"
    return f"{n:,} session{'s' * (n != 1)}"


def _found(n: int) -> str:
    return f"the best {n:,}; more words find fewer" if n == MOST_FOUND else f"{n:,} found"
