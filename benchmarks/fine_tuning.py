"""What is it worth to begin with a model that has learned another text already?

Pieces of Python's documentation, learned by `minigpt train --from` with each shipped model, which
know Shakespeare, and from random weights, by the `laptop` preset, which is given more steps than it
can use. The best validation loss of each run, and its seconds from the command to its end.

    python -m benchmarks.fine_tuning [--chars 30000 100000]
"""

import argparse
import tempfile
import time
from pathlib import Path

from minigpt.cli import main as minigpt
from minigpt.corpus import pydoc_corpus
from minigpt.training.events import Evaluation
from minigpt.training.metrics import read_records

START = 200_000
"""Where in the documentation the pieces begin."""

WAYS = {
    "random weights": ("--preset=laptop", "--max-steps=600", "--set=eval_interval=25"),
    "laptop": ("--from=laptop",),
    "shakespeare": ("--from=shakespeare",),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chars", type=int, nargs="*", default=[30_000, 100_000])
    arguments = parser.parse_args()
    text = pydoc_corpus().text
    print("| characters | begins with | best loss | at step | seconds |\n|---:|---|---:|---:|---:|")
    for n_chars in arguments.chars:
        for name, flags in WAYS.items():
            with tempfile.TemporaryDirectory() as folder:
                path, out = Path(folder, "docs.txt"), Path(folder, "run")
                path.write_text(text[START : START + n_chars], encoding="utf-8")
                began = time.perf_counter()
                minigpt(["train", str(path), "--out", str(out), "--plain", *flags])
                seconds = time.perf_counter() - began
                found = [each for each in read_records(out) if isinstance(each, Evaluation)]
            best = min(found, key=lambda each: each.val_loss)
            print(
                f"| {n_chars:,} | {name} | {best.val_loss:.4f} | {best.step} | {seconds:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
