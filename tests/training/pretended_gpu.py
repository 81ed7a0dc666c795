"""A training on a GPU that is not there: what would be done where, and what would be waited for.

    LD_PRELOAD=<pretended_gpu.cpp, compiled> python -m tests.training.pretended_gpu FOLDER

FakeTensorMode goes through the real code with tensors that have a shape, a type and a device, but
no numbers; it refuses an operation on tensors of two devices. The steps are not compiled: that
needs Triton, and a GPU. Prints what it saw as JSON.
"""

import json
import sys
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

import minigpt
from minigpt.corpus import Corpus
from minigpt.training import checkpoint
from minigpt.training.checkpoint import Checkpoint
from minigpt.training.loop import train
from minigpt.training.run import Run
from minigpt.training.world import World
from tests.training.test_loop import small_run

aten = torch.ops.aten
OURS = Path(minigpt.__file__).parent
A_NUMBER = 1.0
"""What Python reads, whatever it asks."""
PRODUCTS = frozenset({aten.mm.default, aten.addmm.default, aten.baddbmm.default})
"""Of matrices; without attention, whose kernels for a GPU are not in a build for the CPU."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An event of a run, and what came before it."""

    event: str
    step: int
    waits: list[str]
    """What Python waited for since the event before: which function of ours, for what."""
    products: list[str]
    """The types of the matrices that were multiplied since then."""


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes what Python would wait for, and gives it the numbers that it reads."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._waits = list[str]()
        self._products = set[str]()
        self._pinned = set[int]()
        """Addresses of tensors that are in pinned memory; each is alive until it was copied."""
        self.is_on_the_way = False
        """Whether something was asked of the GPU that no event covers yet."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        kwargs = kwargs or {}
        if func is aten._local_scalar_dense.default:
            if args[0].is_cuda:
                self.note("reads a number")
            return A_NUMBER
        if func is aten._pin_memory.default:
            pinned = args[0].clone()
            self._pinned.add(id(pinned))
            return pinned
        if torch.is_inference_mode_enabled() and func.namespace == "aten":
            with self:  # elsewhere what is made of others comes as those
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        if func in PRODUCTS:
            self._products |= {str(a.dtype) for a in args if isinstance(a, Tensor)}
        of_lists = {t.device for a in args if isinstance(a, list | tuple) for t in a
                    if isinstance(t, Tensor)}  # fmt: skip
        if of_lists:  # an index, a condition: what stands beside a list is to be where it is
            of_lists |= {a.device for a in args if isinstance(a, Tensor)}
        assert len(of_lists) <= 1, f"{func} of {of_lists}: FakeTensorMode looks into no list"
        result = func(*args, **kwargs)
        if func is aten._to_copy.default:
            self._copied(args[0], result, kwargs.get("non_blocking", False))
        if func is aten.copy_.default:
            self._copied(args[1], args[0], len(args) > 2 and args[2])
        return result

    def _copied(self, source: Tensor, target: Tensor, non_blocking: bool) -> None:
        if source.is_cuda == target.is_cuda:
            return
        self.is_on_the_way |= source.is_cuda and non_blocking
        if not non_blocking or (target.is_cuda and id(source) not in self._pinned):
            self.note("copies to the GPU" if target.is_cuda else "copies from the GPU")
        self._pinned.discard(id(source))

    def taken(self) -> tuple[list[str], list[str]]:
        """All waits and products since the last call."""
        taken = self._waits, sorted(self._products)
        self._waits, self._products = [], set()
        return taken

    def note(self, what: str) -> None:
        """Add it to the waits, with the function of ours that asks for it."""
        ours = [f.name for f in traceback.extract_stack() if Path(f.filename).is_relative_to(OURS)]
        self._waits.append(f"{ours[-1]} {what}")


class GPUEvent:
    """As torch.cuda.Event: what was asked of the GPU before it is done when it is over."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def record(self) -> None:
        assert self._watch.is_on_the_way, "recorded before what it is to cover was asked for"
        self._watch.is_on_the_way = False

    def synchronize(self) -> None:
        self._watch.note("waits for an event")


def moved(module: nn.Module, device: str) -> nn.Module:
    """`nn.Module.to`, which cannot yet move a tensor without numbers; tied weights stay tied."""
    new = dict[Tensor, nn.Parameter]()
    for part in module.modules():
        for name, old in part.named_parameters(recurse=False, remove_duplicate=False):
            new.setdefault(old, nn.Parameter(old.detach().to(device)))
            setattr(part, name, new[old])
        for name, buffer in part.named_buffers(recurse=False):
            setattr(part, name, buffer.to(device))
    return module


@contextmanager
def pretended() -> Iterator[Watch]:
    """A GPU for as long as the context lasts, and the one who watches what is asked of it."""
    watch = Watch()
    instead: list[tuple[object, str, object]] = [
        (torch.cuda.amp.common, "amp_definitely_not_available", lambda: False),
        (torch.cuda, "get_device_name", lambda _: "NVIDIA H200"),
        (torch.cuda, "mem_get_info", lambda _: (2**37, 2**37)),
        (torch.cuda, "is_bf16_supported", lambda **_: True),
        (torch.cuda, "Event", lambda: GPUEvent(watch)),
        (nn.Module, "to", moved),
        (Tensor, "numpy", lambda tensor: np.zeros(tensor.shape, np.float32)),
    ]
    with ExitStack() as stack:
        stack.enter_context(FakeTensorMode())
        for owner, name, value in instead:
            stack.enter_context(mock.patch.object(owner, name, value))
        yield stack.enter_context(watch)


def seen_in(run: Run, watch: Watch, resume: Checkpoint | None = None) -> list[Seen]:
    """Each event of a run, with what was noted since the one before."""
    return [Seen(type(event).__name__, event.step, *watch.taken()) for event in train(run, resume)]


def main() -> None:
    """Go through some runs and print what happened."""
    text = "the quick brown fox jumps over the lazy dog\n" * 50
    short = {"max_steps": 4, "eval_interval": 2, "sample_chars": 2}
    run = small_run(Path(sys.argv[1]), Corpus("a", text), **short)
    run = replace(run, world=World(device="cuda"))
    rotary = replace(run.model, arch="rotary", bias=False, qkv_bias=False, tie_weights=False)
    by_adamw = replace(run.train, muon_learning_rate=0.0)
    saved = list[Checkpoint]()
    with (
        pretended() as watch,
        mock.patch.object(checkpoint, "save", lambda snapshot, *_, **__: saved.append(snapshot)),
    ):
        seen = {"as it comes": seen_in(run, watch)}
        in_the_middle = next(s for s in saved if s.card.steps == 2 and s.optimizer)
        seen["resumed"] = seen_in(run, watch, in_the_middle)
        seen["rotary, by AdamW"] = seen_in(replace(run, model=rotary, train=by_adamw), watch)
        with mock.patch.object(torch.cuda, "mem_get_info", return_value=(0, 0)):
            seen["a text that has no room"] = seen_in(run, watch)
    print(json.dumps({name: [asdict(s) for s in events] for name, events in seen.items()}))


if __name__ == "__main__":
    main()
