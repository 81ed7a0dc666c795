"""Which place of the text is looked at, and what the model thinks there.

The place is the end of the text, behind what is being typed there, or where the cursor stands. The
answer comes from the engine: while it writes, with the tokens; else it is asked.
"""

import math
from itertools import islice

from minigpt.runtime.window import view_after
from minigpt_tui.candidates import Place, Target
from minigpt_tui.document import Document
from minigpt_tui.inside import Inside
from minigpt_tui.protocol import Engine, Look, Opened, Score, Seen, Tokens

MOST_GHOST = 40
"""Characters of what the model would go on with; more would not be read in passing."""
MOST_SCORED = 400
"""Characters of what is being typed that are scored: more than a prompt shows."""
START = "\n"
"""What is before the first character: texts begin where a line ends."""
_UNKNOWN_SHARE = 4
"""The engine is sent so many times what it can have in view: the text may hold characters that the
model does not know."""


class Gaze:
    """Asks the engine about one place at a time and keeps its last answer."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._model: Opened | None = None
        self._ids: dict[str, int] = {}
        self._number = 0
        self._history: tuple[int, ...] = ()
        self._written: int | None = None
        self.target = Target(0)
        self.follows = True
        """Whether it stays at the end of the text while the model writes."""
        self.is_at_end = True
        self.place: Place | None = None
        """What the model thinks there; None: it is not known. Of the place before until the answer
        comes."""
        self.seen: Seen | None = None
        """Of what is being typed; None: nothing is known of it."""
        self.looks_inside = False
        """Whether to ask what the layers do, too."""
        self.inside: Inside | None = None

    def use(self, model: Opened) -> None:
        """Look with another model from now on."""
        self._model = model
        self._ids = {char: i for i, char in enumerate(model.chars)}
        self.forget()

    def forget(self) -> None:
        """Take no answer any more to what was asked."""
        self._number += 1
        self.place = self.seen = self.inside = None

    def at(self, document: Document, index: int, typed: str = "", before: str = "") -> None:
        """Look at a place; the answer comes with `take`."""
        self.target = Target(index, typed, before, document.version)
        self.is_at_end = index == len(document)
        self.follows = self.is_at_end and not typed
        self._number += 1
        self.seen = self.seen if typed and self.seen else None
        if self._model is None:
            self.place = self.seen = self.inside = None
            return
        text = self._before(document, index, before + typed) or START
        self._history = self._encoded(text)
        # by its character: another model may have written it, with other ids
        self._written = None if self.is_at_end else self._ids.get(document.text[index])
        view = None if typed else view_at(document, index, self._model.config.block_size)
        n_scored = min(len(typed), MOST_SCORED)
        n_ghost = MOST_GHOST if typed else 0
        self._engine.send(Look(self._number, text, view, n_scored, n_ghost, self.looks_inside))

    def follow_end(self) -> None:
        """Look at each token as it comes, until told otherwise."""
        self.forget()
        self.target = Target(0)
        self.follows = self.is_at_end = True

    def take(self, seen: Seen) -> None:
        """Take in an answer; one to an older question is dropped."""
        if seen.number != self._number:
            return
        self.place = None
        if seen.row:
            self.place = Place(self.target, seen.row, self._history, seen.view, self._written)
        self.seen = seen if self.target.typed else None
        self.inside = seen.inside

    def follow(self, document: Document, tokens: Tokens) -> None:
        """Look at the newest token of a run, which is the end of the text."""
        if not (self.follows and tokens.row and tokens.tokens):
            return
        last = tokens.tokens[-1]
        index = len(document) - len(last.text)
        self.target = Target(index, version=document.version)
        self._number += 1
        self.seen = self.inside = None
        history = self._encoded(self._before(document, index, ""))
        self.place = Place(self.target, tokens.row, history, last.window, last.id)

    def scores_of(self, typed: str) -> tuple[Score | None, ...]:
        """What the model thought of words, one each; fewer, of the last ones, if they are many.

        Nothing where it has not said so yet.
        """
        is_answer = self.seen is not None and self.seen.number == self._number
        return self.seen.scores if self.seen and is_answer and self.target.typed == typed else ()

    def in_view(self, document: Document) -> list[int]:
        """Where the characters are that the model looked at, in order; what is typed is not."""
        if self.inside is None:
            return []
        n = len(self.inside.text) - sum(
            char in self._ids for char in self.target.before + self.target.typed
        )
        found: list[int] = []
        for index in range(self.target.index - 1, -1, -1):
            if len(found) >= n:
                break
            if document.text[index] in self._ids:
                found.append(index)
        return found[::-1]

    def _before(self, document: Document, index: int, typed: str) -> str:
        assert self._model is not None
        reach = _UNKNOWN_SHARE * self._model.config.block_size
        return (document.text[max(index - reach, 0) : index] + typed)[-reach:]

    def _encoded(self, text: str) -> tuple[int, ...]:
        assert self._model is not None
        # from the end on, because this is done for each batch of tokens
        known = (self._ids[char] for char in reversed(text) if char in self._ids)
        return tuple(islice(known, self._model.config.block_size))[::-1]


def surprise(seen: Seen) -> str:
    """How surprised the model was by what was typed, in a line; empty where it cannot say."""
    scores = [score for score in seen.scores if score is not None]
    if not scores:
        return ""
    bits = -sum(score.logprob for score in scores) / len(scores) / math.log(2)
    last = seen.scores[-1]
    newest = f" · the last one was no. {last.rank}" if last else ""
    return f"{bits:.1f} bits a character{newest}"


def view_at(document: Document, index: int, block_size: int) -> int | None:
    """How many tokens the model had in view for the character at a place, or would have.

    None: nobody has written there yet, so as many as there is room for.
    """
    if index < len(document) and (origin := document.origin(index)):
        return origin.window
    if index and (origin := document.origin(index - 1)):
        return view_after(origin.window, block_size)
    return None
