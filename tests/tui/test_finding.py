"""Words found in texts, beside what SQLite's own index finds."""

import sqlite3
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt_tui.finding import hits, query, snippet, where, words_in

TEXT = st.text("aAéÉb9_-' \n", max_size=40)


def marked(text: str, words: str) -> str:
    found = snippet(text, words_in(words))
    return "".join(f"[{piece}]" if is_hit else piece for piece, is_hit in found)


@pytest.fixture(scope="module")
def index() -> Iterator[sqlite3.Connection]:
    db = sqlite3.connect(":memory:")
    db.execute("CREATE VIRTUAL TABLE texts USING fts5(text)")
    yield db
    db.close()


@given(text=TEXT, line=TEXT)
def test_finds_what_the_index_finds(index: sqlite3.Connection, text: str, line: str) -> None:
    if not (words := words_in(line)):
        return
    index.execute("DELETE FROM texts")
    index.execute("INSERT INTO texts VALUES (?)", (text,))
    asked = "SELECT count(*) FROM texts WHERE texts MATCH ?"
    (n_found,) = index.execute(asked, (query(words),)).fetchone()
    assert n_found == all(any(hits(text, [word])) for word in words)


@given(text=TEXT, line=TEXT)
def test_a_piece_is_of_the_text(text: str, line: str) -> None:
    words = words_in(line)
    shown = "".join(piece for piece, _ in snippet(text, words)).strip("…")
    assert shown.replace("␊", "\n") in text
    assert (where(text, words) is None) == (not any(hits(text, words)))


def test_case_and_accents_do_not_count() -> None:
    assert marked("Ein Café, zwei CAFÉS", "café") == "Ein [Café], zwei [CAFÉS]"
    assert marked("Ein Café, zwei CAFÉS", "cafe") == "Ein [Café], zwei [CAFÉS]"


def test_a_word_with_a_mark_in_it_is_found_with_any_mark() -> None:
    assert marked("I don't; I don-t; I dont", "don't") == "I [don't]; I [don-t]; I dont"


def test_shows_where_most_of_the_words_stand_together() -> None:
    far = "the " + "and " * 100
    shown = marked(f"{far}\nNow the king and the queen. {far}", "queen the")
    assert "Now [the] king and [the] [queen]. [the]" in shown
    assert shown.startswith("…and")
    assert shown.endswith("…")


def test_a_text_of_hits_takes_no_longer_than_another() -> None:
    # the index's own `snippet` did not come to an end with these
    assert marked("to " * 100_000, "t").startswith("[to] [to]")
    assert marked("ab " * 100_000, "a b").startswith("[ab]")
