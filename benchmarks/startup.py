"""How long does a person wait? From the start of the process, in several rounds.

- help: until `minigpt --help` is done;
- first character: until `minigpt generate` has written its first character;
- a bare script: until one that does nothing but open the model in onnxruntime has opened it;
- the steps to the first character, one by one, as `first_character.py` goes them.

    python benchmarks/startup.py [MODEL] [--rounds 15]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from minigpt.runtime.library import find_model

# Installed packages are compiled by pip, a checkout at its first run, unless this forbids it: every
# start would compile minigpt again, which takes some 50 ms.
ENVIRONMENT = {key: os.environ[key] for key in os.environ if key != "PYTHONDONTWRITEBYTECODE"}

BARE = """
import os, sys
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
onnxruntime.InferenceSession(sys.argv[1], options)
print()
"""


def seconds_to_end(command: list[str]) -> float:
    """Until the process is done."""
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=ENVIRONMENT)
    return time.perf_counter() - began


def seconds_to_first_byte(command: list[str]) -> float:
    """Until its first byte is on stdout."""
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=ENVIRONMENT) as child:
        assert child.stdout is not None
        child.stdout.read(1)
        waited = time.perf_counter() - began
        child.kill()
    return waited


def seconds_of_steps(command: list[str]) -> dict[str, float]:
    """What each step of `first_character.py` took, the start of the process being the first."""
    before = time.perf_counter()
    printed = subprocess.run(command, check=True, capture_output=True, env=ENVIRONMENT).stdout
    steps: dict[str, float] = {}
    for step, after in json.loads(printed).items():
        steps[step], before = after - before, after
    return steps


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="*", help="default: the shipped model")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    # the console script imports this and calls main; -m would import the package twice
    minigpt = [sys.executable, "-c", "import sys; from minigpt.cli import main; sys.exit(main())"]
    generate = [*minigpt, "generate", *arguments.model, "--prompt", "ROMEO:"]
    bare = [sys.executable, "-c", BARE, str(find_model(*arguments.model or [None]))]
    stepwise = [
        sys.executable, str(Path(__file__).with_name("first_character.py")), *arguments.model
    ]  # fmt: skip
    for command in (generate, bare, stepwise):
        subprocess.run(command, check=True, capture_output=True, env=ENVIRONMENT)  # from the disk
    waits: dict[str, list[float]] = {"help": [], "first character": [], "a bare script": []}
    steps: dict[str, list[float]] = {}
    for _ in range(arguments.rounds):
        waits["help"].append(seconds_to_end([*minigpt, "--help"]))
        waits["first character"].append(seconds_to_first_byte(generate))
        waits["a bare script"].append(seconds_to_first_byte(bare))
        for step, seconds in seconds_of_steps(stepwise).items():
            steps.setdefault(step, []).append(seconds)
    for name, found in waits.items():
        middle = statistics.median(found)
        print(f"{name:16} median {middle:.3f} s  ({min(found):.3f} to {max(found):.3f})")
    print("\nthe steps to the first character, medians:")
    for step, found in steps.items():
        print(f"{step:40} {1000 * statistics.median(found):6.1f} ms")


if __name__ == "__main__":
    main()
