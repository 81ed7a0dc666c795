"""Whatever is typed, pasted, clicked, resized or written: the app goes on, and shows it safely."""

import random
import traceback
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from rich.console import RenderableType
from textual import events
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual._xterm_parser import XTermParser
from textual.geometry import Size
from textual.keys import Keys, _character_to_key
from textual.pilot import Pilot
from textual.screen import Screen
from textual.strip import Strip

from minigpt_tui import minigpt_app
from minigpt_tui.commands import COMMANDS
from minigpt_tui.inside import Inside
from minigpt_tui.minigpt_app import MinigptApp
from minigpt_tui.owners import owners
from minigpt_tui.protocol import (
    Applied,
    Change,
    Died,
    Done,
    Failed,
    Generate,
    Look,
    Open,
    Opened,
    Refused,
    Reply,
    Request,
    Score,
    Seen,
    Skipped,
    Tokens,
    Written,
)
from minigpt_tui.screens.main import MainScreen
from minigpt_tui.widgets.prompt import Prompt
from minigpt_tui.writer import State
from tests.tui.run_folder import lines, records
from tests.tui.scripted_engine import CARD, CONFIG, MODEL, ScriptedEngine, until

HOSTILE = "\x1b]0;owned\x07\x1b[31m[red]\x00\x9b2J\u202e\u2066\r\n\t"
"""Escape sequences of both kinds, a bell, markup, marks that turn a line round."""

SIZES = ((1, 1), (1, 40), (500, 1), (2, 2), (500, 200), (20, 5), (80, 24), (80, 24), (160, 50))

BOUND_KEYS = [
    key
    for owner in owners(MinigptApp)
    for binding in owner.BINDINGS
    for key in getattr(binding, "key", "").split(",")
    if key
]
QUITS = {"ctrl+q"}
KEYS = sorted({*BOUND_KEYS, *(key.value for key in Keys if "<" not in key.value)} - QUITS)
TO_A_SCREEN = ("f1", "f2", "f5", "f6", "f7", "f8", "f9", "f10", "ctrl+o", "ctrl+p", "ctrl+t")
COMMAND_LINES = [f"/{command.name}" for command in COMMANDS if command.name != "quit"]
SCREENS = {"HelpScreen", "ModelPicker", "RunPicker", "Palette", "ABScreen", "SessionsScreen"}
"""Those that a few keys lead to whatever is there: every run must have been on them, and one that
was not, as a busy machine takes keys later, goes on for up to four times as long."""


