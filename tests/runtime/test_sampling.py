import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigpt.errors import InputError
from minigpt.runtime.distribution import Cut, Distribution
from minigpt.runtime.params import KNOBS, SamplingParams
from minigpt.runtime.sampling import Mirostat, Uniforms, distribution, explain

PLAIN = SamplingParams(temperature=1.0, top_k=0, top_p=1.0)
HISTORY = st.lists(st.integers(0, 39), max_size=30)

LOGITS = st.lists(
    st.one_of(st.floats(-30, 30, width=32), st.sampled_from([0.0, 1.0, 1e30, -1e30])),
    min_size=1,
    max_size=40,
)
PARAMS = st.builds(
    SamplingParams,
    temperature=st.one_of(st.just(0.0), st.floats(0.01, 5)),
    top_k=st.integers(0, 45),
    typical_p=st.one_of(st.just(1.0), st.floats(0, 1)),
    top_p=st.one_of(st.just(1.0), st.floats(0, 1)),
    min_p=st.one_of(st.just(0.0), st.floats(0, 1)),
    repetition_penalty=st.one_of(st.just(1.0), st.floats(1, 3)),
    presence_penalty=st.one_of(st.just(0.0), st.floats(-2, 2)),
    frequency_penalty=st.one_of(st.just(0.0), st.floats(-2, 2)),
    no_repeat_ngram=st.integers(0, 4),
    logit_bias=st.lists(
        st.tuples(st.integers(0, 39), st.one_of(st.floats(-9, 9), st.just(-math.inf))),
        max_size=3,
        unique_by=lambda pair: pair[0],
    ).map(tuple),
)


def of(
    probabilities: list[float], *, history: Sequence[int] = (), **settings: float
) -> Distribution:
    logits = np.log(np.array(probabilities)).astype(np.float32)
    return distribution(logits, history, replace(PLAIN, **settings))  # type: ignore[arg-type]


def adjusted(
    logits: list[float], history: list[int], params: SamplingParams, forbidden: set[int]
) -> tuple[list[float], list[int]]:
    """The logits after bias and penalties, and the tokens that may come next."""
    z = list(logits)
    for i, bias in params.logit_bias:
        z[i] += bias
    for i in set(history):
        z[i] = z[i] / params.repetition_penalty if z[i] > 0 else z[i] * params.repetition_penalty
        z[i] -= params.presence_penalty + params.frequency_penalty * history.count(i)
    left = [i for i in range(len(z)) if z[i] > -math.inf and i not in forbidden]
    size = params.no_repeat_ngram
    if size and len(history) >= size - 1:
        runs = {tuple(history[i : i + size]) for i in range(len(history) - size + 1)}
        begun = tuple(history[len(history) - size + 1 :])
        left = [i for i in left if (*begun, i) not in runs] or left
    return z, left


def reference(
    logits: list[float], history: list[int], params: SamplingParams, forbidden: set[int]
) -> list[float]:
    """The rules again, one token at a time, in the plainest Python."""
    n = len(logits)
    z, left = adjusted(logits, history, params, forbidden)
    top = max(z[i] for i in left)
    if params.temperature == 0:
        best = next(i for i in left if z[i] == top)
        return [float(i == best) for i in range(n)]
    weight = {i: math.exp((z[i] - top) / params.temperature) for i in left}
    ranked = sorted(left, key=lambda i: (-z[i], i))

    def share(i: int) -> float:
        return weight[i] / sum(weight[j] for j in ranked)

    def reaching(candidates: list[int], limit: float) -> list[int]:
        kept: list[int] = []
        for i in candidates:
            if kept and sum(share(j) for j in kept) >= limit:
                break
            kept.append(i)
        return kept

    if params.top_k:
        ranked = ranked[: params.top_k]
    if params.typical_p < 1:
        surprise = {i: -math.log(max(share(i), 1e-300)) for i in ranked}
        mean = sum(share(i) * surprise[i] for i in ranked)
        usual = sorted(ranked, key=lambda i: (abs(surprise[i] - mean), ranked.index(i)))
        kept = reaching(usual, params.typical_p)
        ranked = [i for i in ranked if i in kept]
    if params.top_p < 1:
        ranked = reaching(ranked, params.top_p)
    if params.min_p:
        ranked = [i for i in ranked if share(i) >= params.min_p * share(ranked[0])]
    return [share(i) if i in ranked else 0.0 for i in range(n)]


