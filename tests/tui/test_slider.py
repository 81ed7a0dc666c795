import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from textual.app import App, ComposeResult
from textual.events import MouseScrollUp
from textual.widgets import Input

from minigpt_tui.widgets.sampling_panel import SLIDERS
from minigpt_tui.widgets.scale import VALUE_CELLS, Scale
from minigpt_tui.widgets.slider import Slider

TEMPERATURE = Scale(0.0, 2.0, 0.05, 0.8, limit=100.0)
TOP_K = Scale(0, 100, 1, 0, is_integer=True)
LENGTH = Scale(1, 5000, 50, 500, is_integer=True)
PENALTY = Scale(-2.0, 2.0, 0.1, 0.0, limit=100.0)


class Host(App[None]):
    CSS = "Slider { height: 1; width: 40; }"

    def __init__(self, scale: Scale) -> None:
        super().__init__()
        self.slider = Slider("name", scale, label_cells=10, id="slider")
        self.values: list[float] = []

    def compose(self) -> ComposeResult:
        yield self.slider
        yield Input()

    def on_slider_changed(self, message: Slider.Changed) -> None:
        self.values.append(message.value)


@pytest.mark.parametrize(
    ("scale", "keys", "value"),
    [
        (TEMPERATURE, ["right"], 0.85),
        (TEMPERATURE, ["left", "left"], 0.7),
        (TEMPERATURE, ["shift+right"], 0.805),
        (TEMPERATURE, ["shift+right", "right"], 0.85),
        (TEMPERATURE, ["ctrl+right"], 1.3),
        (TEMPERATURE, ["ctrl+left", "ctrl+left"], 0.0),
        (TEMPERATURE, ["end", "right"], 2.05),
        (TEMPERATURE, ["home", "left"], 0.0),
        (TEMPERATURE, ["1", ".", "2", "5", "enter"], 1.25),
        (TEMPERATURE, ["1", "comma", "5", "enter"], 1.5),
        (TEMPERATURE, ["1", ".", "2", "tab"], 1.2),
        (TEMPERATURE, ["1", "right"], 1.05),
        (TEMPERATURE, ["1", "5", "backspace", "enter"], 1.0),
        (TEMPERATURE, ["1", "5", "escape", "enter"], 0.8),
        (TEMPERATURE, ["9", "9", "9", "enter"], 100.0),
        (TEMPERATURE, [".", "enter"], 0.8),
        (TEMPERATURE, ["1", ".", ".", "enter"], 0.8),
        (TEMPERATURE, ["end", "backspace"], 0.8),
        (TOP_K, ["right"], 1),
        (TOP_K, ["shift+right"], 1),
        (TOP_K, ["ctrl+right"], 10),
        (TOP_K, ["3", "0", "0", "enter"], 300),
        (TOP_K, ["2", ".", "6", "enter"], 3),
        (TOP_K, ["minus", "3", "enter"], 0),
        (PENALTY, ["minus", "1", ".", "5", "enter"], -1.5),
        (PENALTY, ["minus", "enter"], 0.0),
        (PENALTY, ["1", "minus", "enter"], 1.0),
        (PENALTY, ["minus", "9", "enter"], -2.0),
        (LENGTH, ["right"], 550),
        (LENGTH, ["home", "right"], 50),
        (LENGTH, ["home"], 1),
        (LENGTH, ["end"], 5000),
        (LENGTH, ["shift+left"], 495),
    ],
)
async def test_keys(scale: Scale, keys: list[str], value: float) -> None:
    app = Host(scale)
    async with app.run_test() as pilot:
        app.slider.focus()
        await pilot.press(*keys)
        assert app.slider.value == pytest.approx(value)


@pytest.mark.parametrize(
    ("typed", "value", "sentence"),
    [
        ("-5", 0.0, "name cannot be -5; it is 0.00 now"),
        ("999", 100.0, "name cannot be 999; it is 100.0 now"),
        ("1.2.3", 0.8, "name must be a number, not 1.2.3"),
        ("1.25", 1.25, None),
    ],
)
async def test_what_cannot_be_set_is_told(typed: str, value: float, sentence: str | None) -> None:
    app = Host(TEMPERATURE)
    async with app.run_test(notifications=True) as pilot:
        app.slider.focus()
        await pilot.press(*typed, "enter")
        assert app.slider.value == value
        told = [notice.message for notice in app._notifications]
        assert told == ([sentence] if sentence else [])


