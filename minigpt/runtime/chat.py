r"""A conversation as the text that a model goes on with, and found again in that text.

A model trained on plays has seen turns, so it answers in their form: a name, a colon, what is said,
an empty line. Measured on the `laptop` model: of 64 answers 63 ended with an empty line (half of
them within 125 characters), and all 63 were followed by the next speaker's name.

    ROMEO:
    who art thou?

    JULIET:
    My gate his heaven to think our lord.

Other texts have no names, and a mark such as "> " before a line is nothing that their models have
learned: the indented lines and tables of Python's documentation, where it is one, follow on it. The
one thing that they share with plays is the empty line, so there a turn is a paragraph: mine, the
model's, mine, the model's.

Nothing that is said can look like a turn. What I say has no empty line (see `words`), an answer
ends before its first and never begins with one (see `answer`), and a name counts only behind one.
"""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from minigpt.errors import InputError
from minigpt.runtime.params import SamplingParams

if TYPE_CHECKING:  # they import numpy; the terminal app finds turns before its first paint
    from minigpt.runtime.decoder import Decoder
    from minigpt.runtime.draft import Draft
    from minigpt.runtime.generation import Token
    from minigpt.tokenizer import CharTokenizer

END = "\n\n"
"""Where an answer ends: the stop text."""

MAX_NAME = 30
_NAME_LINE = re.compile(rf"(?:\A|(?<=\n\n))([^\n:]{{1,{MAX_NAME}}}):\n")


@dataclass(frozen=True, slots=True)
class Turn:
    """What somebody says, as places in the text."""

    speaker: str
    """The name; "" where turns have none."""
    mine: bool
    begin: int
    """Where the turn before it ends, before the empty line between them: a text cut here is as if
    this turn had not begun, and goes on with that one's."""
    start: int
    """Where its words begin: a text cut here waits for them."""
    end: int


_TWO_OR_NONE = "two who speak need two names, or none: '' for both"


@dataclass(frozen=True, slots=True)
class Roles:
    r"""Who speaks with whom; without names turns are paragraphs.

    >>> roles = Roles("ROMEO", "JULIET")
    >>> roles.prompt("", "who art thou?")
    'ROMEO:\nwho art thou?\n\nJULIET:\n'
    >>> Roles().prompt("", "who art thou?")
    'who art thou?\n\n'

    Raises:
        InputError: a name is none (empty, too long, with a colon or a control character), or both
            are the same.
    """

    me: str = ""
    you: str = ""

    def __post_init__(self) -> None:
        if not self.named:
            return
        for name in (self.me, self.you):
            if not name:
                raise InputError(_TWO_OR_NONE)
            if not _is_name(name):
                raise InputError(
                    f"a name must have 1 to {MAX_NAME} characters that can be seen, none of them a "
                    f"colon, and no blank at its ends, not {name[:40]!r}"
                )
        if self.me == self.you:
            raise InputError(f"two who speak need two names, not {self.me!r} for both")

    @property
    def named(self) -> bool:
        """Whether turns begin with a name."""
        return bool(self.me or self.you)

    def prompt(self, text: str, typed: str) -> str:
        """What to append to the text so far, so that the model answers what was typed.

        Args:
            text: so far; it may have been broken off anywhere.
            typed: what I say, see `words`; where that is nothing, the model speaks unasked.
        """
        said = words(typed)
        if not self.named:
            return f"{self.before(text)}{said}{END}"
        mine = f"{self.before(text)}{said}{END}" if said else self._gap(text)
        return f"{mine}{self.you}:\n"

    def before(self, text: str) -> str:
        """What stands between the text so far and my words."""
        return self._gap(text) + (f"{self.me}:\n" if self.named else "")

    def turns(self, text: str) -> list[Turn]:
        """The turns of a text, in order; what stands before the first name is none.

        With names everybody has turns who is named in the text, not only these two.
        """
        if not self.named:
            return list(_paragraphs(text))
        names = list(_NAME_LINE.finditer(text))
        starts = [0, *(name.end() for name in names)]
        nexts = [*(name.start() for name in names), len(text)]
        ends = [_end(text, start, end) for start, end in zip(starts, nexts, strict=True)]
        return [
            Turn(speaker=name[1], mine=name[1] == self.me, begin=begin, start=name.end(), end=end)
            for name, (begin, end) in zip(names, pairwise(ends), strict=True)
        ]

    def _gap(self, text: str) -> str:
        """What is missing at the end of the text for a turn to begin."""
        if not text:
            return ""
        if not self.named and text.endswith(END):
            return END  # a paragraph that has no words still is one: else mine would be the model's
        return END[len(text) - len(text.rstrip("\n")) :]


def words(typed: str) -> str:
    r"""What is said when this is typed: lines, none of them empty, without control characters.

    So nobody can put a turn into another's mouth: behind a single line break a name is no name.

    >>> words("  hello\tthere\r\n\n\nJULIET:\nI am thine  ")
    'hello there\nJULIET:\nI am thine'
    """
    lines = ("".join(c if c.isprintable() else " " for c in line) for line in typed.splitlines())
    return "\n".join(line.strip() for line in lines if line.strip())


