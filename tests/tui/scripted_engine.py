"""An engine that says what a test tells it to, and the waiting that goes with it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from minigpt.config import GPTConfig, ModelCard
from minigpt_tui.protocol import (
    AskSpeakers,
    Done,
    Engine,
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
    Speakers,
    Tokens,
    Written,
)

CARD = ModelCard(
    name="scripted",
    corpus="shakespeare.txt",
    corpus_sha256="0" * 64,
    corpus_chars=1_115_394,
    steps=2000,
    val_loss=1.47,
    minigpt_version="0.1.0",
)
CONFIG = GPTConfig(block_size=64)
CHARS = "\n" + "".join(map(chr, range(32, 96)))
"""As many as CONFIG's vocabulary has: a new line, signs, digits, capital letters."""

ROW = tuple(1.0 * (CHARS[i] in "ABC") + 3.0 * (CHARS[i] == "A") for i in range(len(CHARS)))
"""What every token is drawn from: A is the likeliest, then B and C, then all others alike."""


class ScriptedEngine(Engine):
    """Opens every model at once, unless told to wait or refuse; writes when the test says so."""

    def __init__(self, *, opens: bool = True, refuses: str = "", looks: bool = True) -> None:
        self.requests: list[Request] = []
        self.opens = opens
        self.refuses = refuses
        self.looks = looks
        self.chars, self.checksum = CHARS, "f" * 64
        self._said: list[Reply] = []
        self._wake: Callable[[], None] = lambda: None

    def send(self, request: Request) -> None:
        self.requests.append(request)
        if isinstance(request, Open) and self.opens:
            if self.refuses:
                self.say(Refused(request.path, self.refuses))
            else:
                self.open(request.path)
        elif isinstance(request, AskSpeakers):
            self.name_speakers()
        elif isinstance(request, Look) and self.looks:
            self.see(request)

    def receive(self) -> list[Reply]:
        said, self._said = self._said, []
        return said

    def listen(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    def close(self) -> None:
        pass

    def open(self, path: Path) -> None:
        self.say(Opened(path, CARD, CONFIG, self.chars, self.checksum))

    def name_speakers(self) -> None:
        self.say(Speakers(("ROMEO", "JULIET", "NURSE")))

    def see(self, look: Look, ghost: str = "GHOST") -> None:
        """Every character was the third likeliest, and A comes next, as always."""
        view = look.view or min(len(look.text), CONFIG.block_size)
        scored = look.text[len(look.text) - look.n_scored :]
        scores = tuple(Score(CHARS.find(c), -2.0, 1.5, 3, view) for c in scored)
        self.say(Seen(look.number, ROW, view, scores, ghost if look.n_ghost else ""))

    def say(self, reply: Reply) -> None:
        self._said.append(reply)
        self._wake()

    @property
    def unheard(self) -> bool:
        """Whether something was said that nobody has received."""
        return bool(self._said)

    def asked(self, kind: type[Request]) -> list[Request]:
        return [request for request in self.requests if isinstance(request, kind)]

    @property
    def run(self) -> int:
        """The number of the last run asked for."""
        return self.last_generate.run

    @property
    def last_generate(self) -> Generate:
        return next(r for r in reversed(self.requests) if isinstance(r, Generate))

    def write(self, text: str, *, elapsed_s: float = 0.5, window: int = 32) -> None:
        tokens = tuple(Written(CHARS.find(c), c, -0.5, 1.5, 2, window, False) for c in text)
        self.say(Tokens(self.run, tokens, elapsed_s, ROW))

    def finish(self, reason: str = "length") -> None:
        self.say(Done(self.run, reason, 100, 4321.0, 0.006))

    def fail(self, sentence: str) -> None:
        self.say(Failed(self.run, sentence))


async def until(pilot: Pilot[Any], condition: Callable[[], bool]) -> None:
    """Let the app work until something is so; a frame may be a thirtieth of a second away."""
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "it never came to be"
        await pilot.pause(0.01)
    await pilot.pause()


MODEL = Path("scripted.onnx")
