"""`minigpt train`: from the arguments to a run, and the run to a person's eyes."""

import argparse
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType

from rich.console import Console

from minigpt.corpus import check_beginning
from minigpt.errors import InputError
from minigpt.run_arguments import (
    IDS_FOLDER,
    PLANNED,
    corpus_stem,
    describe_run,
    exit_on_sigterm,
    read_corpus_argument,
    set_by_flags,
)
from minigpt.run_folder import (
    begin,
    check_there_is_a_run,
    describe_start,
    lock,
    make,
    refuse_to_replace,
    resumed,
)
from minigpt.runtime.library import RUNS, find_model
from minigpt.runtime.onnx_file import check_fits
from minigpt.settings import read_run_file, to_toml
from minigpt.terminal import one_line, say, shell_word
from minigpt.torch_decoder import check_device
from minigpt.training import checkpoint, tensorboard
from minigpt.training.baselines import MOST_COUNTED, baselines
from minigpt.training.checkpoint import Checkpoint
from minigpt.training.events import Baselines, Begin, End, Event
from minigpt.training.live_view import live_view
from minigpt.training.loop import train
from minigpt.training.metrics import read_records
from minigpt.training.mfu import tokens_per_s_at_peak
from minigpt.training.plan import measure_costs, plan_steps
from minigpt.training.plot import plot_losses
from minigpt.training.progress import STOPPING, Progress, Show, plain_view, verdict
from minigpt.training.run import Run, check_run
from minigpt.training.state import Diverged
from minigpt.training.world import World, joined

MOST_MINUTES = 365 * 24 * 60
MOST_NAMED = 40
"""Characters that are new to what a run begins with."""
COMPILING = "compiling: the first time takes about half a minute, later ones a few seconds"
EXIT_REFUSED = 2
EXIT_STOPPED = {signal.SIGINT: 130, signal.SIGTERM: 143}
if sys.platform != "win32":
    EXIT_STOPPED[signal.SIGHUP] = 129  # the terminal was closed


def run_training(arguments: argparse.Namespace, *, beside_others: bool) -> int:
    """Train as the arguments say; returns the exit code.

    Args:
        arguments: see `arguments.py`.
        beside_others: what `cores.wait_asleep_beside_others` has said.
    """
    began = time.monotonic()
    check_device(arguments.device)
    _check_minutes(arguments)
    if arguments.tensorboard:
        tensorboard.check_installed()
    folder: Path = arguments.out or RUNS / corpus_stem(arguments)
    cache = folder.parent / IDS_FOLDER  # beside the run: for all runs on this text
    with contextlib.ExitStack() as until_the_end:
        world = until_the_end.enter_context(joined(arguments.device, shard=arguments.shard))
        if not world.first:
            return _train_along(arguments, folder, cache, world)
        try:
            for path in arguments.text:
                check_beginning(path)
            if arguments.resume:
                check_there_is_a_run(folder)
                lock(folder, until_the_end)
            else:
                refuse_to_replace(folder, force=arguments.force)  # before a long text is read
            corpus = read_corpus_argument(arguments, cache, quiet=arguments.plain)
            resume = resumed(folder, corpus) if arguments.resume else None
            run = describe_run(arguments, corpus, folder, world, resume)
            check_run(run)  # a command that is wrong makes no folder
            _keep_start(run)
            if resume is None:
                make(folder)
                lock(folder, until_the_end)
                refuse_to_replace(folder, force=arguments.force)
            yardsticks = baselines(*run.parts, corpus.tokenizer.vocab_size)
            if arguments.minutes is not None:
                with exit_on_sigterm():
                    run = _plan(run, 60 * arguments.minutes - (time.monotonic() - began))
        except InputError:
            world.any(True)  # the others wait to hear whether it is worth looking
            raise
        world.any(False)
        if arguments.minutes is not None:
            run = _as_planned(run)
        if beside_others:
            say("note: other processes want the cores too; the threads of this one sleep while "
                "they wait for each other")  # fmt: skip
        return _train(run, yardsticks, resume, arguments)


def _keep_start(run: Run) -> None:
    """Refuse to write where the run is that this one begins with, which run.toml is to name."""
    if run.start is None:
        return
    path = find_model(run.start.name, runs=True)
    if path.suffix == ".safetensors":
        path = path.parent
    if path.resolve() == run.folder.resolve():
        raise InputError(
            f"{run.folder} holds what this run is to begin with: choose another folder by --out"
        )


