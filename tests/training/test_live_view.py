import contextlib
import io
import math
import mmap
import re
import sys

import pytest

pytest.importorskip("torch")

from rich.cells import cell_len
from rich.console import Console

from minigpt.train_command import _will_stop
from minigpt.training.events import Evaluation, Sample
from minigpt.training.live_view import View, frame, live_view, resident_bytes, tokenizing_view
from minigpt.training.progress import STOPPING, Progress
from tests.training.test_progress import YARDSTICKS, step

TITLE = "shakespeare: 804,224 parameters, 1,115,394 characters, 65 distinct"


def some_run(text: str = "ROMEO:\nO, she doth teach\nthe torches") -> Progress:
    """A run of 100 steps, at 61, with four evaluations and a text at each but the first."""
    progress = Progress(TITLE, 100, YARDSTICKS)
    for n in range(61):
        if n % 20 == 0:
            progress.update(Evaluation(n, 2.6 - n / 100, best=True), now=n)
            if n:
                progress.update(Sample(n, f"{text} {n}"), now=n)
        progress.update(step(n + 1, loss=4 - n / 30), now=n + 1)
    return progress


def drawn(progress: Progress, width: int, height: int, **options: object) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, height=height, **options)  # type: ignore[arg-type]
    console.print(View(progress))
    return out.getvalue().splitlines()


def test_everything_is_there_in_80_by_24() -> None:
    lines = drawn(some_run(), 80, 24)
    assert len(lines) <= 24
    shown = "\n".join(lines)
    for words in (
        TITLE, " 61/100 steps  61%", "training 2.6", "validation 2.0000", "best 2.0000",
        "tokens/s 100 ", "left 0:00:40", "elapsed ", "learning rate 1.00e-03",
        "gradient norm 0.5", "memory ", "5-gram", "bigram", "── step 60 ──",
        "O, she doth teach", "the torches 60", "100 steps",
    ):  # fmt: skip
        assert words in shown
    assert len(re.findall("[⠁-⣿]", shown)) > 50
    assert shown.count("●") == 1 + 4  # the legend's, and one an evaluation


def test_the_share_of_the_peak_is_shown_where_it_is_known() -> None:
    progress = some_run()
    assert "MFU" not in "\n".join(drawn(progress, 80, 24))
    progress.tokens_per_s_at_peak = 400.0
    assert "MFU 25.0%" in "\n".join(drawn(progress, 80, 24))


def test_a_wish_to_stop_is_heard_at_once() -> None:
    progress = some_run()
    assert STOPPING not in "\n".join(drawn(progress, 100, 24))
    progress.stopping = True
    assert STOPPING in "\n".join(drawn(progress, 100, 24))


def test_the_wish_is_told_on_the_other_screen_alone(capfd: pytest.CaptureFixture[str]) -> None:
    progress, out = some_run(), io.StringIO()
    console = Console(file=out, width=100, height=24, force_terminal=True)
    with contextlib.suppress(KeyboardInterrupt), live_view(progress, console):
        _will_stop(progress)
        assert progress.stopping
        raise KeyboardInterrupt  # the second one
    assert capfd.readouterr().err == ""
    assert STOPPING not in out.getvalue().rpartition("\x1b[?1049l")[2]  # it has stopped


def test_160_by_50_has_room_for_older_texts_beside_a_larger_chart() -> None:
    small, large = drawn(some_run(), 80, 24), drawn(some_run(), 160, 50)
    assert 48 <= len(large) <= 50
    places = [large.index(line) for n in (60, 40, 20) for line in large if f"torches {n}" in line]
    assert places == sorted(places)
    assert len(places) == 3
    beside = next(line for line in large if "torches 60" in line)
    assert beside.index("torches") > 100
    rows = [sum(bool(re.search("[│┤]", line)) for line in lines) for lines in (small, large)]
    assert rows[1] > 3 * rows[0]


@pytest.mark.parametrize("width", [1, 10, 24, 39, 40, 79, 80, 119, 120, 200])
@pytest.mark.parametrize("height", [1, 2, 5, 10, 24, 50])
def test_no_size_breaks_a_line(width: int, height: int) -> None:
    for progress in (Progress(TITLE, 100, YARDSTICKS), some_run(), some_run("深い" * 70)):
        lines = frame(progress, width, height, now=70.0)
        assert len(lines) <= height
        assert max(cell_len(line.plain) for line in lines) <= width
        assert not any("\n" in line.plain for line in lines)


