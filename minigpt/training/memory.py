"""What to tell a person whose model or batch does not fit into memory."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch

from minigpt.config import GPTConfig, TrainConfig
from minigpt.errors import InputError

Done = TypeVar("Done")

_WORDS = (
    "can't allocate memory", "not enough memory", "bad_alloc", "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)  # fmt: skip


def is_out_of_memory(error: BaseException) -> bool:
    """Whether that is what it says; on a CPU torch has no exception of its own for it."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Let an allocation fail for which there is no memory, where a failure can be told.

    Linux promises more memory than there is and kills who takes it at its word. Elsewhere nothing
    is done; nor is a container's own limit looked at. Processes of one torchrun share what is free.
    """
    free, in_use = (
        _kilobytes("meminfo", "MemAvailable", "SwapFree"),
        _kilobytes("self/status", "VmData"),
    )
    if sys.platform != "linux" or not free or not in_use:
        yield
        return
    import resource

    soft, hard = before = resource.getrlimit(resource.RLIMIT_DATA)
    free //= int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    limits = [1024 * (in_use + free), *(n for n in before if n != resource.RLIM_INFINITY)]
    resource.setrlimit(resource.RLIMIT_DATA, (min(limits), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _kilobytes(file: str, *names: str) -> int:
    """The sum of some lines of a file in /proc; 0 where one is missing."""
    try:
        lines = Path("/proc", file).read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    found = dict(line.split(":", 1) for line in lines if ":" in line)
    return sum(int(found[name].split()[0]) for name in names) if found.keys() >= {*names} else 0


@contextlib.contextmanager
def must_fit(model: GPTConfig) -> Iterator[None]:
    """Turn a lack of memory into a sentence on the model's size.

    Raises:
        InputError: memory is short.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        gigabytes = 12 * model.n_params() / 1e9  # weights, gradients, one moment, in float32
        raise InputError(
            f"a model of {model.n_params():,} parameters does not fit into memory; training it "
            f"takes more than {gigabytes:.1f} GB: --set a smaller n_embd, n_layer or block_size"
        ) from None


def step_or_advice(
    step: Callable[[TrainConfig], Done],
    config: TrainConfig,
    model: GPTConfig,
    *,
    alone: bool = True,
) -> Done:
    """Do a step; where memory is short, look for the batch that fits, and say it.

    It is found by trying halves, so what is said is what works here.

    Args:
        step: does it with the settings that it is given.
        config: the run's settings.
        model: for the sentence.
        alone: whether no other process takes part: a search would have to be theirs too.

    Raises:
        InputError: memory is short.
    """
    words = (
        f"batch_size {config.batch_size} x block_size {model.block_size} does not fit into memory"
    )
    batch_size = config.batch_size
    while batch_size > 0:
        try:
            done = step(replace(config, batch_size=batch_size))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if not alone:
                raise InputError(f"{words}; --set half of it, and twice the accumulation") from None
            batch_size //= 2
        else:
            if batch_size == config.batch_size:
                return done
            break
    if batch_size == 0:
        raise InputError(f"{words}, nor does a batch of one: --set a smaller block_size or n_embd")
    accumulation = config.accumulation * -(-config.batch_size // batch_size)
    raise InputError(
        f"{words}; try --set batch_size={batch_size}, and --set accumulation={accumulation} to "
        "learn from as much in a step"
    )
