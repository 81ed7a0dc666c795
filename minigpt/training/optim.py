"""What turns gradients into steps: Muon for the blocks' matrices, AdamW for the rest, the schedule.

Two kinds of parameters, two optimizers. A matrix inside a block maps a vector to a vector, and
what counts is what it does in every direction: Muon makes each step equally long in all of them.
Embeddings, head, norms and biases are rows or numbers that are looked up or scaled one by one:
AdamW gives each number a step length of its own. With `muon_learning_rate` 0, AdamW has them all.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from minigpt.config import TrainConfig
from minigpt.errors import InputError
from minigpt.training.precision import has_bfloat16
from minigpt.training.sharding import cut_as, is_cut, whole

# Of 5 steps of the iteration. Jordan (2024) chose them to grow small singular values fastest; the
# values end between 0.7 and 1.2, which is as good as 1.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_ITERATIONS = 5

_ADAMW_STATE = ("step", "exp_avg", "exp_avg_sq")
QKV_PARTS = 3
"""Matrices in c_attn: queries, keys, values."""


def schedule(step: int, config: TrainConfig) -> float:
    """The share of the learning rates at a step (counted from 0): up, then straight down to 0.

    A line to nothing: a cosine to a tenth, as nanoGPT has it, ends 0.01 higher
    (benchmarks/ablations.md).
    """
    warmup = min(config.warmup_steps, config.max_steps // 4)
    if step < warmup:
        return (step + 1) / warmup
    return (config.max_steps - step) / (config.max_steps - warmup)


class Muon(torch.optim.Optimizer):
    """Momentum whose every step is made orthogonal (Jordan et al., 2024, "Muon").

    The momentum of a matrix is mostly a few large directions. Its singular values are all set to
    about 1 (`orthogonalized`), so that rare directions are learned as fast as common ones.

    `torch.optim.Muon` is the same one matrix at a time and in bfloat16: without hardware for that
    it takes 70 to 90 ms a step of the `laptop` preset, this one 15. Matrices of one shape are
    turned together, in bfloat16 where there is hardware for it.

    Args of the constructor:
        groups: matrices, as "params". "parts" of a group: so many matrices are stacked in each, and
            turned each by itself: queries, keys and values are three. See benchmarks/ablations.md.
        lr: how long a step is, in every direction; times sqrt(rows / columns) for a tall matrix.
        momentum: how much of the average of the gradients is kept.
        weight_decay: as in AdamW, apart from the gradient.
    """

    def __init__(
        self, groups: list[dict[str, Any]], *, lr: float, momentum: float, weight_decay: float
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "parts": 1}
        super().__init__(groups, defaults)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take a step; the gradients must be there."""
        for group in self.param_groups:
            for parameters in _alike(group["params"]):
                rows, columns = parameters[0].shape[0] // group["parts"], parameters[0].shape[1]
                ahead = torch.stack(
                    [whole(self._direction(p, group["momentum"])) for p in parameters]
                )
                directions = orthogonalized(ahead.view(-1, rows, columns)).view_as(ahead)
                length = group["lr"] * max(1.0, rows / columns) ** 0.5
                for parameter, direction in zip(parameters, directions, strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(cut_as(parameter, direction), alpha=-length)

    def _direction(self, parameter: Tensor, momentum: float) -> Tensor:
        """The gradient, a step ahead along its average (Nesterov's momentum)."""
        gradient = parameter.grad
        assert gradient is not None
        state = self.state[parameter]
        if "average" not in state:
            state["average"] = torch.zeros_like(parameter)
        average: Tensor = state["average"]
        average.lerp_(gradient, 1 - momentum)
        return gradient.lerp(average, momentum)


def _alike(parameters: list[Tensor]) -> list[list[Tensor]]:
    """Parameters of one shape together; cut up ones alone, as many whole ones are too large."""
    groups: dict[tuple[torch.Size, int], list[Tensor]] = {}
    for i, parameter in enumerate(parameters):
        key = (parameter.shape, i if is_cut(parameter) else -1)
        groups.setdefault(key, []).append(parameter)
    return list(groups.values())


def orthogonalized(matrices: Tensor) -> Tensor:
    """Each matrix with its singular values set to about 1: between 0.6 and 1.3.

    By the Newton-Schulz iteration: an odd polynomial of a matrix is that polynomial of its
    singular values, and takes products only.

    Args:
        matrices: (N,rows,columns).
    """
    x = matrices.bfloat16() if has_bfloat16(matrices.device) else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)  # no singular value above 1
    tall = x.size(1) > x.size(2)
    x = x.mT if tall else x  # the smaller square is multiplied then
    for _ in range(_ITERATIONS):
        square = x @ x.mT
        polynomial = torch.baddbmm(square, square, square, beta=_B, alpha=_C)
        x = torch.baddbmm(x, polynomial, x, beta=_A)
    return (x.mT if tall else x).type_as(matrices)


