import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from minigpt.config import GPTConfig, TrainConfig
from minigpt.corpus import Corpus, TokenizedCorpus, split
from minigpt.errors import InputError
from minigpt.model import GPT
from minigpt.runtime import evaluation
from minigpt.runtime.draft import Draft
from minigpt.torch_decoder import TorchDecoder
from minigpt.training import state
from minigpt.training.checkpoint import (
    BEST,
    LAST,
    TO_GO_ON,
    TO_USE,
    build_model,
    load,
    load_first,
)
from minigpt.training.data import windows
from minigpt.training.events import Begin, End, Evaluation, Event, Sample, Saved, Saving, Step
from minigpt.training.loop import train
from minigpt.training.metrics import MetricsLog
from minigpt.training.optim import make_optimizers, schedule
from minigpt.training.run import Run
from minigpt.training.scoring import evaluate, next_token_loss
from tests.models import random_gpt


def small_run(folder: Path, corpus: Corpus | TokenizedCorpus, **changes: float) -> Run:
    folder.mkdir(parents=True, exist_ok=True)
    tokenized = TokenizedCorpus.from_corpus(corpus) if isinstance(corpus, Corpus) else corpus
    vocab_size = tokenized.tokenizer.vocab_size
    model = GPTConfig(
        n_layer=2, n_head=2, n_embd=32, block_size=16, vocab_size=vocab_size, dropout=0.1
    )
    config = TrainConfig(
        max_steps=12, batch_size=4, accumulation=2, warmup_steps=3, eval_interval=5, sample_chars=10
    )
    return Run(
        model=model,
        train=replace(config, **changes),  # type: ignore[arg-type]
        corpus=tokenized,
        folder=folder,
    )


def test_a_run_tells_what_happens(tmp_path: Path, corpus: Corpus) -> None:
    events = list(train(small_run(tmp_path, corpus)))
    assert [e.step for e in events if isinstance(e, Step)] == list(range(1, 13))
    assert [e.step for e in events if isinstance(e, Evaluation)] == [0, 5, 10, 12]
    assert [e.step for e in events if isinstance(e, Saved)] == [0, 5, 10, 12]
    assert [len(e.text) for e in events if isinstance(e, Sample)] == [10, 10, 10]
    assert isinstance(events[-1], End)
    assert events[-1].why == "finished"
    first = next(e for e in events if isinstance(e, Step))
    assert first.tokens == 2 * 4 * 16
    kinds = [type(e) for e in events if not isinstance(e, Step)]
    # saved first, so that nothing is lost if an evaluation fails
    assert kinds[:8] == [
        Begin, Saving, Saved, Evaluation, Saving, Saved, Evaluation, Sample
    ]  # fmt: skip


def test_the_best_checkpoint_has_the_loss_it_says(tmp_path: Path, corpus: Corpus) -> None:
    run = small_run(tmp_path, corpus, max_steps=20)
    end = list(train(run))[-1]
    assert isinstance(end, End)
    best = load_first(tmp_path, TO_USE)[0]
    _, val = split(run.corpus.ids)
    assert best.card.val_loss == end.best_val_loss == evaluate(build_model(best), val)


def test_only_so_much_is_scored_as_is_asked_for(tmp_path: Path, corpus: Corpus) -> None:
    run = small_run(tmp_path, corpus, max_steps=1, eval_tokens=100)
    first = next(e for e in train(run) if isinstance(e, Evaluation))
    torch.manual_seed(run.train.seed)
    train_ids, val_ids = split(run.corpus.ids)
    assert [len(part) for part in run.parts] == [len(train_ids), 101]
    assert first.val_loss == evaluate(GPT(run.model), val_ids[:101])
    assert len(load(tmp_path / BEST).excerpt) == len(val_ids)
    for enough in (0, len(val_ids) - 1, 10**9):
        everything = replace(run, train=replace(run.train, eval_tokens=enough))
        assert len(everything.parts[1]) == len(val_ids)


def test_a_fresh_model_is_scored_on_a_few_tokens(
    tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "FIRST_SCORED", 50)
    run = small_run(tmp_path, corpus, max_steps=2, eval_interval=1)
    found = [e.val_loss for e in train(run) if isinstance(e, Evaluation)]
    torch.manual_seed(run.train.seed)
    _, val_ids = split(run.corpus.ids)
    assert found[0] == evaluate(GPT(run.model), val_ids[:51])
    assert len(val_ids) > 51
    best = load(tmp_path / BEST)
    assert best.card.steps == 2
    assert found[-1] == evaluate(build_model(best), val_ids)


