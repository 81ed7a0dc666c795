"""Saving the text: F5, a form, a name, Enter."""

import json
import os
import threading
from pathlib import Path

import pytest
from textual.widgets import Input, OptionList, Static
from textual.worker import get_current_worker

from minigpt_tui.document import Document
from minigpt_tui.exports import Form
from minigpt_tui.protocol import Written
from minigpt_tui.screens import export
from minigpt_tui.screens.export import ExportScreen, free_name, write_new
from minigpt_tui.screens.help import HelpScreen
from minigpt_tui.screens.main import MainScreen
from tests.tui.scripted_engine import until
from tests.tui.test_app import Desk, desk

FORMS = 5


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def opened(d: Desk, text: str = "a") -> None:
    await d.type(text)
    await d.press("enter", "f5")
    await until(d.pilot, lambda: d.is_on(ExportScreen))


async def closes(d: Desk) -> None:
    await until(d.pilot, lambda: d.is_on(MainScreen))


def name(d: Desk) -> Input:
    return d.app.screen.query_one("#export-name", Input)


def said(d: Desk) -> str:
    return str(d.app.screen.query_one("#export-said", Static).render())


async def test_f5_and_enter_save_plain_text_and_say_where(folder: Path) -> None:
    async with desk() as d:
        await d.press("f5")
        await d.is_told("no text yet")
        await opened(d, "é\na")
        await d.press("enter")
        await closes(d)
        (saved,) = folder.glob("minigpt-*.txt")
        assert saved.read_text(encoding="utf-8") == "é\na"
        await d.is_told(str(saved))


async def test_each_form_has_its_ending_and_content(folder: Path) -> None:
    async with desk() as d:
        await d.press("f6")
        await opened(d, "a<b")
        d.engine.write("C")
        await d.sees("a<bC")
        await d.press("escape")
        contents = {}
        for row in range(FORMS):
            await d.press("f5")
            await d.press(*["down"] * row)
            prompts = [str(o.prompt) for o in d.app.screen.query_one(OptionList).options]
            assert "coloured by probability" in prompts[-1]
            ending = name(d).value.rpartition(".")[2]
            name(d).value = f"text.{ending}"
            await d.press("enter")
            await closes(d)
            contents[ending] = (folder / f"text.{ending}").read_text(encoding="utf-8")
        assert list(contents) == ["txt", "md", "json", "svg", "html"]
        assert contents["txt"] == "a<bC"
        assert "<b>a\\<b</b>C" in contents["md"]
        assert json.loads(contents["json"])["text"] == "a<bC"
        for picture in ("svg", "html"):
            assert "&lt;" in contents[picture]
            assert "probability of the character" in contents[picture]


async def test_an_ending_of_the_users_own_stays() -> None:
    async with desk() as d:
        await opened(d)
        name(d).value = "notes"
        await d.press("down")
        assert name(d).value == "notes"
        name(d).value = "notes.JSON"
        await d.pilot.pause()
        assert name(d).value == "notes.JSON"
        await d.press("down")
        assert name(d).value == "notes.svg"


async def test_an_ending_that_is_typed_chooses_the_form(folder: Path) -> None:
    async with desk() as d:
        await opened(d)
        name(d).value = ""
        await d.press("tab", *"y.json")
        assert d.app.screen.query_one(OptionList).highlighted == list(Form).index(Form.JSON)
        await d.press("enter")
        await closes(d)
    assert json.loads((folder / "y.json").read_text(encoding="utf-8"))["text"] == "a"


async def test_keys_that_come_together_make_a_name_in_their_order() -> None:
    async with desk() as d:
        await opened(d)
        name(d).focus()
        await until(d.pilot, lambda: name(d).has_focus)
        await d.press_at_once("ctrl+u", *"yx", "backspace", ".", "h", "t", "m", "l")
        await until(d.pilot, lambda: name(d).value == "y.html")


async def test_each_form_has_one_row_in_few_columns() -> None:
    async with desk(size=(60, 18)) as d:
        await opened(d)
        assert d.app.screen.query_one(OptionList).virtual_size.height == len(Form)


async def test_without_colours_it_says_which_key_turns_them_on() -> None:
    async with desk() as d:
        await opened(d)
        svg, html = (str(o.prompt) for o in d.app.screen.query_one(OptionList).options[-2:])
        assert "F6 in the text" in svg
        assert "F6 in the text" in html


@pytest.mark.skipif(os.name == "nt", reason="Windows has shorter paths")
async def test_a_name_that_is_taken_and_cannot_be_longer_is_told(folder: Path) -> None:
    longest = "b" * 251 + ".txt"
    (folder / longest).write_text("mine", encoding="utf-8")
    async with desk() as d:
        await opened(d)
        name(d).value = longest
        await d.press("enter")
        await until(d.pilot, lambda: "could not be saved" in said(d))
        await d.press("escape")
        await closes(d)
    assert (folder / longest).read_text(encoding="utf-8") == "mine"


