"""Watching a run: what is on the screen while its log grows."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from rich.cells import cell_len
from textual.content import Content
from textual.pilot import Pilot
from textual.widgets import OptionList, Static

from minigpt.training.events import Baselines, Evaluation, Sample, Step
from minigpt.training.lock import lock_folder
from minigpt.training.metrics import Record
from minigpt_tui.app import main, run_folder
from minigpt_tui.minigpt_app import MinigptApp
from minigpt_tui.screens.help import HelpScreen
from minigpt_tui.screens.main import MainScreen
from minigpt_tui.screens.runs import RunPicker
from minigpt_tui.screens.watch import WatchScreen
from minigpt_tui.widgets.key_line import KeyLine
from minigpt_tui.widgets.run_chart import RunChart
from minigpt_tui.widgets.run_head import RunHead
from minigpt_tui.widgets.run_numbers import RunNumbers
from minigpt_tui.widgets.sample_view import SampleView
from tests.test_imports import modules_after
from tests.tui.run_folder import append, lines, records, write_checkpoint
from tests.tui.scripted_engine import MODEL, ScriptedEngine, until


class Watch:
    """A run that is watched, and what one sees of it."""

    def __init__(self, pilot: Pilot[str], folder: Path) -> None:
        self.pilot, self.app, self.folder = pilot, pilot.app, folder
        self.press = pilot.press

    @property
    def screen(self) -> WatchScreen:
        assert isinstance(self.app.screen, WatchScreen)
        return self.app.screen

    @property
    def head(self) -> str:
        return self.screen.query_one(RunHead).render().plain

    @property
    def chart(self) -> str:
        return self.screen.query_one(RunChart).render().plain

    @property
    def text(self) -> str:
        return self.screen.query_one(SampleView).render().plain

    @property
    def numbers(self) -> str:
        return self.screen.query_one(RunNumbers).render().plain

    @property
    def words(self) -> str:
        shown = self.screen.query_one("#run-words", Static).render()
        assert isinstance(shown, Content)
        return shown.plain

    @property
    def hint(self) -> str:
        shown = self.screen.query_one("#run-hint", Static).render()
        assert isinstance(shown, Content)
        return shown.plain

    async def grow(self, content: bytes) -> None:
        append(self.folder, content)
        self.screen.read_on()
        await self.pilot.pause()


@asynccontextmanager
async def watch(
    folder: Path, content: bytes = b"", size: tuple[int, int] = (80, 24)
) -> AsyncIterator[Watch]:
    append(folder, content)
    app = MinigptApp(ScriptedEngine(), MODEL, watched=folder)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: isinstance(app.screen, WatchScreen))
        w = Watch(pilot, folder)
        await until(pilot, lambda: "training" in w.chart)
        yield w


async def test_a_run_shows_itself_and_goes_on(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    with lock_folder(tmp_path):
        async with watch(tmp_path, lines(records(steps=20))) as w:
            assert "20/40 steps  50%" in w.head
            assert "● training" in w.head
            assert "validation 3.0000" in w.chart
            assert "best 3.0000 at 20" in w.chart
            assert "bigram" in w.chart
            assert "5-gram" in w.chart
            assert "text 20\né" in w.text
            assert "gradient norm 0.5" in w.numbers
            assert "Beats a blind guess (4.17), not bigram counts (2.49)." in w.words
            assert f"minigpt export {w.folder} --onnx" in w.hint
            await w.grow(lines([Step(21, 2.0, 1e-3, 0.25, 100), Evaluation(21, 1.5, best=True)]))
            assert "21/40 steps" in w.head
            assert "validation 1.5000" in w.chart
            assert "gradient norm 0.25" in w.numbers
            assert "more than counting can" in w.words
            await w.grow(lines([Sample(21, "Ay me!")]))
            assert "Ay me!" in w.text


async def test_how_to_talk_to_it_is_told_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "checkpoints" / "a book of a long name, and then some"
    folder.mkdir(parents=True)
    write_checkpoint(folder)
    command = f"minigpt export 'checkpoints/{folder.name}' --onnx '{folder.name}.onnx'"
    monkeypatch.chdir(tmp_path)
    async with watch(folder, lines(records()), size=(60, 24)) as w:
        assert w.hint == f"Talk to it: {command}"
        shown = w.screen.query_one("#run-hint").render_line
        rows = [shown(y).text.strip() for y in range(w.screen.query_one("#run-hint").size.height)]
        assert " ".join(rows) == w.hint


async def test_texts_and_keys_are_there_in_eighteen_rows(tmp_path: Path) -> None:
    async with watch(tmp_path, lines(records()), size=(60, 18)) as w:
        assert w.screen.query_one(SampleView).region.height >= 4
        assert w.screen.query_one(RunChart).region.height >= 6
        assert w.screen.query_one(KeyLine).region.height == 1


async def test_nothing_is_drawn_when_nothing_is_new(tmp_path: Path) -> None:
    async with watch(tmp_path, lines(records())) as w:
        before = w.screen.query_one(RunChart).view
        w.screen.read_on()
        assert w.screen.query_one(RunChart).view is before


async def test_the_end_of_a_run_is_told(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    with lock_folder(tmp_path):
        async with watch(tmp_path, lines(records())) as w:
            assert "training" in w.head
            (tmp_path / ".lock").rename(tmp_path / "away")
            w.screen.read_on()
            assert "■ stopped" in w.head
            assert "--resume" in w.words
            (tmp_path / ".lock").touch()
            w.screen.read_on()
            assert "× died" in w.head


async def test_what_counts_best_is_what_is_to_beat(tmp_path: Path) -> None:
    """In little text longer contexts count less well than pairs."""
    log: list[Record] = [Baselines(uniform=4.17, bigram=2.49, five_gram=2.8)]
    async with watch(tmp_path, lines([*log, Evaluation(0, 4.2, best=True)])) as w:
        assert "Does not beat a blind guess (4.17)." in w.words  # a run that ended
        await w.grow(lines([Step(1, 2.6, 1e-3, 0.25, 100), Evaluation(1, 2.6, best=True)]))
        assert "Beats 5-gram counts (2.80), not bigram counts (2.49)." in w.words
        await w.grow(lines([Step(2, 2.4, 1e-3, 0.25, 100), Evaluation(2, 2.4, best=True)]))
        assert "Beats bigram counts (2.49): it has learned more than counting can." in w.words


async def test_earlier_texts_are_a_key_away(tmp_path: Path) -> None:
    async with watch(tmp_path, lines(records())) as w:
        chart = w.screen.query_one(RunChart)
        assert "◆ step 30" in w.text
        assert "3 of 3" in w.text
        assert chart.chosen == 30
        await w.press("up")
        assert "◆ step 20" in w.text
        assert chart.chosen == 20
        assert "◆" in w.chart
        # who reads an older text goes on reading it
        await w.grow(lines([Step(31, 2.0, 1e-3, 0.5, 100), Sample(31, "newest")]))
        assert "◆ step 20" in w.text
        assert "2 of 4" in w.text
        await w.press("up", "up", "up")
        assert "◆ step 10" in w.text
        await w.press("end")
        assert "newest" in w.text
        await w.press("home", "down")
        assert "◆ step 20" in w.text
        await w.press("end")
        await w.grow(lines([Sample(31, "newer still")]))
        assert "newer still" in w.text


async def test_the_last_steps_can_be_looked_at_alone(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    log = lines(Step(n, 2.0 + 1 / n, 1e-3, 0.5, 100) for n in range(1, 2001))
    async with watch(tmp_path, log) as w:

        def left() -> int:
            axis = w.chart.splitlines()[-1].replace("└", " ")
            return int(axis.split()[0].replace(",", ""))

        assert left() == 0
        await w.press("right")
        assert left() == 1000
        await w.press("+")
        assert left() == 1500
        for _ in range(20):
            await w.press("right")
        assert left() == 2000 - 16
        await w.press("left")
        assert left() == 2000 - 31
        for _ in range(20):
            await w.press("-")
        assert left() == 0
        await w.press("l")
        assert left() == 1
        assert " 10 ─" in w.chart


async def test_escape_goes_to_the_shipped_model(tmp_path: Path) -> None:
    async with watch(tmp_path, lines(records())) as w:
        await w.press("f1")
        assert isinstance(w.app.screen, HelpScreen)
        await w.press("escape", "escape")
        assert isinstance(w.app.screen, MainScreen)
        assert w.app.screen.writer.model is not None


async def test_a_folder_before_and_after_its_log(tmp_path: Path) -> None:
    async with watch(tmp_path) as w:
        assert "no step yet" in w.head
        assert "Waiting for its first checkpoint" in w.hint
        await w.grow(lines(records()))
        assert "30 steps" in w.head
        (tmp_path / "metrics.jsonl").unlink()
        w.screen.read_on()
        assert "no step yet" in w.head


async def test_a_foreign_log_is_text_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "[red]x\x1b[2J"
    folder.mkdir()
    evil = Sample(30, "[bold]O\x1b[2J\x07 Romeo\ud800[@click=app.quit]x[/]")
    async with watch(folder, lines([*records(), evil]) + b'{"a": "[red]"}\n') as w:
        assert "[bold]O␛[2J␇ Romeo�[@click=app.quit]x[/]" in w.text
        assert "[red]x␛[2J" in w.head
        assert "line 40 of metrics.jsonl is not of this run" in w.words
        assert "\x1b" not in w.head + w.text + w.words + w.hint


@pytest.mark.once
@pytest.mark.parametrize("content", [b"", lines(records())], ids=["empty", "a run"])
async def test_survives_any_size(tmp_path: Path, content: bytes) -> None:
    write_checkpoint(tmp_path)
    async with watch(tmp_path, content) as w:
        for size in [(1, 1), (300, 100), (2, 40), (40, 2), (35, 13), (80, 10), (160, 50)]:
            await w.pilot.resize_terminal(*size)
            await w.press("up", "right", "l")


async def test_a_wide_screen_has_older_texts_beside_the_curve(tmp_path: Path) -> None:
    async with watch(tmp_path, lines(records()), size=(160, 50)) as w:
        texts, chart = w.screen.query_one(SampleView), w.screen.query_one(RunChart)
        await until(w.pilot, lambda: texts.region.x > chart.region.x + 80)
        assert [w.text.index(f"text {n}") for n in (30, 20, 10)] == sorted(
            w.text.index(f"text {n}") for n in (30, 20, 10)
        )


async def test_the_picker_opens_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, steps in (("[red]one", 10), ("two", 30), ("now", 5)):
        (folder := tmp_path / "checkpoints" / name).mkdir(parents=True)
        write_checkpoint(folder)
        append(folder, lines(records(steps=steps)))
    app = MinigptApp(ScriptedEngine(), MODEL)
    with lock_folder(tmp_path / "checkpoints" / "now"):
        async with app.run_test() as pilot:
            await pilot.press("f9")
            await until(pilot, lambda: bool(app.screen.query(OptionList)))
            prompts = [str(o.prompt) for o in app.screen.query_one(OptionList).options]
            # the one that goes on, then the best
            assert [p.split()[1] for p in prompts] == ["now", "two", "[red]one"]
            assert "30/40  2.5000" in prompts[1]
            assert "training" in prompts[0]
            assert max(map(len, prompts)) <= 72
            await pilot.press("escape")
            assert isinstance(app.screen, MainScreen)
            await pilot.press("f9")
            await until(pilot, lambda: bool(app.screen.query(OptionList)))
            await pilot.press("down", "enter")
            await until(pilot, lambda: isinstance(app.screen, WatchScreen))
            await until(pilot, lambda: "two" in app.screen.query_one(RunHead).render().plain)
            await pilot.press("f9")
            assert isinstance(app.screen, WatchScreen)


async def test_a_run_is_one_row_in_sixty_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        (folder := tmp_path / "checkpoints" / name).mkdir(parents=True)
        append(folder, lines(records()))
    app = MinigptApp(ScriptedEngine(), MODEL)
    async with app.run_test(size=(60, 20)) as pilot:
        await pilot.press("f9")
        await until(pilot, lambda: bool(app.screen.query(OptionList)))
        await pilot.pause()
        assert app.screen.query_one(OptionList).virtual_size.height == 2
        assert app.screen.query_one("#run-columns").size.height == 1


async def test_a_name_that_is_cut_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a-run-of-18-letters", "just-18-characters", "漢字漢字漢字漢字漢字"):
        (folder := tmp_path / "checkpoints" / name).mkdir(parents=True)
        append(folder, lines(records()))
    app = MinigptApp(ScriptedEngine(), MODEL)
    async with app.run_test() as pilot:
        await pilot.press("f9")
        await until(pilot, lambda: bool(app.screen.query(OptionList)))
        prompts = [str(o.prompt) for o in app.screen.query_one(OptionList).options]
        assert sorted(p[2:].partition("  ")[0].strip() for p in prompts) == [
            "a-run-of-18-lette…",
            "just-18-characters",
            "漢字漢字漢字漢字 …",
        ]
        assert len({cell_len(p) for p in prompts}) == 1


async def test_a_folder_without_runs_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = MinigptApp(ScriptedEngine(), MODEL)
    async with app.run_test() as pilot:
        await pilot.press("f9")
        await until(pilot, lambda: isinstance(app.screen, RunPicker))
        text = app.screen.query_one(Static)
        await until(pilot, lambda: "minigpt train" in str(text.render()))
        assert app.screen.query_one(".window").border_subtitle == "Esc closes"
        await pilot.press("f9")
        assert isinstance(app.screen, MainScreen)


def test_a_run_is_told_from_a_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_folder(None) is None
    assert run_folder(str(tmp_path)) is None
    assert run_folder("a\0b") is None
    append(tmp_path, b"")
    assert run_folder(str(tmp_path)) == tmp_path
    (tmp_path / "empty").mkdir()
    assert main([str(tmp_path / "empty")]) == 2
    assert "without a training run" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    for name in ("mine", "laptop"):
        (folder := tmp_path / "checkpoints" / name).mkdir(parents=True)
        write_checkpoint(folder)
        append(folder, b"")
    assert run_folder("mine") == Path("checkpoints", "mine")
    assert run_folder("laptop") is None  # the model's name came first


def test_watching_loads_no_torch(tmp_path: Path) -> None:
    append(tmp_path, lines(records()))
    loaded = modules_after(
        "from pathlib import Path\n"
        "import minigpt_tui.screens.runs, minigpt_tui.screens.watch\n"
        f"reader = minigpt_tui.screens.watch.RunReader(Path({str(tmp_path)!r}))\n"
        "assert reader.poll(0) and reader.view().step == 30"
    )
    assert loaded.isdisjoint({"torch", "onnx", "onnxruntime", "safetensors", "numpy"})


def test_every_binding_has_an_id() -> None:
    for owner in (WatchScreen, RunPicker):
        for binding in owner.BINDINGS:
            assert binding.id  # type: ignore[union-attr]
