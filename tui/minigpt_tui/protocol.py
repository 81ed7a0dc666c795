"""What the interface and the engine say to each other, one JSON line a record.

The interface knows an engine only as the `Engine` protocol at the end: the real one is a child
process, tests plug in a scripted one.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

from minigpt.config import GPTConfig, ModelCard
from minigpt.runtime.params import SamplingParams


@dataclass(frozen=True, slots=True)
class Open:
    """Open a model; answered by Opened or Refused."""

    path: Path


@dataclass(frozen=True, slots=True)
class Generate:
    """Write on from `text`; ends the run before. Answered by Tokens and one Done or Failed."""

    run: int
    text: str
    params: SamplingParams


@dataclass(frozen=True, slots=True)
class Change:
    """Draw with other settings from the very next token on."""

    params: SamplingParams


@dataclass(frozen=True, slots=True)
class Stop:
    """End a run; what is written already still comes."""

    run: int


Request = Open | Generate | Change | Stop


@dataclass(frozen=True, slots=True)
class Opened:
    """The model is ready to write."""

    path: Path
    card: ModelCard
    config: GPTConfig


@dataclass(frozen=True, slots=True)
class Refused:
    """The model could not be opened; the one before, if any, still is."""

    path: Path
    sentence: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """Characters of the text that the model has never seen, each once."""

    run: int
    chars: str


class Written(NamedTuple):
    """A generated token, as it travels. A tuple, because thousands come each second."""

    id: int
    text: str
    logprob: float
    entropy: float
    rank: int
    window: int
    slid: bool


@dataclass(frozen=True, slots=True)
class Tokens:
    """What was written since the last record of this run."""

    run: int
    tokens: tuple[Written, ...]
    elapsed_s: float
    """From the request to the last of these tokens, by the engine's clock."""
    window: int
    """Tokens that the model had in view for the last of them."""


@dataclass(frozen=True, slots=True)
class Done:
    """The run is over."""

    run: int
    reason: str
    """"length": max_new_tokens are written. "stopped": somebody asked."""
    n_tokens: int
    tokens_per_s: float
    """After the first token; 0 for fewer than two."""
    first_token_s: float
    """From the request to the first token; 0 without one."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The run could not begin or go on."""

    run: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Died:
    """The engine is gone; it starts again with the next request."""

    sentence: str


Reply = Opened | Refused | Skipped | Tokens | Done | Failed | Died

_KINDS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (Open, Generate, Change, Stop, Opened, Refused, Skipped, Tokens, Done, Failed, Died)
}


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
    kind, values = json.loads(line)
    if "tokens" in values:
        values["tokens"] = tuple(Written(*row) for row in values["tokens"])
    for name, type_ in _NESTED.items():
        if name in values:
            values[name] = type_(values[name])
    return _KINDS[kind](**values)


_NESTED: dict[str, Callable[[Any], Any]] = {
    "path": Path,
    "params": lambda fields: SamplingParams(
        **{**fields, "logit_bias": tuple((i, bias) for i, bias in fields["logit_bias"])}
    ),
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
