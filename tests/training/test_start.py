"""Runs that begin with what a model has learned already."""

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from minigpt.corpus import Corpus, TokenizedCorpus
from minigpt.tokenizer import CharTokenizer
from minigpt.training.checkpoint import BEST, LAST, PREVIOUS, load
from minigpt.training.events import Evaluation
from minigpt.training.loop import train
from minigpt.training.run import Run
from minigpt.training.scoring import evaluate
from minigpt.training.start import Start, begin_with
from tests.conftest import CARD, SMALL
from tests.models import random_gpt
from tests.training.test_loop import small_run


@pytest.mark.parametrize("tied", [True, False])
def test_it_says_of_known_characters_what_it_said(tied: bool) -> None:
    config = replace(SMALL, tie_weights=tied)
    old = random_gpt(config)
    start = Start("", config, CharTokenizer("abcde"), CARD, dict(old.named_parameters()))
    tokenizer = CharTokenizer("bdxace")
    new = random_gpt(replace(config, vocab_size=tokenizer.vocab_size), seed=1)
    rows = {name: p.detach().clone() for name, p in new.named_parameters()}
    begin_with(start, new, tokenizer)
    text = "abcdeedcba"
    with torch.no_grad():
        before = old(torch.tensor([start.tokenizer.encode(text)]))
        after = new(torch.tensor([tokenizer.encode(text)]))[..., tokenizer.encode("abcde")]
    torch.testing.assert_close(after, before, rtol=0, atol=1e-6)
    (x,) = tokenizer.encode("x")
    for name, p in new.named_parameters():
        if name.startswith(("wte", "lm_head")):
            assert torch.equal(p[x], rows[name][x])


def begun(folder: Path, text: str, start: Run) -> Run:
    """A run on another text that begins with the best of one."""
    corpus = TokenizedCorpus.from_corpus(Corpus("other", text))
    found = Start.from_checkpoint("", load(start.folder / BEST))
    known = corpus.tokenizer.unknown(found.tokenizer.chars)
    run = small_run(folder, corpus)
    model = replace(run.model, vocab_size=corpus.tokenizer.vocab_size + len(known))
    return replace(run, model=model, start=found, also_known=known)


@pytest.fixture
def learned(tmp_path: Path, corpus: Corpus) -> Run:
    run = small_run(tmp_path / "learned", corpus)
    list(train(run))
    return run


def test_before_its_first_step_it_is_scored_as_it_is_on_all_of_the_text(
    tmp_path: Path, corpus: Corpus, learned: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minigpt.training.state.FIRST_SCORED", 100)
    run = begun(tmp_path / "run", corpus.text[:9000], learned)
    assert run.start
    first = next(event for event in train(run) if isinstance(event, Evaluation))
    model = random_gpt(run.model)
    begin_with(run.start, model, run.tokenizer)
    assert first.val_loss == evaluate(model, run.parts[1])


@pytest.mark.parametrize("stop_at", [0, 7])
def test_it_goes_on_without_what_it_began_with(
    tmp_path: Path, corpus: Corpus, learned: Run, stop_at: int
) -> None:
    text = corpus.text.swapcase()[:9000] + "ß"
    whole = begun(tmp_path / "a" / "run", text, learned)
    list(train(whole))
    parts = begun(tmp_path / "b" / "run", text, learned)
    steps = iter(range(1, 99))
    events = train(parts, stop=lambda: next(steps) == stop_at)
    if stop_at:
        list(events)
    else:  # ended before it is scored for the first time
        while not (parts.folder / LAST).exists():
            next(events)
        events.close()
    list(train(replace(parts, start=None), load(parts.folder / LAST)))
    for name in (LAST, BEST, PREVIOUS):
        assert (whole.folder / name).read_bytes() == (parts.folder / name).read_bytes(), name
