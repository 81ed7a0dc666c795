import math

import pytest

from minigpt_tui.document import Document
from minigpt_tui.protocol import Score, Written
from minigpt_tui.surprise import Tally, surprise

LN2 = math.log(2)


def written(text: str, bits: float) -> Written:
    return Written(1, text, -bits * LN2, 1.0, 1, 1, False)


def test_counts_a_token_once_and_its_characters_all() -> None:
    document = Document()
    document.append_user("prompt")
    document.append_tokens((written("a", 1), written("bcd", 3)))
    tally = surprise(document)
    assert tally.written.bits_per_char == pytest.approx(1.0)
    assert tally.written.perplexity == pytest.approx(4.0)
    assert tally.scored == tally.written


def test_what_the_user_typed_counts_among_what_was_scored() -> None:
    document = Document()
    document.append_user("xy", [Score(1, -5 * LN2, 1.0, 1, 1)])
    document.append_forced(written("z", 4))
    document.append_token(written("a", 3))
    tally = surprise(document)
    assert tally.written.bits_per_char == pytest.approx(3.0)
    assert tally.scored.bits_per_char == pytest.approx(4.0)


def test_an_empty_text_surprises_nobody() -> None:
    tally = surprise(Document())
    assert (tally.written.bits_per_char, tally.written.perplexity) == (0.0, 1.0)


def test_reading_as_it_grows_and_branches_is_reading_it_whole() -> None:
    document = Document()
    tally = Tally(document)
    for i in range(6):
        document.append_user("x" * i)
        document.append_tokens((written("ab", i), written("c", 1)))
        tally.read()
        assert tally.written.nats == pytest.approx(surprise(document).written.nats)
        document.rewind(len(document) - 3 * (i == 3))
        document.append_token(written("d", 7))
        tally.read()
        assert tally.scored.n_chars == surprise(document).scored.n_chars
        assert tally.written.nats == pytest.approx(surprise(document).written.nats)
