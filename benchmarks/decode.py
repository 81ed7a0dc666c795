"""How fast does the exported file write, and how fast do others with the same model?

All run a GPT-2 of a preset's sizes, with random weights: speed does not depend on what was
learned. So that every library can say exactly the same model it is GPT-2 to the letter, with
learned positions, all biases and a tied head (llama.cpp alone computes GELU by its tanh form).
In each round one way after the other writes on from the same prompt, in this process, so that a
busy machine slows all of them alike; the ratios are medians of the rounds' ratios. What counts is
everything from the ids of the prompt to the ids of the text, sampling included.

- minigpt: the .onnx file in each precision, with the threads that the runtime chooses;
- PyTorch: with our KV cache; and without one, as nanoGPT samples, all again for every token;
- transformers: GPT2LMHeadModel with its cache, by generate() and by a loop around the model;
- llama.cpp: a GGUF with the same weights, in F32 and from its own quantizer, 1, 2, all threads;
- onnxruntime-genai: the very files that minigpt runs, with 1, 2, all threads.

    pip install -c constraints.txt -e ".[train,peers]"
    python -m benchmarks.decode --rounds 15 --png benchmarks/decode.png

What is not installed is named and left out. Before the rounds, all that run unquantized weights
write a greedy text, which must be the same.
"""

import argparse
import contextlib
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path

from benchmarks.models import random_model
from benchmarks.peers import GROUPS, Way
from minigpt.config import PRESETS
from minigpt.cores import usable_cores
from minigpt.model import GPT

PROMPT_TOKENS = 16
LEAST_TOKENS = 200
TEMPERATURE = 0.8
PACKAGES = (
    "numpy", "onnxruntime", "torch", "transformers", "llama-cpp-python", "onnxruntime-genai",
)  # fmt: skip

COMPARED = (
    ("minigpt int8", "llama.cpp Q8_0"),
    ("minigpt int4", "llama.cpp Q4_0"),
    ("minigpt fp32", "llama.cpp F32"),
    ("minigpt int8", "PyTorch, nanoGPT-style"),
    ("minigpt int8", "transformers"),
    ("minigpt int8", "PyTorch, our KV cache"),
    ("minigpt fp32", "onnxruntime-genai fp32"),
    ("minigpt int8", "onnxruntime-genai int8"),
    ("minigpt int4", "onnxruntime-genai int4"),
)
"""Ours, and the beginning of a peer's name: the fastest whose name begins so is meant."""

Speeds = dict[str, list[float]]
"""Tokens per second of each round, by the name of the way."""


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="shakespeare", choices=PRESETS, help="whose sizes")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--png", type=Path, metavar="FILE", help="draw the speeds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write down every round")
    arguments = parser.parse_args()
    preset = PRESETS[arguments.preset].model
    config = replace(preset, arch="gpt2", bias=True, qkv_bias=True, tie_weights=True)
    model = random_model(config)
    window = config.block_size
    with tempfile.TemporaryDirectory() as folder:
        ways = open_ways(model, Path(folder))
        prompt = [i % model.config.vocab_size for i in range(window)]
        n_tokens = window - PROMPT_TOKENS
        check_greedy(ways, prompt[:PROMPT_TOKENS], n_tokens)
        within = measure(ways, prompt[:PROMPT_TOKENS], n_tokens, arguments.rounds)
        # past the window only these know what to do, and do it differently
        sliding = [way for way in ways if way.name.startswith(("minigpt", "PyTorch"))]
        past = measure(sliding, prompt, window, arguments.rounds)
    title = (
        f"GPT-2 of {model.config.n_params() / 1e6:.1f}M parameters, one text at a time, "
        f"medians of {arguments.rounds} rounds\n{machine()}"
    )
    print(f"\n{title}\n{versions()}")
    print(f"\nFrom a prompt of {PROMPT_TOKENS} tokens to the end of the window of {window}:\n")
    print_table(within)
    print_ratios(within)
    print(f"\nFrom a full window, {window} tokens more (the window slides, or is run again):\n")
    print_table(past)
    if arguments.png:
        draw(within, title, arguments.png)
    if arguments.json:
        record = {
            "machine": machine(), "versions": versions(), "config": asdict(model.config),
            "within": within, "past": past,
        }  # fmt: skip
        arguments.json.write_text(json.dumps(record, indent=1), encoding="utf-8")