def test_a_short_terminal_still_has_the_losses() -> None:
    for height in (5, 8):
        assert "validation 2.0000" in "\n".join(drawn(some_run(), 80, height))


def test_the_picture_is_as_calm_as_the_run() -> None:
    progress = some_run()
    before = frame(progress, 80, 24, now=70.0)
    progress.update(step(62, loss=2.0), now=62)
    after = frame(progress, 80, 24, now=70.2)
    # the same axes, names and texts; a step more moves at most a few cells of the curve
    changed = [(a, b) for a, b in zip(before, after, strict=True) if a.plain != b.plain]
    assert 0 < len(changed) < 8
    axes = [[line.plain[:5] for line in lines[4:]] for lines in (before, after)]
    assert axes[0][:9] == axes[1][:9]


def test_what_a_model_writes_commands_nothing() -> None:
    shown = "\n".join(drawn(some_run("[bold]O\x1b[2J\x07 Romeo"), 80, 24))
    assert "[bold]O␛[2J␇ Romeo 60" in shown
    assert "\x1b" not in shown


def test_without_colors_nothing_is_lost() -> None:
    terminal = {"force_terminal": True, "color_system": "truecolor"}
    colored = "\n".join(drawn(some_run(), 80, 24, **terminal))
    plain = "\n".join(drawn(some_run(), 80, 24, **terminal, no_color=True))
    assert re.search(r"\x1b\[[\d;]*3[1-7]m", colored)
    assert not re.search(r"\x1b\[[\d;]*3[1-7]m", plain)
    without = [re.sub(r"\x1b\[[\d;]*m|memory.*", "", text) for text in (colored, plain)]
    assert without[0] == without[1]


def test_a_terminal_without_braille_gets_ascii() -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    console = Console(file=out, width=80, height=24)
    console.print(View(some_run()))
    out.seek(0)
    shown = out.read()
    assert "* * * *" in shown
    assert "o validation" in shown


def test_the_live_view_leaves_its_last_state_on_the_first_screen() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, height=24, color_system=None)
    progress = some_run()
    with live_view(progress, console) as show:
        show(step(62))
    shown = out.getvalue()
    there, back = shown.index("\x1b[?1049h"), shown.index("\x1b[?1049l")
    assert there < back
    assert "62/100" in shown[back:]
    assert "\x1b[?25h" in shown[back - 20 :]  # the cursor is back


def test_what_is_said_meanwhile_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", out := io.StringIO())
    console = Console(stderr=True, force_terminal=True, width=80, height=24, color_system=None)
    with live_view(some_run(), console):
        print("careful\x1b", file=sys.stderr)
    assert out.getvalue().endswith("careful␛\n")
    assert out.getvalue().count("careful") == 1
    assert sys.stderr is out


def test_a_loss_that_is_no_number_is_told_and_not_drawn() -> None:
    progress = some_run()
    before = frame(progress, 80, 24, now=70.0)
    progress.update(Evaluation(61, math.nan, best=False), now=61)
    after = frame(progress, 80, 24, now=70.0)
    assert "validation nan" in after[3].plain
    assert [line.plain for line in after[4:13]] == [line.plain for line in before[4:13]]


def test_bars_for_a_large_text() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, color_system=None)
    with tokenizing_view(console) as report:
        report("hash", 50_000_000, 100_000_000)
        report("hash", 100_000_000, 100_000_000)
        report("ids", 25_000_000, 100_000_000)
    assert "hash" in out.getvalue()
    assert "25.0/100.0 MB" in out.getvalue()


def test_memory_is_that_of_this_process() -> None:
    memory = resident_bytes()
    if memory is None:
        pytest.skip("this system does not tell")
    # pages of its own: an allocator might hand out what a test before has freed
    with mmap.mmap(-1, 50_000_000) as more:
        more.write(b"x" * len(more))
        assert (resident_bytes() or 0) - memory > 0.8 * len(more)
