"""What turns gradients into steps: parameter groups, the optimizer, the learning rate."""

import torch
from torch import nn

from minigpt.config import TrainConfig


def learning_rate(step: int, config: TrainConfig) -> float:
    """The rate of a step (counted from 0): a linear rise, then a straight line to the end.

    A line to zero, not a cosine: the last tenth of the steps, at tiny rates, is where a small
    model's validation loss falls most.
    """
    warmup = min(config.warmup_steps, config.max_steps // 4)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    left = (config.max_steps - step) / (config.max_steps - warmup)
    return config.min_learning_rate + (config.learning_rate - config.min_learning_rate) * left


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter, 2019) that decays matrices, but not biases and norms."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups,
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        fused=True,  # on a CPU too: a quarter of the default loop's time
    )


def state_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """What the optimizer remembers of each parameter, as "name/key" -> tensor."""
    return {
        f"{name}/{key}": value
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def load_state_tensors(
    model: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]
) -> None:
    """Put back what `state_tensors` took out."""
    parameters = dict(model.named_parameters())
    for full_name, value in tensors.items():
        name, _, key = full_name.rpartition("/")
        parameter = parameters[name]
        # the fused step counts on the parameter's own device; the count itself is a scalar
        optimizer.state[parameter][key] = value.to(parameter.device)
