import math
from collections import Counter

import numpy as np
import pytest

from minigpt.corpus import Corpus, split
from minigpt.tokenizer import CharTokenizer
from minigpt.training import baselines as yardsticks
from minigpt.training.baselines import baselines, witten_bell


def slow_witten_bell(train: list[int], val: list[int], vocab_size: int, order: int) -> float:
    """The formula, one symbol at a time."""
    counts: Counter[tuple[int, ...]] = Counter()
    for n in range(1, order + 1):
        counts.update(tuple(train[i : i + n]) for i in range(len(train) - n + 1))
    followers: dict[tuple[int, ...], set[int]] = {}
    totals: Counter[tuple[int, ...]] = Counter()
    for gram, count in counts.items():
        followers.setdefault(gram[:-1], set()).add(gram[-1])
        totals[gram[:-1]] += count

    def p(symbol: int, context: tuple[int, ...]) -> float:
        shorter = p(symbol, context[1:]) if context else 1 / vocab_size
        if not totals[context]:
            return shorter
        types = len(followers[context])
        return (counts[(*context, symbol)] + types * shorter) / (totals[context] + types)

    losses = [
        -math.log(p(val[i], tuple(val[max(0, i - order + 1) : i]))) for i in range(1, len(val))
    ]
    return sum(losses) / len(losses)


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_against_the_slow_formula(order: int) -> None:
    rng = np.random.default_rng(0)
    train = rng.choice(4, 400, p=[0.6, 0.2, 0.1, 0.1])
    val = rng.choice(6, 90)  # has symbols that training never saw
    expected = slow_witten_bell(train.tolist(), val.tolist(), 6, order)
    got = witten_bell(train.astype(np.uint32), val.astype(np.uint32), 6, order=order)
    assert got == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("n_val", [2, 3, 4, 5, 6])
def test_a_validation_part_shorter_than_the_context(n_val: int) -> None:
    train, val = [0, 1, 0, 1, 1, 0, 0, 1, 0], [0, 1, 0, 0, 1, 1][:n_val]
    expected = slow_witten_bell(train, val, 2, 5)
    got = witten_bell(np.array(train, np.uint32), np.array(val, np.uint32), 2, order=5)
    assert got == pytest.approx(expected, rel=1e-12)


def test_of_a_large_text_the_last_part_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    train, val = np.random.default_rng(0).integers(0, 5, (2, 500)).astype(np.uint8)
    expected = witten_bell(train[-80:], val, 5, order=5)
    assert expected != witten_bell(train, val, 5, order=5)
    monkeypatch.setattr(yardsticks, "MOST_COUNTED", 80)
    assert baselines(train, val, 5).five_gram == expected


def test_the_published_numbers_on_tiny_shakespeare(shakespeare: Corpus) -> None:
    ids = CharTokenizer.from_text(shakespeare.text).encode_array(shakespeare.text)
    found = baselines(*split(ids), 65)
    assert found.uniform == pytest.approx(4.1744, abs=1e-4)
    assert found.bigram == pytest.approx(2.4857, abs=1e-4)
    assert found.five_gram == pytest.approx(1.6688, abs=1e-4)
