"""The running average of a model's weights: what is scored, sampled and exported of a training.

While the rate is high the newest weights jump about a good place, and their average is nearer to it
(Polyak and Juditsky, 1992; Izmailov et al., 2018, "SWA"). Half-way through the `laptop` preset that
is worth 0.04 nats per character, at its end, where the rate is 0, nothing: it is for all who look
at a run, or stop it, before its end. See benchmarks/ablations.md.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """Follows a model's weights, and can stand in for them; with a decay of 0 there is none."""

    KEPT = ("ema",)
    """What is remembered of each parameter."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.parameters = list(model.parameters()) if decay else []
        self.state: dict[nn.Parameter, dict[str, Tensor]] = {}
        self._decay = decay

    def follow(self, steps: int) -> None:
        """Take in the weights after a step.

        Args:
            steps: how many are done. At first little is kept, as in TensorFlow's
                ExponentialMovingAverage: a model that knew nothing is to be forgotten.
        """
        if not self.parameters:
            return
        for parameter in self.parameters:
            if parameter not in self.state:
                self.state[parameter] = {"ema": parameter.detach().clone()}
        kept = min(self._decay, steps / (steps + 9))
        averages = [self.state[p]["ema"] for p in self.parameters]
        torch._foreach_lerp_(averages, [p.detach() for p in self.parameters], 1 - kept)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model's weights are the average for as long as the context lasts."""
        newest = {p: p.detach().clone() for p in self.state}
        for parameter, state in self.state.items():
            parameter.detach().copy_(state["ema"])
        try:
            yield
        finally:
            for parameter, tensor in newest.items():
                parameter.detach().copy_(tensor)
