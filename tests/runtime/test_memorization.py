from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt.errors import InputError
from minigpt.runtime.memorization import (
    RUNS,
    SuffixAutomaton,
    copied,
    longest_matches,
    share_inside,
)

Ids = Sequence[int]


def array(ids: Ids) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    return np.array(ids, np.uint32)


def occurs(run: Ids, corpus: Ids) -> bool:
    return any(corpus[i : i + len(run)] == run for i in range(len(corpus) - len(run) + 1))


def naive_matches(text: Ids, corpus: Ids) -> list[int]:
    return [
        max(n for n in range(end + 1) if n == 0 or occurs(text[end - n : end], corpus))
        for end in range(1, len(text) + 1)
    ]


def naive_share(text: Ids, corpus: Ids, run: int) -> float:
    inside = {
        place
        for start in range(len(text) - run + 1)
        if occurs(text[start : start + run], corpus)
        for place in range(start, start + run)
    }
    return len(inside) / len(text)


@st.composite
def two_texts(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    ids = st.integers(0, draw(st.integers(0, 3)))
    return draw(st.lists(ids, min_size=1, max_size=30)), draw(st.lists(ids, max_size=40))


@given(two_texts())
def test_matches_are_those_found_by_looking_everywhere(texts: tuple[list[int], list[int]]) -> None:
    text, corpus = texts
    matches = longest_matches(array(text), array(corpus))
    assert matches.tolist() == naive_matches(text, corpus)
    for run in (1, 2, 3, 5, 8):
        assert share_inside(matches, run) == pytest.approx(naive_share(text, corpus, run))


@given(st.lists(st.integers(0, 2), min_size=1, max_size=60))
def test_an_automaton_is_linear_in_its_text(text: list[int]) -> None:
    automaton = SuffixAutomaton(text)
    assert len(automaton.length) <= 2 * len(text) + 1
    assert sum(map(len, automaton.steps)) <= 3 * len(text) + 1


def test_a_copied_run_amid_strange_text() -> None:
    corpus = np.arange(1000)
    run = np.arange(500, 525)
    text = np.concatenate([np.full(30, 2000), run, np.full(45, 2000)])
    found = copied(text, corpus)
    assert found.n_chars == 100
    assert found.longest == tuple(range(500, 525))
    assert found.mean == pytest.approx(25 * 26 / 2 / 100)
    assert found.median == 0
    assert found.shares == {20: 0.25, 30: 0.0, 50: 0.0}


def test_overlapping_runs_are_counted_once() -> None:
    corpus = np.concatenate([np.arange(20), [99], np.arange(10, 35)])
    found = copied(np.arange(40), corpus)
    assert found.longest == tuple(range(10, 35))
    assert found.shares == {20: 35 / 40, 30: 0.0, 50: 0.0}


def test_the_corpus_itself_is_all_copied() -> None:
    rng = np.random.default_rng(0)
    corpus = rng.integers(0, 30, 5000)
    found = copied(corpus[1000:3000], corpus)
    assert found.longest == tuple(corpus[1000:3000].tolist())
    assert found.median == 1000.5
    assert found.shares == dict.fromkeys(RUNS, 1.0)


def test_one_symbol_alone() -> None:
    ones = np.ones(100_000, np.uint32)
    found = copied(ones[:3000], ones)
    assert (len(found.longest), found.shares) == (3000, dict.fromkeys(RUNS, 1.0))
    found = copied(ones[:3000], ones[:25])
    assert (len(found.longest), found.mean) == (25, (sum(range(25)) + 25 * 2976) / 3000)
    assert found.shares == {20: 1.0, 30: 0.0, 50: 0.0}


def test_texts_too_short_to_be_copied() -> None:
    short = np.arange(19)
    assert copied(short, short).shares == dict.fromkeys(RUNS, 0.0)
    assert copied(short, short[:0]).longest == ()
    assert copied(short, short[:0]).mean == 0
    with pytest.raises(InputError, match="at least one character"):
        copied(short[:0], short)
