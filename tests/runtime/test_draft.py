import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt.errors import InputError
from minigpt.runtime.draft import (
    MAX_CONTEXTS,
    MAX_STORED_CHARS,
    MIN_TIMES,
    ORDER,
    Draft,
    Pace,
    _distinct,
)

TEXTS = st.lists(st.integers(0, 3), max_size=400).map(lambda ids: np.array(ids, np.uint32))


def plain_guess(text: list[int], newest: list[int]) -> int | None:
    """What most often follows the longest context that is frequent enough, found by looking."""
    for n in range(min(ORDER, len(newest)), 0, -1):
        context = newest[-n:]
        following = [text[i + n] for i in range(len(text) - n) if text[i : i + n] == context]
        if len(following) >= MIN_TIMES:
            return max(sorted(set(following)), key=following.count)
    return None


@given(TEXTS, st.lists(st.integers(0, 3), min_size=1, max_size=6))
def test_the_guess_is_what_most_often_followed(text: np.ndarray, newest: list[int]) -> None:
    wanted = plain_guess(text.tolist(), newest)
    assert Draft.from_text(text, 4).guess(newest, 1) == ([] if wanted is None else [wanted])


@given(st.lists(st.integers(0, 9), min_size=1, max_size=400))
def test_the_fast_way_to_what_is_distinct(values: list[int]) -> None:
    array = np.array(values, np.uint64)
    _, first, times = np.unique(array, return_index=True, return_counts=True)
    found, counts = _distinct(array)
    assert (found.tolist(), counts.tolist()) == (first.tolist(), times.tolist())


def test_guesses_go_on_from_guesses() -> None:
    text = np.array([0, 1, 2, 3] * 50)
    assert Draft.from_text(text, 4).guess([2], 6) == [3, 0, 1, 2, 3, 0]
    assert Draft.from_text(text[:3], 4).guess([2], 6) == []


@given(TEXTS)
def test_a_table_survives_being_stored(text: np.ndarray) -> None:
    draft = Draft.from_text(text, 4)
    again = Draft.from_stored(draft.to_text(), 4)
    for newest in ([0], [1, 2], [3, 2, 1], [0, 1, 0, 1], [2, 2, 2, 2, 2]):
        assert draft.guess(newest, 5) == again.guess(newest, 5)


def test_a_table_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    text = np.random.default_rng(0).integers(0, 90, 100_000) ** 2 // 90  # many contexts
    whole = len(Draft.from_text(text, 90).to_text())
    monkeypatch.setattr("minigpt.runtime.draft.MAX_CONTEXTS", 100)
    assert len(Draft.from_text(text, 90).to_text()) < min(whole / 3, 1000)


def test_a_table_of_as_many_contexts_as_there_may_be_fits_a_file() -> None:
    rng = np.random.default_rng(0)
    contexts = rng.choice(2**22, MAX_CONTEXTS, replace=False).tolist()
    draft = Draft(dict(zip(contexts, rng.integers(0, 2**21, MAX_CONTEXTS).tolist(), strict=True)))
    assert len(draft.to_text()) <= MAX_STORED_CHARS


def test_what_is_no_table_is_refused() -> None:
    whole = Draft.from_text(np.array([0, 1, 2, 3] * 50), 4).to_text()
    bomb = Draft(dict.fromkeys(range(MAX_CONTEXTS + 1), 0)).to_text()
    for bad in ("!", "AAAA", whole[:-8], bomb, whole + "AAAA!"):
        with pytest.raises(InputError, match="damaged: its table of guesses"):
            Draft.from_stored(bad, 4)
    with pytest.raises(InputError, match="for its tokenizer"):
        Draft.from_stored(whole, 3)
    assert Draft.from_stored("", 4).guess([0], 3) == []


def test_an_empty_table_learns_and_takes_no_more_and_more_memory() -> None:
    draft = Draft.from_stored("", 50_000)
    assert draft.learns
    assert not Draft.from_text(np.array([0, 1] * 50), 2).learns
    text = np.random.default_rng(0).integers(0, 50_000, 20_000).tolist()
    sizes = []
    for end in range(2, len(text)):
        draft.learn(text[max(0, end - 8) : end])
        if end % 1000 == 0:
            sizes.append(len(draft.to_text()))
    assert max(sizes) < 100_000
    draft.learn([7, 8, 9, 10, 11])
    assert draft.guess([8, 9, 10], 1) == draft.guess([10], 1) == [11]


@pytest.mark.parametrize(
    ("first_token_s", "each_more_s", "right", "best"),
    [(1.0, 0.0, 1.0, 6), (1.0, 1.0, 0.9, 0), (1.0, 0.25, 0.6, 2), (1.0, 0.05, 0.6, 4),
     (1.0, 0.3, 0.1, 0)],
)  # fmt: skip
def test_the_pace_that_pays_is_found(
    first_token_s: float, each_more_s: float, right: float, best: int
) -> None:
    pace, rng, chosen = Pace(), np.random.default_rng(1), []
    for _ in range(1000):
        n = pace.choose(fewest=0)
        n_right = 0
        while n_right < n and rng.random() < right:
            n_right += 1
        pace.learn(n, n_right, first_token_s + each_more_s * n)
        chosen.append(n)
    usual = max(set(chosen[500:]), key=chosen[500:].count)
    assert usual == best
    for _ in range(50):
        n = pace.choose(fewest=2)
        assert n >= 2
        pace.learn(n, 0, 1.0)
