"""What the interface and the engine say to each other, one JSON line a record.

Named tuples and not dataclasses: thousands of tokens come each second, and frozen dataclasses
would take 10 of the 500 ms until the first paint to define, in both processes.

The interface knows an engine only as the `Engine` protocol at the end: the real one is a child
process, tests plug in a scripted one.
"""

import json
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast, get_args

from minigpt.config import GPTConfig, ModelCard
from minigpt.runtime.params import SamplingParams
from minigpt_tui.inside import Inside


class Open(NamedTuple):
    """Open a model; answered by Opened or Refused."""

    path: Path


class Generate(NamedTuple):
    """Write on from `text`; ends the run before. Answered by Tokens and one Done or Failed."""

    run: int
    text: str
    params: SamplingParams
    view: int | None = None
    """How many of the newest tokens to read at first; None: all that there is room for."""
    stop: tuple[str, ...] = ()
    """Texts at which the run ends, themselves not written."""
    not_first: str = ""
    """Characters with which the run cannot begin."""
    changes: tuple[tuple[int, SamplingParams], ...] = ()
    """Other settings from the n-th token on, to repeat a run in which somebody moved a slider."""
    model: str | None = None
    """The checksum of the model that is meant: another one would write unnoticed in its place.
    None: whichever is open."""


class Change(NamedTuple):
    """Draw with other settings from the very next token on."""

    params: SamplingParams


class Stop(NamedTuple):
    """End a run; what is written already still comes."""

    run: int


class Look(NamedTuple):
    """Ask what the model thinks after a text, also while it writes; answered by Seen.

    Only the newest one is sure to be answered.
    """

    number: int
    text: str
    view: int | None = None
    """As in Generate."""
    n_scored: int = 0
    """Of so many characters at the end, tell how likely the model found them."""
    n_ghost: int = 0
    """Tell what the model would most likely write next, at most so many characters of a line."""
    inside: bool = False
    """Tell what its layers do there too."""


class AskSpeakers(NamedTuple):
    """Ask whom the model would let speak after a text.

    Answered by Speakers when nothing else is to be done; of several only the newest.
    """

    text: str


Request = Open | Generate | Change | Stop | Look | AskSpeakers


class Opened(NamedTuple):
    """The model is ready to write."""

    path: Path
    card: ModelCard
    config: GPTConfig
    chars: str
    """The vocabulary: the character at index i has id i."""
    checksum: str
    """The same for the same model, whatever its file is called."""


class Refused(NamedTuple):
    """The model could not be opened; the one before, if any, still is."""

    path: Path
    sentence: str


class Skipped(NamedTuple):
    """Characters of the text that the model has never seen, each once."""

    run: int
    chars: str


class Written(NamedTuple):
    """A generated token, as it travels."""

    id: int
    text: str
    logprob: float
    entropy: float
    rank: int
    window: int
    slid: bool


class Tokens(NamedTuple):
    """What was written since the last record of this run."""

    run: int
    tokens: tuple[Written, ...]
    elapsed_s: float
    """From the request to the last of these tokens, by the engine's clock."""
    row: tuple[float, ...] = ()
    """The logits that the last of them was drawn from."""


class Applied(NamedTuple):
    """From its n-th token on (from 0) a run is drawn with these settings."""

    run: int
    n_tokens: int
    params: SamplingParams


class Done(NamedTuple):
    """The run is over."""

    run: int
    reason: str
    """"length": max_new_tokens are written. "stop text": it came to one of those asked for.
    "stopped": somebody asked."""
    n_tokens: int
    tokens_per_s: float
    """After the first token; 0 for fewer than two."""
    first_token_s: float
    """From the request to the first token; 0 without one."""


class Failed(NamedTuple):
    """The run could not begin or go on."""

    run: int
    sentence: str


class Score(NamedTuple):
    """What the model thought of a character that somebody else wrote."""

    id: int
    logprob: float
    entropy: float
    rank: int
    window: int


class Seen(NamedTuple):
    """What the model thinks after a text."""

    number: int
    row: tuple[float, ...]
    """The logits of what comes next."""
    view: int
    """How many tokens were in view for it."""
    scores: tuple[Score | None, ...]
    """Of the characters asked for; None for one that the model does not know or saw first."""
    ghost: str
    inside: Inside | None = None
    trouble: str = ""
    """Why `inside` is not there, in a sentence; empty: it is, or was not asked for."""


class Speakers(NamedTuple):
    """Whom the model would let speak next, the likeliest first; nobody: it has learned no plays."""

    names: tuple[str, ...]


class Died(NamedTuple):
    """The engine is gone; it starts again with the next request."""

    sentence: str


Reply = Opened | Refused | Skipped | Tokens | Applied | Done | Failed | Seen | Speakers | Died

_KINDS: dict[str, Any] = {kind.__name__: kind for kind in (*get_args(Request), *get_args(Reply))}


def encode(record: Request | Reply) -> bytes:
    """A record as one line."""
    return json.dumps([type(record).__name__, record], default=_plain).encode() + b"\n"


def decode_request(line: bytes) -> Request:
    """The request of a line that `encode` wrote."""
    return cast(Request, _decode(line))


def decode_reply(line: bytes) -> Reply:
    """The reply of a line that `encode` wrote."""
    return cast(Reply, _decode(line))


def _decode(line: bytes) -> object:
    name, values = json.loads(line)
    kind = _KINDS[name]
    named = zip(kind._fields, values, strict=True)
    return kind(*(_NESTED[field](value) if field in _NESTED else value for field, value in named))


def params_from(fields: dict[str, Any]) -> SamplingParams:
    """The settings of their fields, as JSON gives them back."""
    return SamplingParams(
        **{**fields, "logit_bias": tuple((i, bias) for i, bias in fields["logit_bias"])}
    )


_NESTED: dict[str, Callable[[Any], Any]] = {
    "path": Path,
    "params": params_from,
    "changes": lambda rows: tuple((n, params_from(fields)) for n, fields in rows),
    "stop": tuple,
    "names": tuple,
    "row": tuple,
    "tokens": lambda rows: tuple(Written(*row) for row in rows),
    "inside": lambda found: Inside(**found) if isinstance(found, dict) else found,
    "scores": lambda rows: tuple(row and Score(*row) for row in rows),
    "card": lambda fields: ModelCard(**fields),
    "config": lambda fields: GPTConfig(**fields),
}


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    assert is_dataclass(value)
    return {f.name: getattr(value, f.name) for f in fields(value)}


class Engine(Protocol):
    """Something that opens models and writes with them, never making its caller wait."""

    def send(self, request: Request) -> None:
        """Ask for something; the answer comes through `receive`."""

    def receive(self) -> list[Reply]:
        """All that was said since the last call."""

    def listen(self, wake: Callable[[], None]) -> None:
        """Call `wake`, from any thread, whenever there is something to receive again."""

    def close(self) -> None:
        """Go away; no reply follows."""
