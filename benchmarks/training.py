"""How good a model, how soon? The `laptop` preset beside nanoGPT's recipe for a CPU, in one run.

    minigpt data shakespeare --out shakespeare.txt
    python -m benchmarks.training shakespeare.txt [--seeds 1337 1 2] [--png benchmarks/training.png]

The other one is nanoGPT's README for "only have a macbook": a GPT-2 of 4 layers, 4 heads, 128
wide, windows of 64, 12 of them a step, 2,000 steps, float32, its AdamW, schedule, initial weights
and evaluations. The two take turns, so that a busy machine slows both alike. A clock runs while a
recipe does what it does by itself, its own evaluations included; the loss on the whole validation
split is measured while both clocks stand.
"""

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from benchmarks.decode import machine
from minigpt.config import PRESETS, GPTConfig, find_preset
from minigpt.corpus import TokenizedCorpus, read_corpus, split
from minigpt.model import GPT
from minigpt.training.baselines import baselines
from minigpt.training.events import Evaluation, Step
from minigpt.training.loop import train
from minigpt.training.run import Run
from minigpt.training.scoring import evaluate, next_token_loss

NANOGPT = "nanoGPT's recipe"


@dataclass(frozen=True, slots=True)
class Point:
    """Where a recipe was at some time."""

    seconds: float
    step: int
    val_loss: float


