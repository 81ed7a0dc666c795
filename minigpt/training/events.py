"""What happens in a training, as records: the loop yields them, and everything else listens."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True)
class Baselines:
    """Validation losses of three models that need no network: known before the first event."""

    uniform: float
    """Every symbol equally likely: ln V."""
    bigram: float
    """How often each symbol followed the one before it, in the training part."""
    five_gram: float
    """The same with up to four symbols of context."""


@dataclass(frozen=True, slots=True)
class Begin:
    """The model is built and fits into memory; nothing was written yet."""

    step: int
    """Where the run begins, or goes on."""
    differs: str = ""
    """What is not as it was when the run that goes on was saved: it may end with other bytes."""
    not_compiled: str = ""
    """Why there is no torch.compile, though it was asked for."""


@dataclass(frozen=True, slots=True)
class Step:
    """One optimizer step is done."""

    step: int
    """Steps done so far."""
    loss: float
    """Mean over the step's batches, in nats per token."""
    learning_rate: float
    """AdamW's."""
    gradient_norm: float
    tokens: int
    """Trained on in this step."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The validation part was scored: all of it, or as much as `eval_tokens` says.

    At step 0 it is some thousand tokens: enough to see that a fresh model guesses.
    """

    step: int
    val_loss: float
    best: bool
    """Whether it is the lowest so far (and was saved as such)."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A text the model wrote at this step."""

    step: int
    text: str


@dataclass(frozen=True, slots=True)
class Saving:
    """A checkpoint is about to be written, which counts on a record of all that was told so far."""

    step: int


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint is on the disk."""

    step: int
    path: Path


Why = Literal["finished", "patience", "stopped"]


@dataclass(frozen=True, slots=True)
class End:
    """Nothing follows."""

    step: int
    best_val_loss: float
    why: Why
    """All steps are done; or `patience` evaluations brought no better one; or it was asked to stop
    (then the run can be resumed)."""


Event = Begin | Step | Evaluation | Sample | Saving | Saved | End
