import pytest
from textual.app import App, ComposeResult
from textual.events import MouseScrollUp
from textual.widgets import Input

from minigpt_tui.widgets.scale import Scale
from minigpt_tui.widgets.slider import Slider

TEMPERATURE = Scale(0.0, 2.0, 0.05, 0.8, limit=100.0)
TOP_K = Scale(0, 100, 1, 0, is_integer=True)
LENGTH = Scale(1, 5000, 50, 500, is_integer=True)


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


async def test_the_row_fills_any_width() -> None:
    app = Host(TEMPERATURE)
    async with app.run_test() as pilot:
        for width in range(1, 45):
            app.slider.styles.width = width
            await pilot.pause()
            assert app.slider.render_line(0).cell_length == width


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
