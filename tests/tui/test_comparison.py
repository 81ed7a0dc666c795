import math
from dataclasses import replace
from pathlib import Path

import pytest

from minigpt.runtime.params import SamplingParams
from minigpt_tui.comparison import SHARED_CHARS, Comparison, compare
from minigpt_tui.differences import MOST_CHARS
from minigpt_tui.document import Document
from minigpt_tui.protocol import Opened, Written
from tests.tui.scripted_engine import CARD, CONFIG

CALM, WILD = SamplingParams(temperature=0.5), SamplingParams(temperature=1.5)


def write(document: Document, text: str, params: SamplingParams, logprob: float = -1.0) -> None:
    document.begin_run(params, model_name="tiny", model_sha256="0123456789")
    document.append_tokens(tuple(Written(7, c, logprob, 1.0, 1, 8, False) for c in text))


def beside(document: Document, a: int = 0, b: int = 1) -> Comparison:
    branches = document.leaves()
    return compare(document, branches[a], branches[b])


@pytest.fixture
def document() -> Document:
    document = Document()
    document.append_user("It is ")
    write(document, "the east", CALM, math.log(1 / 2))
    document.rewind(10)
    write(document, "sun, she", WILD, math.log(1 / 8))
    return document


def test_texts_begin_where_they_part(document: Document) -> None:
    found = beside(document)
    assert (found.fork, found.shared) == (10, "It is the ")
    assert (found.a.text, found.b.text) == ("east", "sun, she")
    assert not found.is_cut


def test_bits_are_of_what_the_model_wrote_from_there_on(document: Document) -> None:
    document.append_user("!")
    found = beside(document)
    assert found.a.surprise.bits_per_char == pytest.approx(1)
    assert found.b.surprise.bits_per_char == pytest.approx(3)
    assert (found.a.surprise.n_chars, found.b.surprise.n_chars) == (4, 8)


def test_only_settings_that_differ_are_told(document: Document) -> None:
    found = beside(document)
    assert found.a.settings == {"temperature": ("0.5",)}
    assert found.b.settings == {"temperature": ("1.5",)}


def test_another_file_of_the_same_name_is_another_model(document: Document) -> None:
    document.runs[1].model_sha256 = "abcdef0123"
    found = beside(document)
    assert found.a.settings["model"] == ("tiny 012345",)
    assert found.b.settings["model"] == ("tiny abcdef",)


def test_what_was_banned_is_named_where_its_vocabulary_is_known(document: Document) -> None:
    document.runs[1].params = replace(CALM, logit_bias=((1, -math.inf), (4, 2.0)))
    model = Opened(Path("tiny.onnx"), CARD, CONFIG, "he llo", document.runs[1].model_sha256)
    a, b = document.leaves()
    for known, words in ((None, "no #1 · #4 +2"), (model, "no e · l +2")):
        found = compare(document, a, b, known)
        assert found.b.settings == {"bans, favours": (words,)}
        assert found.a.settings == {"bans, favours": ("",)}


@pytest.mark.parametrize(
    ("at", "values"),
    [(0, ("2",)), (4, ("2",)), (6, ("0.5", "2")), (8, ("0.5",))],
)
def test_a_slider_that_moved_counts_where_it_acted(
    document: Document, at: int, values: tuple[str, ...]
) -> None:
    """The branch's own part begins with the fifth of eight tokens."""
    document.runs[0].changes.append((at, SamplingParams(temperature=2)))
    assert beside(document).a.settings["temperature"] == values


def test_settings_of_two_sliders_moved_at_once_are_one(document: Document) -> None:
    document.runs[0].changes += [(5, WILD), (5, SamplingParams(temperature=2))]
    assert beside(document).a.settings["temperature"] == ("0.5", "2")


def test_what_the_user_typed_has_no_settings() -> None:
    document = Document()
    write(document, "abc", CALM)
    document.rewind(1)
    document.append_user("xyz")
    found = beside(document)
    assert (found.a.settings, found.b.settings) == ({}, {})
    assert found.b.surprise.n_chars == 0


def test_a_long_text_is_compared_up_to_a_point() -> None:
    document = Document()
    document.append_user("s" * 1000 + "a" * (MOST_CHARS + 1))
    document.rewind(1000)
    document.append_user("b" * MOST_CHARS)
    found = beside(document)
    assert (len(found.a.text), len(found.b.text)) == (MOST_CHARS, MOST_CHARS)
    assert found.shared == "s" * SHARED_CHARS
    assert found.is_cut


def test_the_same_text_twice_does_not_differ() -> None:
    document = Document()
    document.append_user("abc")
    document.rewind(0)
    document.append_user("abc")
    assert [span.is_equal for span in beside(document).spans] == [True]
