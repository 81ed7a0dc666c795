"""`minigpt chat`: a conversation line by line, for plain terminals, screen readers and pipes.

stdout carries what the model says, a blank line between two answers, so that a pipe receives the
answers alone. Names and prompts are for a person: they go to stderr, where stdin is a terminal.
"""

import argparse
import contextlib
import os
import shlex
import signal
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from threading import Event

from minigpt.errors import InputError
from minigpt.files import write_atomically
from minigpt.generate_command import biases
from minigpt.runtime.chat import Roles, Turn, answer, choose_roles, likely_speakers, speakers, words
from minigpt.runtime.model import Model
from minigpt.runtime.params import KNOBS, SamplingParams, change
from minigpt.terminal import murmur, one_line, say, write

_IS_WINDOWS = os.name == "nt"
_END = "Ctrl-Z and Enter" if _IS_WINDOWS else "Ctrl-D"
"""What ends the input of a terminal."""

COMMANDS = {
    "/again": "another answer to what you said last",
    "/edit TEXT": "say TEXT instead of what you said last",
    "/go": "let the other speak on, or speak first",
    "/undo": "take back what you said last, and the answer",
    "/set temperature=0.5": "change settings, several if you like; alone: show all",
    "/roles ROMEO JULIET": "be the first, speak with the second; alone: who could answer",
    "/save FILE": "write the conversation to a file",
    "/help": "show this",
    "/quit": f"end, as /exit and {_END} do",
}
"""What can be typed instead of something to say, and what it does."""

_NAMES = [usage.split()[0] for usage in COMMANDS]


def run_chat(arguments: argparse.Namespace, model: Model) -> int:
    """Talk until the input ends; returns the exit code."""
    if sys.stdin is None:
        raise InputError("a chat reads standard input, and there is none")
    if hasattr(sys.stdin, "reconfigure"):  # bytes that are no text are characters nobody knows
        sys.stdin.reconfigure(errors="replace")
    by_hand = sys.stdin.isatty()
    settings = {name: getattr(arguments, name) for name in KNOBS}
    params = model.params(ban=arguments.ban, bias=biases(arguments.bias), **settings)
    roles = choose_roles(model.decoder, model.tokenizer, arguments.me, arguments.you)
    chat = _Chat(model, roles, params, by_hand=by_hand)
    if by_hand:
        with contextlib.suppress(ImportError):  # absent on Windows; gives `input` its history
            import readline  # noqa: F401
        chat.introduce()
    while (line := _line(chat.prompt if by_hand else None)) is not None:
        try:
            if not chat.take(line):
                break
        except (InputError, KeyboardInterrupt) as error:
            if not by_hand:
                raise
            say(one_line(str(error)))
    return 0