async def test_posts_each_new_value_once() -> None:
    app = Host(TEMPERATURE)
    async with app.run_test() as pilot:
        app.slider.focus()
        await pilot.press("right", "end", "end")
        assert app.values == [0.85, 2.0]


async def test_a_drag_goes_on_beyond_the_row_and_ends_with_the_button() -> None:
    app = Host(TEMPERATURE)
    async with app.run_test() as pilot:
        await pilot.mouse_down(app.slider, offset=(10, 0))
        assert app.slider.value == 0.0
        await pilot.hover(None, offset=(70, 12))
        assert app.slider.value == 2.0
        await pilot.mouse_up(None, offset=(70, 12))
        await pilot.hover(app.slider, offset=(11, 0))
        assert app.slider.value == 2.0


async def test_a_click_on_the_label_only_takes_the_focus() -> None:
    app = Host(TEMPERATURE)
    async with app.run_test() as pilot:
        await pilot.click(app.slider, offset=(2, 0))
        assert app.slider.has_focus
        assert app.slider.value == 0.8


async def test_a_double_click_restores_the_default() -> None:
    app = Host(TEMPERATURE)
    async with app.run_test() as pilot:
        await pilot.click(app.slider, offset=(20, 0), times=2)
        assert app.slider.value == 0.8
        assert app.values[-1] == 0.8


async def test_the_wheel_acts_only_with_the_focus() -> None:
    app = Host(TEMPERATURE)
    async with app.run_test() as pilot:
        app.query_one(Input).focus()
        await pilot.pause()
        await pilot._post_mouse_events([MouseScrollUp], app.slider, offset=(15, 0))
        assert app.slider.value == 0.8
        app.slider.focus()
        await pilot.pause()
        await pilot._post_mouse_events([MouseScrollUp], app.slider, offset=(15, 0))
        assert app.slider.value == 0.85


async def test_the_value_is_always_there_as_text() -> None:
    app = Host(TEMPERATURE)
    async with app.run_test() as pilot:
        assert app.slider.render_line(0).text.endswith(" 0.80")
        app.slider.focus()
        await pilot.press("1", "2")
        assert "12▏" in app.slider.render_line(0).text


async def test_the_row_fills_any_width_and_the_value_has_room_first() -> None:
    app = Host(TEMPERATURE)
    async with app.run_test() as pilot:
        for width in range(1, 45):
            app.slider.styles.width = width
            await pilot.pause()
            row = app.slider.render_line(0)
            assert row.cell_length == width
            assert width < 5 or row.text.endswith("0.80")


@pytest.mark.parametrize(
    ("value", "track"),
    [
        (0.0, "●────────"),
        (0.25, "━●───────"),
        (0.3, "━●───────"),
        (0.35, "━●╾──────"),
        (1.0, "━━━━●────"),
        (1.9, "━━━━━━━●╾"),
        (2.0, "━━━━━━━━●"),
        (2.05, "━━━━━━━━▶"),
    ],
)
async def test_the_knob_is_where_the_value_is(value: float, track: str) -> None:
    app = Host(TEMPERATURE)
    async with app.run_test() as pilot:
        app.slider.styles.width = 26
        app.slider.set_to(value)
        await pilot.pause()
        assert app.slider.render_line(0).text == f"›name     {track} {value:>6.2f}"


async def test_a_click_on_the_knob_changes_nothing_it_need_not() -> None:
    app = Host(TEMPERATURE)
    async with app.run_test() as pilot:
        for value in (0.0, 1.0, 2.0):
            app.slider.set_to(value)
            knob = app.slider.render_line(0).text.index("●")
            await pilot.click(app.slider, offset=(knob, 0))
            assert app.slider.value == pytest.approx(value, abs=2.0 / 22)


async def test_the_wheel_too_has_fine_and_coarse_steps() -> None:
    app = Host(TEMPERATURE)
    async with app.run_test() as pilot:
        app.slider.focus()
        await pilot.pause()
        await pilot._post_mouse_events([MouseScrollUp], app.slider, offset=(15, 0), shift=True)
        assert app.slider.value == pytest.approx(0.805)
        await pilot._post_mouse_events([MouseScrollUp], app.slider, offset=(15, 0), control=True)
        assert app.slider.value == pytest.approx(1.3)


