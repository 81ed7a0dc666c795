"""Several processes that train one model together, each on its share of every batch.

    torchrun --standalone --nproc-per-node 2 -m minigpt train book.txt

starts the same command twice; environment variables tell each which one it is. All hold the whole
model and the same numbers: gradients are averaged before every step (PyTorch's
DistributedDataParallel: "gloo" between CPUs, "nccl" between GPUs). The first one alone evaluates,
writes and speaks.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from minigpt.errors import InputError


@dataclass(frozen=True, slots=True)
class World:
    """Which process this is, of how many. One alone is a world too."""

    rank: int = 0
    size: int = 1
    device: str = "cpu"

    @property
    def first(self) -> bool:
        """Whether this one evaluates, writes and speaks."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model, in a form whose backward pass averages the gradients of all processes."""
        return DistributedDataParallel(model) if self.size > 1 else model

    def mean(self, value: float) -> float:
        """Of a number of each process; all get it."""
        return self._together(value, dist.ReduceOp.SUM) / self.size

    def any(self, flag: bool) -> bool:
        """Whether one of them says so: all must do the same, as each step needs all."""
        return bool(self._together(float(flag), dist.ReduceOp.MAX))

    def of_first(self, value: float) -> float:
        """What the first one knows; the others wait for it."""
        return self._together(value if self.first else 0.0, dist.ReduceOp.SUM)

    def _together(self, value: float, how: dist.ReduceOp.RedOpType) -> float:
        if self.size == 1:
            return value
        number = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.all_reduce(number, how)
        return float(number)


def without_averaging(model: nn.Module) -> AbstractContextManager[None]:
    """For all backward passes of a step but the last: gradients add up at home until then."""
    if isinstance(model, DistributedDataParallel):
        context: AbstractContextManager[None] = model.no_sync()
        return context
    return nullcontext()


@contextmanager
def joined(device: str) -> Iterator[World]:
    """Join the processes that torchrun started, for as long as the context lasts.

    Args:
        device: "cpu" or "cuda"; on a machine of several GPUs each process takes its own.

    Raises:
        InputError: this is one of several, but not as torchrun starts them, or has no GPU; or
            another one ended in the middle.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(device=device)
        return
    if missing := {"RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"} - set(os.environ):
        raise InputError(
            f"WORLD_SIZE is {size}, but {sorted(missing)[0]} is not set: start several processes "
            "with torchrun, or unset it"
        )
    if device == "cuda" and int(os.environ["LOCAL_RANK"]) >= torch.cuda.device_count():
        raise InputError(
            f"there are {torch.cuda.device_count()} GPUs for more processes than that: "
            "lower --nproc-per-node"
        )
    if device == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    # the others wait for the first one's evaluations, and while it reads a large text
    dist.init_process_group("gloo" if device == "cpu" else "nccl", timeout=timedelta(days=1))
    try:
        yield World(dist.get_rank(), size, device)
    except RuntimeError as error:
        # gloo has no exception of its own
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        raise InputError(
            f"process {dist.get_rank()} of {size} lost another one, which was killed or has said "
            "why it ended; the last checkpoint is untouched"
        ) from None
    finally:
        dist.destroy_process_group()
