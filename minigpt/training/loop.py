"""The training loop: yields what happens, prints nothing."""

from collections.abc import Callable, Generator

from minigpt.training.checkpoint import Checkpoint
from minigpt.training.events import Begin, End, Event, Saving, Why
from minigpt.training.run import Run
from minigpt.training.state import Training

AHEAD = 1
"""Steps that a GPU may be given before the numbers of the one before them are read."""
ASK_EVERY = 10
"""Steps of several GPUs between two questions whether to stop: each takes an answer of all."""


def train(
    run: Run, resume: Checkpoint | None = None, stop: Callable[[], bool] = lambda: False
) -> Generator[Event]:
    """Train, and yield what happens as it happens.

    At every `eval_interval` a checkpoint is written before the evaluation, so that nothing is
    lost if that fails; and once more when the loop stops.

    Args:
        run: the whole of what to do.
        resume: where to go on from; its tensors are taken out of it.
        stop: asked after every step; True saves and ends.

    Raises:
        InputError: the text is too short, the loss is not a number any more, or a checkpoint
            cannot be written.
    """
    config = run.train
    training = Training(run, resume)
    not_compiled = training.rehearse() if training.step < config.max_steps else ""
    differs = training.machine.difference(resume.machine) if resume else ""
    yield Begin(training.step, differs, not_compiled)
    start = training.step
    ahead = AHEAD if run.world.on_gpu else 0
    ask_every = ASK_EVERY if run.world.on_gpu and run.world.size > 1 else 1
    while True:
        step = training.step
        if step % config.eval_interval == 0 or step == config.max_steps:
            yield from training.known_steps()
            if step > start or not resume:  # the first, too: a run can be resumed from its start
                yield Saving(step)
                yield training.save()
            yield training.evaluate()
            if config.sample_chars and step and run.world.takes_part:
                yield training.sample()
        if step == config.max_steps or 0 < config.patience <= training.since_best:
            why: Why = "finished" if step == config.max_steps else "patience"
            yield End(step, training.best_val_loss, why)
            return
        yield from training.advance(ahead=ahead)
        asked = training.step % ask_every == 0 and training.step < config.max_steps
        if asked and run.world.any(stop()):
            yield from training.known_steps()
            yield Saving(training.step)
            yield training.save()
            yield End(training.step, training.best_val_loss, "stopped")
            return