class RandomEngine(ScriptedEngine):
    """Answers as an engine may, but when it likes, with what it likes; its model's card lies."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(opens=False, looks=False)
        self._rng = rng
        self._chars = ""
        self._unanswered: Look | None = None
        self._opening: list[Path] = []

    def send(self, request: Request) -> None:
        super().send(request)
        if isinstance(request, Look):
            self._unanswered = request
        elif isinstance(request, Open):
            self._opening.append(request.path)

    def act(self) -> None:
        """Do something, or nothing."""
        if self._opening:
            self._open(self._opening.pop(0))
        elif self._chars:
            for reply in self._rng.choice(
                (self._write, self._write, self._write, self._see, self._see, self._end)
            )():
                self.say(reply)

    def _open(self, path: Path) -> None:
        if self._chars and self._rng.random() < 0.2:
            self.say(Refused(path, f"no {HOSTILE}"))
            return
        others = "".join(random_text(self._rng, 200))
        self._chars = "".join(dict.fromkeys("\n A" + HOSTILE + others))[: CONFIG.vocab_size]
        name = f"{HOSTILE}{random_text(self._rng, 9)}"
        card = replace(CARD, name=name, corpus=name, val_loss=self._rng.choice((1.5, float("nan"))))
        config = replace(CONFIG, vocab_size=len(self._chars))
        self.say(Opened(path, card, config, self._chars, "f" * 64))

    def _row(self) -> tuple[float, ...]:
        return tuple(self._rng.uniform(-9, 9) for _ in self._chars)

    def _write(self) -> Iterator[Reply]:
        if not any(isinstance(r, Generate) for r in self.requests):
            return
        rng, n = self._rng, self._rng.choice((1, 5, 300))
        tokens = []
        for _ in range(n):
            i = rng.randrange(len(self._chars))
            logprob, rank = -rng.random(), rng.randint(1, len(self._chars))
            window = rng.randint(1, CONFIG.block_size)
            tokens.append(
                Written(i, self._chars[i], logprob, rng.random(), rank, window, rng.random() < 0.1)
            )
        run = self.run - rng.choice((0, 0, 0, 1))  # also of a run that is over
        yield Tokens(run, tuple(tokens), rng.random(), self._row())

    def _see(self) -> Iterator[Reply]:
        look, self._unanswered = self._unanswered, None
        if look is None:
            return
        rng = self._rng
        scored = look.text[len(look.text) - look.n_scored :]
        scores = tuple(
            rng.choice((None, Score(max(self._chars.find(c), 0), -rng.random(), 1.0, 3, 9)))
            for c in scored
        )
        view = look.view or min(len(look.text), CONFIG.block_size)
        ghost = random_text(rng, 40).replace("\n", "")[: look.n_ghost]
        inside = self._inside(look.text[-view:]) if look.inside else None
        trouble = rng.choice(("", HOSTILE)) if look.inside else ""
        yield Seen(look.number, self._row(), view, scores, ghost, inside, trouble)

    def _inside(self, text: str) -> Inside | None:
        rng, (layers, heads) = self._rng, self._rng.choice(((1, 1), (4, 4), (40, 40)))
        known = "".join(c for c in text if c in self._chars)
        if not known:
            return None
        attention = [[[rng.random() for _ in known] for _ in range(heads)] for _ in range(layers)]
        rung = [(rng.choice(self._chars), rng.random()) for _ in range(6)]
        return Inside(known, attention, [rung] * (layers + 1))

    def _end(self) -> Iterator[Reply]:
        rng = self._rng
        runs = [r.run for r in self.requests if isinstance(r, Generate)]
        changes = [r.params for r in self.requests if isinstance(r, Change)]
        if not runs or rng.random() < 0.7:
            return
        if changes:
            yield Applied(runs[-1], rng.randint(0, 9), changes[-1])
        yield rng.choice(
            (
                Done(runs[-1], "length", 3, 4321.0, 0.0),
                Failed(runs[-1], HOSTILE),
                Skipped(runs[-1], random_text(rng, 50)),
                Died(HOSTILE),
            )
        )


class Recorded(MinigptApp):
    """Never quits; keeps the characters of all that it draws."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.drawn: set[str] = set()
        self.screens: set[str] = set()

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        for strip in _strips(renderable):
            for text, _, control in strip:
                if not control:
                    self.drawn.update(text)
        super()._display(screen, renderable)

    def exit(self, *args: Any, **kwargs: Any) -> None:
        raise AssertionError(f"it wants to end: {args} {kwargs}")

    def push_screen(self, screen: Any, *args: Any, **kwargs: Any) -> Any:
        self.screens.add(type(screen).__name__)
        return super().push_screen(screen, *args, **kwargs)

    async def action_quit(self) -> None:
        pass


def _strips(renderable: object) -> Iterable[Strip]:
    if isinstance(renderable, LayoutUpdate):
        for row in renderable.strips:
            yield from row
    elif isinstance(renderable, ChopsUpdate):
        for chops in renderable.chops:
            yield from filter(None, chops.values())


def unsafe(characters: Iterable[str]) -> list[str]:
    """Those that would command a terminal, or turn a line round."""
    marks = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    return sorted(c for c in characters if unicodedata.category(c) in {"Cc", "Cs"} or c in marks)


