import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigpt.errors import InputError
from minigpt.runtime.pattern import Pattern
from minigpt.tokenizer import CharTokenizer

ABC = CharTokenizer("abc\n")
PATTERNS = (
    "a*b", "(ab|ac)+", "[^a]{2,4}a?", "(?i:A)b.c", "a(?:bc)?|b{3}", r"\w+\n", "(a|ab)(c|bcc)",
    "[ab]*c[ab]{3}", "[[a]+b",
)  # fmt: skip


def ways(pattern: Pattern, state: int) -> list[int]:
    found: list[int] = pattern.allowed(state).nonzero()[0].tolist()
    return found


def state_after(pattern: Pattern, text: str) -> int:
    state = pattern.start
    for token in ABC.encode(text):
        assert pattern.allowed(state)[token]
        state = pattern.next(state, token)
    return state


def shortest_match_from(pattern: Pattern, regex: str, text: str) -> str:
    """What a text can be completed to, by trying everything, a character longer each time."""
    texts = {state_after(pattern, text): text}
    for _ in range(10):
        for longer in texts.values():
            if re.fullmatch(regex, longer):
                return longer
        texts = {
            pattern.next(state, token): longer + ABC.chars[token]
            for state, longer in texts.items()
            for token in ways(pattern, state)
        }
    raise AssertionError(f"{text!r} leads nowhere")


@pytest.mark.parametrize("regex", PATTERNS)
@settings(max_examples=40)
@given(choices=st.lists(st.integers(0, 11), max_size=12))
def test_every_text_is_the_beginning_of_a_match(regex: str, choices: list[int]) -> None:
    pattern = Pattern(regex, ABC)
    text, state = "", pattern.start
    for choice in choices:
        if not (found := ways(pattern, state)):
            assert re.fullmatch(regex, text)
            return
        token = found[choice % len(found)]
        text, state = text + ABC.chars[token], pattern.next(state, token)
    assert shortest_match_from(pattern, regex, text).startswith(text)


@pytest.mark.parametrize("regex", PATTERNS)
@settings(max_examples=100)
@given(text=st.text("abc\n", max_size=7))
def test_every_match_can_be_written(regex: str, text: str) -> None:
    if re.fullmatch(regex, text):
        state_after(Pattern(regex, ABC), text)


def test_characters_that_the_model_lacks_close_the_ways_that_need_them() -> None:
    pattern = Pattern("ax|b[xy]*c|abx?", ABC)  # after a only b is left, and the end after that
    assert ways(pattern, pattern.start) == [0, 1]
    assert ways(pattern, state_after(pattern, "a")) == [1]
    assert ways(pattern, state_after(pattern, "ab")) == []
    np.testing.assert_array_equal(pattern.allowed(state_after(pattern, "b")), [0, 0, 1, 0])


def test_no_way_leads_through_what_is_banned() -> None:
    pattern = Pattern("ab|ca", ABC, banned=[1])
    assert ways(pattern, pattern.start) == [2]
    with pytest.raises(InputError, match="no characters to write a match"):
        Pattern("ab|cb", ABC, banned=[1])


@pytest.mark.parametrize(
    ("regex", "words"),
    [("(", "no regular expression: missing"), ("[z-a]", "no regular expression: bad character"),
     ("^a$", r"needs no \^"), (r"\ba", "looks at what stands beside it$"),
     (r"(a)\1", "by character"),
     ("x+", "no characters to write a match"), ("a(?=b)", r"by character: \(\?="),
     ("a(?!b)c", "by character"), ("(?<=a)b", "by character"), ("[^]a]", "by character"),
     ("[]a]", "by character"), ("(?#c)a", "by character"), ("a{", "by character"),
     ("ca{}", r"by character: \{\}"), (r"[\W\D]", "by character"), (r"[^a\S\W]", "by character"),
     (r".*+a", r"by character: \*\+"), ("ab{2}+", "by character"), ("a++b", "by character"),
     ("a{99999999999}", "repeats or nests"), (300 * "(" + "a" + 300 * ")", "repeats or nests"),
     ("a{100000}", "more than can be"), ("(a{1000}){1000}", "more than can be"),
     ("a{", "position 2$"), ("a{x}", "position 2$"), ("[^$]\\0", "position 5$"),
     (r"(?#\uff)ab", r"\(\?#, a comment$"), ("a++b", "gives nothing back$"),
     ("(?>ab)c", "gives nothing back$"), (r"ab\Z", r": \\Z; .* needs no \^ and no \$$"),
     ("((a{200}){200})*b", "more than can be"), ("a{0,5000}", "more than can be")],
)  # fmt: skip
def test_patterns_that_cannot_be_followed_are_refused(regex: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Pattern(regex, ABC)


def test_numbers_and_long_texts_are_no_repetitions() -> None:
    chars = CharTokenizer("".join(sorted("ab{},0123456789")))
    for regex in ("1,5000,b", "[{,5000}]", "ab" * 1200):
        Pattern(regex, chars)


@pytest.mark.parametrize(
    ("regex", "match"),
    [(r"a\{}", "a{}"), ("[{}]a", "{a"), (r"\(?=?a", "(=a"), (r"[\]{}]a", "]a"),
     (r"[\\W\D]a", "Wa"), (r"[\Wa]b", "=b"), (r"a\[]b", "a[]b"), (r"\=+", "=="),
     ("[*+]+", "++"), (r"a\++", "a++"), (r"\u0061\x62\U0000002a", "ab*"),
     (r"\\u0061", r"\u0061"), (r"[\u005d\u0061]+", "]a"),
     (r"\N{ASTERISK}\u20ac", "*€")],
)  # fmt: skip
def test_what_only_looks_like_those_is_read_as_it_is(regex: str, match: str) -> None:
    chars = CharTokenizer("".join(sorted("ab[](){}=W*+€,\\u0126")))
    pattern = Pattern(regex, chars)
    state = pattern.start
    for token in chars.encode(match):
        assert pattern.allowed(state)[token]
        state = pattern.next(state, token)
    assert re.fullmatch(regex, match)