@settings(max_examples=1000)
@given(LOGITS, HISTORY, PARAMS, st.sets(st.integers(0, 39), max_size=5))
def test_against_the_plain_reference(
    logits: list[float], history: list[int], params: SamplingParams, forbidden: set[int]
) -> None:
    n = len(logits)
    logits = [float(np.float32(z)) for z in logits]
    history = [i % n for i in history]
    params = replace(params, logit_bias=tuple(pair for pair in params.logit_bias if pair[0] < n))
    allowed = np.array([i not in forbidden for i in range(n)])
    banned = forbidden | {i for i, bias in params.logit_bias if bias == -math.inf}
    row = np.array(logits, np.float32)
    if banned.issuperset(range(n)):
        with pytest.raises(InputError, match="nothing can come next"):
            distribution(row, history, params, allowed=allowed)
        return
    got = distribution(row, history, params, allowed=allowed).probs
    # A limit may fall within rounding of a sum: then what a nudged limit gives is right too.
    nudged = (
        replace(
            params,
            top_p=min(1.0, max(0.0, params.top_p + d)) if params.top_p < 1 else 1.0,
            typical_p=min(1.0, max(0.0, params.typical_p + e)) if params.typical_p < 1 else 1.0,
            min_p=min(1.0, max(0.0, params.min_p + f)) if params.min_p else 0.0,
        )
        for d in (0, -1e-12, 1e-12)
        for e in (0, -1e-12, 1e-12)
        for f in (0, -1e-12, 1e-12)
    )
    assert any(
        np.allclose(got, reference(logits, history, near, forbidden), atol=1e-9) for near in nudged
    )


@given(LOGITS, HISTORY, PARAMS)
def test_probabilities_are_probabilities(
    logits: list[float], history: list[int], params: SamplingParams
) -> None:
    history = [i % len(logits) for i in history]
    got = distribution(np.array(logits, np.float32), history, replace(params, logit_bias=()))
    assert got.raw.sum() == pytest.approx(1)
    assert got.probs.sum() == pytest.approx(1)
    assert ((got.probs == 0) | (got.cut == Cut.KEPT)).all()
    np.testing.assert_allclose(np.exp(got.logprobs), got.raw, atol=1e-12)
    assert -1e-9 <= got.entropy <= math.log(len(logits)) + 1e-9


@given(LOGITS, HISTORY, PARAMS)
def test_every_token_has_a_place_and_a_rank(
    logits: list[float], history: list[int], params: SamplingParams
) -> None:
    row = np.array(logits, np.float32)
    params = replace(params, logit_bias=())
    history = [i % len(row) for i in history]
    got = distribution(row, history, params)
    z, left = adjusted(row.tolist(), history, params, set())
    in_order = sorted(left, key=lambda i: (-z[i], i))
    assert [got.token(place) for place in range(len(in_order))] == in_order
    by_the_model = np.argsort(-row, kind="stable").tolist()
    for place, token in enumerate(in_order):
        assert got.rank(place) == 1 + by_the_model.index(token)
        assert got.logprob(token) == got.logprobs[token]


def test_penalties_are_for_what_is_in_view() -> None:
    logits = np.array([2.0, -2.0, 1.0], np.float32)
    params = replace(PLAIN, repetition_penalty=2.0, presence_penalty=0.5, frequency_penalty=0.25)
    got = distribution(logits, [0, 0, 1], params).probs
    expected = np.exp([2 / 2 - 0.5 - 0.5, -2 * 2 - 0.5 - 0.25, 1.0])
    np.testing.assert_allclose(got, expected / expected.sum(), atol=1e-9)