def make_optimizers(model: nn.Module, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """Muon and AdamW (Loshchilov and Hutter, 2019), each parameter in one of them.

    Matrices are decayed, biases and norms are not.
    """
    by_muon, by_adamw = dict[str, nn.Parameter](), list[nn.Parameter]()
    for name, parameter in model.named_parameters():
        if config.muon_learning_rate and name.startswith("h.") and parameter.dim() == 2:
            by_muon[name] = parameter
        else:
            by_adamw.append(parameter)
    adamw = torch.optim.AdamW(
        [
            {"params": [p for p in by_adamw if p.dim() == 2], "weight_decay": config.weight_decay},
            {"params": [p for p in by_adamw if p.dim() < 2], "weight_decay": 0.0},
        ],
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        fused=True,  # on a CPU too: a quarter of the default loop's time
    )
    optimizers: list[torch.optim.Optimizer] = [adamw]
    if by_muon:
        qkv = [p for name, p in by_muon.items() if name.endswith("attn.c_attn.weight")]
        single = [p for name, p in by_muon.items() if not name.endswith("attn.c_attn.weight")]
        optimizers.append(
            Muon(
                [{"params": qkv, "parts": QKV_PARTS}, {"params": single}],
                lr=config.muon_learning_rate,
                momentum=config.momentum,
                weight_decay=config.weight_decay,
            )
        )
    for group in _groups(optimizers):
        group["full_lr"] = group["lr"]
    return optimizers


def set_rates(optimizers: Sequence[torch.optim.Optimizer], share: float) -> None:
    """Give every parameter that share of the learning rate it was made with."""
    for group in _groups(optimizers):
        group["lr"] = share * group["full_lr"]


def state_tensors(
    model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]
) -> dict[str, Tensor]:
    """What the optimizers remember of each parameter, as "name/key" -> tensor."""
    return {
        f"{name}/{key}": value
        for optimizer in optimizers
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def load_state_tensors(
    model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], tensors: dict[str, Tensor]
) -> None:
    """Put back what `state_tensors` took out after some step.

    Raises:
        InputError: it is not the state of these optimizers over this model.
    """
    parameters = dict(model.named_parameters())
    names = {p: name for name, p in parameters.items()}
    expected = {
        f"{names[p]}/{key}": torch.Size() if key == "step" else p.shape
        for optimizer in optimizers
        for group in optimizer.param_groups
        for p in group["params"]
        for key in (("average",) if isinstance(optimizer, Muon) else _ADAMW_STATE)
    }
    if {name: tensor.shape for name, tensor in tensors.items()} != expected:
        raise InputError("the optimizer's state is not that of this model and its settings")
    owner = {p: each for each in optimizers for g in each.param_groups for p in g["params"]}
    for full_name, value in tensors.items():
        name, _, key = full_name.rpartition("/")
        parameter = parameters[name]
        # the fused step counts on the parameter's own device; the count itself is a scalar
        here = value.to(parameter.device)
        state = here if key == "step" else cut_as(parameter, here)
        owner[parameter].state[parameter][key] = state.clone()


def _groups(optimizers: Sequence[torch.optim.Optimizer]) -> list[dict[str, Any]]:
    return [group for optimizer in optimizers for group in optimizer.param_groups]
