"""How long does a person wait? From the start of the process, in several rounds.

- help: until `minigpt --help` is done;
- first character: until `minigpt generate` has written its first character.

    python benchmarks/startup.py [MODEL] [--rounds 15]
"""

import argparse
import statistics
import subprocess
import sys
import time


def seconds_to_end(command: list[str]) -> float:
    """Until the process is done."""
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


def seconds_to_first_byte(command: list[str]) -> float:
    """Until its first byte is on stdout."""
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.read(1)
        waited = time.perf_counter() - began
        child.kill()
    return waited


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="*", help="default: the shipped model")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    # the console script imports this and calls main; -m would import the package twice
    minigpt = [sys.executable, "-c", "import sys; from minigpt.cli import main; sys.exit(main())"]
    generate = [*minigpt, "generate", *arguments.model, "--prompt", "ROMEO:"]
    seconds_to_first_byte(generate)  # the first run reads the files from the disk
    helps, firsts = [], []
    for _ in range(arguments.rounds):
        helps.append(seconds_to_end([*minigpt, "--help"]))
        firsts.append(seconds_to_first_byte(generate))
    for name, found in (("help", helps), ("first character", firsts)):
        middle = statistics.median(found)
        print(f"{name:16} median {middle:.3f} s  ({min(found):.3f} to {max(found):.3f})")


if __name__ == "__main__":
    main()
