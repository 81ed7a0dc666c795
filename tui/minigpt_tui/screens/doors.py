"""The screens that open from the main one, and what comes back from them.

Each is imported as it opens: together they would make the start 40 ms longer.
"""

from asyncio import to_thread
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from minigpt.errors import InputError
from minigpt.runtime.chat import speakers
from minigpt.terminal import one_line, printable
from minigpt_tui import cards
from minigpt_tui.document import Document
from minigpt_tui.keymap import keys_of
from minigpt_tui.protocol import Engine, Opened
from minigpt_tui.run_record import RunRecord
from minigpt_tui.widgets.prompt import Prompt
from minigpt_tui.widgets.sampling_panel import SamplingPanel
from minigpt_tui.widgets.token_view import TokenView
from minigpt_tui.widgets.welcome import Welcome

if TYPE_CHECKING:  # it opens these doors
    from minigpt_tui.screens.ab import Kept
    from minigpt_tui.screens.main import MainScreen
    from minigpt_tui.screens.sessions import Chosen


def models(main: "MainScreen") -> None:
    """Let the user choose a model."""
    from minigpt_tui.screens.models import ModelPicker

    current = main.writer.model.path if main.writer.model else None
    picker = ModelPicker(current)
    main.app.push_screen(picker, lambda path: main.open_model(path) if path else None)


def about(main: "MainScreen") -> None:
    """Show the card of the model that is open."""
    from minigpt_tui.screens.note import Note

    if (model := main.writer.model) is None:
        main.tell("There is no model open yet.")
        return
    facts = cards.facts(model.path, model.config, model.card)
    main.app.push_screen(Note("About this model", (model.card.name, facts)))


def roles(main: "MainScreen") -> None:
    """Ask who speaks with whom, and begin a conversation."""
    from minigpt_tui.screens.roles import RolesScreen

    main.writer.ask_who_speaks()
    screen = RolesScreen(_names(main), is_asking=main.writer.is_asking)
    main.app.push_screen(screen, lambda roles: main.converse(roles) if roles else None)


def offer_names(main: "MainScreen") -> None:
    """If somebody is asked who speaks: offer the names that the model has come up with."""
    from minigpt_tui.screens.roles import RolesScreen

    for screen in main.app.screen_stack:  # the help may lie over it
        if isinstance(screen, RolesScreen):
            screen.offer(_names(main), is_asking=main.writer.is_asking)


def _names(main: "MainScreen") -> Sequence[str]:
    """Who speaks in the text, then whom the model would let speak."""
    names = (*speakers(main.writer.document.text), *main.writer.speakers)
    return list(dict.fromkeys(names))


def branches(main: "MainScreen") -> None:
    """Show the tree of branches, and go to the one that is chosen."""
    from minigpt_tui.screens.branches import BranchesScreen

    def go(leaf: int | None) -> None:
        if leaf is not None:
            main.writer.checkout(leaf)
            main.turn_to_end()

    main.app.push_screen(BranchesScreen(main.writer.document, main.writer.model), go)


def compare(
    main: "MainScreen",
    make_engine: Callable[[], Engine],
    other: Path | None,
    sessions: Path | None,
) -> None:
    """Open two texts side by side, which go on from the place that is looked at.

    Args:
        main: lends its engine meanwhile.
        make_engine: makes the second one.
        other: writes the second one; None: the model that writes the first one does.
        sessions: the database in which both are kept.
    """
    from minigpt_tui.screens.ab import ABScreen

    model = main.lend_engine()
    panel = main.query_one(SamplingPanel)
    beginning = _beginning(main)
    is_chosen = beginning or main.query_one(TokenView).cursor is not None  # its beginning, then
    example = "" if is_chosen else main.query_one(Welcome).marked
    screen = ABScreen(
        main.writer.beside(), make_engine, model, panel.params, beginning or example,
        is_example=bool(example), other_model=other,
        presets=panel.presets, sent=main.query_one(Prompt).sent.beside(), sessions=sessions,
        last_words=main.last_words,
    )  # fmt: skip
    main.app.push_screen(screen, partial(_go_on, main))


def _go_on(main: "MainScreen", kept: "Kept | None") -> None:
    """With one of two texts; None: with the one from before."""
    main.take_engine_back(kept.model if kept else None)
    if kept is None:
        return
    main.save()
    main.adopt(_stored(main, kept))
    main.converse(None)  # it was in the other text
    main.query_one(SamplingPanel).take(kept.params)
    sessions = main.keeper.sessions
    others = [info for info in sessions.list(2) if info.id != main.keeper.id] if sessions else []
    hint = f" {keys_of(main)['sessions']} has the other texts." if others else ""
    main.tell(f"You go on with {kept.letter}.{hint}")