async def test_nothing_is_written_over_and_another_name_is_proposed(folder: Path) -> None:
    (folder / "b.txt").write_text("mine", encoding="utf-8")
    (folder / "b-2.txt").write_text("mine too", encoding="utf-8")
    async with desk() as d:
        await opened(d)
        name(d).value = "b.txt"
        await d.press("enter")
        await until(d.pilot, lambda: "b.txt exists already" in said(d))
        assert name(d).value == "b-3.txt"
        await d.press("tab", "backspace")
        assert said(d).startswith("1 characters, into")
        await d.press("t", "enter")
        await closes(d)
    contents = sorted((path.name, path.read_text(encoding="utf-8")) for path in folder.iterdir())
    assert contents == [("b-2.txt", "mine too"), ("b-3.txt", "a"), ("b.txt", "mine")]


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("gone/b.txt", "gone/b.txt could not be saved: No such file or directory."),
        ("b\0.txt", "b␀.txt is no name for a file"),
        ("~nobody-of-this-name/b.txt", "is no name for a file"),
        ("  ", "The file needs a name."),
        (".", ". is a folder; add a file's name."),
        ("/", "/ is a folder; add a file's name."),
    ],
)
async def test_trouble_is_a_sentence_and_the_dialog_stays(wanted: str, words: str) -> None:
    async with desk() as d:
        await opened(d)
        await d.press("tab")
        name(d).value = wanted
        await d.press("enter")
        await until(d.pilot, lambda: words in said(d))
        name(d).value = "good.txt"
        await d.press("enter")
        await closes(d)
        assert Path("good.txt").exists()


def test_a_file_that_cannot_be_finished_is_not_left_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    path = folder / "b.txt"
    open_ = Path.open

    def open_full(self: Path, mode: str) -> object:
        open_(self, mode).close()
        return open_(full, "wb")

    monkeypatch.setattr(Path, "open", open_full)
    with pytest.raises(OSError, match="No space left"):
        write_new(path, b"a")
    assert not path.exists()


def test_a_colon_names_no_file_on_windows(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There it would be written behind a file of no bytes."""
    monkeypatch.setattr("minigpt.files._IS_WINDOWS", True)
    with pytest.raises(ValueError, match="ROMEO: a scene"):
        write_new(folder / "ROMEO: a scene.txt", b"a")
    write_new(folder / "ROMEO.txt", b"a")
    assert (folder / "ROMEO.txt").read_bytes() == b"a"


async def test_while_a_long_text_is_written_the_app_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk() as d:
        await opened(d)
        screen = d.app.screen
        assert isinstance(screen, ExportScreen)
        seen: list[tuple[int, int]] = []

        def slow(document: Document, form: Form) -> bytes:
            # what the model writes meanwhile is not for this file
            d.main.writer.document.append_token(Written(1, "b", 0.0, 0.0, 1, 1, False))
            seen.append((len(document), len(d.text)))
            return b"done"

        screen._export = slow  # type: ignore[assignment]
        await d.press("enter")
        await closes(d)
        assert seen == [(1, 2)]


async def test_what_is_written_while_the_help_lies_over_it_is_told(folder: Path) -> None:
    goes_on = threading.Event()
    async with desk() as d:
        await opened(d)
        screen = d.app.screen
        assert isinstance(screen, ExportScreen)
        screen._export = lambda *_: b"x" * goes_on.wait(30)  # type: ignore[assignment]
        await d.press("enter", "f1")
        await until(d.pilot, lambda: d.is_on(HelpScreen))
        goes_on.set()
        words = screen.query_one("#export-said", Static)
        await until(d.pilot, lambda: "Saved to" in str(words.render()))
        await d.press("escape", "escape")
        await closes(d)
    assert [path.read_bytes() for path in folder.iterdir()] == [b"x"]


async def test_escape_gives_it_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on, has_ended = threading.Event(), threading.Event()
    looked_at: list[bool] = []

    class Watched:
        def __init__(self) -> None:
            self._worker = get_current_worker()

        @property
        def is_cancelled(self) -> bool:
            looked_at.append(self._worker.is_cancelled)
            has_ended.set()
            return looked_at[-1]

    monkeypatch.setattr(export, "get_current_worker", Watched)
    async with desk() as d:
        await opened(d)
        screen = d.app.screen
        assert isinstance(screen, ExportScreen)
        screen._export = lambda *_: b"x" * goes_on.wait(30)  # type: ignore[assignment]
        await d.press("enter", "enter")
        await until(d.pilot, lambda: "Writing" in said(d))
        await d.press("escape")
        await closes(d)
        goes_on.set()
        await until(d.pilot, has_ended.is_set)
    assert looked_at == [True]
    assert list(folder.iterdir()) == []


def test_a_free_name(tmp_path: Path) -> None:
    assert free_name(tmp_path / "a.b.txt") == tmp_path / "a.b-2.txt"
    assert export.FORMS.keys() == set(Form)