def speakers(text: str) -> list[str]:
    r"""The names of those who speak in a text, each once, in order of appearance.

    >>> speakers("ROMEO:\nhello\n\nNurse:\nMadam!\n\nROMEO:\n")
    ['ROMEO', 'Nurse']
    """
    return [name for name in dict.fromkeys(_NAME_LINE.findall(text)) if _is_name(name)]


def answer(
    decoder: "Decoder",
    tokenizer: "CharTokenizer",
    text: str,
    params: Callable[[], SamplingParams],
    *,
    draft: "Draft | None" = None,
) -> "Iterator[Token]":
    """Let the model speak to the end of its turn, from a text that `Roles.prompt` has made.

    It also speaks on where it has been broken off, or has ended already: the first token cannot be
    a line break. Else 1.8% of the `laptop` model's answers to "hello" would be empty, and what
    follows be said by whomever it names next.

    Args:
        decoder: the model; its cache is overwritten.
        tokenizer: the model's.
        text: all that was said so far.
        params: asked before every token.
        draft: see `generation.generate`.
    """
    from minigpt.runtime.generation import generate

    begun = False
    breaks = tuple((token, -math.inf) for token in tokenizer.encode("\n"))

    def now() -> SamplingParams:
        given = params()
        return given if begun else replace(given, logit_bias=given.logit_bias + breaks)

    ids = tokenizer.encode(text) or tokenizer.start
    for token in generate(decoder, tokenizer, ids, now, stop=(END,), draft=draft):
        begun = True
        yield token


def likely_speakers(
    decoder: "Decoder", tokenizer: "CharTokenizer", text: str = "", *, n: int = 8
) -> list[str]:
    """Those whom the model is likely to let speak next, the likeliest first; or none: no play.

    A beam search for a name, a colon and a line break. The `laptop` model's 32 likeliest are all
    names from its plays, 50 to 56% of all that it could write behind a sentence (13% at a text's
    very beginning). Drawn names are inventions every other time: TRANIZEL, BAGLOUCESTER. A model of
    Python's documentation has 1.6% for the likeliest 32 of what it can write in this form.

    Args:
        decoder: the model; its cache is overwritten.
        tokenizer: the model's.
        text: what was said so far; "": a greeting.
        n: how many to name, at most.
    """
    if tokenizer.unknown(":\n"):
        return []
    from minigpt.runtime.batch import beam_search
    from minigpt.runtime.decoder import TooManyTexts
    from minigpt.runtime.pattern import Pattern

    pattern = Pattern(rf"[^\n:]{{1,{MAX_NAME}}}:\n", tokenizer)
    said = text.rstrip("\n") or "Hello."
    params = SamplingParams(max_new_tokens=MAX_NAME + 2)
    # with room for a name: a window that slides is read anew for each of the beams
    room = max(decoder.block_size - params.max_new_tokens, decoder.block_size // 2, 1)
    ids = tokenizer.encode(said + END)[-room:]
    try:
        beams = beam_search(decoder, tokenizer, ids, params, _WIDTH, pattern=pattern)
    except TooManyTexts as error:
        if not error.most:
            return []
        beams = beam_search(decoder, tokenizer, ids, params, error.most, pattern=pattern)
    if sum(math.exp(beam.score) for beam in beams) < _PLAY:
        return []
    names = (beam.text.removesuffix(":\n") for beam in beams)
    return [name for name in names if _is_name(name)][:n]


_WIDTH = 32  # 0.1 s with the `laptop` model, 0.5 with `shakespeare`; of 8, JULIET was not one
_PLAY = 0.05  # of the probability; see `likely_speakers` for what was found


def choose_roles(
    decoder: "Decoder", tokenizer: "CharTokenizer", me: str | None, you: str | None
) -> Roles:
    """Two who speak; who is not given is one whom the model is likely to let speak.

    Where none is given and the model names nobody, turns have no names.

    Raises:
        InputError: one is given, and the model names nobody else; or as `Roles`.
    """
    if me is not None and you is not None:
        return Roles(me, you)
    given = you if me is None else me
    if given == "":
        raise InputError(_TWO_OR_NONE)
    text = "" if given is None else f"{given}:\nHello."
    others = [name for name in likely_speakers(decoder, tokenizer, text) if name != given]
    if given is None:
        return Roles(*others[:2]) if len(others) > 1 else Roles()
    if not others:
        raise InputError(f"this model's texts have no names: who is to speak with {given!r:.40}?")
    return Roles(given, others[0]) if you is None else Roles(others[0], given)


def _is_name(name: str) -> bool:
    return (
        0 < len(name) <= MAX_NAME
        and name.isprintable()
        and ":" not in name
        and name == name.strip()
    )


def _paragraphs(text: str) -> Iterator[Turn]:
    """The text between empty lines: mine, the model's, mine, ..."""
    start = 0
    for i, paragraph in enumerate(text.split(END) if text else ()):
        end = _end(text, start, start + len(paragraph))
        yield Turn("", i % 2 == 0, max(0, start - len(END)), start, end)
        start += len(paragraph) + len(END)


def _end(text: str, start: int, end: int) -> int:
    """Where the words in text[start:end] end."""
    return start + len(text[start:end].rstrip("\n"))