def random_text(rng: random.Random, most: int) -> str:
    """Unicode of every kind, with more of what is dangerous than there is in the world."""
    kinds: tuple[Callable[[], str], ...] = (
        lambda: chr(rng.randrange(0x110000)),
        lambda: chr(rng.randrange(0x20, 0x7F)),
        lambda: chr(rng.randrange(0xA0)),
        lambda: rng.choice("\n\t \r\u202e\u200d\ufe0f\u0301漢👩🏽[]"),
        lambda: HOSTILE,
    )
    return "".join(rng.choice(kinds)() for _ in range(rng.randint(0, most)))


class Hands:
    """Uses the app as a cat on the keyboard would, through what a terminal's driver calls."""

    def __init__(self, app: MinigptApp, rng: random.Random) -> None:
        self._app, self._rng = app, rng
        self._parser = XTermParser()
        self._size = app.size
        self._ways = cycle(rng.sample(TO_A_SCREEN, len(TO_A_SCREEN)))
        self.deeds: list[str] = []

    def act(self) -> None:
        self._rng.choices(
            (self._press, self._type, self._go, self._paste, self._mouse, self._raw, self._resize),
            (40, 15, 20, 4, 30, 2, 2),
        )[0]()

    def _send(self, event: events.Event) -> None:
        self.deeds.append(repr(event)[:200])
        assert self._app._driver is not None
        self._app._driver.process_message(event)

    def press(self, key: str, character: str | None = None) -> None:
        self._send(events.Key(key, character))

    def _press(self) -> None:
        self.press(self._rng.choice(KEYS))

    def _go(self) -> None:
        """To another screen, by key or by command."""
        for key in ("escape", "escape", next(self._ways)):
            self.press(key)
        if self._rng.random() < 0.2:
            for key in ("escape", "escape", "ctrl+n"):
                self.press(key)
            for char in self._rng.choice(COMMAND_LINES):
                self.press(_character_to_key(char), char)
            for key in ("enter", "enter"):
                self.press(key)

    def _type(self) -> None:
        for char in random_text(self._rng, 3)[:5]:
            self.press(_character_to_key(char), char)

    def _paste(self) -> None:
        text = random_text(self._rng, 200)
        if self._rng.random() < 0.05:
            text = (text + "x") * (1_000_000 // (len(text) + 1))
        self._send(events.Paste(text))

    def _mouse(self) -> None:
        """A click, a drag, or the wheel."""
        rng, size = self._rng, self._size
        place = partial(lambda: (rng.randrange(size.width), rng.randrange(size.height)))
        (x, y), button = place(), rng.choice((1, 1, 1, 2, 3))
        match rng.randrange(3):
            case 0:
                for _ in range(rng.choice((1, 1, 2, 3))):
                    self._point(events.MouseDown, x, y, button)
                    self._point(events.MouseUp, x, y, button)
            case 1:
                self._point(events.MouseDown, x, y, button)
                for _ in range(rng.randint(1, 4)):
                    x, y = place()
                    self._point(events.MouseMove, x, y, button)
                if rng.random() < 0.9:  # or it is let go outside
                    self._point(events.MouseUp, x, y, button)
            case _:
                self._point(rng.choice((events.MouseScrollUp, events.MouseScrollDown)), x, y, 0)

    def _point(self, kind: type[events.MouseEvent], x: int, y: int, button: int) -> None:
        shift, meta, ctrl = (self._rng.random() < 0.1 for _ in range(3))
        self._send(kind(None, x, y, 0, 0, button, shift, meta, ctrl, x, y))

    def _raw(self) -> None:
        """What a terminal never sends."""
        text = random_text(self._rng, 20).replace(HOSTILE, "\x1b[")
        for message in self._parser.feed(text or "\x1b"):
            if isinstance(message, events.Event) and getattr(message, "key", "") not in QUITS:
                self._send(message)

    def _resize(self) -> None:
        self.resize(*self._rng.choice(SIZES))

    def resize(self, width: int, height: int) -> None:
        assert self._app._driver is not None
        self._app._driver._size = (width, height)
        self._size = Size(width, height)
        self._send(events.Resize(self._size, self._size))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a training run in it, which is also the home: the app may save files."""
    run = tmp_path / "checkpoints" / f"run {HOSTILE.replace('/', '').replace(chr(0), '')}"
    run.mkdir(parents=True)
    (run / "metrics.jsonl").write_bytes(lines(records()))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(minigpt_app, "_copy_to_system", lambda _: None)
    return tmp_path


async def survive(seed: int, n_deeds: int, folder: Path) -> None:
    rng = random.Random(seed)
    # one of its own: what the hands do then hangs on the seed alone, whenever the engine is asked
    engines = [RandomEngine(random.Random(seed))]

    def another() -> RandomEngine:
        engines.append(RandomEngine(random.Random(seed + len(engines))))
        return engines[-1]

    app = Recorded(engines[0], MODEL, sessions=folder / "sessions.db", make_engine=another)
    async with app.run_test(notifications=True, tooltips=True) as pilot:
        await until(pilot, lambda: isinstance(app.screen, MainScreen))
        hands = Hands(app, rng)
        try:
            while len(hands.deeds) < (n_deeds if app.screens >= SCREENS else 4 * n_deeds):
                for _ in range(rng.randint(1, 6)):
                    hands.act()
                for _ in range(rng.randint(0, 3)):
                    rng.choice(engines[:1] + engines[-1:]).act()
                await pilot.pause(0)
                assert not unsafe(app.drawn)
                assert app._exception is None
            await _still_answers(pilot, app, engines[0], hands)
        except BaseException:
            print(f"seed {seed}, the last deeds:", *hands.deeds[-20:], sep="\n")
            traceback.print_exc()  # closing the app may end in an exception of its own
            raise
        assert not unsafe(app.drawn)
        assert app.screens >= SCREENS


def _main_screen(app: Recorded) -> MainScreen:
    screen = app.screen_stack[0]
    assert isinstance(screen, MainScreen)
    return screen


async def _still_answers(
    pilot: Pilot[Any], app: Recorded, engine: RandomEngine, hands: Hands
) -> None:
    """Type, Enter, and the text is there."""
    hands.resize(80, 24)
    main = _main_screen(app)
    for _ in range(6):
        hands.press("escape")
        await pilot.pause()
    await until(pilot, lambda: app.screen is main)
    while engine._opening:
        engine.act()
    await until(pilot, lambda: main.writer.state is not State.LOADING)
    while main.writer.model is None:  # it may be refused after each visit elsewhere
        if app.screen is not main:  # but the picker, if nothing else was open then
            hands.press("escape")
        await until(pilot, lambda: app.screen is main)
        main.open_model(MODEL)
        engine.act()
        await until(pilot, lambda: main.writer.state is not State.LOADING)
    main.converse(None)  # a new text would go on with it
    hands.press("ctrl+n")
    await until(pilot, lambda: not main.writer.document.text and main.focused is not None)
    prompt = main.query_one(Prompt)
    prompt.text = ""
    prompt.focus()
    for char in "still here":
        hands.press(_character_to_key(char), char)
    await until(pilot, lambda: prompt.text == "still here")
    hands.press("enter")
    await until(pilot, lambda: main.writer.document.text == "still here")
    generate = engine.last_generate
    engine.say(Tokens(generate.run, (Written(0, "!", -1.0, 1.0, 1, 9, False),), 0.1, engine._row()))
    await until(pilot, lambda: main.writer.document.text == "still here!")


@pytest.mark.once
@pytest.mark.parametrize("seed", range(4))
async def test_nothing_typed_or_written_breaks_the_app(seed: int, folder: Path) -> None:
    await survive(seed, 500, folder)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 120))
async def test_nothing_does_in_the_long_run_either(seed: int, folder: Path) -> None:
    await survive(seed, 5000, folder)
