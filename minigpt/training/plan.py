"""How long a run will take, measured; and the run that fills a given time.

A schedule that looked at the clock while it runs could not be repeated. So the clock is looked at
before, on a copy that is thrown away, and what is trained is a fixed number of steps.
"""

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from minigpt.config import TrainConfig
from minigpt.errors import InputError
from minigpt.training.checkpoint import BEST, LAST
from minigpt.training.events import Evaluation, Event, Sample, Saved, Step
from minigpt.training.loop import train
from minigpt.training.run import Run
from minigpt.training.world import World

FEWEST_STEPS = 20
"""With fewer the learning rate hardly rises before it falls."""
MOST_EVALUATIONS = 10
EVALUATION_SHARE = 0.1
"""Of the time, at most, as long as two evaluations fit into it."""
REHEARSAL_CHARS = 200_000
"""Of the text, so that a rehearsal of a large corpus is short too; a step does not notice."""
STEPS_A_ROUND = 4


@dataclass(frozen=True, slots=True)
class Costs:
    """What a run's parts cost on this machine."""

    step_s: float
    evaluation_s: float
    """With the checkpoint and the sample that come with it."""
    begin_s: float = 0.0
    """Before the first step."""


def measure_costs(
    run: Run, seconds: float, clock: Callable[[], float] = time.perf_counter
) -> Costs:
    """Rehearse a run in a folder of its own: nothing of it stays.

    Args:
        run: its steps, evaluations, samples and checkpoints are timed as they come.
        seconds: that it may take in all; a rehearsal takes 3 of them, or as long as it must.
        clock: in seconds.

    Raises:
        InputError: the rehearsal alone takes half of the time.
    """
    part = run.corpus.ids[: max(REHEARSAL_CHARS, 20 * run.model.block_size)]
    train_config = replace(
        run.train, max_steps=10**9, eval_interval=STEPS_A_ROUND, warmup_steps=0, patience=0,
        batch_size=max(1, run.train.batch_size // run.world.size),
    )  # fmt: skip
    times: defaultdict[type[Event], list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="minigpt-plan-") as folder:
        rehearsal = replace(
            run,
            train=train_config,
            corpus=replace(run.corpus, ids=part),
            folder=Path(folder),
            world=World(device=run.world.device),  # alone, on its own share of a batch
        )
        events = train(rehearsal)
        next(events)  # Begin
        begin = before = clock()
        for event in events:
            now = clock()
            times[type(event)].append(now - before)
            before = now
            if now - begin > seconds / 2:
                raise InputError(
                    f"--minutes is too short: {len(times[Step])} steps and an evaluation took "
                    f"{now - begin:.2g} s here; give it more, or a smaller model"
                )
            enough = now - begin > min(3.0, seconds / 20) and len(times[Saved]) > 1
            if enough and isinstance(event, Step):  # so what follows a Saved is there too
                break
        events.close()  # two models at once may be one too many
        best, last = (Path(folder, name).stat().st_size for name in (BEST, LAST))
        # once more, on all of the text: what is compiled once is compiled faster the second time
        asked = clock()
        again = train(replace(rehearsal, corpus=run.corpus))
        for event in again:  # for the first checkpoint all of the text is counted
            if isinstance(event, Saved if run.start else Evaluation):  # which is of a few tokens
                break
        begin_s = clock() - asked
        again.close()
    saving = _typical(times[Saved])
    # nearly each evaluation is the best so far, and writes that
    keeping = min(saving * best / last, _typical(times[Evaluation]))
    scoring = _typical(times[Evaluation]) - keeping
    scoring *= len(run.parts[1]) / len(rehearsal.parts[1])
    return Costs(
        step_s=_typical(times[Step]),
        evaluation_s=scoring + keeping + saving + _typical(times[Sample]),
        begin_s=begin_s + (scoring + keeping if run.start else 0),  # where nothing is blank
    )


def _typical(times: Sequence[float]) -> float:
    """The median, without the first one, which warms up; 0 for what never happens."""
    return median(times[1:] or times or [0.0])


def plan_steps(config: TrainConfig, costs: Costs, seconds: float) -> TrainConfig:
    """The config with the `max_steps` and the `eval_interval` that fill the time.

    Raises:
        InputError: not even a few steps fit.
    """
    fitting = int(EVALUATION_SHARE * seconds / costs.evaluation_s)
    n_intervals = min(max(fitting, 1), MOST_EVALUATIONS)
    steps = int((seconds - n_intervals * costs.evaluation_s) / costs.step_s)
    if steps < FEWEST_STEPS:
        needed = FEWEST_STEPS * costs.step_s + costs.evaluation_s
        raise InputError(
            f"--minutes is too short: a step takes {costs.step_s:.2g} s here and an evaluation "
            f"{costs.evaluation_s:.2g} s, so {FEWEST_STEPS} steps need {needed / 60:.2g} minutes "
            "and some to prepare; give it more, or a smaller model"
        )
    interval = steps // n_intervals
    return replace(config, max_steps=interval * n_intervals, eval_interval=interval)
