import pytest

from minigpt_tui.parting import Parting


@pytest.mark.parametrize(
    ("one", "other", "verdict"),
    [
        ("the heart is", "the heat of", "The same for 7 characters, then A “heart” and B “heat”"),
        ("x", "y", "Different from the first character on: A “x” and B “y”"),
        ("\nAnd", "\n\nBut", "The same for 1 character, then A “And” and B “↵”"),
        ("the", "then", "The same for 3 characters, then A ends"),
        ("then", "the", "The same for 3 characters, then B ends"),
        ("the", "the", "The same from beginning to end: 3 characters"),
        ("", "", ""),
        ("a\x1b[31m", "a\x1b[32m", "The same for 4 characters, then A “a␛[31m” and B “a␛[32m”"),
    ],
)
def test_says_how_far_two_texts_are_the_same(one: str, other: str, verdict: str) -> None:
    parting = Parting(len("To "))
    parting.read("To " + one, "To " + other)
    assert parting.verdict("To " + one, "To " + other, is_writing=False) == verdict


def test_while_they_grow_the_shorter_one_has_not_ended() -> None:
    parting = Parting(0)
    assert parting.verdict("", "", is_writing=True) == ""
    parting.read("abc", "ab")
    assert parting.verdict("abc", "ab", is_writing=True) == "The same so far: 2 characters"
    assert not parting.has_parted
    parting.read("abcd", "abcx")
    assert (parting.has_parted, parting.common) == (True, 3)


def test_a_new_line_that_differs_is_marked_at_what_follows() -> None:
    one, other = "a\n\nRise", "a\nb"
    parting = Parting(1)
    parting.read(one, other)
    assert parting.common == 2
    assert [i for i in range(len(one)) if parting.is_mark(one, i)] == [2, 3]
    assert [i for i in range(len(other)) if parting.is_mark(other, i)] == [2]


def test_nothing_is_marked_before_they_part() -> None:
    parting = Parting(0)
    parting.read("ab", "a")
    assert not parting.is_mark("ab", 1)