async def test_the_slider_in_words() -> None:
    app = Host(TEMPERATURE)
    async with app.run_test():
        words = [app.slider.text]
        for value in (0.0, 1.25, 0.805):
            app.slider.set_to(value)
            words.append(app.slider.text)
        assert words == ["name 0.8", "name 0.0", "name 1.25", "name 0.805"]


def test_a_long_span_of_whole_numbers_is_logarithmic() -> None:
    assert LENGTH.is_log
    assert not TOP_K.is_log
    assert LENGTH.at(0.0) == 1
    assert LENGTH.at(1.0) == 5000
    assert LENGTH.at(0.5) < 100
    assert LENGTH.fraction(9999) == 1.0


@pytest.mark.parametrize("scale", [TEMPERATURE, TOP_K, LENGTH])
def test_place_and_value_agree(scale: Scale) -> None:
    for i in range(101):
        value = scale.at(i / 100)
        assert scale.at(scale.fraction(value)) == pytest.approx(value, rel=0.02)


def test_steps_land_on_the_grid() -> None:
    value = 0.0
    for i in range(1, 41):
        value = TEMPERATURE.stepped(value, 1)
        assert value == pytest.approx(i * 0.05)


@st.composite
def places(draw: st.DrawFn) -> tuple[Scale, float]:
    """A scale of a slider, and a value on its track."""
    scale = SLIDERS[draw(st.sampled_from(sorted(SLIDERS)))]
    value = draw(st.floats(scale.low, scale.high))
    return scale, scale.clamped(value)


@given(places(), st.sampled_from([-10, -1, -0.1, 0.1, 1, 10]))
def test_no_step_leaves_the_range(place: tuple[Scale, float], n_steps: float) -> None:
    scale, value = place
    after = scale.stepped(value, n_steps)
    assert scale.low <= after <= (float("inf") if scale.limit is None else scale.limit)
    assert (after > value) is (n_steps > 0) or after in {scale.low, scale.limit}
    assert not scale.is_integer or after == int(after)


@given(places(), st.sampled_from([1, 10]))
def test_a_step_up_and_one_down_return(place: tuple[Scale, float], n_steps: int) -> None:
    scale, value = place
    start = scale.stepped(value, n_steps)  # on the grid of steps
    up = scale.stepped(start, n_steps)
    if up != scale.limit:
        assert scale.stepped(up, -n_steps) == pytest.approx(start)


@given(places())
def test_a_fine_step_up_and_one_down_return(place: tuple[Scale, float]) -> None:
    scale, value = place
    up = scale.stepped(value, 0.1)
    if up != scale.limit:
        assert scale.stepped(up, -0.1) == pytest.approx(value)


@given(places())
def test_the_place_of_a_value_gives_it_back_within_a_step(place: tuple[Scale, float]) -> None:
    scale, value = place
    assert 0 <= scale.fraction(value) <= 1
    assert abs(scale.at(scale.fraction(value)) - value) <= scale.step / 2 + 1e-6


@given(places(), st.floats(-1, 2), st.floats(-1, 2))
def test_places_are_in_range_and_in_order(
    place: tuple[Scale, float], one: float, other: float
) -> None:
    scale, _ = place
    low, high = sorted((scale.at(one), scale.at(other)))
    assert scale.low <= low <= high <= scale.high
    assert (scale.at(one) <= scale.at(other)) or one > other


@given(st.sampled_from(sorted(SLIDERS)), st.floats(-99.9, 1e9))
@example("frequency_penalty", -4.4e-06)
def test_every_value_has_room_as_text(name: str, value: float) -> None:
    scale = SLIDERS[name]
    text = scale.format(scale.clamped(value))
    assert len(text) <= VALUE_CELLS
    assert float(text) == pytest.approx(scale.clamped(value), rel=0.5, abs=0.5)


@pytest.mark.parametrize(
    ("scale", "value", "text"),
    [
        (TEMPERATURE, 0.8, "0.80"),
        (TEMPERATURE, 0.805, "0.805"),
        (TEMPERATURE, 33.333, "33.33"),
        (TEMPERATURE, 100.0, "100.0"),
        (TEMPERATURE, 0.0004, "4e-04"),
        (PENALTY, -0.1, "-0.10"),
        (PENALTY, -1.95, "-1.95"),
        (TOP_K, 99_999, "99999"),
        (TOP_K, 123_456, "1e+05"),
    ],
)
def test_a_value_as_text(scale: Scale, value: float, text: str) -> None:
    assert scale.format(value) == text
