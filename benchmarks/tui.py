"""How fast is the terminal app, as a person meets it? In a pseudo terminal of 120x40 cells.

- writing: tokens/s by the engine's own clock, with the app around it and without, in turns; what
  the interface's process takes of a core meanwhile, with an empty text and behind a long one;
- key to screen: from a key typed while the model writes to the character on the screen;
- Esc to stopped: from the key to the word "ready";
- start: from the start of the process to the first words on the screen, and to "ready";
- a page up: until the last of its rows is drawn, in a short text and in a long one.

What a terminal itself takes to draw comes on top. Linux only: /proc tells what a process took.

    python -m benchmarks.tui [MODEL] [--rounds 5]
"""

import argparse
import os
import pty
import re
import select
import statistics
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from minigpt.runtime.library import find_model
from minigpt.runtime.params import SamplingParams
from minigpt_tui.engine_client import EngineClient
from minigpt_tui.protocol import Done, Generate, Open, Opened, Reply

R = TypeVar("R", bound=Reply)

SIZE = (40, 120)  # rows, columns
N_TOKENS = 6000
LINE_CHARS = 50
SHORT, LONG = 2_000, 200_000
N_KEYS, N_PAGES = 40, 30
PROMPT = "ROMEO:"
UNHEARD_OF = [chr(c) for c in range(0x0561, 0x0561 + 38)]
"""Armenian letters: no model of ours writes them, so on the screen they are what was typed."""
READY, WRITING = "○ ready".encode(), "● writing".encode()
"""In the status bar; the words alone are ones that a model may write."""
QUIET_S = 0.03  # after so long without a byte, an update was its last


class App:
    """The app on a pseudo terminal."""

    def __init__(self, handle: int, pid: int, began: float) -> None:
        self._handle, self._pid = handle, pid
        self.began = began

    def until(self, words: bytes, limit_s: float = 60) -> float:
        """Read on until it draws `words`; returns when that was."""
        drawn = b""
        for when, piece in self._pieces(limit_s):
            drawn += piece
            if words in drawn:
                return when
        raise SystemExit(f"the app never drew {words!r}, but {drawn[-500:]!r}")

    def speed(self) -> float:
        """Tokens/s of the run that ends now, as the app shows them then."""
        drawn = b""
        for _, piece in self._pieces(120):
            drawn += piece
            if READY in drawn and (found := re.findall(rb"([\d,]+) tok/s", drawn)):
                return float(found[-1].replace(b",", b""))
        raise SystemExit("the run does not end")

    def rest(self, seconds: float) -> None:
        """Read what it draws meanwhile, as a terminal would."""
        for _ in self._pieces(seconds):
            pass

    def press(self, keys: str) -> float:
        """Returns when."""
        now = time.perf_counter()
        os.write(self._handle, keys.encode())
        return now

    def page_up(self) -> float:
        """Seconds until the last byte of what it draws then."""
        began = last = self.press("\x1b[5~")
        for when, _ in self._pieces(2):
            last = when
            if not select.select([self._handle], [], [], QUIET_S)[0]:
                break
        return last - began

    @property
    def cpu_s(self) -> float:
        """What its own process, without the engine, has taken so far."""
        words = Path(f"/proc/{self._pid}/stat").read_text(encoding="utf-8").rpartition(")")[2]
        return sum(map(int, words.split()[11:13])) / os.sysconf("SC_CLK_TCK")

    def _pieces(self, seconds: float) -> Iterator[tuple[float, bytes]]:
        deadline = time.perf_counter() + seconds
        while (left := deadline - time.perf_counter()) > 0:
            if select.select([self._handle], [], [], left)[0]:
                yield time.perf_counter(), os.read(self._handle, 65536)


@contextmanager
def app(model: Path, *, n_chars: int = 0) -> Iterator[App]:
    """The app, in a home of its own where each run is of N_TOKENS; its text may be long already."""
    with tempfile.TemporaryDirectory() as home:
        Path(home, "config.toml").write_text(
            f"[sampling]\nmax_new_tokens = {N_TOKENS}\nseed = 1\n", encoding="utf-8"
        )
        handle, other = pty.openpty()
        termios.tcsetwinsize(other, SIZE)
        environment = {k: os.environ[k] for k in os.environ if k not in {"COLUMNS", "LINES"}} | {
            "TERM": "xterm-256color", "COLORTERM": "truecolor",
            "MINIGPT_HOME": home, "MINIGPT_CONFIG_DIR": home,
        }  # fmt: skip
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # installed packages are compiled
        start = "import sys; from minigpt_tui.app import main; sys.exit(main())"
        if n_chars:
            start = f"from benchmarks.tui import with_text; with_text({n_chars}); {start}"
        began = time.perf_counter()
        child = subprocess.Popen(
            [sys.executable, "-c", start, str(model)],
            stdin=other, stdout=other, stderr=other, env=environment, start_new_session=True,
        )  # fmt: skip
        os.close(other)
        try:
            yield App(handle, child.pid, began)
        finally:
            child.kill()
            child.wait()
            os.close(handle)


