import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigpt.config import GPTConfig
from minigpt.errors import InputError
from minigpt.runtime.batch import beam_search, samples
from minigpt.runtime.decoder import Decoder, check_batch
from minigpt.runtime.distribution import Logits
from minigpt.runtime.generation import generate
from minigpt.runtime.library import load
from minigpt.runtime.params import SamplingParams
from minigpt.runtime.pattern import Pattern
from minigpt.tokenizer import CharTokenizer
from tests.conftest import ScriptedBatch, ScriptedDecoder, cycle

ABC = CharTokenizer("abcd")


def decoder(seed: int, block_size: int) -> ScriptedDecoder:
    return ScriptedDecoder(np.random.default_rng(seed).normal(0, 2, (4, 4)).tolist(), block_size)


def texts(
    source: Decoder,
    prompt: list[int],
    params: SamplingParams,
    n: int,
    stop: Sequence[str] = (),
    pattern: Pattern | None = None,
) -> list[str]:
    found = [""] * n
    for i, token in samples(source, ABC, prompt, params, n, stop=stop, pattern=pattern):
        found[i] += token.text
    return found


def always(params: SamplingParams) -> Callable[[], SamplingParams]:
    return lambda: params


@settings(max_examples=60)
@given(
    st.integers(0, 99), st.integers(1, 9), st.lists(st.integers(0, 3), min_size=1, max_size=12),
    st.sampled_from([[], ["ab"], ["c", "dd"]]), st.sampled_from([0.0, 1.5]),
)  # fmt: skip
def test_sample_i_is_the_text_of_seed_plus_i(
    seed: int, block_size: int, prompt: list[int], stop: list[str], mirostat: float
) -> None:
    params = SamplingParams(
        max_new_tokens=25, seed=seed, mirostat=mirostat, repetition_penalty=1.2, no_repeat_ngram=4
    )
    alone = [
        "".join(
            token.text
            for token in generate(
                decoder(seed, block_size), ABC, prompt,
                always(replace(params, seed=seed + i)), stop=stop,
            )
        )
        for i in range(3)
    ]  # fmt: skip
    assert texts(decoder(seed, block_size), prompt, params, 3, stop=stop) == alone


def test_seeds_begin_again_after_the_last() -> None:
    params = SamplingParams(max_new_tokens=20, seed=2**64 - 1, temperature=1.5)
    last, first = texts(decoder(0, 8), [0], params, 2)
    assert [last] == texts(decoder(0, 8), [0], params, 1)
    assert [first] == texts(decoder(0, 8), [0], replace(params, seed=0), 1)


def test_a_batch_that_takes_too_much_memory_is_refused() -> None:
    large = GPTConfig(n_layer=12, n_head=12, n_embd=768, block_size=1024)
    check_batch(large, 56)
    with pytest.raises(InputError, match=r"57 texts at once would take 4 GiB .* at most 56 do"):
        check_batch(large, 57)


def test_the_prompt_is_read_once() -> None:
    source = decoder(1, 64)
    texts(source, [0, 1, 2], SamplingParams(max_new_tokens=20), 5)
    assert source.fed == [[0, 1, 2]]


def test_samples_follow_a_pattern_to_its_end() -> None:
    found = texts(
        ScriptedDecoder([[0.0] * 4] * 4, 4), [0], SamplingParams(), 16,
        pattern=Pattern("a(b|cd)a", ABC),
    )  # fmt: skip
    assert set(found) == {"aba", "acda"}


def test_a_batch_of_a_real_model_gives_the_logits_of_one() -> None:
    model = load("laptop")
    one, ids = model.decoder, model.tokenizer.encode("ROMEO:\nWhat light")
    batch = one.batch(3)
    for row in range(3):
        one.rewind(0)
        one.feed([*ids[:-1], row])
        batch.begin(row)
    batch.reorder([2, 0, 2])
    got = np.stack([batch.step([5, 6, 7]).copy(), batch.step([8, 9, 10]).copy()], axis=1)
    for row, ending in enumerate(([2, 5, 8], [0, 6, 9], [2, 7, 10])):
        one.rewind(0)
        np.testing.assert_allclose(got[row], one.feed([*ids[:-1], *ending])[-2:], atol=1e-4)
    for bad in ([1, 2], [1, 2, 65], [1, 2, -1]):
        with pytest.raises(ValueError, match="token"):
            batch.step(bad)


@pytest.mark.parametrize(("seed", "block_size"), [(0, 8), (1, 8), (2, 2), (3, 3), (4, 1)])
def test_a_beam_that_is_wide_enough_finds_the_likeliest_text(seed: int, block_size: int) -> None:
    params = SamplingParams(max_new_tokens=4, frequency_penalty=0.7)

    def score(ids: tuple[int, ...]) -> float:
        """Of a text after "a", by following it with every other choice forbidden."""
        total, source = 0.0, decoder(seed, block_size)
        for i in range(len(ids)):
            free = replace(params, max_new_tokens=i + 1, temperature=1.0, top_p=1.0)
            regex = "".join(ABC.chars[j] for j in ids[:i]) + "."
            tokens = list(
                generate(source, ABC, [0], always(free), pattern=Pattern(regex, ABC),
                         keep_logits=True)
            )  # fmt: skip
            row, newest = tokens[-1].logits, [0, *ids[:i]][-block_size:]
            assert row is not None
            z = row.astype(np.float64) - 0.7 * np.bincount(newest, minlength=4)
            total += float(z[ids[i]] - np.log(np.exp(z).sum()))
        return total

    everything = sorted(itertools.product(range(4), repeat=4), key=lambda ids: -score(ids))
    best = beam_search(decoder(seed, block_size), ABC, [0], params, 256)
    assert best[0].ids == everything[0]
    assert best[0].score == pytest.approx(score(everything[0]), abs=1e-5)
    assert [beam.score for beam in best] == sorted((b.score for b in best), reverse=True)
    assert len(best) == 256
    assert math.fsum(math.exp(beam.score) for beam in best) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("block_size", [3, 9])
