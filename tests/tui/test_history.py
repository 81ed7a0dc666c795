"""What was sent, over several starts of the app."""

import json
from pathlib import Path

import pytest

from minigpt_tui.history import MAX_CHARS, MAX_PROMPTS, History


def recalled(history: History) -> list[str]:
    """All that Up shows, the newest first."""
    found = [""]
    while (text := history.move(-1, found[-1])) is not None:
        found.append(text)
    return found[1:]


def test_the_next_start_knows_what_was_sent(tmp_path: Path) -> None:
    path = tmp_path / "new" / "prompts.json"
    history = History(path)
    assert not history
    for text in ("one", "two\nlines", "two\nlines", "", "é \ud800"):
        history.add(text)
    history.save()
    assert recalled(History(path)) == ["é �", "two\nlines", "one"]


def test_the_draft_comes_back_behind_the_newest() -> None:
    history = History()
    history.add("one")
    assert history.move(1, "draft") is None
    assert history.move(-1, "draft") == "one"
    assert history.move(-1, "one") is None
    assert history.move(1, "one") == "draft"


def test_what_is_edited_comes_back_until_something_is_sent() -> None:
    history = History()
    for text in ("one", "two"):
        history.add(text)
    assert history.move(-1, "draft") == "two"
    assert history.move(-1, "two more") == "one"
    assert history.move(1, "one more") == "two more"
    assert history.move(1, "two more") == "draft"
    assert recalled(history) == ["two more", "one more"]
    history.add("three")
    assert recalled(history) == ["three", "two", "one"]


def test_two_places_to_write_in_share_what_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "prompts.json"
    history = History(path)
    history.add("one")
    assert history.move(-1, "draft") == "one"
    other = history.beside()
    other.add("two")
    assert recalled(other) == ["two", "one"]
    assert history.move(1, "one more") == "two"
    assert history.move(1, "two") == "draft"
    history.save()
    other.add("three")
    history.save()
    assert recalled(History(path)) == ["three", "two", "one"]


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "prompts.json"
    history = History(path)
    for number in range(MAX_PROMPTS + 20):
        history.add(str(number))
    history.save()
    found = recalled(History(path))
    assert len(found) == MAX_PROMPTS
    assert found[0] == str(MAX_PROMPTS + 19)
    history.add("x" * (MAX_CHARS - 2 * 3))
    history.save()
    assert len(recalled(History(path))) == 3


def test_two_windows_keep_what_both_have_sent(tmp_path: Path) -> None:
    path = tmp_path / "prompts.json"
    one, two = History(path), History(path)
    one.add("of one")
    two.add("of two")
    one.save()
    two.save()
    assert recalled(History(path)) == ["of two", "of one"]


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff", b"[" * 100_000, b"[]", b'{"version": 1}', b'{"version": 1, "prompts": [1]}'],
    ids=["empty", "no text", "deep", "a list", "no prompts", "numbers"],
)
def test_a_damaged_file_is_told_and_kept_aside(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "prompts.json"
    path.write_bytes(content)
    history = History(path)
    (sentence,) = history.hear()
    assert "is damaged" in sentence
    history.add("new")
    history.save()
    assert history.hear() == []
    assert recalled(History(path)) == ["new"]
    assert path.with_name("prompts.json.damaged").read_bytes() == content


def test_a_newer_file_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps({"version": 2, "prompts": {}}), encoding="utf-8")
    history = History(path)
    assert "newer" in history.hear()[0]
    history.add("new")
    history.save()
    assert json.loads(path.read_text(encoding="utf-8"))["version"] == 2
    assert recalled(history) == ["new"]


def test_a_folder_that_cannot_be_made_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    history = History(tmp_path / "file" / "prompts.json")
    for text in "ab":
        history.add(text)
        history.save()
    (told,) = history.hear()
    assert told.startswith(f"cannot use {tmp_path / 'file'}: ")
    assert "Errno" not in told
    assert history.hear() == []


def test_what_a_file_holds_commands_no_terminal(tmp_path: Path) -> None:
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps({"version": 1, "prompts": ["\x1b[2J"]}), encoding="utf-8")
    assert recalled(History(path)) == ["␛[2J"]