def with_text(n_chars: int) -> None:
    """In the app's process: let its document begin with so many characters."""
    from minigpt_tui.document import Document
    from minigpt_tui.protocol import Written

    lines = (f"{i:06} ".ljust(LINE_CHARS - 1, "x") + "\n" for i in range(n_chars // LINE_CHARS))
    tokens = tuple(Written(1, char, -0.5, 1.0, 1, 9, False) for char in "".join(lines))
    make = Document.__init__

    def made(self: Document) -> None:
        make(self)
        self.append_tokens(tokens)

    Document.__init__ = made  # type: ignore[method-assign]


class Headless:
    """The engine alone."""

    def __init__(self, model: Path) -> None:
        self._engine = EngineClient()
        self._runs = 0
        self._engine.send(Open(model))
        self._wait(Opened)

    def write(self) -> float:
        """Tokens/s of a run like the app's."""
        self._runs += 1
        params = SamplingParams(max_new_tokens=N_TOKENS, seed=1)
        self._engine.send(Generate(self._runs, PROMPT, params))
        return self._wait(Done).tokens_per_s

    def close(self) -> None:
        self._engine.close()

    def _wait(self, kind: type[R]) -> R:
        while True:
            for reply in self._engine.receive():
                if isinstance(reply, kind):
                    return reply
            time.sleep(0.02)


def write_in_turns(model: Path, rounds: int) -> None:
    """With the app and without it, and what the app costs."""
    alone, inside, ratios, shares = [], [], [], []
    headless = Headless(model)
    headless.write()  # once for the caches
    for _ in range(rounds):
        alone.append(headless.write())
        with app(model) as a:
            a.until(READY)
            cpu, began = a.cpu_s, a.press(f"{PROMPT}\r")
            a.until(WRITING)
            inside.append(a.speed())
            shares.append((a.cpu_s - cpu) / (time.perf_counter() - began))
        ratios.append(inside[-1] / alone[-1])
    headless.close()
    show("the engine alone, tokens/s", alone, "{:,.0f}")
    show("the same in the app", inside, "{:,.0f}")
    show("of the engine alone", ratios, "{:.0%}", "at least 90%")
    show("the interface's process, of a core", shares, "{:.0%}", "under 40%")
    behind = []
    for _ in range(rounds):
        with app(model, n_chars=LONG) as a:
            a.until(READY)
            cpu, began = a.cpu_s, a.press("\r")
            a.until(WRITING)
            a.speed()
            behind.append((a.cpu_s - cpu) / (time.perf_counter() - began))
    show(f"the same behind {LONG:,} characters", behind, "{:.0%}")


def press_keys(model: Path, rounds: int) -> None:
    """While it writes: letters, then Esc."""
    waits, stops = [], []
    for _ in range(rounds):
        with app(model) as a:
            a.until(READY)
            a.press("\r")
            a.until(WRITING)
            for i in range(N_KEYS):
                letter = UNHEARD_OF[i % len(UNHEARD_OF)]
                waits.append(-a.press(letter) + a.until(letter.encode()))
                a.rest(0.05 + 0.003 * (i % 17))  # not in step with anything
                if i % 8 == 7:
                    stops.append(-a.press("\x1b") + a.until(READY))
                    a.rest(0.3)
                    a.press("\r")
                    a.until(WRITING)
                    a.rest(0.2)
    late = statistics.quantiles(waits, n=20)[-1]
    show("key to screen while it writes, ms", ms(waits), "{:.0f}")
    show("the same, 95th percentile", ms([late]), "{:.0f}", "at most 50")
    show("Esc to stopped, ms", ms(stops), "{:.0f}", "at most 100")


def start(model: Path, rounds: int) -> None:
    """From nothing to the first paint, and to a model that is ready."""
    paints, readies = [], []
    for _ in range(rounds + 1):
        with app(model) as a:
            paints.append(a.until(b"minigpt") - a.began)
            readies.append(a.until(READY) - a.began)
    # the first round reads from the disk
    show("start to first paint, s", paints[1:], "{:.2f}", "at most 0.5")
    show("start to model ready, s", readies[1:], "{:.2f}", "at most 1")


def scroll(model: Path, rounds: int) -> None:
    """Pages up, in turns."""
    waits: dict[int, list[float]] = {SHORT: [], LONG: []}
    costs: dict[int, list[float]] = {SHORT: [], LONG: []}
    for _ in range(rounds):
        for n_chars in waits:
            with app(model, n_chars=n_chars) as a:
                a.until(READY)
                a.rest(0.5)
                cpu = a.cpu_s
                for i in range(N_PAGES):
                    if n_chars == SHORT and i % 2:  # it is at its beginning
                        a.press("\x1b[1;5F")
                        a.rest(0.2)
                    else:
                        waits[n_chars].append(a.page_up())
                costs[n_chars].append((a.cpu_s - cpu) / N_PAGES)
    for n_chars, found in waits.items():
        show(f"a page up in {n_chars:,} characters, ms", ms(found), "{:.0f}")
        show("its processor time, ms", ms(costs[n_chars]), "{:.0f}")


def ms(seconds: Sequence[float]) -> list[float]:
    """The same in milliseconds."""
    return [1000 * each for each in seconds]


def show(what: str, found: Sequence[float], form: str, asked: str = "") -> None:
    """A row of the table."""
    middle, low, high = (form.format(f(found)) for f in (statistics.median, min, max))
    spread = f"({low} to {high})" if len(found) > 1 else ""
    print(f"{what:42}{middle:>8}  {spread:20} {asked}".rstrip(), flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", help="default: the shipped model")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=list(PARTS), help="one part of it")
    arguments = parser.parse_args()
    model = find_model(arguments.model).absolute()
    print(f"{'medians of ' + str(arguments.rounds) + ' rounds':52}{'':20} asked for")
    for name, part in PARTS.items():
        if arguments.only in {None, name}:
            part(model, arguments.rounds)


PARTS: dict[str, Callable[[Path, int], None]] = {
    "writing": write_in_turns, "keys": press_keys, "start": start, "scrolling": scroll,
}  # fmt: skip

if __name__ == "__main__":
    main()