@pytest.mark.parametrize("stop_at", [1, 5, 7, 11])
def test_a_stopped_run_goes_on_as_if_it_had_not(
    tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    # folders of one name, as it is the model's name on the card
    one, two = tmp_path / "a" / "run", tmp_path / "b" / "run"
    one.mkdir(parents=True)
    two.mkdir(parents=True)
    run = small_run(one, corpus)
    log = MetricsLog(one, resume_step=None)
    for event in train(run):
        log.write(event)
    log = MetricsLog(two, resume_step=None)
    steps: list[Step] = []
    for event in train(replace(run, folder=two), stop=lambda: len(steps) >= stop_at):
        if isinstance(event, Step):
            steps.append(event)
        log.write(event)
    assert isinstance(event, End)
    assert event.why == "stopped"
    found, _ = load_first(two, TO_GO_ON)
    assert found.card.steps == event.step
    log = MetricsLog(two, resume_step=found.card.steps)
    monkeypatch.delattr(Draft, "from_text")  # the text was counted once, and is the same
    for event in train(replace(run, folder=two), resume=found):
        log.write(event)
    assert not found.weights  # in memory once, not twice
    assert not found.optimizer
    for name in (LAST, BEST, "metrics.jsonl"):
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


@pytest.mark.parametrize("stop_at", [None, 3, 5, 6, 7])
def test_patience_ends_a_run_wherever_it_was_stopped(
    tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch, stop_at: int | None
) -> None:
    # at steps 0, 2, 4, ...; the best one is at 2, the third after it at 8
    losses = iter([4.0, 3.0, 3.2, 3.1, 3.0, 1.0, 1.0])
    monkeypatch.setattr(state, "evaluate", lambda *_: next(losses))
    run = small_run(tmp_path, corpus, eval_interval=2, patience=3)
    if stop_at is None:
        events = list(train(run))
    else:
        steps: list[Event] = []
        for event in train(run, stop=lambda: len(steps) >= stop_at):
            if isinstance(event, Step):
                steps.append(event)
        assert event == End(stop_at, 3.0, "stopped")
        events = list(train(run, load(tmp_path / LAST)))
    assert events[-1] == End(8, 3.0, "patience")
    assert isinstance(events[-2], Sample)
    last, best = load(tmp_path / LAST), load(tmp_path / BEST)
    assert (last.card.steps, last.evaluations_since_best) == (8, 2)
    assert (best.card.steps, best.evaluations_since_best) == (2, 0)


def test_a_run_that_patience_ended_is_over(
    tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "evaluate", lambda *_: 3.0)
    run = small_run(tmp_path, corpus, eval_interval=2, patience=2)
    assert list(train(run))[-1] == End(4, 3.0, "patience")
    before = (tmp_path / LAST).read_bytes()
    events = [e for e in train(run, load(tmp_path / LAST)) if not isinstance(e, Sample)]
    assert events == [Begin(4), Evaluation(4, 3.0, best=False), End(4, 3.0, "patience")]
    assert (tmp_path / LAST).read_bytes() == before


def test_the_last_step_ends_a_run_before_its_patience(
    tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "evaluate", lambda *_: 3.0)
    run = small_run(tmp_path, corpus, max_steps=4, eval_interval=2, patience=2)
    assert list(train(run))[-1] == End(4, 3.0, "finished")


def gradients_of(model: GPT, parts: list[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
    """The gradient of the mean loss over all parts at once, in one long vector."""
    inputs, targets = (torch.cat(side) for side in zip(*parts, strict=True))
    next_token_loss(model(inputs), targets).backward()  # type: ignore[no-untyped-call]
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.usefixtures("in_float32")
@pytest.mark.parametrize("accumulation", [1, 3])
def test_a_step_follows_the_mean_gradient_of_its_batches(
    tmp_path: Path, corpus: Corpus, accumulation: int
) -> None:
    run = small_run(tmp_path, corpus, accumulation=accumulation, max_steps=1, warmup_steps=0)
    run = replace(run, model=replace(run.model, dropout=0.0))
    step = next(e for e in train(run) if isinstance(e, Step))
    torch.manual_seed(run.train.seed)
    model = GPT(run.model)
    ids, _ = split(run.corpus.ids)
    parts = [
        windows(ids, seed=run.train.seed, first=4 * part, count=4, block_size=16)
        for part in range(accumulation)
    ]
    assert step.gradient_norm == pytest.approx(gradients_of(model, parts).norm().item(), rel=1e-4)


@pytest.mark.parametrize("length", [3, 16, 17, 18, 33, 200])
def test_the_fast_evaluation_is_the_slow_one(length: int) -> None:
    model = random_gpt(GPTConfig(n_layer=1, n_head=2, n_embd=16, block_size=16, vocab_size=7))
    ids = np.random.default_rng(0).integers(0, 7, length).astype(np.uint32)
    slow = evaluation.evaluate(TorchDecoder(model), ids.tolist())
    assert evaluate(model, ids, tokens_per_batch=64) == pytest.approx(slow, abs=1e-6)


@pytest.mark.parametrize("rate", [0.0, 0.02])
def test_one_batch_can_be_learned_by_heart(rate: float) -> None:
    config = GPTConfig(n_layer=2, n_head=2, n_embd=32, block_size=16, vocab_size=8)
    torch.manual_seed(0)
    model = GPT(config)
    settings = TrainConfig(learning_rate=1e-2, muon_learning_rate=rate, max_steps=150)
    optimizers = make_optimizers(model, settings)
    # rows that begin differently, else two targets would share one context
    x = torch.cat((torch.arange(4)[:, None], torch.randint(8, (4, 16))), dim=1)
    for step in range(150):
        loss = torch.nn.functional.cross_entropy(model(x[:, :-1]).flatten(0, 1), x[:, 1:].flatten())
        loss.backward()  # type: ignore[no-untyped-call]
        for optimizer in optimizers:
            optimizer.step(schedule(step, settings))
        model.zero_grad()
    assert loss.item() < 0.01


def test_training_beats_the_uniform_guess_soon(tmp_path: Path, corpus: Corpus) -> None:
    run = small_run(tmp_path, corpus, max_steps=100, eval_interval=100, batch_size=8)
    end = list(train(replace(run, model=replace(run.model, dropout=0.0))))[-1]
    assert isinstance(end, End)
    assert end.best_val_loss < 0.8 * math.log(run.model.vocab_size)


@pytest.mark.parametrize("eval_interval", [1, 5])
def test_a_diverging_run_stops_and_keeps_its_checkpoint(
    tmp_path: Path, corpus: Corpus, eval_interval: int
) -> None:
    run = small_run(
        tmp_path, corpus, learning_rate=1e39, max_steps=50, warmup_steps=0,
        eval_interval=eval_interval, sample_chars=0,
    )  # fmt: skip
    with pytest.raises(InputError, match=r"diverged at step \d"):
        list(train(run))
    assert load(tmp_path / BEST).card.steps == 0
    for tensor in load(tmp_path / LAST).weights.values():
        assert torch.isfinite(tensor).all()


def test_a_loss_that_is_no_number_leaves_the_last_checkpoint_to_go_on_from(
    tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    run = small_run(tmp_path / "a" / "run", corpus)
    list(train(run))
    run = replace(run, folder=tmp_path / "b" / "run")
    run.folder.mkdir()
    with monkeypatch.context() as patch:
        events = train(run)
        next(e for e in events if isinstance(e, Step) and e.step == 7)
        patch.setattr(state, "next_token_loss", lambda logits, _: logits.sum() * math.nan)
        with pytest.raises(InputError, match="diverged at step 8"):
            next(events)
    found, refused = load_first(run.folder, TO_GO_ON)
    assert (found.card.steps, refused) == (5, [])
    list(train(run, found))
    for name in (LAST, BEST):
        assert (run.folder / name).read_bytes() == (tmp_path / "a" / "run" / name).read_bytes()


def test_a_failing_evaluation_loses_no_step(
    tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    run = small_run(tmp_path / "a" / "run", corpus)
    list(train(run))
    run = replace(run, folder=tmp_path / "b" / "run")
    run.folder.mkdir()
    with monkeypatch.context() as patch:
        events = train(run)
        next(e for e in events if isinstance(e, Saved) and e.step == 10)
        patch.setattr(state, "evaluate", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            next(events)
    found, _ = load_first(run.folder, TO_GO_ON)
    assert found.card.steps == 10
    list(train(run, found))
    for name in (LAST, BEST):
        assert (run.folder / name).read_bytes() == (tmp_path / "a" / "run" / name).read_bytes()
