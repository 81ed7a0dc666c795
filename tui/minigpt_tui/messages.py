"""What the widgets tell the screen, each a typed message."""

from dataclasses import dataclass

from textual.message import Message

from minigpt.runtime.params import SamplingParams


@dataclass
class Submitted(Message):
    """The user has pressed Enter on this text, which may be empty."""

    text: str


@dataclass
class ParamsChanged(Message):
    """The settings are other ones now."""

    params: SamplingParams

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, ParamsChanged)  # only the newest counts


@dataclass
class EngineSpoke(Message):
    """There are replies to receive."""