def test_a_run_in_view_is_not_written_twice() -> None:
    got = of([0.7, 0.2, 0.1], history=[1, 2, 0, 1, 2], no_repeat_ngram=3)
    assert got.cut.tolist() == [Cut.NO_REPEAT_NGRAM, Cut.KEPT, Cut.KEPT]
    assert of([0.7, 0.3], history=[0, 1, 0], no_repeat_ngram=1).probs.tolist() == pytest.approx(
        [0.7, 0.3]  # all would be banned: none is
    )


def test_biases_and_bans() -> None:
    params = replace(PLAIN, logit_bias=((0, -math.inf), (2, math.log(3.0))))
    got = distribution(np.log(np.array([0.5, 0.3, 0.2])).astype(np.float32), [], params)
    np.testing.assert_allclose(got.probs, [0, 1 / 3, 2 / 3], atol=1e-7)
    assert got.cut.tolist() == [Cut.LOGIT_BIAS, Cut.KEPT, Cut.KEPT]
    np.testing.assert_allclose(got.raw, [0.5, 0.3, 0.2], atol=1e-7)
    with pytest.raises(InputError, match="id 3; the model's ids are below 3"):
        distribution(np.zeros(3, np.float32), [], replace(PLAIN, logit_bias=((3, 1.0),)))
    for bad in (math.inf, math.nan, 1e7, -1e307):
        with pytest.raises(InputError, match="between -1000000 and 1000000, or minus infinity"):
            replace(PLAIN, logit_bias=((0, bad),))


def test_a_pattern_forbids() -> None:
    logits = np.log(np.array([0.5, 0.3, 0.2])).astype(np.float32)
    got = distribution(logits, [], PLAIN, allowed=np.array([False, True, True]))
    np.testing.assert_allclose(got.probs, [0, 0.6, 0.4], atol=1e-7)
    assert got.cut.tolist() == [Cut.PATTERN, Cut.KEPT, Cut.KEPT]


def test_mirostat_cuts_what_surprises_more_than_its_limit() -> None:
    params = replace(PLAIN, mirostat=1.0, mirostat_rate=0.5)
    before = of([0.5, 0.25, 0.2, 0.05])  # surprises of 1, 2, 2.32 and 4.32 bits
    mirostat = Mirostat(params)
    assert mirostat.limit == 2.0
    got = mirostat.narrow(before)
    np.testing.assert_allclose(got.probs, [2 / 3, 1 / 3, 0, 0], atol=1e-6)
    assert got.cut.tolist() == [Cut.KEPT, Cut.KEPT, Cut.MIROSTAT, Cut.MIROSTAT]
    mirostat.learn(before, 1, params)  # 2 bits where 1 was wanted: half a bit tighter
    assert mirostat.limit == pytest.approx(1.5, abs=1e-6)
    assert mirostat.narrow(before).probs.tolist() == [1, 0, 0, 0]
    mirostat.limit = -3.0
    assert mirostat.narrow(before).probs.tolist() == [1, 0, 0, 0]  # the likeliest always stays


def test_mirostat_chooses_among_what_is_typical() -> None:
    # the mean surprise is 1.46 nats; the surprises are 0.92, 1.39, 1.90, 2.30, 2.30
    before = of([0.4, 0.1, 0.25, 0.15, 0.1], typical_p=0.35)
    np.testing.assert_allclose(before.probs, [0, 0, 0.625, 0.375, 0], atol=1e-6)
    assert [before.token(before.draw(u)) for u in (0.0, 0.624, 0.626, 0.999)] == [2, 2, 3, 3]
    params = replace(PLAIN, mirostat=0.5, mirostat_rate=0.5)
    mirostat = Mirostat(params)
    got = mirostat.narrow(before)
    assert got.cut.tolist() == [Cut.TYPICAL_P] * 2 + [Cut.KEPT, Cut.MIROSTAT, Cut.TYPICAL_P]
    assert got.token(got.draw(0.999)) == 2
    mirostat.learn(before, before.draw(0.999), params)
    assert mirostat.limit == pytest.approx(1.0 - 0.5 * (-math.log2(0.375) - 0.5), abs=1e-6)