def open_ways(model: GPT, folder: Path) -> list[Way]:
    """All that is installed; the rest is named."""
    ways: list[Way] = []
    for group in GROUPS:
        try:
            ways += group(model, folder)
        except ModuleNotFoundError as error:
            print(f"skipped: {group.__name__}, as {error.name} is not installed")
    return ways


def check_greedy(ways: Sequence[Way], prompt: Sequence[int], n_tokens: int) -> None:
    """Warn of a peer that runs another model than the first way does."""
    texts = {way.name: way.write(prompt, n_tokens, 0.0) for way in ways if way.exact}
    first, *others = texts
    for name in others:
        pairs = zip(texts[first], texts[name], strict=True)
        same = next((i for i, (a, b) in enumerate(pairs) if a != b), n_tokens)
        if same < n_tokens:
            print(f"warning: {name} writes another greedy text than {first} after {same} tokens")
    kinds = len(set(texts[first]))
    print(f"greedy texts of {n_tokens} tokens, {kinds} kinds of them, compared: {', '.join(texts)}")


def measure(ways: Sequence[Way], prompt: Sequence[int], n_tokens: int, rounds: int) -> Speeds:
    """Write `n_tokens` after the prompt with each way in turn, in every round.

    Short texts are written several times: a few milliseconds cannot be measured.
    """
    times = -(-LEAST_TOKENS // n_tokens)
    speeds: Speeds = {way.name: [] for way in ways}
    for _ in range(rounds):
        for way in ways:
            way.write(prompt, 4, TEMPERATURE)  # its weights into the processor's caches
            began = time.perf_counter()
            for _ in range(times):
                way.write(prompt, n_tokens, TEMPERATURE)
            speeds[way.name].append(times * n_tokens / (time.perf_counter() - began))
    return speeds


def by_speed(speeds: Mapping[str, Sequence[float]]) -> list[tuple[str, float]]:
    """Names and medians, the fastest first."""
    medians = {name: statistics.median(found) for name, found in speeds.items()}
    return sorted(medians.items(), key=lambda item: -item[1])


def print_table(speeds: Speeds) -> None:
    """All ways as a Markdown table, the fastest first."""
    print("| | tokens/s | slowest to fastest round |\n|---|---:|---|")
    for name, median in by_speed(speeds):
        found = speeds[name]
        print(f"| {name} | {median:,.0f} | {min(found):,.0f} to {max(found):,.0f} |")


def print_ratios(speeds: Speeds) -> None:
    """What README and tests of a claim need: ours over the best that a peer can do."""
    print("\n| ours | times as fast as |  |\n|---|---:|---|")
    for mine, peer in COMPARED:
        rivals = [name for name, _ in by_speed(speeds) if name.startswith(peer)]
        if rivals:
            pairs = zip(speeds[mine], speeds[rivals[0]], strict=True)
            ratio = statistics.median(a / b for a, b in pairs)
            print(f"| {mine} | {ratio:.2f} | {rivals[0]} |")


def machine() -> str:
    """The processor and how many of its cores are ours."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    cores = usable_cores()
    return f"{names[0] if names else platform.processor()}, {cores} cores"


def versions() -> str:
    """Of Python and of every package that was measured."""
    found = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found.append(f"{package} {metadata.version(package)}")
    return ", ".join(found)


def draw(speeds: Speeds, title: str, path: Path) -> None:
    """A bar for every way, the fastest on top, ours in colour."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    ranked = by_speed(speeds)[::-1]
    names, medians = [name for name, _ in ranked], [median for _, median in ranked]
    colours = ["#c2410c" if name.startswith("minigpt") else "#94a3b8" for name in names]
    figure, axes = plt.subplots(figsize=(9, 0.36 * len(names) + 1.7), layout="constrained")
    bars = axes.barh(names, medians, color=colours, height=0.72)
    axes.bar_label(bars, [f"{median:,.0f}" for median in medians], padding=4)
    axes.set_xlabel("tokens per second, sampling included (more is better)")
    figure.supxlabel(versions(), fontsize=7, color="#475569")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.09, y=0.01)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=130, facecolor="white")  # white also where the page is dark
    plt.close(figure)


if __name__ == "__main__":
    main()
