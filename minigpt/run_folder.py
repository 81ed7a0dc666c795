"""A run's folder from the command's side: who may write there, what is in it, what goes."""

import contextlib
import math
from dataclasses import replace
from pathlib import Path

from minigpt.corpus import TokenizedCorpus
from minigpt.errors import InputError
from minigpt.files import remove_leftovers, write_atomically
from minigpt.settings import RUN_FILE, to_toml
from minigpt.terminal import one_line, say
from minigpt.training import checkpoint, tensorboard
from minigpt.training.checkpoint import Checkpoint
from minigpt.training.lock import lock_folder
from minigpt.training.metrics import METRICS, MetricsLog
from minigpt.training.plot import PLOT
from minigpt.training.run import Run
from minigpt.training.start import Start


def make(folder: Path) -> None:
    """Make the folder, if it is not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise InputError(f"{folder} is a file; --out needs a folder") from None
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}") from None


def refuse_to_replace(folder: Path, *, force: bool) -> None:
    """Unless it is forced: an older run, or a file of the name of one of its parts."""
    if force:
        return
    if any((folder / name).exists() for name in checkpoint.TO_USE):
        raise InputError(
            f"{folder} already holds a run; --resume goes on with it, --force starts anew, "
            "--out chooses another folder"
        )
    for name in (METRICS, RUN_FILE, PLOT):
        if (folder / name).exists():
            raise InputError(
                f"{folder / name} would be replaced; --force does so, --out chooses another folder"
            )


def load_best(path: Path) -> Checkpoint:
    """The best checkpoint of a run, or one file; what was damaged is told.

    Raises:
        InputError: there is none, or all are damaged.
    """
    found, refused = checkpoint.load_first(path, checkpoint.TO_USE)
    for sentence in refused:
        say(f"warning: {sentence}; using another checkpoint of the run")
    if found.card.steps == 0:
        say("warning: this is the model before its first step: no evaluation of the run since was "
            "better, if there was one")  # fmt: skip
    return found


def check_there_is_a_run(folder: Path) -> None:
    """Refuse to resume nothing."""
    if not folder.is_dir():
        raise InputError(f"there is nothing to resume: {folder} is not a folder with a run in it")
    if not any((folder / name).exists() for name in checkpoint.TO_GO_ON):
        raise InputError(
            f"there is nothing to resume: {folder} holds no checkpoint to go on from; "
            "start anew with --force"
        )


def lock(folder: Path, until_the_end: contextlib.ExitStack) -> None:
    """Let no other run write there meanwhile."""
    if not until_the_end.enter_context(lock_folder(folder)):
        say(f"note: nothing can be locked in {folder}; see to it that no other run writes there")


def resumed(folder: Path, corpus: TokenizedCorpus) -> Checkpoint:
    """What the run goes on from; what was lost is told.

    Raises:
        InputError: nothing in the folder is whole, or it is of another text.
    """
    found, refused = checkpoint.load_first(folder, checkpoint.TO_GO_ON)
    checkpoint.check_one_run(folder, found)
    if found.card.corpus_sha256 != corpus.sha256:
        raise InputError(
            f"{folder} was trained on another text ({found.card.corpus}, "
            f"{found.card.corpus_chars} characters): resume with that one, or start anew elsewhere"
        )
    if refused:
        say(f"warning: {refused[0]}; going on from an older checkpoint")
        # out of the way: the next save would keep it as the previous one, in the good one's place
        damaged = folder / checkpoint.LAST
        damaged.replace(damaged.with_suffix(".damaged"))
    return _with_its_best(folder, found)


def _with_its_best(folder: Path, found: Checkpoint) -> Checkpoint:
    """Where the best checkpoint is lost, the next evaluation counts as the best, and is saved."""
    if found.best_val_loss == math.inf:  # there was none yet
        return found
    try:
        checkpoint.load(folder / checkpoint.BEST)
    except InputError as error:
        say(f"warning: {error}; the best of what follows takes its place")
        return replace(found, best_val_loss=math.inf)
    return found


def begin(run: Run, resume_step: int | None) -> MetricsLog:
    """Clear an older run away, now that the new one is known to work; open the log."""
    folder, run_file = run.folder, _run_file(run).encode()
    files = (checkpoint.PREVIOUS, checkpoint.BEST, checkpoint.LAST, PLOT)
    for name in (*files, METRICS, RUN_FILE):
        remove_leftovers(folder / name)
    if resume_step is None:
        for name in files:  # in this order: whatever is left when it is killed can be resumed
            (folder / name).unlink(missing_ok=True)
        tensorboard.clear(folder)
        write_atomically(folder / RUN_FILE, run_file)
    return MetricsLog(folder, resume_step=resume_step)


def _run_file(run: Run) -> str:
    """What `--config` needs to repeat the run, and on what."""
    corpus = run.corpus
    text = one_line(f"{corpus.name}, {len(corpus.ids):,} characters, sha256 {corpus.sha256}")
    begun = f"# begun with {describe_start(run.start)}\n" if run.start else ""
    start = run.start.name if run.start else None
    return f"# trained on {text}\n{begun}{to_toml(run.model, run.train, start)}"


def describe_start(start: Start) -> str:
    """A model to go on from, on one line."""
    card = start.card
    text = f"{card.corpus}, sha256 {card.corpus_sha256[:12]}"
    learned = f"{card.steps:,} steps on {text}, loss {card.val_loss:.4f}"
    return one_line(f"{card.name} ({card.precision}, {learned})")
