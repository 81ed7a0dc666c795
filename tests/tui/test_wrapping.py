from hypothesis import given
from hypothesis import strategies as st

from minigpt_tui.widgets.wrapping import Wrapping, cell_size


def rows(text: str, width: int) -> list[str]:
    wrapping = Wrapping(width)
    wrapping.extend(text)
    return [text[slice(*wrapping.span(row))] for row in range(len(wrapping))]


def test_breaks_after_a_space() -> None:
    assert rows("to be or not to be", 9) == ["to be or ", "not to be"]


def test_breaks_a_word_that_is_longer_than_a_row() -> None:
    assert rows("honorificabilitudinitatibus", 10) == ["honorifica", "bilitudini", "tatibus"]


def test_a_word_that_fits_no_row_of_its_own_breaks_too() -> None:
    assert rows(" 羅a羅", 4) == [" ", "羅a", "羅"]


def test_spaces_at_the_end_of_a_row_stay_on_it() -> None:
    assert rows("abcd    efgh", 5) == ["abcd    ", "efgh"]


def test_a_newline_ends_its_row_and_begins_an_empty_one() -> None:
    assert rows("a\n\nb\n", 5) == ["a\n", "\n", "b\n", ""]


def test_wide_characters_take_two_cells() -> None:
    assert rows("羅密歐與茱麗葉", 6) == ["羅密歐", "與茱麗", "葉"]
    assert rows("羅密歐", 5) == ["羅密", "歐"]


def test_a_tab_reaches_to_the_next_stop() -> None:
    assert cell_size("\t", 0) == 4
    assert cell_size("\t", 3) == 1
    assert rows("a\tb\tc", 6) == ["a\t", "b\tc"]


def test_control_characters_take_the_cell_of_their_symbol() -> None:
    assert [cell_size(c, 0) for c in "\x00\x1b\x7f\x9b"] == [1, 1, 1, 1]


def test_combining_marks_stay_with_their_letter() -> None:
    assert rows("ae\u0301b", 3) == ["ae\u0301b"]


texts = st.text(st.sampled_from("ab \n\t羅é\u0301\x1b"), max_size=80)


@given(texts, st.integers(1, 12), st.data())
def test_growing_bit_by_bit_gives_the_rows_of_the_whole(
    text: str, width: int, data: st.DataObject
) -> None:
    whole, grown = Wrapping(width), Wrapping(width)
    whole.extend(text)
    cut = data.draw(st.integers(0, len(text)))
    grown.extend(text[:cut])
    grown.extend(text)
    assert grown.starts == whole.starts
    assert "".join(text[slice(*whole.span(row))] for row in range(len(whole))) == text


@given(texts, st.integers(4, 12))
def test_no_row_but_for_its_spaces_is_wider_than_the_width(text: str, width: int) -> None:
    for row in rows(text, width):
        column = 0
        for char in row.rstrip("\n").rstrip(" "):
            column += cell_size(char, column)
        assert column <= width


@given(texts, st.integers(1, 12))
def test_row_of_finds_the_row_of_each_character(text: str, width: int) -> None:
    wrapping = Wrapping(width)
    wrapping.extend(text)
    for index in range(len(text)):
        start, end = wrapping.span(wrapping.row_of(index))
        assert start <= index < end
