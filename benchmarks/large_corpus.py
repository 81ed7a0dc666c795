r"""How long and how much memory does a gigabyte of text take? Tokenized, trained on for a moment.

The text is made up: the lines of Python's documentation in random order, with numbers, accents and
"\r\n" strewn in; always the same one. Then, in this process:

- it is tokenized, as `minigpt train` does it before anything else;
- `minigpt train` runs a few dozen steps on it, with the ids from the first part: what it adds is to
  read the text for its hash, to check the ids, to count the yardsticks, to train and to evaluate.

Peaks of memory are of resident memory, and count the mapped ids as far as they were touched. What
the processes that tokenize take comes on top: their number times the largest one's peak.

    python -m benchmarks.large_corpus [--megabytes 1000] [--steps 40] [--preset tiny]
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from minigpt import cli
from minigpt.cores import usable_cores
from minigpt.corpus import pydoc_corpus
from minigpt.training.shards import MAX_PROCESSES, prepare

# PyTorch is imported by `cli.main` alone: the processes that tokenize import this file too.


def synthesize(path: Path, size: int) -> None:
    """Write at least `size` bytes of text."""
    lines = np.array(pydoc_corpus().text.splitlines(), object)
    rng = np.random.default_rng(0)
    with path.open("wb") as file:
        while file.tell() < size:
            chosen = rng.choice(lines, 20_000)
            numbers = rng.integers(0, 10**6, 1000)
            chosen[::20] = [f"Résumé — nº {number} 😀" for number in numbers]
            end = "\r\n" if rng.random() < 0.5 else "\n"
            file.write((end.join(chosen) + end).encode())


def peak_mb(who: str) -> float:
    """The largest resident memory so far, of this process or of the largest of its children."""
    import resource  # here: Windows has none

    kinds = {"self": resource.RUSAGE_SELF, "child": resource.RUSAGE_CHILDREN}
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return resource.getrusage(kinds[who]).ru_maxrss / unit


def main() -> None:
    """Make the text, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--preset", default="tiny")
    arguments = parser.parse_args()
    processes = min(MAX_PROCESSES, usable_cores())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = folder / "large.txt"
        synthesize(text, arguments.megabytes * 10**6)
        began = time.perf_counter()
        corpus = prepare([text], folder / ".minigpt-ids")
        seconds = time.perf_counter() - began
        print(
            f"{text.stat().st_size / 1e6:,.0f} MB tokenized in {seconds:.1f} s by {processes} "
            f"processes: {len(corpus.ids):,} ids of {corpus.ids.itemsize} bytes; peak memory "
            f"{peak_mb('self'):,.0f} MB and {processes} times {peak_mb('child'):,.0f} MB",
            flush=True,
        )
        del corpus
        began = time.perf_counter()
        command = ["train", str(text), "--out", str(folder / "run"), "--preset", arguments.preset]
        code = cli.main([*command, "--max-steps", str(arguments.steps), "--plain"])
        seconds = time.perf_counter() - began
        print(
            f"minigpt train, {arguments.steps} steps of {arguments.preset}: {seconds:.1f} s; peak "
            f"memory {peak_mb('self'):,.0f} MB"
        )
    raise SystemExit(code)


if __name__ == "__main__":
    main()
