"""How fast is a model here? What `minigpt bench` measures."""

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from minigpt.runtime.generation import generate
from minigpt.runtime.model import Model
from minigpt.runtime.params import SamplingParams


@dataclass(frozen=True, slots=True)
class BenchReport:
    """Speed and size of a model on this machine."""

    tokens_per_s: float
    """Decoding at batch 1, sampling included, past the window: the median of the rounds."""
    tokens_per_s_without_guesses: float
    """The same where every token takes a pass."""
    first_token_ms: float
    """From a prompt of half a window to its first token: the median of the rounds."""
    load_ms: float
    """From the path to a model ready to run, imports done."""
    peak_memory_mb: float | None
    """Of the whole process; None where the system does not tell (Windows)."""
    tokens: int
    """Decoded in a round."""
    rounds: int


def bench(load: Callable[[], Model], *, tokens: int = 512, rounds: int = 5) -> BenchReport:
    """Measure a model.

    Args:
        load: opens it; timed at its second call, when all imports are done.
        tokens: to decode in a round.
        rounds: of which the median counts, as machines are noisy.
    """
    load()
    began = time.perf_counter()
    model = load()
    load_s = time.perf_counter() - began
    params = SamplingParams(max_new_tokens=tokens)
    prompt = [i % model.config.vocab_size for i in range(max(1, model.config.block_size // 2))]
    firsts: list[float] = []
    speeds: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for draft, found in zip((model.draft, None), speeds, strict=True):
            began = time.perf_counter()
            stream = generate(model.decoder, model.tokenizer, prompt, lambda: params, draft=draft)
            next(stream)
            first = time.perf_counter()
            count = sum(1 for _ in stream)
            firsts.append(first - began)
            found.append(count / (time.perf_counter() - first))
    return BenchReport(
        tokens_per_s=statistics.median(speeds[0]),
        tokens_per_s_without_guesses=statistics.median(speeds[1]),
        first_token_ms=1000 * statistics.median(firsts),
        load_ms=1000 * load_s,
        peak_memory_mb=_peak_memory_mb(),
        tokens=tokens,
        rounds=rounds,
    )


def _peak_memory_mb() -> float | None:
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