def test_a_beam_knows_what_the_model_itself_thinks_of_it(block_size: int) -> None:
    params = SamplingParams(max_new_tokens=5, presence_penalty=2.0, logit_bias=((1, 1.5),))
    best = beam_search(decoder(1, block_size), ABC, [0], params, 3, pattern=Pattern("b.+", ABC))
    # each token depends on the last one alone
    logits = np.array([decoder(1, 9).feed([i])[0] for i in range(4)], np.float64)
    own = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    for beam in best:
        by_hand = sum(own[a, b] for a, b in itertools.pairwise((0, *beam.ids)))
        assert beam.logprob == pytest.approx(by_hand, abs=1e-5)
        assert beam.score != pytest.approx(beam.logprob, abs=0.1)


def test_a_beam_of_one_is_greedy() -> None:
    params = SamplingParams(max_new_tokens=12)
    for seed in range(5):
        greedy = generate(decoder(seed, 5), ABC, [2], lambda: replace(params, temperature=0.0))
        beam = beam_search(decoder(seed, 5), ABC, [2], params, 1)
        assert [b.text for b in beam] == ["".join(token.text for token in greedy)]


def test_a_beam_keeps_texts_that_a_pattern_has_ended() -> None:
    # after a b is sure, c after b, and so on: but these texts end when the pattern does
    found = beam_search(
        ScriptedDecoder(cycle(4), block_size=9), ABC, [0], SamplingParams(max_new_tokens=6), 3,
        pattern=Pattern("bcd|bcba|dc", ABC),
    )  # fmt: skip
    assert {beam.text: round(beam.score) for beam in found} == {"bcd": 0, "bcba": -20, "dc": -20}
    best = beam_search(
        ScriptedDecoder(cycle(4), block_size=9), ABC, [0], SamplingParams(max_new_tokens=2), 3,
        pattern=Pattern("bcd|bcba|dc", ABC),
    )  # fmt: skip
    assert [beam.text for beam in best] == ["bc", "dc"]


@settings(max_examples=60)
@given(st.integers(0, 999), st.integers(1, 12))
def test_a_search_that_ends_early_has_missed_nothing(seed: int, width: int) -> None:
    # ends are many and soon, and "d" may go on for ever
    params, pattern = SamplingParams(max_new_tokens=12), Pattern("[ab]c|[ab]{2}c|[ab]{3}c|d*", ABC)
    wide = beam_search(decoder(seed, 32), ABC, [0], params, 64, pattern=pattern)
    best = beam_search(decoder(seed, 32), ABC, [0], params, width, pattern=pattern)
    assert len(wide) < 64, "so none was cut"
    # a narrow search follows few texts, and may lose good ones; what it has is as good as it says
    known = {beam.ids: beam.score for beam in wide}
    assert all(known[beam.ids] == pytest.approx(beam.score) for beam in best)
    if width >= 10:  # more than can go on at any length
        assert [beam.ids for beam in best] == [beam.ids for beam in wide[:width]]


def test_a_search_ends_where_nothing_better_can_come(monkeypatch: pytest.MonkeyPatch) -> None:
    n_passes = 0
    step = ScriptedBatch.step

    def counted(batch: ScriptedBatch, tokens: Sequence[int]) -> Logits:
        nonlocal n_passes
        n_passes += 1
        return step(batch, tokens)

    monkeypatch.setattr(ScriptedBatch, "step", counted)
    found = beam_search(
        ScriptedDecoder([[3.0, 3.0, 3.0, -9.0]] * 4, block_size=64), ABC, [0],
        SamplingParams(max_new_tokens=50), 4, pattern=Pattern("[abc]|d[abc]|d*", ABC),
    )  # fmt: skip
    assert [beam.text for beam in found] == ["a", "b", "c", "da"]
    assert n_passes == 1, "behind the prompt: dd and what follows cannot become likelier than da"


def test_impossible_numbers_of_texts_are_refused() -> None:
    for n in (0, 257):
        with pytest.raises(InputError, match="between 1 and 256"):
            samples(decoder(0, 4), ABC, [0], SamplingParams(), n)
        with pytest.raises(InputError, match="between 1 and 256"):
            beam_search(decoder(0, 4), ABC, [0], SamplingParams(), n)
    with pytest.raises(InputError, match="prompt"):
        samples(decoder(0, 4), ABC, [], SamplingParams(), 2)
    with pytest.raises(InputError, match="stop"):
        samples(decoder(0, 4), ABC, [0], SamplingParams(), 2, stop=[""])
