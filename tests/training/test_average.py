import pytest

pytest.importorskip("torch")

from itertools import takewhile
from pathlib import Path

import torch

from minigpt.config import GPTConfig
from minigpt.corpus import Corpus, split
from minigpt.training.average import Average
from minigpt.training.checkpoint import BEST, LAST, build_model, load
from minigpt.training.events import Evaluation, Sample, Step
from minigpt.training.loop import train
from minigpt.training.scoring import evaluate, sample
from tests.models import random_gpt
from tests.training.test_loop import small_run

SMALL = GPTConfig(n_layer=1, n_head=1, n_embd=8, block_size=8, vocab_size=5)


def test_the_average_against_its_definition() -> None:
    model = random_gpt(SMALL)
    average = Average(model, 0.5)
    torch.manual_seed(0)
    wanted = [p.detach().clone() for p in model.parameters()]
    for steps in range(1, 20):
        left = 22 - steps
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        average.follow(steps, left)
        newest = [p.detach().clone() for p in model.parameters()]
        kept = min(0.5, steps / (steps + 9), left / (left + 9))
        wanted = [kept * old + (1 - kept) * new for old, new in zip(wanted, newest, strict=True)]
    with average.in_place():
        for parameter, want in zip(model.parameters(), wanted, strict=True):
            torch.testing.assert_close(parameter.detach(), want)
    for parameter, new in zip(model.parameters(), newest, strict=True):
        assert torch.equal(parameter, new)


def test_the_newest_weights_come_back_after_an_error() -> None:
    model = random_gpt(SMALL)
    average = Average(model, 0.9)
    average.follow(1, 9)
    with torch.no_grad():
        model.lm_head.weight.add_(1.0)
    newest = model.lm_head.weight.clone()

    def fail() -> None:
        with average.in_place():
            assert not torch.equal(model.lm_head.weight, newest)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert torch.equal(model.lm_head.weight, newest)


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_the_average_is_what_is_scored_sampled_and_kept(
    tmp_path: Path, corpus: Corpus, decay: float
) -> None:
    run = small_run(tmp_path, corpus, max_steps=60, eval_interval=6, ema_decay=decay)
    events = list(takewhile(lambda e: not isinstance(e, Step) or e.step < 7, train(run)))
    score = [e.val_loss for e in events if isinstance(e, Evaluation)][-1]
    text = next(e.text for e in events if isinstance(e, Sample))
    _, val_ids = split(run.corpus.ids)
    best, last = load(tmp_path / BEST), load(tmp_path / LAST)
    assert score == best.card.val_loss == evaluate(build_model(best), val_ids)
    assert text == sample(build_model(best), run.corpus.tokenizer, run.train)
    # what is used of the last one is its average too
    assert score == evaluate(build_model(last), val_ids)
    differs = not torch.equal(best.weights["wte.weight"], last.weights["wte.weight"])
    assert differs == (decay > 0)
    assert any(name.endswith("/ema") for name in last.optimizer) == (decay > 0)


def test_at_the_end_it_is_the_newest_weights(tmp_path: Path, corpus: Corpus) -> None:
    run = small_run(tmp_path, corpus, max_steps=20, eval_interval=20, ema_decay=0.98)
    list(train(run))
    last = load(tmp_path / LAST)
    for name, tensor in last.weights.items():
        assert torch.equal(last.optimizer[f"{name}/ema"], tensor)


def test_the_steps_do_not_depend_on_it(tmp_path: Path, corpus: Corpus) -> None:
    run = small_run(tmp_path / "a", corpus, eval_interval=3, ema_decay=0.9)
    list(train(run))
    list(train(small_run(tmp_path / "b", corpus, eval_interval=5, ema_decay=0.0)))
    one, two = load(tmp_path / "a" / LAST), load(tmp_path / "b" / LAST)
    for name, tensor in one.weights.items():
        assert torch.equal(tensor, two.weights[name])