def test_mirostat_brings_the_surprise_to_its_target() -> None:
    """A fixed seed; the mean of 5,000 surprises between 0 and 6 bits is steered, not left to luck.

    Without mirostat it would be 2.2 bits.
    """
    before = of([0.3, 0.2, 0.2, 0.1, 0.1, 0.05, 0.03, 0.02])
    params = replace(PLAIN, mirostat=1.9)
    mirostat, uniforms, surprises = Mirostat(params), Uniforms(), []
    for i in range(5_000):
        chances = mirostat.narrow(before)
        place = chances.draw(uniforms(1, i))
        mirostat.learn(before, place, params)
        surprises.append(-math.log2(before.probs[chances.token(place)]))
    entropy = -sum(p * math.log2(p) for p in before.probs)
    assert entropy > 2.5
    assert sum(surprises) / len(surprises) == pytest.approx(1.9, abs=0.01)


@pytest.mark.parametrize(
    "values",
    [{"top_k": 300}, {"top_k": 5000}, {"top_p": 0.3}, {"top_p": 0.9}, {"top_p": 0.9999},
     {"min_p": 0.3}, {"min_p": 1e-9}, {"top_k": 400, "typical_p": 0.7}, {"typical_p": 0.6},
     {"no_repeat_ngram": 1, "top_p": 0.5}],
)  # fmt: skip
def test_a_large_vocabulary_with_many_equals(
    values: dict[str, float],
) -> None:
    rng = np.random.default_rng(3)
    for scale in (0.1, 2.0, 8.0):
        # rounded, so that there are many equals
        logits = np.round(rng.standard_normal(6000) * scale, 1).astype(np.float32)
        params = replace(PLAIN, **values)  # type: ignore[arg-type]
        got = distribution(logits, [5, 6], params)
        z = logits.astype(np.float64)
        if params.no_repeat_ngram:
            z[[5, 6]] = -math.inf
        ids = np.argsort(-z, kind="stable")[: 5998 if params.no_repeat_ngram else 6000]
        p = np.exp(z[ids] - z.max())
        p /= p.sum()
        if params.top_k:
            ids, p = ids[: params.top_k], p[: params.top_k] / p[: params.top_k].sum()
        if params.typical_p < 1:
            surprise = -np.log(p)
            usual = np.argsort(np.abs(surprise - p @ surprise), kind="stable")
            n = 1 + int((np.cumsum(p[usual]) < params.typical_p)[:-1].sum())
            ids, p = ids[usual[:n]], p[usual[:n]] / p[usual[:n]].sum()
        if params.top_p < 1:
            n = 1 + int((np.cumsum(p) < params.top_p)[:-1].sum())
            ids, p = ids[:n], p[:n] / p[:n].sum()
        if params.min_p:
            kept = p >= params.min_p * p.max()
            ids, p = ids[kept], p[kept] / p[kept].sum()
        expected = np.zeros(6000)
        expected[ids] = p
        np.testing.assert_allclose(got.probs, expected, atol=1e-12)
        assert got.entropy == pytest.approx(-float(got.raw @ got.logprobs))
        np.testing.assert_array_equal(got.cut == Cut.KEPT, np.isin(np.arange(6000), ids))


def test_top_k_cuts_through_equals() -> None:
    logits = np.full(6000, -9.01, np.float32)
    logits[[7, 70, 700, 1000, 5000]] = 0.0
    for top_k in (4, 5, 6):
        got = distribution(logits, [], replace(PLAIN, top_k=top_k))
        assert got.probs.sum() == pytest.approx(1)
        assert np.count_nonzero(got.cut == Cut.KEPT) == top_k == np.count_nonzero(got.probs)


