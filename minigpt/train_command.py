"""`minigpt train`: from the arguments to a run, and the run to a person's eyes."""

import argparse
import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import FrameType

from rich.console import Console

from minigpt.config import apply_settings, find_preset
from minigpt.corpus import TokenizedCorpus, check_length, pydoc_corpus
from minigpt.errors import InputError
from minigpt.terminal import say
from minigpt.torch_decoder import check_device
from minigpt.training import checkpoint
from minigpt.training.baselines import MOST_COUNTED, baselines
from minigpt.training.checkpoint import Checkpoint
from minigpt.training.loop import Begin, End, Run, train
from minigpt.training.progress import (
    PLOT,
    MetricsLog,
    Progress,
    Show,
    live_view,
    plain_view,
    plot_losses,
    tokenizing_view,
    verdict,
)
from minigpt.training.shards import LARGE_BYTES, read_tokenized, total_bytes
from minigpt.training.world import World

IDS_FOLDER = ".minigpt-ids"
EXIT_STOPPED = {signal.SIGINT: 130, signal.SIGTERM: 143}


def run_training(arguments: argparse.Namespace) -> int:
    """Train as the arguments say; returns the exit code."""
    check_device(arguments.device)
    folder = _folder(arguments)
    corpus = _corpus(arguments, folder)
    resume = _resume(folder, corpus) if arguments.resume else None
    run = _run(arguments, corpus, folder, resume)
    check_length(corpus.ids, run.model.block_size)  # before an older run is cleared away
    _make(folder)
    title = (
        f"{folder.name}: {run.model.n_params():,} parameters, {len(corpus.ids):,} characters, "
        f"{run.model.vocab_size} distinct"
    )
    say(f"{run.model}\n{run.train}\n{_scope(run)}")
    yardsticks = baselines(*run.parts, run.model.vocab_size)
    progress = Progress(title, run.train.max_steps, yardsticks)
    with _stop_signal() as received, _view(progress, plain=arguments.plain) as show:
        for event in train(run, resume, stop=lambda: received() is not None):
            if isinstance(event, Begin):
                log = _begin(folder, event.step if resume else None)
            log.write(event)
            show(event)
    assert isinstance(event, End)
    plot = plot_losses(folder, yardsticks)
    if event.stopped:
        say(f"stopped at step {event.step}, saved; go on with the same command and --resume")
        return EXIT_STOPPED[received() or signal.SIGINT]
    Console(stderr=True).print(verdict(yardsticks, event.best_val_loss))
    say(f"best checkpoint, log and {plot.name} are in {folder}; "
         f"export it: minigpt export {folder} --onnx {folder.name}.onnx")  # fmt: skip
    return 0


def _folder(arguments: argparse.Namespace) -> Path:
    """Where the run goes; refused before anything is read, if an older one would be lost."""
    if arguments.corpus and arguments.text:
        raise InputError("give either text files or --corpus, not both")
    if not arguments.corpus and not arguments.text:
        raise InputError("give a text file to learn from, or --corpus pydoc")
    name = arguments.corpus or arguments.text[0].stem
    folder: Path = arguments.out or Path("checkpoints") / name
    older = [name for name in checkpoint.TO_USE if (folder / name).exists()]
    if older and not arguments.resume and not arguments.force:
        raise InputError(
            f"{folder} already holds a run; --resume goes on with it, --force starts anew, "
            "--out chooses another folder"
        )
    return folder


def _corpus(arguments: argparse.Namespace, folder: Path) -> TokenizedCorpus:
    if arguments.corpus:
        return TokenizedCorpus.from_corpus(pydoc_corpus())
    console = Console(stderr=True)
    cache = folder.parent / IDS_FOLDER  # beside the run: for all runs on this text
    if total_bytes(arguments.text) < LARGE_BYTES or arguments.plain or not console.is_terminal:
        return read_tokenized(arguments.text, cache)
    with tokenizing_view(console) as report:
        return read_tokenized(arguments.text, cache, report)


