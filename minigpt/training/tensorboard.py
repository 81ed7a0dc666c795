"""Training events as TensorBoard's event files: `tensorboard --logdir checkpoints`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from minigpt.errors import InputError
from minigpt.terminal import printable
from minigpt.training.events import Evaluation, Event, Sample, Saved, Step
from minigpt.training.metrics import read_records

FOLDER = "tensorboard"


def check_installed() -> None:
    """Raise an InputError that names the install line if TensorBoard is missing."""
    if find_spec("tensorboard") is None:
        raise InputError(
            "--tensorboard needs the package tensorboard, which is not installed; run, where you "
            'cloned minigpt: pip install -c constraints.txt ".[tensorboard]"'
        )


@contextmanager
def tensorboard_log(folder: Path, *, resume_step: int | None) -> Iterator[Callable[[Event], None]]:
    """Write events into `folder`/tensorboard, as they come.

    Args:
        folder: the run's; its metrics.jsonl is already cut back to `resume_step`.
        resume_step: where the run goes on. What was written from there on counts no more.
    """
    from torch.utils.tensorboard import SummaryWriter

    # 0 for a new run: TensorBoard takes the first mark of a start for the run's own, and purges
    # what came before a mark only from the second one on
    with SummaryWriter(folder / FOLDER, purge_step=resume_step or 0) as writer:

        def write(event: Event) -> None:
            match event:
                case Step():
                    writer.add_scalar("loss/training", event.loss, event.step)
                    writer.add_scalar("learning_rate", event.learning_rate, event.step)
                    writer.add_scalar("gradient_norm", event.gradient_norm, event.step)
                case Evaluation():
                    writer.add_scalar("loss/validation", event.val_loss, event.step)
                    writer.flush()
                case Sample():
                    # indented, it is code to Markdown: line breaks stay, and * means nothing
                    lines = printable(event.text).splitlines()
                    text = "\n".join(f"    {line}" for line in lines)
                    writer.add_text("sample", text, event.step)
                case Saved():
                    writer.flush()  # a run may go on from here, and these steps not come again
                case _:
                    pass

        # purging takes the evaluation at that step, which comes again, and the step, which does not
        for event in read_records(folder) if resume_step else ():
            if isinstance(event, Step) and event.step == resume_step:
                write(event)
        yield write


def clear(folder: Path) -> None:
    """Delete the event files of an older run."""
    for path in (folder / FOLDER).glob("events.out.tfevents.*"):
        path.unlink()
