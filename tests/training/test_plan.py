import gc
import itertools
import weakref
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

from minigpt.config import GPTConfig, TrainConfig
from minigpt.corpus import Corpus, Ids, TokenizedCorpus
from minigpt.errors import InputError
from minigpt.runtime.draft import Draft
from minigpt.training import loop
from minigpt.training.checkpoint import BEST, LAST, Checkpoint
from minigpt.training.events import Evaluation, Event, Sample, Saved, Step
from minigpt.training.plan import Costs, measure_costs, plan_steps
from minigpt.training.run import Run
from minigpt.training.state import Training


def seconds_of(config: TrainConfig, costs: Costs) -> float:
    """What the steps and evaluations of a schedule take, counted as the loop runs them."""
    steps = range(1, config.max_steps + 1)  # that at step 0 is of the beginning
    evaluations = sum(s % config.eval_interval == 0 or s == config.max_steps for s in steps)
    return config.max_steps * costs.step_s + evaluations * costs.evaluation_s


@pytest.mark.parametrize("seconds", [60, 600, 36_000])
@pytest.mark.parametrize(
    "costs", [Costs(0.01, 0.001), Costs(0.03, 1.5), Costs(0.5, 14.9), Costs(2.0, 5.0)]
)
def test_a_plan_fills_its_time_and_no_more(seconds: float, costs: Costs) -> None:
    config = plan_steps(TrainConfig(learning_rate=0.5), costs, seconds)
    filled = seconds_of(config, costs)
    assert filled <= seconds
    assert filled > seconds - 11 * costs.step_s  # rounded to whole intervals
    n_intervals, rest = divmod(config.max_steps, config.eval_interval)
    assert rest == 0
    assert n_intervals == 1 or n_intervals * costs.evaluation_s <= 0.1 * seconds
    assert n_intervals <= 10
    assert config == TrainConfig(
        learning_rate=0.5, max_steps=config.max_steps, eval_interval=config.eval_interval
    )


def test_a_plan_evaluates_ten_times_where_that_is_cheap() -> None:
    config = plan_steps(TrainConfig(), Costs(0.05, 0.5), 105.0)
    assert (config.max_steps, config.eval_interval) == (2000, 200)


@pytest.mark.parametrize("seconds", [-1.0, 0.0, 1.0, 4.4])
def test_a_time_too_short_for_anything_is_refused(seconds: float) -> None:
    with pytest.raises(InputError, match=r"a step takes 0.2 s here and an evaluation 0.5 s"):
        plan_steps(TrainConfig(), Costs(0.2, 0.5), seconds)


def small_run(corpus: Corpus, folder: Path) -> Run:
    tokenized = TokenizedCorpus.from_corpus(corpus)
    vocab_size = tokenized.tokenizer.vocab_size
    model = GPTConfig(n_layer=1, n_head=2, n_embd=16, block_size=16, vocab_size=vocab_size)
    config = TrainConfig(batch_size=2, sample_chars=5)
    return Run(model=model, train=config, corpus=tokenized, folder=folder)


class Clock:
    """Time that passes only when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def ticking() -> Callable[[], float]:
    """A clock on which 10 s pass every time it is looked at."""
    return itertools.count(0.0, 10.0).__next__


def test_costs_are_what_the_parts_of_a_run_take(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    seen: list[type[Event]] = []
    shares: list[float] = []
    seconds: dict[type[Event], float] = {Step: 0.2, Evaluation: 0.5, Saved: 0.03, Sample: 0.007}

    def slow(run: Run) -> Generator[Event]:
        for event in loop.train(run):
            first = type(event) not in seen  # ten times as slow, as what is cold is
            seen.append(type(event))
            clock.now += seconds.get(type(event), 0.0) * (10 if first else 1)
            if isinstance(event, Evaluation):
                best, last = ((run.folder / name).stat().st_size for name in (BEST, LAST))
                shares.append(best / last)
            yield event

    monkeypatch.setattr("minigpt.training.plan.train", slow)
    whole = Corpus("four times", corpus.text * 4)
    monkeypatch.setattr("minigpt.training.plan.REHEARSAL_CHARS", len(corpus.text))
    costs = measure_costs(small_run(whole, tmp_path), 1e6, clock)
    assert costs.step_s == pytest.approx(0.2)
    # a fourth of the text, and so of the validation, was scored; the best was written every time
    keeping = shares[0] * 0.03
    assert 0.005 < keeping < 0.025
    assert costs.evaluation_s == pytest.approx(
        4 * (0.5 - keeping) + keeping + 0.03 + 10 * 0.007, rel=1e-3
    )
    assert seen.count(Step) > 1
    assert list(tmp_path.iterdir()) == []


def test_a_rehearsal_leaves_nothing_behind(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (temporary := tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "torch"))  # PyTorch's, if first
    run = small_run(corpus, tmp_path / "run")
    costs = measure_costs(replace(run, train=replace(run.train, sample_chars=0)), 1e6, ticking())
    # of the 20 s the second ten are the checkpoint's
    assert costs == Costs(step_s=10, evaluation_s=20, begin_s=10)
    assert list(temporary.iterdir()) == []


def test_a_rehearsal_that_takes_all_the_time_is_refused(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 steps and an evaluation took 50 s here"):
        measure_costs(small_run(corpus, tmp_path), 99, ticking())


def test_counting_the_whole_text_is_planned_for(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    from_text = Draft.from_text

    def slow(ids: Ids, vocab_size: int) -> Draft:
        clock.now += len(ids)
        return from_text(ids, vocab_size)

    monkeypatch.setattr(Draft, "from_text", slow)
    run = small_run(Corpus("four times", corpus.text * 4), tmp_path)
    monkeypatch.setattr("minigpt.training.plan.REHEARSAL_CHARS", len(corpus.text))
    assert measure_costs(run, 1e9, clock).begin_s == len(run.parts[0])


def test_a_rehearsal_never_holds_two_models(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[weakref.ref[Training]] = []
    alive: list[int] = []

    class Watched(Training):
        def __init__(self, run: Run, resume: Checkpoint | None) -> None:
            gc.collect()
            alive.append(sum(other() is not None for other in made))
            super().__init__(run, resume)
            made.append(weakref.ref(self))

    monkeypatch.setattr(loop, "Training", Watched)
    measure_costs(small_run(corpus, tmp_path), 1e6, ticking())
    gc.collect()
    assert alive == [0, 0]
    assert [other() for other in made] == [None, None]
