from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

pytest.importorskip("torch")

from minigpt.config import GPTConfig, TrainConfig
from minigpt.corpus import Corpus, TokenizedCorpus
from minigpt.errors import InputError
from minigpt.training import lr_find
from minigpt.training.events import Step
from minigpt.training.loop import train
from minigpt.training.lr_find import STEPS, Trial, suggest_rate, try_rates
from minigpt.training.plot import plot_trials
from minigpt.training.run import Run


def small_run(corpus: Corpus, **changes: float) -> Run:
    tokenized = TokenizedCorpus.from_corpus(corpus)
    vocab_size = tokenized.tokenizer.vocab_size
    model = GPTConfig(
        n_layer=1, n_head=2, n_embd=16, block_size=16, vocab_size=vocab_size, dropout=0.1
    )
    config = replace(TrainConfig(batch_size=8), **changes)  # type: ignore[arg-type]
    return Run(model=model, train=config, corpus=tokenized, folder=Path("nowhere"))


def trials_of(losses: list[float]) -> list[Trial]:
    return [Trial(10.0 ** (i - 5), loss, loss) for i, loss in enumerate(losses)]


def test_the_rates_grow_by_one_factor_until_the_loss_explodes(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trials = list(try_rates(small_run(corpus)))
    assert trials[0].learning_rate == 1e-5
    factors = [b.learning_rate / a.learning_rate for a, b in pairwise(trials)]
    assert factors == pytest.approx([1e6 ** (1 / 99)] * len(factors))
    losses = [trial.smoothed for trial in trials]
    assert len(trials) == STEPS or losses[-1] > 4 * min(losses)
    assert all(b <= 4 * min(losses[: i + 1]) for i, b in enumerate(losses[:-1]))
    assert min(losses) < 0.95 * losses[0]
    assert 1e-4 < suggest_rate(trials) < 1
    assert list(tmp_path.iterdir()) == []


def test_the_same_run_gives_the_same_trials_whatever_its_own_schedule_is(corpus: Corpus) -> None:
    one = list(try_rates(small_run(corpus)))
    other = small_run(corpus, warmup_steps=7, max_steps=3, patience=1)
    assert list(try_rates(other)) == one


def test_a_step_is_a_step_of_training(corpus: Corpus, tmp_path: Path) -> None:
    run = small_run(corpus, learning_rate=1e-5, warmup_steps=0, max_steps=2)
    steps = [e for e in train(replace(run, folder=tmp_path)) if isinstance(e, Step)]
    trials = list(try_rates(run))
    # the first is at one rate in both, so the losses of the first two are the same
    assert [trial.loss for trial in trials[:2]] == [step.loss for step in steps]


def test_smoothing_is_a_weighted_mean(corpus: Corpus) -> None:
    trials = list(try_rates(small_run(corpus)))[:10]
    weights = [lr_find.SMOOTHING ** (9 - i) for i in range(10)]
    mean = sum(w * t.loss for w, t in zip(weights, trials, strict=True)) / sum(weights)
    assert trials[9].smoothed == pytest.approx(mean)


def test_a_loss_that_is_no_number_ends_the_trials(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lr_find, "HIGHEST_RATE", 1e30)
    monkeypatch.setattr(lr_find, "EXPLODED", 1e300)
    assert 10 < len(list(try_rates(small_run(corpus)))) < STEPS


def test_the_suggestion_is_a_tenth_of_the_lowest_loss_s_rate() -> None:
    assert suggest_rate(trials_of([4.0, 3.9, 3.0, 2.0, 2.5, 9.0])) == pytest.approx(1e-3)


@pytest.mark.parametrize("losses", [[], [4.0], [4.0, 4.1, 5.0]])
def test_a_loss_that_never_falls_suggests_nothing(losses: list[float]) -> None:
    with pytest.raises(InputError, match="no learning rate"):
        suggest_rate(trials_of(losses))


def test_a_text_that_is_too_short_is_refused() -> None:
    with pytest.raises(InputError, match="too few"):
        list(try_rates(small_run(Corpus("short", "abc" * 3))))


def test_a_plot_of_trials_is_drawn(tmp_path: Path) -> None:
    plot_trials(trials_of([4.0, 3.0, 9.0]), 1e-5, tmp_path / "rates.png")
    assert (tmp_path / "rates.png").read_bytes().startswith(b"\x89PNG")


def test_short_memory_is_not_taken_for_a_rate_too_high(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("minigpt.training.state.windows", short)
    with pytest.raises(InputError, match="does not fit into memory"):
        list(try_rates(small_run(corpus)))
