"""The running average of a model's weights: what is scored, sampled and exported of a training.

While the rate is high the newest weights jump about a good place, and their average is nearer to it
(Polyak and Juditsky, 1992; Izmailov et al., 2018, "SWA"). After 180 of 1,300 steps of the `laptop`
preset that is worth 0.06 nats per character; at its end, where the rate is 0, nothing, and the
newest weights are taken. It is for all who look at a run, or stop it, before its end. See
benchmarks/ablations.md.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class Average:
    """Follows a model's weights, and can stand in for them; with a decay of 0 there is none."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.parameters = list(model.parameters()) if decay else []
        self.state = {p: {"ema": p.detach().clone()} for p in self.parameters}
        self._decay = decay

    def follow(self, steps: int, left: int) -> None:
        """Take in the weights after a step.

        Args:
            steps: how many are done, this one too. At first little is kept, as in TensorFlow's
                ExponentialMovingAverage: a model that knew nothing is to be forgotten.
            left: how many are to come. In the end little is kept either: then the newest weights
                jump no more, and the average would only be late (0.007 nats after 200 steps of
                `tiny`).
        """
        if not self.parameters:
            return
        kept = min(self._decay, steps / (steps + 9), left / (left + 9))
        averages = [self.state[p]["ema"] for p in self.parameters]
        torch._foreach_lerp_(averages, [p.detach() for p in self.parameters], 1 - kept)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model's weights are the average for as long as the context lasts."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for parameter, state in self.state.items():  # one at a time: no second copy of the model
            newest = parameter.detach().clone()
            parameter.detach().copy_(state["ema"])
            state["ema"].copy_(newest)
