"""What happens at the desk: one document, one engine, and whose turn it is. No Textual here.

The interface calls the verbs (`write`, `stop`, ...) and `hear` when the engine has spoken, then
shows what it finds in the public attributes.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import count, takewhile
from pathlib import Path

from minigpt.runtime.chat import END, Roles
from minigpt.runtime.params import SamplingParams
from minigpt.terminal import printable
from minigpt_tui.candidates import Candidate, Place, entropy
from minigpt_tui.document import Document
from minigpt_tui.gauge import Gauge
from minigpt_tui.gaze import Gaze, view_at
from minigpt_tui.glyphs import visible
from minigpt_tui.protocol import (
    Applied,
    AskSpeakers,
    Change,
    Died,
    Done,
    Engine,
    Failed,
    Generate,
    Open,
    Opened,
    Refused,
    Reply,
    Seen,
    Skipped,
    Speakers,
    Stop,
    Tokens,
    Written,
)
from minigpt_tui.replay import Replay
from minigpt_tui.run_record import RunRecord


class State(StrEnum):
    """Whose turn it is."""

    LOADING = "loading"
    READY = "ready"
    WRITING = "writing"
    NO_MODEL = "no model"


@dataclass(frozen=True, slots=True)
class Notice:
    """A sentence for the user."""

    sentence: str
    is_error: bool = False
    words: str = ""
    """What was just sent and is taken back, as nothing can be done with it."""


@dataclass
class Writer:
    """Sends requests to the engine and keeps what it answers.

    Runs are numbered; records of any run but the current one are dropped, so after a stop not a
    letter more appears.
    """

    engine: Engine
    document: Document = field(default_factory=Document)
    model: Opened | None = None
    gauge: Gauge = field(default_factory=Gauge)
    roles: Roles | None = None
    """Who speaks with whom; None: it is no conversation, the model just writes on."""
    speakers: tuple[str, ...] = ()
    """Whom the model would let speak, as far as it was asked."""
    is_asking: bool = False
    """Whether it has yet to answer that."""
    replay: Replay | None = None
    """Hears what the engine says, too."""
    _opening: Path | None = None
    _run: int = 0
    _running: bool = False
    _waiting: SamplingParams | None = None
    """Of a run that begins as soon as the model is open."""
    _not_first: str = ""
    """Characters with which the run cannot begin."""
    _sent: str = ""
    """The user's words with which the run began."""
    _record: RunRecord | None = None
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))
    """Of the runs."""
    _told: set[str] = field(default_factory=set)
    """Characters of which the user knows that the model does not know them."""

    def __post_init__(self) -> None:
        self.gaze = Gaze(self.engine)

    @property
    def state(self) -> State:
        """What to call the present moment."""
        if self._opening:
            return State.LOADING
        if self._running:
            return State.WRITING
        return State.READY if self.model else State.NO_MODEL

    @property
    def is_running(self) -> bool:
        """Whether a run is under way, be it one that still waits for the model."""
        return self._running

    @property
    def path(self) -> Path | None:
        """Of the model that is being opened, or is open."""
        return self._opening or (self.model.path if self.model else None)

    def open(self, path: Path) -> None:
        """Change to another model; the text stays."""
        self.stop()
        self._opening = path
        self.engine.send(Open(path))

    def beside(self) -> "Writer":
        """One that talks to the same engine; the runs of the one are none of the other's."""
        return Writer(self.engine, _numbers=self._numbers)

    def forget_model(self) -> None:
        """Know no more which model is open: somebody else has talked to the engine."""
        self.model = None
        self.gaze.forget()

    def write(self, text: str, params: SamplingParams) -> None:
        """Append `text` as the user's and let the model write on from the whole document.

        In a conversation it is said, and answered.
        """
        self.stop()
        self.document.mark()
        if self.roles is None:
            self._append_user(text)
        else:
            self._append_turn(self.roles, text)
        # as `chat.answer`: an answer is not empty
        self._begin(params, not_first="\n" if self.roles else "", sent=text)

    def ask_who_speaks(self) -> None:
        """Ask the model whom it would let speak next; `speakers` will say."""
        self.is_asking = self.model is not None
        if self.model is not None:
            self.engine.send(AskSpeakers(self.document.text[-4 * self.model.config.block_size :]))

    @property
    def can_write_again(self) -> bool:
        """Whether the model wrote something of the text, or was about to."""
        return self.document.last_run is not None

    def again(self, params: SamplingParams) -> None:
        """Let the model write something else from where its last run began, as it can.

        What it wrote stays as another branch.
        """
        last, document = self.document.last_run, self.document
        assert last is not None
        self.stop()
        document.mark()
        document.rewind(last.length)
        self._begin(params, not_first=last.not_first)

    def take_back(self, at: int | None = None) -> str:
        """Go back to before the user's last words, and give them; "": there are none.

        They stay as another branch, with what followed.

        Args:
            at: a character; then it is those that it is of, or the last ones before it.
        """
        document, text = self.document, self.document.text
        until = len(text) if at is None else at + 1
        if self.roles is None:
            start, end = document.words(until)
            begin = start
        else:
            begin, start, end = self._said(self.roles, until)
        if start == end:
            return ""
        self.stop()
        document.mark()
        document.rewind(begin)
        self._turn_to_the_end()
        return text[start:end]

    def _said(self, roles: Roles, until: int) -> tuple[int, int, int]:
        """Where the user's last turn before a place begins, and its words; nowhere: there is none.

        Whose they are is what the document knows: a name may have been another's, or the model's.
        A turn goes with the line breaks before it, but for those that the model wrote. (Line breaks
        that the user typed there go, too: the text does not tell them apart.)
        """
        document, text, found = self.document, self.document.text, (0, 0, 0)
        for turn in roles.turns(text):
            n_said = sum(1 for _ in takewhile(document.is_user, range(turn.start, turn.end)))
            if not n_said:
                continue
            begin = turn.begin
            while text[begin] == "\n" and not document.is_user(begin):
                begin += 1
            if begin < until:
                found = (begin, turn.start, turn.start + n_said)
        return found

    def is_there(self, place: Place) -> bool:
        """Whether a place is still one: nothing was taken away since, nor anything typed."""
        target, now = place.target, self.gaze.target
        return (
            self.model is not None
            and len(place.row) == len(self.model.chars)  # its ids are of this vocabulary
            and target.version == self.document.version
            and target.typed == now.typed
        )

    def force(self, candidate: Candidate, place: Place, params: SamplingParams) -> None:
        """Put a candidate at its place, which `is_there`, and let the model write on from there.

        What stood there stays as another branch.
        """
        assert self.model is not None
        target = place.target
        self.stop()
        self.document.mark()
        self.document.rewind(target.index)
        self._append_user(target.typed)
        char = self.model.chars[candidate.id]
        self.document.append_forced(
            Written(
                candidate.id, char, candidate.logprob, entropy(place.row), candidate.rank,
                place.view, False,
            )
        )  # fmt: skip
        if not (self.roles and self.document.text.endswith(END)):  # there an answer ends
            self._begin(params)

    def _append_turn(self, roles: Roles, text: str) -> None:
        """Say it; what was scored as it was typed keeps its scores."""
        before, turn = roles.before(self.document.text), roles.prompt(self.document.text, text)
        said = text if text and turn.startswith(before + text) else ""
        head = before if said else ""
        self.document.append_user(head)
        self._append_user(said)
        self.document.append_user(turn[len(head + said) :])

    def _append_user(self, text: str) -> None:
        scores = self.gaze.scores_of(text)
        self.document.append_user(text, [*[None] * (len(text) - len(scores)), *scores])

    def _begin(self, params: SamplingParams, *, not_first: str = "", sent: str = "") -> None:
        self._not_first, self._sent = not_first, sent
        self._run = next(self._numbers)  # already here: late records are none of this run
        self._running = True
        self.gauge = Gauge(window=self.gauge.window)
        self.gaze.follow_end()
        if self._opening:
            self._waiting = params
        else:
            self._generate(params)

    def _generate(self, params: SamplingParams) -> None:
        document, model, view = self.document, self.model, None
        self._waiting = self._record = None
        stops = (END,) if self.roles else ()
        if model is not None:
            view = view_at(document, len(document), model.config.block_size)
            self._record = document.begin_run(
                params, window=view or 0, stops=stops, not_first=self._not_first,
                model_name=model.card.name, model_sha256=model.checksum,
            )  # fmt: skip
        self.engine.send(
            Generate(
                self._run, document.text, params, view, stops, self._not_first,
                model=model.checksum if model is not None else "",
            )
        )  # fmt: skip

    def change(self, params: SamplingParams) -> None:
        """Let the next token be drawn with other settings."""
        if self._waiting:
            self._waiting = params
        elif self._running:
            self.engine.send(Change(params))

    def stop(self) -> None:
        """End the run; the text stays as it is shown."""
        if self._running:
            self._running = False
            if self._waiting is None:
                self.engine.send(Stop(self._run))
            self._waiting = None

    def adopt(self, document: Document) -> None:
        """Turn to another document."""
        self.stop()
        self.document = document
        self._record = None
        self.gauge = self._gauge_at_the_end()
        self._told.clear()
        self.gaze.forget()

    def undo(self) -> bool:
        """Go back to the text before the last deed; False: there was none."""
        self.stop()
        can = self.document.can_undo
        self.document.undo()
        self._turn_to_the_end()
        return can

    def redo(self) -> bool:
        """Take back an undo; False: there was none."""
        self.stop()
        can = self.document.can_redo
        self.document.redo()
        self._turn_to_the_end()
        return can

    def checkout(self, leaf: int) -> None:
        """Go to another branch."""
        self.stop()
        self.document.mark()
        self.document.checkout(leaf)
        self._turn_to_the_end()

    def write_anew(self, document: Document) -> Replay | None:
        """Let the engine write a document's runs anew, this one's or another's; None: no model."""
        self.stop()
        if self.model is None or self._opening:
            return None
        self.replay = Replay(self.engine, self.model, document)
        self.replay.begin()
        return self.replay

    def hear(self) -> list[Notice]:
        """Take in what the engine has said."""
        notices: list[Notice] = []
        for reply in self.engine.receive():
            if self.replay is not None:
                self.replay.take(reply)
            notices += self._take(reply)
        return notices

    def _take(self, reply: Reply) -> Iterable[Notice]:
        match reply:
            case Opened() | Refused():
                yield from self._end_opening(reply)
            case Died(sentence=sentence):
                self._opening, self._running, self.is_asking = None, False, False
                self.gaze.forget()  # the last answer would pass for that to the next question
                yield Notice(printable(sentence), is_error=True)
            case Tokens(run=run) if self._running and run == self._run:
                self._append(reply)
            case Applied(run=run) if run == self._run and self._record:
                # a new seed comes with its run, and once more from the panel
                if reply.params != self._record.last_params:
                    self._record.changes.append((reply.n_tokens, reply.params))
            case Speakers():
                self.speakers, self.is_asking = reply.names, False
            case Seen():
                self.gaze.take(reply)
                if reply.trouble:
                    yield Notice(printable(reply.trouble), is_error=True)
            case Skipped(run=run, chars=chars) if run == self._run:
                yield from self._name_unknown(chars)
            case Done(run=run) if run == self._run and self._running:
                self._running = False
                self.gauge = replace(self.gauge, tokens_per_s=reply.tokens_per_s)
            case Failed(run=run, sentence=sentence) if run == self._run and self._running:
                self._running = False
                yield Notice(printable(sentence), is_error=True, words=self._unread())
            case _:
                pass  # late records of a run that was stopped

    def _end_opening(self, reply: Opened | Refused) -> Iterable[Notice]:
        """Use the model, or go on with the one before; then begin the run that waited for it."""
        is_last = self._opening in {None, reply.path}  # no other one was asked for since
        if isinstance(reply, Opened):
            if self._waiting and self.model and self.model.chars != reply.chars:
                self._waiting = replace(self._waiting, logit_bias=())  # ids are of one vocabulary
            self.model = reply
            self.gaze.use(reply)
            self.gauge = self._gauge_at_the_end()
            self.speakers = ()
            self._told.clear()
        if not is_last:
            return
        self._opening = None
        if isinstance(reply, Refused):
            self._running = self._running and self.model is not None
            yield Notice(printable(reply.sentence), is_error=True)
        if self._running and self._waiting is not None:
            self._generate(self._waiting)
        self._waiting = None

    def _append(self, batch: Tokens) -> None:
        self.document.append_tokens(batch.tokens)
        self.gaze.follow(self.document, batch)
        self.gauge = self.gauge.after(batch)

    def _turn_to_the_end(self) -> None:
        """Know what is in view where the text ends now.

        How fast the last run was stays true, but nothing of it is left in an empty text.
        """
        last = self.gauge if len(self.document) else Gauge()
        self.gauge = replace(last, window=self._gauge_at_the_end().window)

    def _gauge_at_the_end(self) -> Gauge:
        """With nothing of runs that another model, or another text, has had."""
        model, runs = self.model, self.document.runs
        is_its_own = model is not None and runs and runs[-1].model_sha256 == model.checksum
        return Gauge.of_text(self.document) if is_its_own else Gauge()

    def _unread(self) -> str:
        """Take back what the run began with, if the model knows no character of the text."""
        document, sent = self.document, self._sent
        if not sent or self.model is None or not set(self.model.chars).isdisjoint(document.text):
            return ""
        if self.roles is not None:  # with the name that was written before them
            return self.take_back()
        document.mark()
        document.rewind(len(document) - len(sent))
        self._turn_to_the_end()
        return sent

    def _name_unknown(self, chars: str) -> Iterable[Notice]:
        news = [c for c in chars if c not in self._told]
        self._told.update(news)
        if news:
            names = " ".join(map(visible, news[:20]))
            more = f" and {len(news) - 20} more" if len(news) > 20 else ""
            past = "it" if len(news) == 1 else "them"
            yield Notice(f"The model has never seen {names}{more}: it reads past {past}.")