def test_mirostat_does_not_wind_up() -> None:
    params = replace(PLAIN, mirostat=0.3, mirostat_rate=1.0)
    mirostat, before = Mirostat(params), of([0.4, 0.3, 0.3])
    for _ in range(5000):
        mirostat.narrow(before)
        mirostat.learn(before, 0, params)  # 1.3 bits each, where 0.3 are wanted
    assert mirostat.limit == 0.0
    for _ in range(5000):
        mirostat.learn(of([1.0, 1e-9]), 0, params)
    assert mirostat.limit == 4 * 0.3


def test_min_p_and_typical_p_by_hand() -> None:
    assert of([0.5, 0.3, 0.15, 0.05], min_p=0.35).cut.tolist() == [0, 0, Cut.MIN_P, Cut.MIN_P]
    # the mean surprise is 1.142 nats; the surprises are 0.69, 1.20, 1.90, 3.00
    got = of([0.5, 0.3, 0.15, 0.05], typical_p=0.4)
    assert got.cut.tolist() == [0, 0, Cut.TYPICAL_P, Cut.TYPICAL_P]
    assert of([0.5, 0.3, 0.15, 0.05], typical_p=0.2).probs.tolist() == [0, 1, 0, 0]


def test_explaining_shows_each_rule_that_is_set() -> None:
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05])).astype(np.float32)
    params = SamplingParams(temperature=1.0, top_k=3, top_p=0.8)
    steps = explain(logits, [], params)
    assert [name for name, _ in steps] == ["model", "top_k", "top_p"]
    np.testing.assert_allclose(steps[0][1].probs, [0.5, 0.3, 0.15, 0.05], atol=1e-7)
    np.testing.assert_allclose(steps[1][1].probs, [10 / 19, 6 / 19, 3 / 19, 0], atol=1e-7)
    np.testing.assert_array_equal(steps[2][1].probs, distribution(logits, [], params).probs)


def test_the_rules_say_what_they_cut() -> None:
    got = of([0.5, 0.3, 0.15, 0.05], top_k=3, top_p=0.8)
    np.testing.assert_allclose(got.probs, [0.625, 0.375, 0, 0], atol=1e-7)
    assert got.cut.tolist() == [Cut.KEPT, Cut.KEPT, Cut.TOP_P, Cut.TOP_K]
    np.testing.assert_allclose(got.raw, [0.5, 0.3, 0.15, 0.05], atol=1e-7)


def test_temperature_sharpens_and_flattens() -> None:
    np.testing.assert_allclose(of([0.8, 0.2], temperature=0.5).probs, [16 / 17, 1 / 17], atol=1e-7)
    np.testing.assert_allclose(of([0.8, 0.2], temperature=2.0).probs, [2 / 3, 1 / 3], atol=1e-7)


@pytest.mark.parametrize("greedy", [{"temperature": 0.0}, {"top_k": 1}, {"top_p": 0.0}])
def test_three_ways_to_be_greedy_with_ties_to_the_lowest_id(greedy: dict[str, Any]) -> None:
    assert of([0.2, 0.4, 0.4], **greedy).probs.tolist() == [0, 1, 0]


def test_neutral_settings_change_nothing() -> None:
    got = of([0.5, 0.3, 0.15, 0.05])
    np.testing.assert_array_equal(got.probs, got.raw)
    assert not got.cut.any()


def test_a_tiny_temperature_is_greedy_without_overflow() -> None:
    assert of([0.4, 0.6], temperature=1e-300).probs.tolist() == [0, 1]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_logits_that_are_no_numbers_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="NaN or infinite"):
        distribution(np.array([0.0, bad], np.float32), [], PLAIN)


@pytest.mark.parametrize(
    ("name", "value"),
    [("temperature", -0.1), ("temperature", math.nan), ("temperature", 101.0), ("top_k", -1),
     ("top_p", 1.01), ("top_p", -0.1), ("max_new_tokens", 0), ("seed", -1), ("seed", 2**64)],
)  # fmt: skip
def test_settings_out_of_range_are_refused_with_the_range(name: str, value: float) -> None:
    with pytest.raises(InputError, match=rf"{name} must be (at least|between) [\d.e+ and]+, not"):
        replace(PLAIN, **{name: value})  # type: ignore[arg-type]


