"""What to tell a person whose model or batch does not fit into memory."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar

import torch

from minigpt.config import GPTConfig, TrainConfig
from minigpt.errors import InputError

Done = TypeVar("Done")

_WORDS = ("can't allocate memory", "not enough memory", "bad_alloc", "out of memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether that is what it says; on a CPU torch has no exception of its own for it."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)


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
