"""What to tell a person whose model or batch does not fit into memory."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeVar

import torch

from minigpt.cgroups import control_groups, lines_of
from minigpt.config import GPTConfig, TrainConfig
from minigpt.errors import InputError

Done = TypeVar("Done")

Given = Literal["nothing", "shape", "everything"]
"""Of a run's settings: the model's shape where it begins with a model, all where it is resumed."""
_SMALLER: Mapping[Given, str] = {
    "nothing": "--set a smaller n_embd, n_layer or block_size",
    "shape": "begin with a smaller model",
    "everything": "a resumed run keeps its settings, so go on where more of it is free",
}

BALLAST_BYTES = 2**26
"""Held while a batch that fits is looked for: a run comes to its threads and blocks in another
order than the search, and what just fitted in the one at times did not in the other."""

_WORDS = (
    "can't allocate memory", "not enough memory", "bad_alloc", "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "can't start new thread",
    "could not create a primitive",  # oneDNN, which has no memory for the code that it makes
)  # fmt: skip


def is_out_of_memory(error: BaseException) -> bool:
    """Whether that is what it says; on a CPU torch has no exception of its own for it."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Let an allocation fail for which there is no memory, where a failure can be told.

    Linux promises more memory than there is, as a container does with its own limit, and kills who
    takes it at its word. Elsewhere nothing is done. Processes of one torchrun share what is free.
    """
    free = 1024 * _kilobytes("meminfo", "MemAvailable", "SwapFree")
    in_use = 1024 * _kilobytes("self/status", "VmData")
    if sys.platform != "linux" or not free or not in_use:
        yield
        return
    import resource

    if (of_group := _free_in_group()) is not None:
        free = min(free, of_group)
    soft, hard = before = resource.getrlimit(resource.RLIMIT_DATA)
    free //= int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    limits = [in_use + free, *(n for n in before if n != resource.RLIM_INFINITY)]
    resource.setrlimit(resource.RLIMIT_DATA, (min(limits), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _kilobytes(file: str, *names: str) -> int:
    """The sum of some lines of a file in /proc; 0 where one is missing."""
    found = dict(line.split(":", 1) for line in lines_of(Path("/proc", file)) if ":" in line)
    return sum(int(found[name].split()[0]) for name in names) if found.keys() >= {*names} else 0


def _free_in_group(root: Path = Path("/")) -> int | None:
    """Bytes that the control groups of this process, and those above them, leave it.

    That is how a container is limited. Swap is not counted.

    Args:
        root: where /proc and /sys are.

    Returns:
        None where nothing is limited.
    """
    free: list[int] = []
    for version, group in control_groups("memory", root):
        limit, usage, prefix = (
            ("max", "current", "") if version == 2
            else ("limit_in_bytes", "usage_in_bytes", "total_")
        )  # fmt: skip
        stat = dict(line.split() for line in lines_of(group / "memory.stat"))
        # files that were read are given back when memory is short
        cached = sum(int(stat.get(f"{prefix}{age}_file", 0)) for age in ("active", "inactive"))
        numbers = [*lines_of(group / f"memory.{limit}"), *lines_of(group / f"memory.{usage}")]
        if len(numbers) == 2 and numbers[0] != "max":
            free.append(int(numbers[0]) - int(numbers[1]) + cached)
    return max(0, min(free)) if free else None


@contextlib.contextmanager
def must_fit(model: GPTConfig, given: Given = "nothing") -> Iterator[None]:
    """Turn a lack of memory into a sentence on the model's size.

    Args:
        model: for the sentence.
        given: what cannot be chosen any more.

    Raises:
        InputError: memory is short.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        gigabytes = 12 * model.n_params() / 1e9  # float32: weights, gradients, a moment
        raise InputError(
            f"a model of {model.n_params():,} parameters does not fit into memory; training it "
            f"takes more than {gigabytes:.1f} GB: {_SMALLER[given]}"
        ) from None


def step_or_advice(
    step: Callable[[TrainConfig], Done],
    config: TrainConfig,
    model: GPTConfig,
    *,
    alone: bool = True,
    given: Given = "nothing",
) -> Done:
    """Do a step; where memory is short, look for the batch that fits, and say it.

    It is found by trying, so what is said is what works here.

    Args:
        step: does it with the settings that it is given.
        config: the run's settings.
        model: for the sentence.
        alone: whether no other process takes part: a search would have to be theirs too.
        given: what cannot be chosen any more.

    Raises:
        InputError: memory is short.
    """
    try:
        return step(config)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    words = (
        f"batch_size {config.batch_size} x block_size {model.block_size} does not fit into memory"
    )
    if given == "everything":
        raise InputError(f"{words}; {_SMALLER[given]}")
    if not alone:
        raise InputError(f"{words}; --set half of it, and twice the accumulation")
    batch_size = _largest_that_fits(step, config)
    if not batch_size:
        raise InputError(f"{words}, nor does a batch of one: {_SMALLER[given]}")
    accumulation = config.accumulation * -(-config.batch_size // batch_size)
    raise InputError(
        f"{words}; try --set batch_size={batch_size}, and --set accumulation={accumulation} to "
        "learn from as much in a step"
    )


def _largest_that_fits(step: Callable[[TrainConfig], object], config: TrainConfig) -> int:
    """The largest half, quarter and so on of a batch for which there is memory; 0 if there is none.

    The smallest comes first: what a failure leaves of the heap is in pieces, some 200 MB at times.
    And all are done in a new thread: in one in which oneDNN had no memory for its code once it
    makes none ever again, as Xbyak keeps its first error, a variable of the thread, for good.
    """
    fits = 0
    try:
        with ThreadPoolExecutor(1) as pool:
            ballast = torch.empty(BALLAST_BYTES, dtype=torch.uint8)
            for n_halvings in reversed(range(1, config.batch_size.bit_length())):
                batch_size = config.batch_size >> n_halvings
                pool.submit(step, replace(config, batch_size=batch_size)).result()
                fits = batch_size
            del ballast
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    return fits
