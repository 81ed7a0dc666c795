"""A model of which each process holds a part, for those that no device can hold (FSDP).

Zhao et al. (2023), "PyTorch FSDP". Every parameter is cut along its rows, one part a process, and
with it its gradient and what the optimizers remember of it. A block is put together when its turn
comes, in the forward pass and again in the backward pass, and taken apart after it.

What is not number by number, such as Muon's step and a checkpoint, needs `whole` tensors. To put
one together takes all processes: all of them must ask for the same ones in the same order.
"""

import gc
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeGuard

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from minigpt.model import GPT

if TYPE_CHECKING:  # imported where it is needed: that takes a second, and most models are whole
    from torch.distributed.tensor import DTensor


def all_processes(size: int, device: torch.device) -> DeviceMesh:
    """Those that share a model, each with a device of that kind."""
    return init_device_mesh(device.type, (size,))


def part_from(processes: DeviceMesh) -> None:
    """Let go of the others when the model is done with.

    PyTorch's caches, and cycles in what is left of the model, would hold the line to them, and with
    it gloo's threads, until Python ends. One that drops a tensor just then aborts the process:
    "terminate called without an active exception" (pytorch/pytorch#179291,
    pytorch/pytorch#190489). After an error, whose traceback holds the model, that can still be.
    """
    getattr(processes, "_pg_registry", {}).clear()  # there is no public way
    gc.collect()


def shard(model: GPT, processes: DeviceMesh) -> None:
    """Cut up a model that all processes have alike: each keeps its part, on its device."""
    from torch.distributed.fsdp import fully_shard

    # it fears for what is changed in place; nobody changes the logits
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view")
    for part in (*model.h, model):
        # the root too, which by default stays together after an evaluation: its parameters would
        # be others than those that the optimizers know
        fully_shard(part, mesh=processes, reshard_after_forward=True)


def is_cut(tensor: Tensor) -> TypeGuard["DTensor"]:
    """Whether this process holds a part of it only."""
    return hasattr(tensor, "full_tensor")


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor; one that is not cut up is itself."""
    return tensor.full_tensor() if is_cut(tensor) else tensor


def own_part(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor."""
    return tensor.to_local() if is_cut(tensor) else tensor


def cut_as(other: Tensor, tensor: Tensor) -> Tensor:
    """A whole tensor that all processes have, cut up as another one is."""
    if not is_cut(other):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor, other.device_mesh, other.placements, src_data_rank=None)


def gathered(tensors: Mapping[str, Tensor], *, keep: bool) -> dict[str, Tensor]:
    """Whole tensors, one after the other, in the CPU's memory; none if they are not to be kept."""
    found = {}
    # sorted: a checkpoint that was read back has them in an order of each process's own
    for name, tensor in sorted(tensors.items()):
        complete = whole(tensor)
        if keep:
            found[name] = complete.cpu()
    return found
