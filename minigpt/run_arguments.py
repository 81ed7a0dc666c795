"""From the arguments of `minigpt train` and `minigpt lr-find` to what they ask for: a Run."""

import argparse
import contextlib
import signal
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from types import FrameType

from rich.console import Console

from minigpt.config import GPTConfig, TrainConfig, checked, find_preset
from minigpt.corpus import TokenizedCorpus, pydoc_corpus
from minigpt.errors import InputError
from minigpt.settings import RunFile, apply_settings, parse_settings, read_run_file
from minigpt.training import shards
from minigpt.training.checkpoint import Checkpoint
from minigpt.training.live_view import tokenizing_view
from minigpt.training.run import Run
from minigpt.training.shards import read_tokenized, total_bytes
from minigpt.training.world import World

IDS_FOLDER = ".minigpt-ids"

FLAGS = ("max_steps", "seed", "patience")
"""Settings that have a flag of their own, which comes before --set."""

PLANNED = ("max_steps", "eval_interval")
"""What --minutes sets."""


def corpus_stem(arguments: argparse.Namespace) -> str:
    """What the text to learn from is called, without reading it.

    Raises:
        InputError: none is named, or two kinds are.
    """
    if arguments.corpus and arguments.text:
        raise InputError("give either text files or --corpus, not both")
    if not arguments.corpus and not arguments.text:
        raise InputError("give a text file to learn from, or --corpus pydoc")
    stem: str = arguments.corpus or arguments.text[0].stem
    return stem


def read_corpus_argument(
    arguments: argparse.Namespace, cache: Path, *, quiet: bool = False
) -> TokenizedCorpus:
    """The text to learn from; a large one's ids are kept in the folder `cache`."""
    corpus_stem(arguments)
    if arguments.corpus:
        return TokenizedCorpus.from_corpus(pydoc_corpus())
    console = Console(stderr=True)
    with exit_on_sigterm():
        if total_bytes(arguments.text) < shards.LARGE_BYTES or quiet or not console.is_terminal:
            return read_tokenized(arguments.text, cache)
        with tokenizing_view(console) as report:
            return read_tokenized(arguments.text, cache, report)


@contextlib.contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """Leave in good order, so that nothing half-written stays behind."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def set_by_flags(arguments: argparse.Namespace) -> dict[str, object]:
    """The settings that --set and the flags of their own name."""
    settings = parse_settings(arguments.set)
    for name in FLAGS:
        if (value := getattr(arguments, name, None)) is not None:
            settings[name] = checked(name, int, value)
    return settings


def describe_run(
    arguments: argparse.Namespace,
    corpus: TokenizedCorpus,
    folder: Path,
    world: World,
    resume: Checkpoint | None = None,
) -> Run:
    """The run of the preset, changed by the run file, changed by the flags.

    A resumed one keeps what it was begun with.
    """
    file = read_run_file(arguments.config) if arguments.config else RunFile(None, {})
    flags = set_by_flags(arguments)
    preset_name = arguments.preset or file.preset
    if resume and preset_name is None:
        base = (resume.model, resume.train)
    else:
        preset = find_preset(preset_name or "laptop")
        base = (replace(preset.model, vocab_size=corpus.tokenizer.vocab_size), preset.train)
        if resume:  # --minutes may have planned these
            # and an older version knew no average
            begun = {name: getattr(resume.train, name) for name in (*PLANNED, "ema_decay")}
            base = (base[0], replace(preset.train, **begun))
    try:
        model, train = apply_settings(*base, file.settings | flags)
    except InputError as error:
        if not arguments.config or _complaint(base, flags) == str(error):  # it is the flags' alone
            raise
        raise InputError(f"with the settings of {arguments.config}: {error}") from None
    if resume and corpus.tokenizer != resume.tokenizer:
        raise InputError(
            f"a resumed run keeps its tokenizer; the one in {folder} has other tokens than this "
            "text has now: it was written by another version of minigpt, so start anew elsewhere"
        )
    if resume and (model, train) != (resume.model, resume.train):
        before = asdict(resume.model) | asdict(resume.train)
        now = asdict(model) | asdict(train)
        changed = ", ".join(f"{k} {before[k]} -> {now[k]}" for k in now if now[k] != before[k])
        raise InputError(
            f"a resumed run keeps its settings; these would change: {changed}; resume without what "
            "sets them, or begin a new run in another folder by --out"
        )
    compile_it = arguments.device == "cuda" if arguments.compile is None else arguments.compile
    return Run(
        model=model, train=train, corpus=corpus, folder=folder, world=world, compile=compile_it
    )


def _complaint(base: tuple[GPTConfig, TrainConfig], settings: Mapping[str, object]) -> str:
    """What is wrong with a preset that is changed so; empty: nothing."""
    try:
        apply_settings(*base, settings)
    except InputError as error:
        return str(error)
    return ""
