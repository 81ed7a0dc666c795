"""The Python API, on a real model."""

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from minigpt.errors import InputError
from minigpt.runtime import Model, load
from minigpt.runtime.batch import samples
from minigpt.runtime.evaluation import evaluate
from minigpt.runtime.generation import Token


@pytest.fixture(scope="module")
def model() -> Model:
    return load("laptop")


def test_a_model_writes_on_from_a_prompt(model: Model) -> None:
    tokens = list(model.generate("ROMEO:", temperature=0.8, max_new_tokens=30, seed=7))
    again = list(model.generate("ROMEO:", temperature=0.8, max_new_tokens=30, seed=7))
    assert tokens == again
    assert len(tokens) == 30
    assert tokens[0].position == 6


def test_a_model_writes_without_a_prompt(model: Model) -> None:
    assert next(model.generate()).position == 1


def test_texts_are_written_at_the_same_time(model: Model) -> None:
    def stream(seed: int) -> Generator[Token]:
        return model.generate("A", max_new_tokens=99, seed=seed)

    def text(seed: int) -> str:
        return "".join(token.text for token in stream(seed))

    judged = model.logprobs("To be, or not to be")
    alone = [text(seed) for seed in range(8)]
    in_turns = zip(*map(stream, range(8)), strict=True)
    assert ["".join(t.text for t in tokens) for tokens in in_turns] == list(
        map("".join, zip(*alone, strict=True))
    )
    with ThreadPoolExecutor(4) as pool:
        judging = [pool.submit(model.logprobs, "To be, or not to be") for _ in range(40)]
        assert list(pool.map(text, range(8))) == alone
        for judgement in judging:
            np.testing.assert_array_equal(judgement.result(), judged)


def test_what_has_read_a_text_reads_the_next_one() -> None:
    model = load("laptop")
    streams = [model.generate("A", max_new_tokens=9) for _ in range(3)]
    for stream in streams:
        next(stream)
    streams.pop().close()
    del stream
    streams.clear()  # forgotten
    list(model.generate("A", max_new_tokens=9))
    model.logprobs("To be")
    assert len(model._idle) == 3


def test_several_texts_of_one_prompt(model: Model) -> None:
    ids = model.tokenizer.encode("ROMEO:")
    params = model.params(max_new_tokens=40, seed=7, ban="e")
    expected = samples(load("laptop").decoder, model.tokenizer, ids, params, 3, stop=["\n\n"])
    found = model.samples("ROMEO:", n=3, max_new_tokens=40, seed=7, stop="\n\n", ban="e")
    other = model.generate("A", max_new_tokens=200)  # meanwhile
    assert [pair for pair, _ in zip(found, other, strict=False)] == list(expected)
    with pytest.raises(InputError, match="texts at once"):
        model.samples("A", n=0)
    with pytest.raises(InputError, match="prompt"):
        model.samples("€", n=2)


def test_the_likeliest_text(model: Model) -> None:
    greedy = "".join(t.text for t in model.generate("A", temperature=0, max_new_tokens=20))
    (one,) = model.beams("A", width=1, max_new_tokens=20, seed=5)
    best, *others = model.beams("A", width=4, max_new_tokens=20)
    assert one.text == greedy
    assert len(others) == 3
    assert best.logprob >= one.logprob
    assert all("e" not in beam.text for beam in model.beams("A", width=2, ban="e"))
    assert {len(beam.text) for beam in model.beams("A", width=2, pattern="[a-z]{5}")} == {5}
    with pytest.raises(InputError, match="texts at once"):
        model.beams("A", width=999)


def test_one_stop_text_needs_no_list(model: Model) -> None:
    assert list(model.generate("A", stop="th")) == list(model.generate("A", stop=["th"]))
    with pytest.raises(InputError, match="at least one character"):
        model.generate("A", stop="")


@pytest.mark.parametrize("threads", [0, -3, "2", 1.5, True, 100_000])
def test_a_number_of_threads_is_checked(threads: Any) -> None:
    with pytest.raises(InputError, match="threads must be a whole number, 1 to 1024, not "):
        load("laptop", threads=threads)


def test_settings_and_prompts_are_checked(model: Model) -> None:
    with pytest.raises(InputError, match="temperature"):
        model.generate("a", temperature=-1)
    with pytest.raises(InputError, match=r"temperature must be a number, not '0\.8'"):
        model.generate("a", temperature="0.8")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="logit_bias must be a number, not '2'"):
        model.generate("a", bias={"e": "2"})  # type: ignore[dict-item]
    with pytest.raises(InputError, match="give bias="):
        model.generate("a", logit_bias=())  # type: ignore[arg-type]
    with pytest.raises(InputError, match="prompt"):
        model.generate("€")
    with pytest.raises(TypeError, match="temprature"):
        model.generate("a", temprature=1)


def test_logprobs_of_what_was_generated_are_those_of_its_tokens(model: Model) -> None:
    tokens = list(model.generate("A", max_new_tokens=20))
    text = "A" + "".join(token.text for token in tokens)
    np.testing.assert_allclose(model.logprobs(text), [t.logprob for t in tokens], atol=1e-5)


def test_the_loss_is_minus_the_mean_logprob(model: Model) -> None:
    text = "To be, or not to be, that is the question:\n" * 4
    loss = evaluate(model.decoder, model.tokenizer.encode(text))
    assert loss == pytest.approx(-model.logprobs(text).mean())
