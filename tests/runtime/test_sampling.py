import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt.errors import InputError
from minigpt.runtime.params import KNOBS, SamplingParams
from minigpt.runtime.sampling import Cut, Distribution, Uniforms, distribution, draw

PLAIN = SamplingParams(temperature=1.0, top_k=0, top_p=1.0)

LOGITS = st.lists(
    st.one_of(st.floats(-30, 30, width=32), st.sampled_from([0.0, 1.0, 1e30, -1e30])),
    min_size=1,
    max_size=40,
)
PARAMS = st.builds(
    SamplingParams,
    temperature=st.one_of(st.just(0.0), st.floats(0.01, 5)),
    top_k=st.integers(0, 45),
    top_p=st.floats(0, 1),
)


def of(probabilities: list[float], **settings: float) -> Distribution:
    logits = np.log(np.array(probabilities)).astype(np.float32)
    return distribution(logits, replace(PLAIN, **settings))  # type: ignore[arg-type]


def reference(logits: list[float], params: SamplingParams) -> list[float]:
    """The rules again, one token at a time, in the plainest Python."""
    n = len(logits)
    top = max(logits)
    if params.temperature == 0:
        return [1.0 if i == logits.index(top) else 0.0 for i in range(n)]
    weights = [math.exp((z - top) / params.temperature) for z in logits]
    ranked = sorted(range(n), key=lambda i: (-weights[i], i))
    if params.top_k:
        ranked = ranked[: params.top_k]
    total = sum(weights[i] for i in ranked)
    kept: list[int] = []
    reached = 0.0
    for i in ranked:
        if params.top_p < 1 and kept and reached >= params.top_p:
            break
        kept.append(i)
        reached += weights[i] / total
    total = sum(weights[i] for i in kept)
    return [weights[i] / total if i in kept else 0.0 for i in range(n)]


@given(LOGITS, PARAMS)
def test_against_the_plain_reference(logits: list[float], params: SamplingParams) -> None:
    logits = [float(np.float32(z)) for z in logits]
    expected = np.array(reference(logits, params))
    got = distribution(np.array(logits, np.float32), params)
    # top_p may fall within rounding of a cumulative sum: then one candidate more or less is right
    if (got.probs > 0).sum() == (expected > 0).sum():
        np.testing.assert_allclose(got.probs, expected, atol=1e-9)
    else:
        nudged = [
            np.array(reference(logits, replace(params, top_p=min(1.0, max(0.0, params.top_p + d)))))
            for d in (-1e-12, 1e-12)
        ]
        assert any(np.allclose(got.probs, near, atol=1e-9) for near in nudged)


@given(LOGITS, PARAMS)
def test_probabilities_are_probabilities(logits: list[float], params: SamplingParams) -> None:
    got = distribution(np.array(logits, np.float32), params)
    assert got.raw.sum() == pytest.approx(1)
    assert got.probs.sum() == pytest.approx(1)
    assert ((got.probs == 0) | (got.cut == Cut.KEPT)).all()
    np.testing.assert_allclose(np.exp(got.logprobs), got.raw, atol=1e-12)
    assert -1e-9 <= got.entropy <= math.log(len(logits)) + 1e-9


def test_the_rules_say_what_they_cut() -> None:
    got = of([0.5, 0.3, 0.15, 0.05], top_k=3, top_p=0.8)
    np.testing.assert_allclose(got.probs, [0.625, 0.375, 0, 0], atol=1e-7)
    assert got.cut.tolist() == [Cut.KEPT, Cut.KEPT, Cut.TOP_P, Cut.TOP_K]
    np.testing.assert_allclose(got.raw, [0.5, 0.3, 0.15, 0.05], atol=1e-7)


def test_temperature_sharpens_and_flattens() -> None:
    np.testing.assert_allclose(of([0.8, 0.2], temperature=0.5).probs, [16 / 17, 1 / 17], atol=1e-7)
    np.testing.assert_allclose(of([0.8, 0.2], temperature=2.0).probs, [2 / 3, 1 / 3], atol=1e-7)


@pytest.mark.parametrize("settings", [{"temperature": 0.0}, {"top_k": 1}, {"top_p": 0.0}])
def test_three_ways_to_be_greedy_with_ties_to_the_lowest_id(settings: dict[str, float]) -> None:
    assert of([0.2, 0.4, 0.4], **settings).probs.tolist() == [0, 1, 0]


def test_neutral_settings_change_nothing() -> None:
    got = of([0.5, 0.3, 0.15, 0.05])
    np.testing.assert_array_equal(got.probs, got.raw)
    assert not got.cut.any()


def test_a_tiny_temperature_is_greedy_without_overflow() -> None:
    assert of([0.4, 0.6], temperature=1e-300).probs.tolist() == [0, 1]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_logits_that_are_no_numbers_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="NaN or infinite"):
        distribution(np.array([0.0, bad], np.float32), PLAIN)


@pytest.mark.parametrize(
    ("name", "value"),
    [("temperature", -0.1), ("temperature", math.nan), ("temperature", 101.0), ("top_k", -1),
     ("top_p", 1.01), ("top_p", -0.1), ("max_new_tokens", 0), ("seed", -1), ("seed", 2**64)],
)  # fmt: skip
def test_settings_out_of_range_are_refused_with_the_range(name: str, value: float) -> None:
    with pytest.raises(InputError, match=rf"{name} must be (at least|between) [\d.e+ and]+, not"):
        replace(PLAIN, **{name: value})  # type: ignore[arg-type]


def test_every_parameter_has_a_knob_around_its_default() -> None:
    for name, knob in KNOBS.items():
        assert knob.low <= getattr(SamplingParams(), name) <= knob.high


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0, 1, exclude_max=True))
def test_a_draw_never_takes_what_was_cut(weights: list[float], uniform: float) -> None:
    probs = np.array(weights) + (0 if sum(weights) else 1)
    probs /= probs.sum()
    assert probs[draw(probs, uniform)] > 0


def test_draws_follow_the_probabilities() -> None:
    """Chi-squared, 3 degrees of freedom: 16.27 is exceeded once in 1,000; the seed is fixed."""
    probs = np.array([0.5, 0.25, 0.2, 0.0, 0.05])
    uniforms = Uniforms()
    n = 20_000
    counts = np.bincount([draw(probs, uniforms(7, i)) for i in range(n)], minlength=5)
    assert counts[3] == 0
    kept = probs > 0
    assert ((counts[kept] - n * probs[kept]) ** 2 / (n * probs[kept])).sum() < 16.27


@given(st.integers(0, 2**64 - 1), st.lists(st.integers(0, 10_000), min_size=1, max_size=20))
def test_a_random_number_depends_on_seed_and_position_alone(seed: int, order: list[int]) -> None:
    one = Uniforms()
    in_this_order = [one(seed, position) for position in order]
    assert in_this_order == [Uniforms()(seed, position) for position in order]
    assert all(0 <= u < 1 for u in in_this_order)


def test_positions_and_seeds_have_numbers_of_their_own() -> None:
    uniforms = Uniforms()
    numbers = {uniforms(seed, position) for seed in range(20) for position in range(1000)}
    assert len(numbers) == 20_000
