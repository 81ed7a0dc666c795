"""How good a model, how soon? Trains the `laptop` preset as `minigpt train` does, with a clock.

    minigpt data shakespeare --out shakespeare.txt
    python benchmarks/laptop_training.py shakespeare.txt [--seed 1337] [--preset laptop]

Prints the seconds, evaluations included, at which each full-split validation loss was known.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from minigpt.config import find_preset
from minigpt.corpus import read_corpus, split
from minigpt.tokenizer import CharTokenizer
from minigpt.training.baselines import baselines
from minigpt.training.loop import Evaluation, Run, train


def main() -> None:
    """Train, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("--preset", default="laptop")
    parser.add_argument("--seed", type=int, default=1337)
    arguments = parser.parse_args()
    corpus = read_corpus([arguments.text])
    tokenizer = CharTokenizer.from_text(corpus.text)
    preset = find_preset(arguments.preset)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(
            model=replace(preset.model, vocab_size=tokenizer.vocab_size),
            train=replace(preset.train, seed=arguments.seed),
            tokenizer=tokenizer,
            corpus=corpus,
            folder=Path(folder),
        )
        began = time.perf_counter()
        for event in train(run):
            if isinstance(event, Evaluation):
                seconds = time.perf_counter() - began
                print(
                    f"{seconds:6.1f} s  step {event.step:5}  val {event.val_loss:.4f}", flush=True
                )
    yardsticks = baselines(*split(tokenizer.encode_array(corpus.text)), tokenizer.vocab_size)
    print(f"5-gram counts: {yardsticks.five_gram:.4f}, bigram counts: {yardsticks.bigram:.4f}")


if __name__ == "__main__":
    main()
