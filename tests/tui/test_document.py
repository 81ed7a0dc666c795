import pytest

from minigpt_tui.document import Document
from minigpt_tui.protocol import Written


def test_knows_who_wrote_each_character() -> None:
    document = Document()
    document.append_user("ab")
    document.append_tokens(
        (Written(7, "c", -0.5, 1.0, 1, 3, False), Written(8, "de", -1.5, 2.0, 2, 4, True))
    )
    assert document.text == "abcde"
    assert [document.is_user(i) for i in range(5)] == [True, True, False, False, False]
    origin = document.origin(4)
    assert origin is not None
    assert (origin.token_id, origin.slid) == (8, True)
    assert origin.logprob == pytest.approx(-1.5)
    assert origin.entropy == pytest.approx(2.0)
    assert document.origin(0) is None


def test_clearing_changes_the_version() -> None:
    document = Document()
    document.append_user("ab")
    before = document.version
    document.clear()
    assert (document.text, len(document)) == ("", 0)
    assert document.version != before
    document.append_token(Written(1, "x", 0.0, 0.0, 1, 1, False))
    assert not document.is_user(0)