def _scope(run: Run) -> str:
    """Of large texts only a part is counted, or scored: which."""
    train_ids, scored = run.parts
    n_train, n_val = len(train_ids), len(run.corpus.ids) - len(train_ids)
    words = f"validated on {len(scored) - 1:,} of {n_val - 1:,} characters held out"
    if n_train > MOST_COUNTED:
        words += f"; counts are of the last {MOST_COUNTED:,} of {n_train:,} to train on"
    return words


def _resume(folder: Path, corpus: TokenizedCorpus) -> Checkpoint:
    if not folder.is_dir():
        raise InputError(f"there is nothing to resume: {folder} is not a folder with a run in it")
    found, refused = checkpoint.load_first(folder, checkpoint.TO_GO_ON)
    if refused:
        say(f"warning: {refused[0]}; going on from an older checkpoint")
        # out of the way: the next save would keep it as the previous one, in the good one's place
        damaged = folder / checkpoint.LAST
        damaged.replace(damaged.with_suffix(".damaged"))
    if found.card.corpus_sha256 != corpus.sha256:
        raise InputError(
            f"{folder} was trained on another text ({found.card.corpus}, "
            f"{found.card.corpus_chars} characters): resume with that one, or start anew elsewhere"
        )
    return found


def _run(
    arguments: argparse.Namespace, corpus: TokenizedCorpus, folder: Path, resume: Checkpoint | None
) -> Run:
    """The run that the arguments describe; a resumed one keeps what it was begun with."""
    settings = {}
    for text in arguments.set:
        key, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--set needs key=value, not {text!r}")
        settings[key.strip().replace("-", "_")] = value.strip()
    if arguments.max_steps is not None:
        settings["max_steps"] = str(arguments.max_steps)
    if arguments.seed is not None:
        settings["seed"] = str(arguments.seed)
    if resume and arguments.preset is None:
        base = (resume.model, resume.train)
    else:
        preset = find_preset(arguments.preset or "laptop")
        base = (replace(preset.model, vocab_size=corpus.tokenizer.vocab_size), preset.train)
    model, train = apply_settings(*base, settings)
    if resume and (model, train) != (resume.model, resume.train):
        before = asdict(resume.model) | asdict(resume.train)
        now = asdict(model) | asdict(train)
        changed = ", ".join(f"{k} {before[k]} -> {now[k]}" for k in now if now[k] != before[k])
        raise InputError(f"a resumed run keeps its settings; these would change: {changed}")
    return Run(
        model=model, train=train, corpus=corpus, folder=folder, world=World(device=arguments.device)
    )


def _make(folder: Path) -> None:
    """Make the output folder; an older run in it is left for `_begin` to clear."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise InputError(f"{folder} is a file; --out needs a folder") from None
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}") from None
    if not os.access(folder, os.W_OK):
        raise InputError(f"cannot write to {folder}: Permission denied")


def _begin(folder: Path, resume_step: int | None) -> MetricsLog:
    """Clear an older run away, now that the new one is known to work; open the log."""
    if resume_step is None:
        for name in (*checkpoint.TO_USE, PLOT):
            (folder / name).unlink(missing_ok=True)
    return MetricsLog(folder, resume_step=resume_step)


@contextlib.contextmanager
def _stop_signal() -> Iterator[Callable[[], signal.Signals | None]]:
    """Catch the first Ctrl-C or SIGTERM and tell of it; a second one ends at once."""
    caught: list[signal.Signals] = []

    def handle(number: int, frame: FrameType | None) -> None:
        caught.append(signal.Signals(number))
        for each, action in before.items():
            signal.signal(each, action)

    before = {each: signal.signal(each, handle) for each in EXIT_STOPPED}
    try:
        yield lambda: caught[0] if caught else None
    finally:
        for each, action in before.items():
            signal.signal(each, action)


def _view(progress: Progress, *, plain: bool) -> contextlib.AbstractContextManager[Show]:
    console = Console(stderr=True)
    if plain or not console.is_terminal:
        return plain_view(progress, say)
    return live_view(progress, console)
