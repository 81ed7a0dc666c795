"""Lets a document's runs be written anew, to see whether the same comes out. No Textual here."""

from collections import deque
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import count

from minigpt.runtime.params import SamplingParams
from minigpt.terminal import one_line
from minigpt_tui.document import Document
from minigpt_tui.protocol import Died, Done, Engine, Failed, Generate, Opened, Reply, Stop, Tokens
from minigpt_tui.run_record import RunRecord

_numbers = count(-1, -1)
"""Of the runs for the engine: never those of a Writer, nor of another replay."""
_AROUND = 12
"""Characters shown around a difference."""


class Outcome(StrEnum):
    """How it went with one run."""

    SAME = "the same"
    DIFFERENT = "not the same"
    OTHER_MODEL = "another model"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be said of one run."""

    run: RunRecord
    outcome: Outcome
    sentence: str
    """Safe to show, on one line."""
    n_same: int = 0
    """The characters before the first difference, or all."""


class Replay:
    """Writes the runs of a document anew, one after another; the document stays as it is.

    A run is written from the same text, with the same view, settings, stops and changes, and for
    as many tokens as it wrote: so also one that somebody stopped, or that came to a stop text. Of
    runs that wrote nothing there is nothing to say.

    Hand `take` all that the engine says, from `begin` on.
    """

    def __init__(self, engine: Engine, model: Opened, document: Document) -> None:
        self._engine = engine
        self._model = model
        self.document = document
        self._number = 0
        self.runs = tuple(run for run in document.runs if run.n_tokens)
        self._todo = deque(self.runs)
        self.verdicts: list[Verdict] = []
        self.is_writing = False
        self.run: RunRecord | None = None
        """The one that is being written, or was last; None before the first."""
        self.stored = ""
        """What it wrote then."""
        self.written = ""
        """What it has written now; shorter, or the same."""

    @property
    def is_over(self) -> bool:
        """Whether there is a verdict on every run."""
        return len(self.verdicts) == len(self.runs)

    def begin(self) -> None:
        """Let the first run be written."""
        self._go_on()

    def stop(self) -> None:
        """Give it up."""
        self._todo.clear()
        if self.is_writing:
            self.is_writing = False
            self._engine.send(Stop(self._number))

    def take(self, reply: Reply) -> None:
        """Take in something that the engine has said."""
        if self.run is None or not self.is_writing:
            return
        match reply:
            case Tokens(run=self._number):
                self._compare(self.run, "".join(token.text for token in reply.tokens))
            case Done(run=self._number):
                self._compare(self.run, "", is_all=True)
            case Failed(run=self._number) | Died():
                self._judge(self.run, Outcome.FAILED, reply.sentence)
            case _:
                pass  # of another run, or of no interest

    def _go_on(self) -> None:
        """Begin the next run that this model can write; say of the others what they need."""
        self.is_writing = False
        while self._todo and not self.is_writing:
            run = self._todo.popleft()
            if run.model_sha256 == self._model.checksum:
                self._write(run)
            else:
                self.verdicts.append(Verdict(run, Outcome.OTHER_MODEL, self._needed(run)))

    def _needed(self, run: RunRecord) -> str:
        name, sha256 = one_line(run.model_name), one_line(run.model_sha256[:12])
        return f"was written by another model: open {name} (sha256 {sha256}…) for it"

    def _write(self, run: RunRecord) -> None:
        self.run, self.is_writing, self._number = run, True, next(_numbers)
        self.stored, self.written = self.document.text_of_run(run), ""

        def as_many(params: SamplingParams) -> SamplingParams:
            return replace(params, max_new_tokens=run.n_tokens)

        self._engine.send(
            Generate(
                self._number,
                self.document.text_of(run.head),
                as_many(run.params),
                run.window or None,
                run.stops,
                run.not_first,
                tuple((n_tokens, as_many(params)) for n_tokens, params in run.changes),
                self._model.checksum,
            )
        )

    def _compare(self, run: RunRecord, piece: str, *, is_all: bool = False) -> None:
        start = len(self.written)
        if self.stored.startswith(piece, start) and not (is_all and start < len(self.stored)):
            self.written += piece
            if is_all:
                n = len(self.stored)
                self._judge(run, Outcome.SAME, f"the same {n:,} characters again", n)
            return
        then = self.stored[start : start + len(piece)]
        n = start + next(
            (i for i, (a, b) in enumerate(zip(then, piece, strict=False)) if a != b), len(then)
        )
        self.written += piece
        self._judge(
            run,
            Outcome.DIFFERENT,
            f"other text after {n:,} of {len(self.stored):,} characters: then "
            f"{_around(self.stored, n)}, now {_around(self.written, n)}",
            n,
        )

    def _judge(self, run: RunRecord, outcome: Outcome, sentence: str, n_same: int = 0) -> None:
        self.verdicts.append(Verdict(run, outcome, one_line(sentence), n_same))
        self._go_on()  # which ends a run that differs


def summary(verdicts: list[Verdict]) -> str:
    """All that was found, in a sentence or two."""
    n_same = sum(verdict.outcome is Outcome.SAME for verdict in verdicts)
    n_chars = sum(verdict.n_same for verdict in verdicts if verdict.outcome is Outcome.SAME)
    if not verdicts:
        return "No model has written here yet: there is nothing to write anew."
    if n_same == len(verdicts):
        runs = "The run came" if n_same == 1 else f"All {n_same} runs came"
        return f"{runs} out the same: {n_chars:,} characters, and not one is another."
    if all(verdict.outcome is Outcome.OTHER_MODEL for verdict in verdicts):
        return "Nothing was written anew: that takes the model that wrote it."
    found = f"{n_same} of {len(verdicts)} runs came out the same."
    if any(verdict.outcome is Outcome.DIFFERENT for verdict in verdicts):
        found += (
            " Another version of minigpt or of onnxruntime, or another processor, can come to"
            " another text: that may be why; or the stored one is not what was written."
        )
    return found


def _around(text: str, index: int) -> str:
    """A place of a text in quotes, the character at `index` in brackets."""
    before, after = text[max(index - _AROUND, 0) : index], text[index + 1 : index + _AROUND]
    char = text[index : index + 1] or "its end"
    return f"“{before}[{char}]{after}”"
