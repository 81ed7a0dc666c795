"""What is each trick of the `laptop` preset worth? Each left out in turn, on three seeds.

    minigpt data shakespeare --out shakespeare.txt
    python -m benchmarks.ablations shakespeare.txt [--seeds 1 2 3] [--share 0.5] > ablations.md
    python -m benchmarks.ablations shakespeare.txt --share 0.65 --at 180 --only average

Loss on the whole validation split after a share of the preset's characters (the schedule shortened
with them, so that it ends at 0), as a table in Markdown. Nothing in it depends on the clock.
"""

import argparse
import math
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch.nn.utils import get_total_norm

from benchmarks.decode import machine
from minigpt.config import GPTConfig, TrainConfig, find_preset
from minigpt.corpus import Ids, TokenizedCorpus, read_corpus
from minigpt.model import GPT
from minigpt.training.events import Evaluation
from minigpt.training.loop import train
from minigpt.training.run import Run


@dataclass(frozen=True, slots=True)
class Variant:
    """The recipe without something."""

    name: str
    changes: Mapping[str, Any]
    """Of fields of GPTConfig and TrainConfig."""
    patched: Callable[[], AbstractContextManager[object]] = nullcontext
    """What of the code is replaced meanwhile."""


def random_windows(
    ids: Ids, *, seed: int, first: int, count: int, block_size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Windows at random places, as nanoGPT draws them."""
    rng = np.random.Generator(np.random.Philox(key=seed, counter=[0, first, 0, 1]))
    starts = rng.integers(0, len(ids) - block_size, size=count)
    both = torch.from_numpy(ids[starts[:, None] + np.arange(block_size + 1)].astype(np.int64))
    return both[:, :-1], both[:, 1:]


def cosine(step: int, config: TrainConfig) -> float:
    """Half a cosine from 1 down to 0.1, nanoGPT's shape."""
    return 0.1 + 0.45 * (1 + math.cos(math.pi * step / config.max_steps))


def gpt2_weights(model: GPT) -> None:
    """GPT-2's: deviation 0.02 everywhere, less in what adds to the stream."""
    for name, parameter in model.named_parameters():
        if parameter.dim() == 2:
            narrower = math.sqrt(2 * model.config.n_layer) if "c_proj" in name else 1.0
            torch.nn.init.normal_(parameter, std=0.02 / narrower)


@contextmanager
def replaced(target: str, value: object) -> Iterator[None]:
    """A name of the code as something else, for as long as the context lasts."""
    with patch(target, value):
        yield


def clipped(gradients: list[torch.Tensor]) -> torch.Tensor:
    """The norm of gradients, which are made no longer than 1, as nanoGPT does."""
    norm = get_total_norm(gradients)
    for gradient in gradients:
        gradient.mul_(torch.clamp(1 / (norm + 1e-6), max=1.0))
    return norm


LEFT_OUT = (
    Variant("the whole recipe", {}),
    Variant(
        "AdamW for all matrices, with its own best settings",
        {"muon_learning_rate": 0.0, "warmup_steps": 50, "weight_decay": 0.1},
    ),
    Variant(
        "queries, keys and values as one matrix to Muon", {},
        lambda: replaced("minigpt.training.optim.QKV_PARTS", 1),
    ),
    Variant(
        "windows at random places, not epochs", {},
        lambda: replaced("minigpt.training.state.windows", random_windows),
    ),
    Variant(
        "GPT-2's initial weights", {},
        lambda: replaced("minigpt.model.GPT._init_weights", gpt2_weights),
    ),
    Variant(
        "a cosine to a tenth, not a line to zero", {},
        lambda: replaced("minigpt.training.state.schedule", cosine),
    ),
    Variant("a warmup of 50 steps", {"warmup_steps": 50}),
    Variant("learned positions, not rotations", {"arch": "gpt2"}),
    Variant(
        "gradients clipped to a norm of 1", {},
        lambda: replaced("torch.nn.utils.get_total_norm", clipped),
    ),
    Variant("the newest weights, not their average", {"ema_decay": 0.0}),
    Variant("8 windows a step, twice as many steps", {"batch_size": 8}),
    Variant("32 windows a step, half as many steps", {"batch_size": 32}),
    Variant("64 windows a step, a quarter of the steps", {"batch_size": 64}),
)  # fmt: skip


def one_run(
    corpus: TokenizedCorpus, variant: Variant, seed: int, share: float, at: int | None
) -> float:
    """The loss at a step, or in the end."""
    preset = find_preset("laptop")
    model: GPTConfig = replace(preset.model, vocab_size=corpus.tokenizer.vocab_size)
    config = replace(preset.train, seed=seed, sample_chars=0)
    for name, value in variant.changes.items():
        if hasattr(model, name):
            model = replace(model, **{name: value})
        else:
            config = replace(config, **{name: value})
    n_steps = round(share * config.max_steps * preset.train.batch_size / config.batch_size)
    at = at or n_steps
    config = replace(config, max_steps=n_steps, eval_interval=at)
    with tempfile.TemporaryDirectory() as folder, variant.patched():
        run = Run(model=model, train=config, corpus=corpus, folder=Path(folder))
        scores = (event for event in train(run) if isinstance(event, Evaluation))
        return next(event.val_loss for event in scores if event.step == at)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--share", type=float, default=0.5, help="of the preset's characters")
    parser.add_argument("--at", type=int, metavar="STEP", help="the loss there, not in the end")
    parser.add_argument("--only", default="", metavar="WORD", help="what has it in its name")
    arguments = parser.parse_args()
    if arguments.at and arguments.at > round(
        arguments.share * find_preset("laptop").train.max_steps
    ):
        parser.error("--at is behind the end of the run: raise --share")
    corpus = TokenizedCorpus.from_corpus(read_corpus([arguments.text]))
    variants = [LEFT_OUT[0], *(each for each in LEFT_OUT[1:] if arguments.only in each.name)]
    found: dict[str, list[float]] = {variant.name: [] for variant in variants}
    for seed in arguments.seeds:
        for variant in variants:
            loss = one_run(corpus, variant, seed, arguments.share, arguments.at)
            found[variant.name].append(loss)
            print(f"seed {seed}  {variant.name}: {loss:.4f}", file=sys.stderr, flush=True)
    print(table(found, arguments.share, arguments.seeds, arguments.at))


def table(
    found: Mapping[str, Sequence[float]], share: float, seeds: Sequence[int], at: int | None
) -> str:
    """The losses in Markdown."""
    n_steps = round(share * find_preset("laptop").train.max_steps)
    steps, option = (f"{at} of {n_steps}", f" --at {at}") if at else (f"{n_steps}", "")
    lines = [
        "# What each trick is worth\n",
        f"The `laptop` preset on tiny Shakespeare, {steps} steps, loss on the whole validation "
        f"split: mean and range of the seeds {', '.join(map(str, seeds))}. "
        f"Made by `python -m benchmarks.ablations shakespeare.txt --share {share}{option}` "
        f"on {machine()}.\n",
        "| left out, or instead | loss | range | worth |\n|---|---:|---|---:|",
    ]
    base = statistics.mean(found[LEFT_OUT[0].name])
    for name, losses in found.items():
        mean = statistics.mean(losses)
        worth = "" if name == LEFT_OUT[0].name else f"{mean - base:+.4f}"
        lines.append(f"| {name} | {mean:.4f} | {min(losses):.4f} to {max(losses):.4f} | {worth} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