def _train(
    run: Run, yardsticks: Baselines, resume: Checkpoint | None, arguments: argparse.Namespace
) -> int:
    """Follow a run to its end; returns the exit code."""
    folder, corpus = run.folder, run.corpus
    _announce(run)
    if resume and arguments.start is not None:  # what a run file says was heeded then
        say("note: --from is for a run's beginning: this one goes on from its own checkpoint")
    title = (
        f"{run.name}: {run.model.n_params():,} parameters, {len(corpus.ids):,} characters, "
        f"{corpus.tokenizer.vocab_size} distinct"
    )
    progress = Progress(title, run.train.max_steps, yardsticks, tokens_per_s_at_peak(run))
    with contextlib.ExitStack() as stack:
        received = stack.enter_context(_stop_signal(partial(_will_stop, progress)))
        events = train(run, resume, stop=lambda: received() is not None)
        if run.compile and arguments.minutes is None:
            say(COMPILING)
        event: Event = next(events)
        assert isinstance(event, Begin)
        if run.start:  # it is in the model now, and would be a second one for as long as this takes
            run.start.weights.clear()
        _tell_what_begins(run, event)
        step = event.step if resume else None
        log = begin(run, step)
        if not resume:
            log.write(yardsticks)
        progress.recall(read_records(folder))
        listeners = [log.write, stack.enter_context(_view(progress, plain=arguments.plain))]
        if arguments.tensorboard:
            board = tensorboard.tensorboard_log(folder, resume_step=step)
            listeners.append(stack.enter_context(board))
        for event in events:
            for listen in listeners:
                listen(event)
    assert isinstance(event, End)
    kept = "best checkpoint and log"
    try:
        kept = f"best checkpoint, log and {plot_losses(folder, yardsticks).name}"
    except InputError as error:  # its disk is full, or somebody looks at the old one on Windows
        say(f"note: {one_line(str(error))}")
    if event.why == "stopped":
        flags = {"--minutes": arguments.minutes is not None, "--force": arguments.force}
        instead = " and ".join(flag for flag, given in flags.items() if given)
        say(f"stopped at step {event.step}, saved; go on with the same command and --resume"
             f"{instead and f' instead of {instead}'}")  # fmt: skip
        if progress.val_losses and progress.val_losses[-1][0] == 0:
            say("note: it was not evaluated since it began, so `minigpt generate` and `export` "
                "still take the model before its first step")  # fmt: skip
        return EXIT_STOPPED[received() or signal.SIGTERM]
    if event.why == "patience":
        n = run.train.patience
        say(f"ended at step {event.step}: the last {f'{n} evaluations' if n > 1 else 'evaluation'} "
             "brought no better validation loss")  # fmt: skip
    with contextlib.suppress(OSError, SystemExit):  # as `say` does; rich ends where nobody reads
        best, memorising = progress.best_step, progress.memorising
        Console(stderr=True).print(
            verdict(yardsticks, event.best_val_loss, best, memorising=memorising)
        )
    command = f"minigpt export {shell_word(folder)} --onnx {shell_word(f'{run.name}.onnx')}"
    say(f"{kept} are in {folder}; export it: {command}")
    return 0


def _train_along(arguments: argparse.Namespace, folder: Path, cache: Path, world: World) -> int:
    """What the other processes do: the same steps, in silence."""
    if world.any(False):  # the first one has said why
        return EXIT_REFUSED
    corpus = read_corpus_argument(arguments, cache, quiet=True)
    resume = None
    if arguments.resume:
        resume, _ = checkpoint.load_first(folder, checkpoint.TO_GO_ON)
    run = describe_run(arguments, corpus, folder, world, resume)
    if arguments.minutes is not None:
        run = _as_planned(run)
    with _stop_signal() as received:
        try:
            for event in train(run, resume, stop=lambda: received() is not None):
                if run.start:
                    run.start.weights.clear()
                last = event
        except Diverged:  # in all of them at once: the first one says so
            return EXIT_REFUSED
    assert isinstance(last, End)
    return EXIT_STOPPED[received() or signal.SIGTERM] if last.why == "stopped" else 0


def _announce(run: Run) -> None:
    say(f"{to_toml(run.model, run.train)}# {_scope(run)}")
    if run.start:
        new = run.start.tokenizer.unknown(run.corpus.tokenizer.chars)
        more = "…" if len(new) > MOST_NAMED else ""
        names = f"; characters that are new to it, {len(new):,}: {new[:MOST_NAMED]!r}{more}"
        say(f"begins with {describe_start(run.start)}{names if new else ''}")
    try:
        check_fits(run.model, "int4")
    except InputError as error:
        say(f"note: this model cannot be exported in any precision: {error}")