class _Chat:
    """The conversation so far, and what can be done with it."""

    def __init__(
        self, model: Model, roles: Roles, params: SamplingParams, *, by_hand: bool
    ) -> None:
        self._model = model
        self._roles = roles
        self._params = params
        self._by_hand = by_hand
        self._on_screen = sys.stdout.isatty()
        self._text = ""
        self._n_answers = 0
        self._saved: Path | None = None
        self._has_forgotten = False
        """Whether it was told that the model does not see the beginning any more."""

    @property
    def prompt(self) -> str:
        """What stands before the line that a person types."""
        return f"{self._roles.me}> "

    def introduce(self) -> None:
        """Tell who is who."""
        who = one_line(self._model.card.name)
        if self._roles.named:
            say(f"{who}: you are {self._roles.me}, {self._roles.you} answers; "
                "/roles tells who else could")  # fmt: skip
        else:
            say(f"{who}: its texts have no names, so you write a paragraph and it writes the next")
        say("/help tells what else you can type; "
            f"Ctrl-C stops an answer, {_END} ends")  # fmt: skip

    def take(self, line: str) -> bool:
        """Do what a typed line says; returns whether to go on.

        Raises:
            InputError: that cannot be done.
        """
        line = words(line)
        if not line.startswith("/") or line.startswith("//"):
            if line:
                self._say(line.removeprefix("/"))
            return True
        command, _, rest = line.partition(" ")
        rest = rest.strip()
        match command:
            case "/again":
                self._again()
            case "/edit":
                self._edit(rest)
            case "/go":
                self._go()
            case "/undo":
                self._undo()
            case "/set":
                self._set(rest)
            case "/roles":
                self._cast(rest)
            case "/save":
                self._save(rest)
            case "/help":
                _explain()
            case "/quit" | "/exit":
                return False
            case _:
                near = get_close_matches(command, _NAMES, n=1, cutoff=0)[0]
                raise InputError(
                    f"there is no {command[:40]}; did you mean {near}? /help lists all, and "
                    f"//{command[1:40]} says it to the model"
                )
        return True

    def _say(self, typed: str) -> None:
        if unknown := self._model.tokenizer.unknown(typed):
            say(f"note: the model has never seen {unknown[:40]!r} and skips it")
        self._text += self._roles.prompt(self._text, typed)
        self._answer()

    def _again(self) -> None:
        turn = self._last(mine=False)
        self._text = self._text[: turn.start]
        self._params = replace(self._params, seed=(self._params.seed + 1) % 2**64)
        self._answer()

    def _edit(self, typed: str) -> None:
        if not typed:
            raise InputError("say what you would rather have said: /edit TEXT")
        self._text = self._text[: self._last(mine=True).begin]
        self._say(typed)

    def _go(self) -> None:
        turns = self._roles.turns(self._text)
        if not turns or turns[-1].mine or turns[-1].speaker != self._roles.you:
            self._text += self._roles.prompt(self._text, "")
        self._answer()

    def _undo(self) -> None:
        turns = self._roles.turns(self._text)
        if not turns:
            raise InputError("nothing has been said yet")
        last = next((turn for turn in reversed(turns) if turn.mine), turns[0])
        said = self._text[last.start : last.end]
        self._text = self._text[: last.begin]
        say(f"taken back, with all that followed: {one_line(said[:60])}")

    def _set(self, rest: str) -> None:
        before, self._params = self._params, change(self._params, rest.split())
        for name, knob in KNOBS.items():
            if not rest or getattr(self._params, name) != getattr(before, name):
                _tell(f"{name}={getattr(self._params, name)}  {knob.help}")

    def _cast(self, rest: str) -> None:
        names = _split(rest)
        if len(names) == 2:
            self._roles = Roles(*names)
        elif names:
            raise InputError('two names are needed, such as: /roles "KING RICHARD III" JULIET')
        else:
            model = self._model
            likely = likely_speakers(model.decoder, model.tokenizer, self._text)
            names = list(dict.fromkeys([*speakers(self._text), *likely]))
            known = ", ".join(name for name in names if name != self._roles.me)
            _tell(
                one_line(f"could answer: {known}" if known else "this model's texts have no names")
            )

    def _save(self, rest: str) -> None:
        # on Windows a backslash leads into a folder, and quotes nothing
        names = [rest.strip('"')] if _IS_WINDOWS and rest else _split(rest)
        if len(names) != 1:
            raise InputError("name one file: /save FILE")
        try:
            path = Path(names[0]).expanduser()
            taken = path.exists() and path != self._saved
        except OSError as error:
            raise InputError(f"cannot write {names[0][:80]!r}: {error.strerror}") from None
        except RuntimeError as error:  # somebody's home who is unknown here
            raise InputError(f"cannot write {names[0][:80]!r}: {error}") from None
        if taken:
            raise InputError(f"{path} exists; choose another name")
        write_atomically(path, (self._text.rstrip("\n") + "\n").encode())
        self._saved = path
        say(f"saved: {one_line(str(path))}")

    def _last(self, *, mine: bool) -> Turn:
        turns = [turn for turn in self._roles.turns(self._text) if turn.mine == mine]
        if not turns:
            raise InputError("you have not said anything yet" if mine else "no answer yet")
        return turns[-1]

    def _answer(self) -> None:
        """Let the model speak on, to stdout."""
        if not (self._by_hand and self._on_screen):
            write("\n" if self._n_answers else "")
        elif speaker := self._last(mine=False).speaker:
            murmur(f"{one_line(speaker)}: ")
        self._n_answers += 1
        model = self._model
        tokens = answer(
            model.decoder, model.tokenizer, self._text, lambda: self._params, draft=model.draft
        )
        with _ctrl_c_caught() if self._by_hand else contextlib.nullcontext(Event()) as pressed:
            for token in tokens:
                self._text += token.text
                write(token.text)
                if pressed.is_set():
                    break
        write("\n")
        if pressed.is_set():  # told, because the terminal drops what it has not yet shown by then
            said = self._text[self._last(mine=False).start :]
            say(f"stopped after: {one_line(said[-40:])}")
        window = model.config.block_size
        if not self._has_forgotten and len(model.tokenizer.encode(self._text)) > window:
            self._has_forgotten = True
            say(f"note: the model sees the newest {window} characters and has forgotten the rest")


def _line(prompt: str | None) -> str | None:
    """What is typed next; None where the input ends, or after Ctrl-C twice.

    Without a prompt the input is no terminal, and Ctrl-C is not caught.
    """
    for hint in (f"\nCtrl-C once more ends the chat, and so do {_END} and /quit", ""):
        try:
            return _read(prompt)
        except EOFError:
            if prompt is not None:
                say("")
            return None
        except KeyboardInterrupt:
            if prompt is None:
                raise
            say(hint)
    return None


def _read(prompt: str | None) -> str:
    if prompt is not None and sys.stdout.isatty():
        return input(prompt)  # not written by us: readline edits the line and has to know of it
    if prompt is not None:
        murmur(prompt)
    if not (line := sys.stdin.readline()):
        raise EOFError
    return line


@contextlib.contextmanager
def _ctrl_c_caught() -> Iterator[Event]:
    """Set by Ctrl-C, to be asked for between two tokens: no table is left half written."""
    pressed = Event()
    before = signal.signal(signal.SIGINT, lambda *_: pressed.set())
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


def _tell(line: str) -> None:
    """One of a list; on a terminal in rows that end between words."""
    columns = 0
    with contextlib.suppress(OSError, ValueError):  # it is no terminal
        columns = os.get_terminal_size(sys.stderr.fileno()).columns - 1
    if columns > 0:
        line = textwrap.fill(line, columns, subsequent_indent="  ", break_on_hyphens=False)
    say(line)


def _explain() -> None:
    say("Type what you want to say, and Enter. Or:")
    for usage, what in COMMANDS.items():
        _tell(f"{usage}: {what}")
    say("Two slashes say something that begins with one: //x says /x.")


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise InputError(f"{text[:40]!r} cannot be read: {error}") from None
