"""What a training step takes beside a busy process, with threads that spin and that sleep.

The numbers behind `cores.wait_asleep_beside_others`. Every measurement is a process of its own, as
OpenMP reads how to wait when it starts: alone and beside one that never rests, one after the other
in each round.

    python -m benchmarks.beside_others BOOK.txt [--preset laptop] [--rounds 5] [--seconds 10]
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

WAYS: dict[str, dict[str, str]] = {
    "spinning": {},
    "asleep": {"OMP_WAIT_POLICY": "passive"},
    "one": {"OMP_NUM_THREADS": "1"},
}
"""How the threads of a step wait for each other; `one`: there is one."""


def step_ms(preset: str, text: Path, seconds: float) -> float:
    """The mean of the steps that fit: the rare ones that stand still for long count."""
    from minigpt.config import find_preset
    from minigpt.corpus import TokenizedCorpus, read_corpus
    from minigpt.training.run import Run
    from minigpt.training.state import Training

    corpus = TokenizedCorpus.from_corpus(read_corpus([text]))
    chosen = find_preset(preset)
    model = replace(chosen.model, vocab_size=corpus.tokenizer.vocab_size)
    with tempfile.TemporaryDirectory() as folder:
        training = Training(
            Run(model=model, train=chosen.train, corpus=corpus, folder=Path(folder)), None
        )
        for _ in range(3):
            training.advance()
        n_steps, began = 0, time.perf_counter()
        while time.perf_counter() < began + seconds:
            training.advance()
            n_steps += 1
        return 1000 * (time.perf_counter() - began) / n_steps


@contextlib.contextmanager
def busy() -> Iterator[None]:
    """One process that never rests."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            yield
        finally:
            process.kill()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("--preset", default="laptop")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--one", action="store_true", help="measure once, in this process")
    arguments = parser.parse_args()
    if arguments.one:
        print(step_ms(arguments.preset, arguments.text, arguments.seconds))
        return
    places: dict[str, Callable[[], AbstractContextManager[None]]] = {
        "nothing else runs": contextlib.nullcontext,
        "beside a busy process": busy,
    }
    command = [sys.executable, "-m", "benchmarks.beside_others", *sys.argv[1:], "--one"]
    measured: dict[tuple[str, str], list[float]] = {}
    for _ in range(arguments.rounds):
        for place, company in places.items():
            for way, environment in WAYS.items():
                with company():
                    output = subprocess.check_output(command, env=os.environ | environment)
                measured.setdefault((place, way), []).append(float(output))
    n, cores = arguments.rounds, os.cpu_count()
    print(f"{arguments.preset}, {cores} cores, {n} rounds; ms a step, the mean\n")
    print(f"| | {' | '.join(WAYS)} |\n|---|{'---:|' * len(WAYS)}")
    for place in places:
        row = [f"{statistics.median(measured[place, way]):.0f}" for way in WAYS]
        print(f"| {place} | {' | '.join(row)} |")


if __name__ == "__main__":
    main()
