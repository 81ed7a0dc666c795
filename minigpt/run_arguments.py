"""From the arguments of `minigpt train` and `minigpt lr-find` to what they ask for: a Run."""

import argparse
import contextlib
import signal
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from types import FrameType

from rich.console import Console

from minigpt.config import (
    AFTER,
    GPTConfig,
    ModelCard,
    TrainConfig,
    checked,
    find_preset,
    fine_tuning,
)
from minigpt.corpus import TokenizedCorpus, pydoc_corpus, split
from minigpt.errors import InputError
from minigpt.run_folder import load_best
from minigpt.runtime.library import find_model
from minigpt.runtime.onnx_file import open_onnx
from minigpt.settings import RunFile, apply_settings, parse_settings, read_run_file
from minigpt.training import shards
from minigpt.training.checkpoint import TO_USE, Checkpoint, load_first
from minigpt.training.live_view import tokenizing_view
from minigpt.training.run import Run
from minigpt.training.shards import read_tokenized, total_bytes
from minigpt.training.start import Start
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
    """The run of a preset, or of the model that it begins with, changed by run file and flags.

    A resumed one keeps what it was begun with.
    """
    file = read_run_file(arguments.config) if arguments.config else RunFile(None, {})
    asked, start_name = "--from", arguments.start
    if start_name is None:
        asked, start_name = f"from in {arguments.config}", file.start
    start, known = None, ""
    if resume:
        if not resume.tokenizer.chars.startswith(corpus.tokenizer.chars):
            raise InputError(
                f"a resumed run keeps its tokenizer; the one in {folder} has other tokens than "
                "this text has now: it was written by another version of minigpt, so start anew "
                "elsewhere"
            )
        known = resume.tokenizer.chars.removeprefix(corpus.tokenizer.chars)
        corpus = replace(corpus, name=resume.card.corpus)  # which tells what was read before, too
    elif start_name is not None:
        start = read_start(start_name, asked, quiet=not world.first)
        known = corpus.tokenizer.unknown(start.tokenizer.chars)
        corpus = replace(corpus, name=_read_after(corpus.name, start.card))
    flags = set_by_flags(arguments)
    preset_name = arguments.preset or file.preset
    if preset_name and start_name is not None:
        raise InputError(
            f"{asked} keeps the shape of {start_name}, and preset {preset_name} has one of its "
            "own: give one of the two"
        )
    settings = file.settings | flags
    base = _base(preset_name, corpus, known, start, resume, settings.get("max_steps"))
    try:
        model, train = apply_settings(*base, settings)
    except InputError as error:
        if not arguments.config or _complaint(base, flags) == str(error):  # it is the flags' alone
            raise
        raise InputError(f"with the settings of {arguments.config}: {error}") from None
    if start and (other := _changes(base[0], replace(model, dropout=base[0].dropout))):
        raise InputError(
            f"{asked} keeps the shape of {start_name}; these would change: {other}; of a "
            "model's settings only dropout can"
        )
    if resume and (model, train) != (resume.model, resume.train):
        changed = [_changes(resume.model, model), _changes(resume.train, train)]
        raise InputError(
            "a resumed run keeps its settings; these would change: "
            f"{', '.join(filter(None, changed))}; resume without what sets them, or begin a new "
            "run in another folder by --out"
        )
    compile_it = arguments.device == "cuda" if arguments.compile is None else arguments.compile
    return Run(
        model=model, train=train, corpus=corpus, folder=folder, start=start, also_known=known,
        world=world, compile=compile_it,
    )  # fmt: skip


def _changes(before: GPTConfig | TrainConfig, now: GPTConfig | TrainConfig) -> str:
    """What is not the same in two configs of one kind."""
    then = asdict(before)
    return ", ".join(f"{k} {then[k]} -> {v}" for k, v in asdict(now).items() if v != then[k])


def read_start(name: str, asked: str, *, quiet: bool = False) -> Start:
    """What a model has learned: an exported one's, or the best of a run.

    Args:
        name: a path, or the name of a listed model or a run.
        asked: where it was asked for, to be told.
        quiet: whether somebody else tells what is damaged.

    Raises:
        InputError: there is none of that name, or it is damaged.
    """
    try:
        name.encode()  # it will stand in run.toml
        path = find_model(name, runs=True)
        kept = str(path.absolute()) if path == Path(name) else name
        if path.is_dir() or path.suffix == ".safetensors":
            found = load_first(path, TO_USE)[0] if quiet else load_best(path)
            return Start.from_checkpoint(kept, found)
        file = open_onnx(path)
    except UnicodeEncodeError:
        raise InputError(f"{asked} needs a name in UTF-8, not {name!r}") from None
    except InputError as error:
        raise InputError(f"{asked} needs a model, a run, or the name of one: {error}") from None
    from minigpt_export.graph import read_weights  # onnx takes 0.1 s to import

    return Start.from_file(kept, file, read_weights(file))


def _read_after(text: str, read: ModelCard) -> str:
    """What a model has read by then: a text, after others, the newest first."""
    return read.corpus if read.last_read == text else f"{text}{AFTER}{read.corpus}"


def _base(
    preset_name: str | None,
    corpus: TokenizedCorpus,
    known: str,
    start: Start | None,
    resume: Checkpoint | None,
    max_steps: object,
) -> tuple[GPTConfig, TrainConfig]:
    """What the settings change: what a run was begun with, what a model is, or a preset."""
    vocab_size = corpus.tokenizer.vocab_size + len(known)
    if start:
        model = replace(start.model, vocab_size=vocab_size)
        train_ids, _ = split(corpus.ids)
        steps = max_steps if isinstance(max_steps, int) and max_steps > 0 else None
        return model, fine_tuning(len(train_ids), model.block_size, steps)
    if resume and preset_name is None:
        return resume.model, resume.train
    preset = find_preset(preset_name or "laptop")
    model = replace(preset.model, vocab_size=vocab_size)
    if resume is None:
        return model, preset.train
    # --minutes may have planned these, and an older version knew no average
    begun = {name: getattr(resume.train, name) for name in (*PLANNED, "ema_decay")}
    return model, replace(preset.train, **begun)


def _complaint(base: tuple[GPTConfig, TrainConfig], settings: Mapping[str, object]) -> str:
    """What is wrong with a preset that is changed so; empty: nothing."""
    try:
        apply_settings(*base, settings)
    except InputError as error:
        return str(error)
    return ""
