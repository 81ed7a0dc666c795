"""What turns gradients into steps: Muon for the blocks' matrices, AdamW for the rest, the schedule.

Two kinds of parameters, two optimizers. A matrix inside a block maps a vector to a vector, and
what counts is what it does in every direction: Muon makes each step equally long in all of them.
Embeddings, head, norms and biases are rows or numbers that are looked up or scaled one by one:
AdamW gives each number a step length of its own. With `muon_learning_rate` 0, AdamW has them all.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from minigpt.config import TrainConfig
from minigpt.errors import InputError
from minigpt.training.average import Average
from minigpt.training.precision import has_bfloat16
from minigpt.training.sharding import cut_as, is_cut, whole

# Of 5 steps of the iteration. Jordan (2024) chose them to grow small singular values fastest: those
# of at least 0.3% of the matrix's norm end between 0.68 and 1.2, which is as good as 1.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_ITERATIONS = 5

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


class AdamW:
    """Each number has a step length of its own (Kingma and Ba, 2015; Loshchilov and Hutter, 2019).

    With the running averages m of its gradients and v of their squares, each freed of the zero
    that it began with, a number w becomes w - lr * (weight_decay * w + m / (sqrt(v) + 1e-8)).

    The kernel is that of `torch.optim.AdamW(fused=True)`; but to make any optimizer of torch.optim
    imports torch's compiler, which takes 1.5 s.

    Args of the constructor:
        parameters: of which matrices are decayed, biases and norms are not.
        lr: the learning rate.
        betas: how much of m and of v is kept.
        weight_decay: the share of a number that is taken off, times the rate.
    """

    KEPT = ("step", "exp_avg", "exp_avg_sq")
    """What is remembered of each parameter: the number of steps, m, and v."""

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        *,
        lr: float,
        betas: tuple[float, float],
        weight_decay: float,
    ) -> None:
        self.parameters = list(parameters)
        self._matrices = [p for p in self.parameters if p.dim() == 2]
        self._others = [p for p in self.parameters if p.dim() != 2]
        self.lr, self.betas, self.weight_decay = lr, betas, weight_decay
        self.state = {p: self._zeros(p) for p in self.parameters}

    @torch.no_grad()
    def step(self, share: float) -> None:
        """Take a step at that share of the learning rate; the gradients must be there."""
        for parameters, decay in ((self._matrices, self.weight_decay), (self._others, 0.0)):
            if not parameters:
                continue
            numbers: list[Tensor] = [*parameters]
            states = [self.state[p] for p in parameters]
            steps, averages, squares = ([state[key] for state in states] for key in self.KEPT)
            torch._foreach_add_(steps, 1)
            torch._fused_adamw_(
                numbers, [_gradient(p) for p in parameters], averages, squares, [], steps,
                lr=share * self.lr, beta1=self.betas[0], beta2=self.betas[1], weight_decay=decay,
                eps=1e-8, amsgrad=False, maximize=False,
            )  # fmt: skip

    def _zeros(self, parameter: nn.Parameter) -> dict[str, Tensor]:
        count = torch.zeros((), device=parameter.device)  # where the kernel counts
        averages = (torch.zeros_like(parameter) for _ in range(2))
        return dict(zip(self.KEPT, (count, *averages), strict=True))


class Muon:
    """Momentum whose every step is made orthogonal (Jordan et al., 2024, "Muon").

    The momentum of a matrix is mostly a few large directions. Its singular values are all set to
    about 1 (`orthogonalized`), so that rare directions are learned as fast as common ones.

    `torch.optim.Muon` is the same one matrix at a time and in bfloat16: without hardware for that
    it takes 70 to 90 ms a step of the `laptop` preset, this one 15. Matrices of one shape are
    turned together, in bfloat16 where there is hardware for it.

    Args of the constructor:
        matrices: with how many are stacked in each, to be turned each by itself: queries, keys and
            values are three. See benchmarks/ablations.md.
        lr: how long a step is, in every direction; times sqrt(rows / columns) for a tall matrix.
        momentum: how much of the average of the gradients is kept.
        weight_decay: as in AdamW.
    """

    def __init__(
        self,
        matrices: Mapping[nn.Parameter, int],
        *,
        lr: float,
        momentum: float,
        weight_decay: float,
    ) -> None:
        self.parameters = list(matrices)
        self.lr, self.momentum, self.weight_decay = lr, momentum, weight_decay
        self.state = {p: {"average": torch.zeros_like(p)} for p in self.parameters}
        self._n_stacked = dict(matrices)

    @torch.no_grad()
    def step(self, share: float) -> None:
        """Take a step at that share of the learning rate; the gradients must be there."""
        lr = share * self.lr
        for (rows, columns, _), parameters in self._alike().items():
            ahead = [whole(d).view(-1, rows, columns) for d in self._directions(parameters)]
            directions = torch.split(orthogonalized(torch.cat(ahead)), [len(a) for a in ahead])
            length = lr * max(1.0, rows / columns) ** 0.5
            steps = [
                cut_as(parameter, direction.reshape(-1, columns))
                for parameter, direction in zip(parameters, directions, strict=True)
            ]
            numbers: list[Tensor] = [*parameters]
            torch._foreach_mul_(numbers, 1 - lr * self.weight_decay)
            torch._foreach_add_(numbers, steps, alpha=-length)

    def _alike(self) -> dict[tuple[int, int, int], list[nn.Parameter]]:
        """Those whose matrices have one shape; cut up ones alone, as many whole ones are too large.

        By rows, columns, and a number of its own for each that is cut up.
        """
        groups: dict[tuple[int, int, int], list[nn.Parameter]] = {}
        for i, parameter in enumerate(self.parameters):
            rows, columns = parameter.shape[0] // self._n_stacked[parameter], parameter.shape[1]
            key = (rows, columns, i if is_cut(parameter) else -1)
            groups.setdefault(key, []).append(parameter)
        return groups

    def _directions(self, parameters: Sequence[nn.Parameter]) -> Sequence[Tensor]:
        """The gradients, a step ahead along their averages (Nesterov's momentum)."""
        gradients = [_gradient(p) for p in parameters]
        averages = [self.state[p]["average"] for p in parameters]
        torch._foreach_lerp_(averages, gradients, 1 - self.momentum)
        torch._foreach_lerp_(gradients, averages, self.momentum)  # which nobody needs any more
        return gradients


Optimizer = AdamW | Muon


def _gradient(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


def orthogonalized(matrices: Tensor) -> Tensor:
    """Each matrix with its singular values set to about 1; the tiniest stay smaller.

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


def make_optimizers(model: nn.Module, config: TrainConfig) -> list[Optimizer]:
    """AdamW, and Muon unless its rate is 0; each parameter in one of them."""
    by_muon, by_adamw = dict[nn.Parameter, int](), list[nn.Parameter]()
    for name, parameter in model.named_parameters():
        if config.muon_learning_rate and name.startswith("h.") and parameter.dim() == 2:
            by_muon[parameter] = QKV_PARTS if name.endswith("attn.c_attn.weight") else 1
        else:
            by_adamw.append(parameter)
    adamw = AdamW(
        by_adamw,
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        weight_decay=config.weight_decay,
    )
    if not by_muon:
        return [adamw]
    muon = Muon(
        by_muon,
        lr=config.muon_learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
    )
    return [adamw, muon]


def state_tensors(model: nn.Module, owners: Sequence[Optimizer | Average]) -> dict[str, Tensor]:
    """What the optimizers, and the average, remember of each parameter: "name/key" -> tensor."""
    return {
        f"{name}/{key}": value
        for owner in owners
        for name, parameter in model.named_parameters()
        for key, value in owner.state.get(parameter, {}).items()
    }


def load_state_tensors(
    model: nn.Module, owners: Sequence[Optimizer | Average], tensors: dict[str, Tensor]
) -> None:
    """Put back what `state_tensors` took out after some step.

    Raises:
        InputError: it is not the state of these owners over this model.
    """
    own = state_tensors(model, owners)
    if {k: v.shape for k, v in own.items()} != {k: v.shape for k, v in tensors.items()}:
        raise InputError("the optimizer's state is not that of this model and its settings")
    for name, mine in own.items():
        mine.copy_(cut_as(mine, tensors[name].to(mine.device)))