def _tell_what_begins(run: Run, event: Begin) -> None:
    if event.not_compiled:
        say(one_line(f"note: training without torch.compile, which fails here with "
                     f"{event.not_compiled:.300}"))  # fmt: skip
    if event.step == run.train.max_steps:
        say(f"note: {run.folder} is finished: its {event.step:,} steps were done before; more of "
            "them are a new run, by --max-steps and another --out")  # fmt: skip
    if event.differs:
        say(f"warning: {event.differs} since the last save; going on, but not to the very same "
            "bytes")  # fmt: skip


def _scope(run: Run) -> str:
    """Of large texts only a part is counted, or scored: which."""
    train_ids, scored = run.parts
    n_train, n_val = len(train_ids), len(run.corpus.ids) - len(train_ids)
    words = f"validated on {len(scored) - 1:,} of {n_val - 1:,} characters held out"
    if n_train > MOST_COUNTED:
        words += f"; counts are of the last {MOST_COUNTED:,} of {n_train:,} to train on"
    return words


def _check_minutes(arguments: argparse.Namespace) -> None:
    if arguments.minutes is None:
        return
    if not 0 < arguments.minutes <= MOST_MINUTES:
        raise InputError(
            f"--minutes must be above 0 and at most {MOST_MINUTES} (a year), "
            f"not {arguments.minutes:g}"
        )
    if arguments.shard:
        raise InputError(
            "--minutes rehearses in one process alone, for which a model that needs --shard is too "
            "large: give --max-steps"
        )
    given = set_by_flags(arguments)
    if arguments.config:
        given |= read_run_file(arguments.config).settings
    if arguments.resume or given.keys() & set(PLANNED):
        raise InputError(
            "--minutes plans max_steps and eval_interval of a new run: it goes neither with "
            "--resume nor with --max-steps nor with a --set or a --config of these"
        )


def _plan(run: Run, seconds: float) -> Run:
    """The run with as many steps as fit, told in one sentence; measuring is part of the time."""
    began = time.monotonic()
    if run.compile:
        say(COMPILING)
    costs = measure_costs(run, seconds)
    # what the measuring does not see: the plot, the log, and what else the machine does
    left = 0.95 * (seconds - (time.monotonic() - began) - costs.begin_s) - 2
    train_config = plan_steps(run.train, costs, left)
    steps, interval = train_config.max_steps, train_config.eval_interval
    say(f"plan: {steps:,} steps of {costs.step_s:.2g} s and {steps // interval} "
         f"evaluations of {costs.evaluation_s:.2g} s, about {left:.0f} s in all"
         + (", and what the processes tell each other" if run.world.size > 1 else ""))  # fmt: skip
    return replace(run, train=train_config)


def _as_planned(run: Run) -> Run:
    """The run with the first process's plan: clocks differ."""
    config = replace(
        run.train,
        max_steps=int(run.world.of_first(run.train.max_steps)),
        eval_interval=int(run.world.of_first(run.train.eval_interval)),
    )
    return replace(run, train=config)


@contextlib.contextmanager
def _stop_signal(
    heard: Callable[[], object] = lambda: None,
) -> Iterator[Callable[[], signal.Signals | None]]:
    """Catch the first Ctrl-C or the like, call `heard`, and tell of it; a second ends at once.

    What is ignored stays so: `nohup` lets a run outlive its terminal.
    """
    caught: list[signal.Signals] = []

    def handle(number: int, frame: FrameType | None) -> None:
        caught.append(signal.Signals(number))
        for each, action in before.items():
            # where a terminal is closed, its shell sends a SIGHUP, and the system another
            signal.signal(each, signal.SIG_IGN if each.name == "SIGHUP" else action)
        heard()

    heeded = [each for each in EXIT_STOPPED if signal.getsignal(each) != signal.SIG_IGN]
    before = {each: signal.signal(each, handle) for each in heeded}
    try:
        yield lambda: caught[0] if caught else None
    finally:
        for each, action in before.items():
            signal.signal(each, action)


def _will_stop(progress: Progress) -> None:
    """Say so at once, in the middle of whatever is done: not by `print`, which may be at work."""
    progress.stopping = True  # for the live view, in which stderr is no file
    with contextlib.suppress(OSError, ValueError):
        os.write(sys.stderr.fileno(), f"{STOPPING}\n".encode())


def _view(progress: Progress, *, plain: bool) -> contextlib.AbstractContextManager[Show]:
    console = Console(stderr=True)
    if plain or not console.is_terminal or console.is_dumb_terminal:
        return plain_view(progress, say)
    return live_view(progress, console)