def nanogpt(text: TokenizedCorpus, seed: int) -> Iterator[Point]:
    """NanoGPT's config/train_shakespeare_char.py with its README's options for a CPU."""
    torch.manual_seed(seed)
    train_ids, val_ids = split(text.ids)
    parts = [torch.from_numpy(ids.astype("int64")) for ids in (train_ids, val_ids)]
    model = _nanogpt_model(text.tokenizer.vocab_size)
    decayed = [p for p in model.parameters() if p.dim() >= 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    groups = [
        {"params": decayed, "weight_decay": 0.1},
        {"params": others, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99))

    def loss_on(part: torch.Tensor) -> torch.Tensor:
        places = torch.randint(len(part) - 64, (12,))
        x = torch.stack([part[i : i + 64] for i in places])
        y = torch.stack([part[i + 1 : i + 65] for i in places])
        return next_token_loss(model(x), y)

    began, seconds = time.perf_counter(), 0.0
    for step in range(2001):
        for group in optimizer.param_groups:
            group["lr"] = _cosine(step)
        if step % 250 == 0:
            with torch.no_grad():
                for part in parts:
                    statistics.mean(loss_on(part).item() for _ in range(20))
            seconds += time.perf_counter() - began
            yield Point(seconds, step, evaluate(model, val_ids))
            model.train()
            began = time.perf_counter()
        if step < 2000:
            loss = loss_on(parts[0])
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            loss.item()


def _nanogpt_model(vocab_size: int) -> GPT:
    model = GPT(
        GPTConfig(
            arch="gpt2",
            n_layer=4,
            n_head=4,
            n_embd=128,
            block_size=64,
            vocab_size=vocab_size,
            bias=False,
            qkv_bias=False,
            tie_weights=True,
        )
    )
    for name, parameter in model.named_parameters():
        if parameter.dim() == 2:
            narrower = math.sqrt(2 * 4) if name.endswith("c_proj.weight") else 1.0
            torch.nn.init.normal_(parameter, std=0.02 / narrower)
    return model


def _cosine(step: int) -> float:
    if step < 100:
        return 1e-3 * (step + 1) / 101
    return 1e-4 + 0.5 * (1 + math.cos(math.pi * (step - 100) / 1900)) * (1e-3 - 1e-4)


def ours(text: TokenizedCorpus, seed: int, preset: str, steps: int, look: int) -> Iterator[Point]:
    """What `minigpt train` does, checkpoints and samples included.

    It evaluates five times; it is looked at `look` times as often, while its clock stands.
    """
    chosen = find_preset(preset)
    own = steps // 5
    seconds = 0.0
    with tempfile.TemporaryDirectory() as folder:
        run = Run(
            model=replace(chosen.model, vocab_size=text.tokenizer.vocab_size),
            train=replace(
                chosen.train, seed=seed, max_steps=steps, eval_interval=max(1, own // look)
            ),
            corpus=text,
            folder=Path(folder),
        )
        began = time.perf_counter()
        for event in train(run):
            its_own = isinstance(event, Step) or event.step in (0, steps)
            if its_own or event.step % own == 0:
                seconds += time.perf_counter() - began
            if isinstance(event, Evaluation):
                yield Point(seconds, event.step, event.val_loss)
            began = time.perf_counter()


def race(runs: dict[str, Iterator[Point]]) -> dict[str, list[Point]]:
    """Let all go on in turn: the one whose clock is behind goes next."""
    found: dict[str, list[Point]] = {name: [next(points)] for name, points in runs.items()}
    going = dict(runs)
    while going:
        name = min(going, key=lambda name: found[name][-1].seconds)
        point = next(going[name], None)
        if point is None:
            del going[name]
            continue
        found[name].append(point)
        print(f"{name:20}{point.seconds:7.1f} s  step {point.step:5}  {point.val_loss:.4f}",
              flush=True)  # fmt: skip
    return found


def draw(races: Sequence[dict[str, list[Point]]], yardstick: float, path: Path) -> None:
    """Loss against seconds, a line a run."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    for i, race in enumerate(races):
        for (name, points), color in zip(race.items(), ("#94a3b8", "#c2410c"), strict=True):
            axes.plot(
                [p.seconds for p in points[1:]], [p.val_loss for p in points[1:]],
                color=color, marker="o", ms=3, label=name if i == 0 else None,
            )  # fmt: skip
    axes.axhline(yardstick, ls="--", lw=1, color="gray", label=f"5-gram counts {yardstick:.3f}")
    axes.set(
        xlabel="seconds, each recipe's own evaluations included",
        ylabel="loss on the whole validation split (nats per character)",
        title=f"Tiny Shakespeare, {machine()}",
    )
    axes.legend()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main() -> None:
    """Race, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("--preset", default="laptop", choices=PRESETS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1337])
    parser.add_argument("--steps", type=int, default=1100, help="ours; it plans for so many")
    parser.add_argument("--look", type=int, default=10)
    parser.add_argument("--png", type=Path, metavar="FILE", help="draw the losses")
    arguments = parser.parse_args()
    text = TokenizedCorpus.from_corpus(read_corpus([arguments.text]))
    yardsticks = baselines(*split(text.ids), text.tokenizer.vocab_size)
    us = f"minigpt {arguments.preset}"
    races = []
    for seed in arguments.seeds:
        races.append(
            race({
                NANOGPT: nanogpt(text, seed),
                us: ours(text, seed, arguments.preset, arguments.steps, arguments.look),
            })
        )  # fmt: skip
    print(f"\n{machine()}; 5-gram counts {yardsticks.five_gram:.4f}, "
          f"bigram counts {yardsticks.bigram:.4f}\n")  # fmt: skip
    print("| seed | nanoGPT's recipe | minigpt | minigpt passes nanoGPT's end |\n|---|---|---|---|")
    for seed, found in zip(arguments.seeds, races, strict=True):
        theirs, last = found[NANOGPT][-1], found[us][-1]
        passed = next((p for p in found[us] if p.val_loss < theirs.val_loss), None)
        when = (
            f"after {passed.seconds:.1f} s, 1/{theirs.seconds / passed.seconds:.1f}"
            if passed
            else "never"
        )
        print(
            f"| {seed} | {theirs.val_loss:.4f} in {theirs.seconds:.0f} s "
            f"| {last.val_loss:.4f} in {last.seconds:.0f} s | {when} |"
        )
    if arguments.png:
        draw(races, yardsticks.five_gram, arguments.png)


if __name__ == "__main__":
    main()
