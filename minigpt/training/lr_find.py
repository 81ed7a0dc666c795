"""Which learning rate? The range test: one short training through all of them."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from minigpt.errors import InputError
from minigpt.training.run import Run
from minigpt.training.state import Diverged, Training

LOWEST_RATE, HIGHEST_RATE = 1e-5, 10.0
STEPS = 100
EXPLODED = 4.0
"""Times the lowest loss; fastai's number."""
SMOOTHING = 0.9


@dataclass(frozen=True, slots=True)
class Trial:
    """One step at one learning rate."""

    learning_rate: float
    loss: float
    """Before the step, in nats per token."""
    smoothed: float
    """A mean over this loss and those before it, each counting `SMOOTHING` times its successor."""


def try_rates(run: Run) -> Iterator[Trial]:
    """Train a new model, the learning rate growing by the same factor at every step.

    The rate is AdamW's; Muon's keeps its proportion to it.

    This is Smith's range test (2015, arXiv:1506.01186, section 3.3), with a rate that grows
    exponentially as in fastai. The model is thrown away; nothing is written.

    Args:
        run: its model, text and settings; its schedule and folder are not used.

    Yields:
        At most `STEPS` trials, from `LOWEST_RATE` to where the smoothed loss is `EXPLODED` times
        the lowest, or is no number any more, or to `HIGHEST_RATE`.

    Raises:
        InputError: the text is too short, or the model does not fit into memory.
    """
    # nobody asks for an average here
    training = Training(replace(run, train=replace(run.train, ema_decay=0.0)), None)
    training.rehearse()
    total, weight, lowest = 0.0, 0.0, math.inf
    for step in range(STEPS):
        rate = LOWEST_RATE * (HIGHEST_RATE / LOWEST_RATE) ** (step / (STEPS - 1))
        try:
            (taken,) = training.advance(rate / run.train.learning_rate)
        except Diverged:  # what was looked for
            return
        total, weight = SMOOTHING * total + taken.loss, SMOOTHING * weight + 1
        smoothed = total / weight
        yield Trial(rate, taken.loss, smoothed)
        lowest = min(lowest, smoothed)
        if smoothed > EXPLODED * lowest:
            return


def suggest_rate(trials: Sequence[Trial]) -> float:
    """A tenth of the rate at which the smoothed loss is lowest.

    The rule is Gugger's ("How do you find a good learning rate", 2018) and fastai's `minimum`: at
    the lowest point the rate is too high already, a power of ten below the loss still falls fast.

    Raises:
        InputError: the loss rose from the beginning.
    """
    losses = [trial.smoothed for trial in trials]
    if not losses or (at := losses.index(min(losses))) == 0:
        raise InputError(
            f"no learning rate from {LOWEST_RATE:g} on made the loss fall: look at the text and "
            "the settings"
        )
    return trials[at].learning_rate / 10
