"""What is known of one run of a model: all that it takes to repeat it."""

from dataclasses import dataclass, field

from minigpt.runtime.params import SamplingParams
from minigpt.terminal import one_line
from minigpt_tui.nodes import UNKNOWN
from minigpt_tui.protocol import Opened


@dataclass(slots=True)
class RunRecord:
    """What it takes to let a model write the same again."""

    number: int
    """1 for the document's first run."""
    head: int
    """The node that the run went on from."""
    length: int
    """Of the text that ends there."""
    params: SamplingParams
    window: int = 0
    """How many of the newest tokens were read first; 0: as many as fit."""
    stops: tuple[str, ...] = ()
    not_first: str = ""
    """Characters with which it could not begin."""
    model_name: str = ""
    model_sha256: str = ""
    """Of the file."""
    changes: list[tuple[int, SamplingParams]] = field(default_factory=list)
    """(tokens written before it, the settings from there on)."""
    n_tokens: int = 0
    first: int = UNKNOWN
    """The first node written; -1 before there is one."""
    n_chars: int = 0
    """Nodes written: they follow each other from `first` on."""

    def other_author(self, model: Opened) -> str:
        """What to call who wrote it, on one line; empty: it was this model, or nobody knows."""
        if self.model_sha256 in ("", model.checksum):
            return ""
        name = one_line(self.model_name)
        return f"another {name}" if self.model_name == model.card.name else name

    @property
    def last_params(self) -> SamplingParams:
        """With which it ends, as far as is known."""
        return self.changes[-1][1] if self.changes else self.params
