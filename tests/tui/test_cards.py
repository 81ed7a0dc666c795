"""The picker and its cards, of real files."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from textual import events
from textual.app import App
from textual.widgets import OptionList, Static

from minigpt.config import GPTConfig, ModelCard
from minigpt.runtime import onnx_file
from minigpt.runtime.library import find_model, shipped_model
from minigpt.runtime.onnx_file import open_onnx
from minigpt_tui import cards
from minigpt_tui.cards import Card, facts, find, read_card
from minigpt_tui.screens.models import ModelPicker
from tests.conftest import CARD, SMALL
from tests.tui.scripted_engine import until


def test_a_card_says_what_is_in_the_file() -> None:
    text = read_card(shipped_model()).text
    for words in ("tinyshakespeare.txt", "1.405", "4,200 steps", "4.8 million", "6 × 256",
                  "256 tokens", "int8", "5.1 MB"):  # fmt: skip
        assert words in text
    assert max(map(len, text.splitlines())) <= 36  # the width of a card at 80x24


def test_a_refused_file_says_why(tmp_path: Path) -> None:
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(find_model("laptop").read_bytes()[:-1000])
    for path, words in ((cut, "not a complete .onnx file"), (tmp_path / "gone.onnx", "gone.onnx")):
        card = read_card(path)
        assert card.card is None
        assert words in card.text


def test_a_file_is_read_again_only_when_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(find_model("laptop").read_bytes())
    really_read, calls = onnx_file.read_card, []

    def count(path: Path) -> tuple[GPTConfig, ModelCard, str]:
        calls.append(path)
        return really_read(path)

    monkeypatch.setattr(onnx_file, "read_card", count)
    assert read_card(path) == read_card(path)
    assert len(calls) == 1
    os.utime(path, ns=(1, 1))
    read_card(path)
    assert len(calls) == 2


def test_a_model_is_found_by_its_checksum() -> None:
    laptop = find_model("laptop")
    assert find(open_onnx(laptop).checksum) == laptop
    assert find("0" * 64) is None


def test_a_card_commands_no_terminal() -> None:
    text = facts(Path("x"), SMALL, replace(CARD, corpus="\x1b[2J\nloss 0.1"))
    assert "\x1b" not in text
    assert "␛[2J␊loss 0.1" in text


class Host(App[None]):
    """Only the picker."""

    def __init__(self) -> None:
        super().__init__()
        self.chosen: list[Path | None] = []

    def on_mount(self) -> None:
        self.push_screen(ModelPicker(None), self.chosen.append)

    @property
    def rows(self) -> list[str]:
        return [str(o.prompt).strip() for o in self.screen.query_one(OptionList).options]

    @property
    def card(self) -> str:
        name, text = self.screen.query_one("#card-name"), self.screen.query_one("#facts")
        assert isinstance(name, Static)
        assert isinstance(text, Static)
        return f"{name.render()}\n{text.render()}"


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three files: two models and one that is none."""
    known = {
        "apple": Card(Path("apple.onnx"), SMALL, replace(CARD, name="Apple", val_loss=2.5)),
        "berry": Card(Path("berry.onnx"), None, None, refusal="berry.onnx is damaged"),
        "cherry": Card(Path("cherry.onnx"), SMALL, replace(CARD, name="Cherry", val_loss=1.5)),
    }
    monkeypatch.setattr("minigpt_tui.screens.models.list_models",
                        lambda: [card.path for card in known.values()])  # fmt: skip
    monkeypatch.setattr("minigpt_tui.screens.models.read_card", lambda path: known[path.stem])


@pytest.mark.usefixtures("library")
async def test_the_card_beside_the_list_is_of_the_marked_file() -> None:
    app = Host()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "1.500" in "".join(app.rows))
        assert app.rows == [f"apple{' ' * 19}2.500", f"berry{' ' * 17}refused",
                            f"cherry{' ' * 18}1.500"]  # fmt: skip
        assert "Apple\ncorpus" in app.card
        await pilot.press("down")
        assert app.card == "berry.onnx\nberry.onnx is damaged"
        await pilot.press("down", "enter")
        assert app.chosen == [Path("cherry.onnx")]


@pytest.mark.usefixtures("library")
async def test_it_sorts_by_loss_and_keeps_the_mark() -> None:
    app = Host()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "1.500" in "".join(app.rows))
        await pilot.press("S")
        assert [row.split()[0] for row in app.rows] == ["cherry", "apple", "berry"]
        assert "Apple" in app.card
        await pilot.press("S")
        assert [row.split()[0] for row in app.rows] == ["apple", "berry", "cherry"]


@pytest.mark.usefixtures("library")
async def test_what_is_typed_filters() -> None:
    app = Host()
    async with app.run_test(size=(40, 20)) as pilot:
        await until(pilot, lambda: "1.500" in "".join(app.rows))
        await pilot.press(*"err")
        assert [row.split()[0] for row in app.rows] == ["berry", "cherry"]
        await pilot.press("x")
        assert app.rows == []
        assert "None of that name" in app.card
        await pilot.press("enter", "backspace", "down", "enter")
        assert app.chosen == [Path("cherry.onnx")]


async def test_an_empty_library_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minigpt_tui.screens.models.list_models", list)
    app = Host()
    async with app.run_test() as pilot:
        shown = str(app.screen.query_one(Static).render())
        assert "minigpt train" in shown
        await pilot.press("a", "S", "backspace", "enter", "escape")
        assert app.chosen == [None]


def test_a_gone_file_has_no_size(tmp_path: Path) -> None:
    assert cards.size(tmp_path / "gone") == "gone"


@pytest.mark.usefixtures("library")
async def test_what_was_chosen_is_opened_whatever_is_shown_by_then() -> None:
    app = Host()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "1.500" in "".join(app.rows))
        options = app.screen.query_one(OptionList)
        options.highlighted = 2
        options.action_select()
        await app.screen.on_event(events.Key("l", "l"))
        assert [row.split()[0] for row in app.rows] == ["apple"]
        await until(pilot, lambda: app.chosen != [])
        assert app.chosen == [Path("cherry.onnx")]
