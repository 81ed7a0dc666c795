"""What the widgets tell the screen, each a typed message."""

from collections.abc import Callable
from dataclasses import dataclass

from textual.message import Message

from minigpt.runtime.params import SamplingParams
from minigpt_tui.preferences import Preferences


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
class Preferred(Message):
    """The user's choice is to be remembered."""

    edit: Callable[[Preferences], Preferences]
    done: str = ""
    """What to say when it is; nothing, if the user need not be told."""


@dataclass
class EngineSpoke(Message):
    """There are replies to receive."""
