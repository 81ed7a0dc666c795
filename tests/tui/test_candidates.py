import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt.errors import InputError
from minigpt.runtime.distribution import rank
from minigpt.runtime.params import SamplingParams
from minigpt.runtime.sampling import distribution
from minigpt_tui.candidates import MOST, Place, Target, entropy, think, with_bias

LOGITS = st.lists(st.floats(-20, 20), min_size=2, max_size=40)
PARAMS = st.builds(
    SamplingParams,
    temperature=st.sampled_from([0.0, 0.7, 1.5]),
    top_k=st.sampled_from([0, 1, 3]),
    top_p=st.sampled_from([0.5, 1.0]),
    min_p=st.sampled_from([0.0, 0.2]),
)


@given(LOGITS, PARAMS)
def test_the_candidates_are_the_distribution(row: list[float], params: SamplingParams) -> None:
    thoughts = think(Place(Target(0), tuple(row), (), 1), params)
    logits = np.array(row, np.float32)
    found = distribution(logits, (), params)
    assert sorted(c.id for c in thoughts.candidates) == list(range(len(row)))
    for candidate in thoughts.candidates:
        assert candidate.probability == found.probs[candidate.id]
        assert candidate.raw == found.raw[candidate.id]
        assert candidate.rank == rank(logits, candidate.id)
        assert bool(candidate.cut) == (found.cut[candidate.id] != 0)
    assert thoughts.n_left == np.count_nonzero(found.probs)
    in_order = [c.probability for c in thoughts.candidates]
    assert in_order == sorted(in_order, reverse=True)
    assert sorted(c.rank for c in thoughts.candidates) == list(range(1, len(row) + 1))


def test_the_rule_that_cut_is_named() -> None:
    place = Place(Target(0), (3.0, 2.0, 1.0, 0.0), (), 1)
    thoughts = think(place, SamplingParams(top_k=2, top_p=1.0, logit_bias=((0, -math.inf),)))
    assert [(c.id, c.cut, c.rank) for c in thoughts.candidates] == [
        (1, "", 2), (2, "", 3), (0, "logit-bias", 1), (3, "top-k", 4),
    ]  # fmt: skip


def test_the_rules_on_repetition_see_the_history() -> None:
    place = Place(Target(0), (1.0, 1.0), (0, 0), 2)
    first = think(place, SamplingParams(frequency_penalty=1.0)).candidates[0]
    assert (first.id, first.raw) == (1, 0.5)


def test_of_a_large_vocabulary_the_likeliest_are_looked_at() -> None:
    row = tuple(np.random.default_rng(0).normal(0, 3, 5000).tolist())
    thoughts = think(Place(Target(0), row, (), 1), SamplingParams(top_p=1.0))
    assert len(thoughts.candidates) == MOST
    assert [c.rank for c in thoughts.candidates] == list(range(1, MOST + 1))


def test_a_bias_comes_and_goes() -> None:
    params = with_bias(with_bias(SamplingParams(), 3, 1.0), 1, -math.inf)
    assert params.logit_bias == ((1, -math.inf), (3, 1.0))
    assert with_bias(params, 3, 2.0).logit_bias == ((1, -math.inf), (3, 2.0))
    assert with_bias(with_bias(params, 1, 0.0), 3, 0.0) == SamplingParams()


def test_all_banned_is_told() -> None:
    params = SamplingParams(logit_bias=((0, -math.inf), (1, -math.inf)))
    with pytest.raises(InputError, match="banned"):
        think(Place(Target(0), (0.0, 1.0), (), 1), params)


@given(LOGITS)
def test_the_entropy_is_that_of_the_distribution(row: list[float]) -> None:
    expected = distribution(np.array(row, np.float32), (), SamplingParams()).entropy
    assert entropy(row) == pytest.approx(expected, abs=1e-4)