def _stored(main: "MainScreen", kept: "Kept") -> Document:
    """The text as it is stored, to go on with; where the disk has not taken it, to store anew."""
    if main.keeper.sessions is not None:
        with suppress(InputError):
            document = main.keeper.open(kept.session)
            ends = [(len(each.nodes), each.head) for each in (document, kept.document)]
            if ends[0] == ends[1]:
                return document
    main.keeper.begin()
    return kept.document


def _beginning(main: "MainScreen") -> str:
    """The text up to the cursor; without one, the words that it began with, or that are typed."""
    document, cursor = main.writer.document, main.query_one(TokenView).cursor
    if cursor is not None:
        return printable(document.text[:cursor])
    n_words = sum(1 for _ in takewhile(document.is_user, range(len(document))))
    if n_words:
        return document.text[:n_words]
    return main.query_one(Prompt).words


def export(main: "MainScreen") -> None:
    """Write the text to a file, in a form of choice."""
    from minigpt_tui.screens.export import ExportScreen

    if not len(main.writer.document):
        main.tell("There is no text yet.")
        return
    is_dark = main.app.current_theme.dark
    screen = ExportScreen(
        main.writer.document, main.sight.heat, main.sight.palette, is_dark=is_dark,
        title=main.keeper.name,
    )  # fmt: skip
    main.app.push_screen(
        screen, lambda path: main.tell(f"Saved to {printable(str(path))}") if path else None
    )


def sessions(main: "MainScreen", at: int | None = None, words: str = "") -> None:
    """Show everything that was written before, with the mark at what is open, or elsewhere.

    Or what of it has those words.
    """
    from minigpt_tui.screens.sessions import SessionsScreen

    main.open_sessions()  # else the first paint is waited for
    main.save()
    if main.keeper.sessions is None:
        main.tell("Nothing is stored: there is no database.")
        return
    screen = SessionsScreen(main.keeper.sessions, main.keeper.id, at, words)
    main.app.push_screen(screen, partial(_turn_to, main))


def _turn_to(main: "MainScreen", chosen: "Chosen | None") -> None:
    """What was chosen among the sessions."""
    assert chosen is not None
    if chosen.is_gone:
        main.action_new()
    if chosen.id is None or main.keeper.sessions is None:
        return
    try:
        if chosen.anew:
            document = main.keeper.sessions.peek(chosen.id)
            replay(main, document, lambda: sessions(main, chosen.id, chosen.words))
        elif chosen.id != main.keeper.id:
            main.save()
            main.adopt(document := main.keeper.open(chosen.id))
            main.converse(None)  # it was in the other text
            main.run_worker(_bring_back(main, document), exclusive=True, group="bring back")
    except InputError as error:
        main.tell(printable(str(error)), is_error=True)


async def _bring_back(main: "MainScreen", document: Document) -> None:
    """The settings that a stored text was last written with, and its model, if that is found."""
    if (run := document.last_run) is None:
        return
    panel, said = main.query_one(SamplingPanel), list[str]()
    before, settings = panel.params, replace(run.last_params, logit_bias=())
    panel.take(settings)
    await main.has_opened.wait()  # another model may be on its way
    missing = ""
    if not _is_by(run, main.writer.model):
        asked = main.writer.path
        path = await to_thread(cards.find, run.model_sha256)
        missing = "" if path else ", which is not found here"
        # not where something is written or asked for by now, or another screen has the engine
        is_wanted = main.writer.document is document and main.writer.path == asked
        if path and is_wanted and main.is_free:
            main.open_model(path)
            await main.has_opened.wait()
            if _is_by(run, main.writer.model):
                said.append(f"Its model is back: {one_line(run.model_name)}.")
    if main.writer.document is not document:
        return
    if _is_by(run, main.writer.model):
        settings = run.last_params
        if settings.logit_bias:  # which are ids of its own model
            panel.take(replace(panel.params, logit_bias=settings.logit_bias))
    elif (model := main.writer.model) and (author := run.other_author(model)):
        key, name = keys_of(main)["models"], one_line(model.card.name)
        said.append(f"Written by {author}{missing}; {name} goes on. {key} changes it.")
    if before != replace(settings, seed=before.seed):
        said.insert(0, "Its settings are back.")
    if said:
        main.tell(" ".join(said))


def _is_by(run: RunRecord, model: Opened | None) -> bool:
    """Whether a model wrote it."""
    return model is not None and model.checksum == run.model_sha256


def replay(main: "MainScreen", document: Document, then: Callable[[], None] = lambda: None) -> None:
    """Write a document's runs anew, to see whether the same comes out; `then` go on."""
    from minigpt_tui.screens.replay import ReplayScreen

    if (found := main.writer.write_anew(document)) is None:
        main.tell("No model is open yet.")
        return
    main.sight.look()
    main.app.push_screen(ReplayScreen(found), lambda _: then())
