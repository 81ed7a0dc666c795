from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt_tui.differences import Span, differences

WORDS = st.lists(st.sampled_from(["to", "be", "or", " ", " ", "\n", ",", "né", "\ud800"])).map(
    "".join
)
TEXTS = WORDS | st.text()


def cut(text: str, part: range) -> str:
    return text[part.start : part.stop]


def tell(a: str, b: str) -> list[str | tuple[str, str]]:
    """What is equal, and pairs of what is not."""
    return [
        cut(a, span.a) if span.is_equal else (cut(a, span.a), cut(b, span.b))
        for span in differences(a, b)
    ]


@given(TEXTS, TEXTS, TEXTS, TEXTS)
def test_spans_cover_both_texts_by_turns(start: str, a: str, b: str, end: str) -> None:
    a, b = start + a + end, start + b + end
    spans = differences(a, b)
    assert "".join(cut(a, span.a) for span in spans) == a
    assert "".join(cut(b, span.b) for span in spans) == b
    first = Span(True, range(0), range(0))
    for one, other in pairwise([first, *spans]):
        assert (one.a.stop, one.b.stop) == (other.a.start, other.b.start)
    assert all(one.is_equal != other.is_equal for one, other in pairwise(spans))
    for span in spans:
        assert span.a or span.b
        if span.is_equal:
            assert cut(a, span.a) == cut(b, span.b)


@given(TEXTS)
def test_a_text_does_not_differ_from_itself(text: str) -> None:
    assert all(span.is_equal for span in differences(text, text))


def test_words_are_changed_added_and_left_out() -> None:
    assert tell("O, speak again, bright angel!", "O, speak once, bright angel!") == [
        "O, speak ",
        ("again", "once"),
        ", bright angel!",
    ]
    assert tell("a winged messenger", "a messenger") == ["a ", ("winged ", ""), "messenger"]
    assert tell("", "all") == [("", "all")]


def test_a_few_words_in_both_are_chance() -> None:
    assert len(tell("the king and his son", "my lord and thy wife")) == 1
    assert tell("x we are such stuff y", "z we are such stuff w") == [
        ("x", "z"),
        " we are such stuff ",
        ("y", "w"),
    ]


@pytest.mark.parametrize("line", ["\nROMEO:\n", "\nO!\n"])
def test_a_whole_line_in_both_is_none(line: str) -> None:
    assert tell(f"one{line}two", f"three{line}four") == [
        ("one", "three"),
        line,
        ("two", "four"),
    ]
