"""Several processes that train one model together, each on its share of every batch.

    torchrun --standalone --nproc-per-node 2 -m minigpt train book.txt

starts the same command twice; environment variables tell each which one it is. All hold the whole
model and the same numbers: gradients are averaged before every step (PyTorch's
DistributedDataParallel: "gloo" between CPUs, "nccl" between GPUs). The first one alone evaluates,
writes and speaks. With --shard each holds a part of the model (see `sharding.py`), and then all
must take part where the first one evaluates or writes.
"""

import importlib
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.nn.parallel import DistributedDataParallel

from minigpt.errors import InputError
from minigpt.model import GPT
from minigpt.training.sharding import all_processes, part_from, shard


@dataclass(frozen=True, slots=True)
class World:
    """Which process this is, of how many. One alone is a world too."""

    rank: int = 0
    size: int = 1
    device: str = "cpu"
    sharing: DeviceMesh | None = None
    """Those that hold a part of the model each; nothing if each holds all of it."""

    @property
    def first(self) -> bool:
        """Whether this one evaluates, writes and speaks."""
        return self.rank == 0

    @property
    def shard(self) -> bool:
        """Whether each process holds a part of the model only."""
        return self.sharing is not None

    @property
    def on_gpu(self) -> bool:
        """Whether a device works on its own while Python goes on, and is better not waited for."""
        return self.device.startswith("cuda")

    @property
    def takes_part(self) -> bool:
        """Whether this one runs the model where the first one does."""
        return self.first or self.shard

    def wrap(self, model: GPT) -> nn.Module:
        """The model on its device, and such that a backward pass averages all gradients."""
        if self.sharing is not None:
            shard(model, self.sharing)
            return model
        model.to(self.device)
        if self.size == 1:
            return model
        # the gradients are where they are sent from: without a copy of them all
        shared = DistributedDataParallel(model, gradient_as_bucket_view=True)
        shared.broadcast_buffers = False  # rotary tables are the same everywhere, at every pass
        return shared

    def mean(self, value: Tensor) -> Tensor:
        """Of a number of each process, on its device; all get it."""
        if self.size > 1:
            dist.all_reduce(value)
        return value / self.size

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
    """For all backward passes of a step but the last: gradients add up at home until then.

    Not with a model that is cut up: no process has room for whole gradients.
    """
    if isinstance(model, DistributedDataParallel):
        context: AbstractContextManager[None] = model.no_sync()
        return context
    return nullcontext()


def _size() -> int:
    size = os.environ.get("WORLD_SIZE", "1")
    if not size.isdecimal() or int(size) < 1:
        raise InputError(
            f"WORLD_SIZE is {size!r:.20}, not a number of processes: start them with torchrun, or "
            "unset it"
        )
    return int(size)


@contextmanager
def joined(device: str, *, shard: bool = False) -> Iterator[World]:
    """Join the processes that torchrun started, for as long as the context lasts.

    Args:
        device: "cpu" or "cuda"; on a machine of several GPUs each process takes its own.
        shard: whether each is to hold a part of the model only.

    Raises:
        InputError: this is one of several, but not as torchrun starts them, or has no GPU; or
            another one ended in the middle; or there is none to share a model with.
    """
    size = _size()
    if size == 1 and shard:
        raise InputError(
            "--shard cuts the model up for several processes, and this one is alone: start them "
            "with torchrun --standalone --nproc-per-node N -m minigpt train ..."
        )
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
    # Here, because both ways of sharing the work import it, and it would keep gloo's threads, which
    # may abort the process at its end (see `part_from`), if there were other processes by then.
    importlib.import_module("torch.distributed.fsdp")

    # the others wait for the first one's evaluations, and while it reads a large text
    gpu = None if device == "cpu" else torch.device(device)  # NCCL would guess it at the barrier
    dist.init_process_group("nccl" if gpu else "gloo", timeout=timedelta(days=1), device_id=gpu)
    sharing, has_ended_well = None, False
    try:
        if shard:
            sharing = all_processes(size, torch.device(device))
        yield World(dist.get_rank(), size, device, sharing)
        if shard:  # one that leaves while another still takes its parts may crash on its way out
            dist.barrier()
        has_ended_well = True
    except RuntimeError as error:
        # gloo has no exception of its own
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        raise InputError(
            f"process {dist.get_rank()} of {size} lost another one, which was killed or has said "
            "why it ended; the last checkpoint is untouched"
        ) from None
    finally:
        if sharing is not None:
            part_from(sharing)
        # NCCL waits for the others there; where they wait for this one, nobody would hear its error
        if has_ended_well or not gpu:
            dist.destroy_process_group()
