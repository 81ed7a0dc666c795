import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from minigpt.terminal import one_line, printable


@given(st.text())
def test_no_control_character_is_left(text: str) -> None:
    shown = printable(text)
    assert all(c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs") for c in shown)
    assert len(shown) == len(text)


def test_escape_sequences_are_shown() -> None:
    assert printable("a\x1b[31m\x9b2J\x7f") == "a␛[31m�2J␡"


def test_a_line_stays_one() -> None:
    assert one_line("name\r\nval_loss 0.1\tx") == "name␍␊val_loss 0.1\tx"


def test_ordinary_text_is_untouched() -> None:
    text = "Wherefore\n\tart thou, Röméo? 你好 🎭"
    assert printable(text) == text
