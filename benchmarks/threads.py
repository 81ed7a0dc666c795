"""When does a second thread help? The numbers behind `onnx_session.default_threads`.

Writes with one thread and with all cores, one after the other in each round, with models of
growing size in each precision. The rule is good where what it chooses is at most 10% slower than
the better of the two.

    python -m benchmarks.threads [--rounds 7] [--tokens 512]
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.models import TOKENIZER, export_model, random_model
from minigpt.config import PRESETS, GPTConfig
from minigpt.cores import free_cores
from minigpt.runtime.decoder import Decoder
from minigpt.runtime.generation import generate
from minigpt.runtime.library import load
from minigpt.runtime.onnx_graph import Precision
from minigpt.runtime.onnx_session import default_threads
from minigpt.runtime.params import SamplingParams

_LARGE = PRESETS["shakespeare"].model
SHAPES: dict[str, GPTConfig] = {
    "tiny": PRESETS["tiny"].model,
    "laptop": PRESETS["laptop"].model,
    "192 wide": replace(_LARGE, n_embd=192),
    "256 wide": replace(_LARGE, n_embd=256, n_head=4),
    "shakespeare": _LARGE,
}
PRECISIONS: tuple[Precision, ...] = ("fp32", "int8", "int4")


def tokens_per_s(decoder: Decoder, n_tokens: int) -> float:
    """Of the decode loop, sampling and slides included."""
    params = SamplingParams(max_new_tokens=n_tokens)
    began = time.perf_counter()
    for _ in generate(decoder, TOKENIZER, [0], lambda: params):
        pass
    return n_tokens / (time.perf_counter() - began)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=512)
    arguments = parser.parse_args()
    cores = default_threads(2**31)
    free = free_cores()
    print(
        f"{cores} cores, {free} of them free, {arguments.rounds} rounds of {arguments.tokens} "
        "tokens; tokens/s\n"
    )
    print("| model | parameters | | MB of weights | 1 thread | all | all / 1 | the rule | loses |")
    print("|---|---:|---|---:|---:|---:|---:|---|---:|")
    for name, config in SHAPES.items():
        model = random_model(config)
        for precision in PRECISIONS:
            with tempfile.TemporaryDirectory() as folder:
                path = export_model(model, precision, Path(folder))
                decoders = [load(path, threads=n).decoder for n in (1, cores)]
                megabytes = path.stat().st_size / 1e6
            rounds = []
            for _ in range(arguments.rounds):
                rounds.append([tokens_per_s(decoder, arguments.tokens) for decoder in decoders])
            one, every = (statistics.median(column) for column in zip(*rounds, strict=True))
            gain = statistics.median(b / a for a, b in rounds)
            chosen = default_threads(int(megabytes * 1e6), free)
            kept = (1 if chosen == 1 else gain) / max(1, gain)
            print(
                f"| {name} | {model.config.n_params():,} | {precision} | {megabytes:.1f} | "
                f"{one:,.0f} | {every:,.0f} | {gain:.2f} | {chosen} | {1 - kept:.0%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