def test_whole_numbers_are_whole() -> None:
    with pytest.raises(InputError, match=r"top_k must be a whole number, not 2\.5"):
        replace(PLAIN, top_k=2.5)  # type: ignore[arg-type]


def test_every_parameter_has_a_knob_around_its_default() -> None:
    for name, knob in KNOBS.items():
        assert knob.low <= getattr(SamplingParams(), name) <= knob.high


def test_whole_numbers_of_numpy_are_numbers() -> None:
    params = SamplingParams(seed=np.int64(3), top_k=np.uint8(5))  # type: ignore[arg-type]
    assert params == SamplingParams(seed=3, top_k=5)
    assert type(params.seed) is type(params.top_k) is int
    for none in (3.0, True, np.bool_(True), np.array([3, 4]), "3"):
        with pytest.raises(InputError, match="seed must be a whole number"):
            SamplingParams(seed=none)  # type: ignore[arg-type]
    half = np.float32(0.5)
    assert type(SamplingParams(temperature=half).temperature) is float  # type: ignore[arg-type]


@given(
    LOGITS,
    HISTORY,
    PARAMS,
    st.one_of(st.floats(0, 1, exclude_max=True), st.sampled_from([0.0, 1 - 2**-53])),
)
def test_a_draw_never_takes_what_was_cut(
    logits: list[float], history: list[int], params: SamplingParams, uniform: float
) -> None:
    history = [i % len(logits) for i in history]
    got = distribution(np.array(logits, np.float32), history, replace(params, logit_bias=()))
    place = got.draw(uniform)
    assert got.cut[got.token(place)] == Cut.KEPT
    assert got.probs[got.token(place)] == pytest.approx(got.prob(place))
    assert got.prob(place) > 0


@pytest.mark.parametrize(
    "values",
    [{}, {"temperature": 0.5}, {"temperature": 2.0}, {"top_k": 5}, {"top_p": 0.8}, {"min_p": 0.1},
     {"typical_p": 0.7}, {"repetition_penalty": 1.5}, {"presence_penalty": 0.7},
     {"frequency_penalty": -0.3}, {"no_repeat_ngram": 1}, {"mirostat": 2.0, "mirostat_rate": 0.0},
     {"logit_bias": ((0, 1.5), (3, -math.inf))}, {"seed": 2**64 - 1}],
)  # fmt: skip
def test_draws_follow_the_probabilities(values: dict[str, Any]) -> None:
    """Chi-squared over 100,000 draws; a level that luck exceeds once in 100,000; a fixed seed.

    The level is Wilson and Hilferty's approximation, with 4.265 standard deviations.
    """
    logits = np.random.default_rng(0).normal(0, 1.5, 10).astype(np.float32)
    history = [1, 2, 2, 5]
    params = replace(PLAIN, seed=7) if "seed" not in values else PLAIN
    params = replace(params, **values)
    chances = distribution(logits, history, params)
    expected = reference([float(z) for z in logits], history, params, set())
    if params.mirostat:
        chances = Mirostat(params).narrow(chances)
        expected = [p if p >= 2.0 ** -(2 * params.mirostat) else 0.0 for p in expected]
        expected = [p / sum(expected) for p in expected]
    uniforms, n = Uniforms(), 100_000
    counts = np.bincount(
        [chances.token(chances.draw(uniforms(params.seed, i))) for i in range(n)], minlength=10
    )
    wanted = n * np.array(expected)
    kept = wanted > 0
    assert not counts[~kept].any()
    freedom = int(kept.sum()) - 1
    level = freedom * (1 - 2 / (9 * freedom) + 4.265 * math.sqrt(2 / (9 * freedom))) ** 3
    assert ((counts[kept] - wanted[kept]) ** 2 / wanted[kept]).sum() < level


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
