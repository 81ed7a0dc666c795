"""The panel in an app that only listens."""

import pytest
from textual import events
from textual.app import App, ComposeResult
from textual.widgets import Input

from minigpt.errors import InputError
from minigpt.runtime.params import KNOBS, SamplingParams
from minigpt_tui.messages import ParamsChanged
from minigpt_tui.presets import PRESETS
from minigpt_tui.widgets.more_row import MoreRow
from minigpt_tui.widgets.preset_row import PresetRow
from minigpt_tui.widgets.sampling_panel import MAIN, SLIDERS, SamplingPanel
from minigpt_tui.widgets.slider import Slider
from tests.tui.scripted_engine import until


class Host(App[None]):
    CSS = "SamplingPanel { width: 30; }"

    def __init__(self, **settings: object) -> None:
        super().__init__()
        self.panel = SamplingPanel(**settings)  # type: ignore[arg-type]
        self.heard: list[SamplingParams] = []
        self.explained = ""
        self.saved: list[tuple[str, dict[str, float]]] = []

    def compose(self) -> ComposeResult:
        yield self.panel

    def on_params_changed(self, message: ParamsChanged) -> None:
        self.heard.append(message.params)

    def on_sampling_panel_explained(self, message: SamplingPanel.Explained) -> None:
        self.explained = message.help

    def on_sampling_panel_preset_saved(self, message: SamplingPanel.PresetSaved) -> None:
        self.saved.append((message.name, dict(message.changes)))

    def slider(self, name: str) -> Slider:
        return self.panel.query_one(f"#{name}", Slider)

    @property
    def preset(self) -> str:
        return self.panel.query_one(PresetRow).text

    @property
    def more(self) -> str:
        return self.panel.query_one(MoreRow).render().plain


async def test_a_long_seed_is_shown_whole() -> None:
    app = Host(seed_hint="Ctrl+R new")
    async with app.run_test(size=(30, 20)) as pilot:
        seed, hint = app.panel.query_one("#seed", Input), app.panel.query_one("#seed-hint")
        for value, is_hinted in ((7, True), (123456789, False), (42, True)):
            app.panel.take(SamplingParams(seed=value))
            await pilot.pause()
            assert hint.display is is_hinted
            assert seed.size.width > len(seed.value)
        seed.focus()
        await pilot.press(*"4000000000")
        assert seed.size.width > len(seed.value) == 10
        assert not hint.display


async def test_what_fits_a_small_screen_comes_first() -> None:
    app = Host()
    async with app.run_test(size=(30, 8)):
        ids = [widget.id for widget in app.screen.focus_chain if widget.region.y < 8]
        assert ids == ["preset", *(n.replace("_", "-") for n in MAIN), "seed", "more"]
        assert "temperature" in app.slider("temperature").render_line(0).text


async def test_every_parameter_has_its_slider() -> None:
    app = Host()
    async with app.run_test():
        ids = {str(slider.id) for slider in app.panel.query(Slider)}
        assert ids == {name.replace("_", "-") for name in KNOBS.keys() - {"seed"}}


async def test_a_preset_is_one_message_and_leaves_the_rest_alone() -> None:
    params = SamplingParams(seed=7, max_new_tokens=9, logit_bias=((1, 2.0),), min_p=0.3, mirostat=1)
    app = Host(defaults=params)
    async with app.run_test() as pilot:
        assert app.preset == "balanced*"
        app.panel.query_one(PresetRow).focus()
        await pilot.press("right")
        await pilot.pause()
        (heard,) = app.heard
        assert heard == app.panel.params
        assert (heard.temperature, heard.top_p, heard.min_p, heard.mirostat) == (1.3, 1.0, 0.05, 0)
        assert (heard.seed, heard.max_new_tokens, heard.logit_bias) == (7, 9, ((1, 2.0),))
        assert app.slider("temperature").value == 1.3
        assert app.preset == "wild"


async def test_the_presets_go_round() -> None:
    app = Host()
    async with app.run_test() as pilot:
        app.panel.query_one(PresetRow).focus()
        seen = []
        for _ in range(5):
            seen.append(app.preset)
            await pilot.press("left")
        assert seen == ["balanced", "careful", "greedy", "wild", "balanced"]


async def test_a_moved_slider_stars_the_preset_and_enter_restores_it() -> None:
    app = Host()
    async with app.run_test() as pilot:
        app.slider("top-k").focus()
        await pilot.press("right")
        assert app.preset == "balanced*"
        await pilot.press("left")
        assert app.preset == "balanced"
        await pilot.press("right")
        app.panel.query_one(PresetRow).focus()
        await pilot.press("enter")
        assert app.preset == "balanced"
        assert app.panel.params == SamplingParams()


async def test_sliders_that_meet_a_preset_have_its_name() -> None:
    app = Host()
    async with app.run_test() as pilot:
        app.slider("temperature").focus()
        await pilot.press("home")
        assert app.preset == "greedy"


async def test_a_click_on_the_arrows_goes_through_the_presets() -> None:
    app = Host()
    async with app.run_test() as pilot:
        await pilot.click(PresetRow, offset=(29, 0))
        assert app.preset == "wild"
        line = app.panel.query_one(PresetRow).render_line(0).text
        await pilot.click(PresetRow, offset=(line.index("◂"), 0))
        assert app.preset == "balanced"


@pytest.mark.once
async def test_the_preset_fits_any_width() -> None:
    app = Host(own_presets={"羅羅羅羅羅羅羅羅": {"top_k": 3}})
    async with app.run_test() as pilot:
        row = app.panel.query_one(PresetRow)
        app.panel.choose_preset("羅羅羅羅羅羅羅羅")
        for width in range(1, 45):
            app.panel.styles.width = width
            await pilot.pause()
            assert row.render_line(0).cell_length == width
        assert "羅羅羅羅羅羅羅羅" in row.render_line(0).text


async def test_an_own_preset_is_saved_and_chosen() -> None:
    app = Host(own_presets={"old": {"top_k": 3}})
    async with app.run_test() as pilot:
        app.slider("min-p").set_to(0.2)
        app.slider("max-new-tokens").set_to(50)
        await pilot.pause()
        app.panel.save_preset(" mine ")
        await pilot.pause()
        assert app.saved == [("mine", {"min_p": 0.2})]
        assert app.preset == "mine"
        app.panel.query_one(PresetRow).focus()
        await pilot.press("left")
        assert app.preset == "old"
        assert app.panel.params == SamplingParams(top_k=3, max_new_tokens=50)
        with pytest.raises(InputError, match="built in"):
            app.panel.save_preset("wild")


async def test_more_opens_closes_and_hides_nothing_that_is_changed() -> None:
    app = Host()
    async with app.run_test() as pilot:
        row = app.panel.query_one(MoreRow)
        assert app.more == " ▸ more"
        app.slider("mirostat").set_to(3)
        await pilot.pause()
        assert app.more == " ▸ more · mirostat 3.0"
        app.slider("presence-penalty").set_to(0.5)
        await pilot.pause()
        assert app.more == " ▸ more · presence 0.5 · +1"
        row.focus()
        for key, is_open in (("right", True), ("left", False), ("left", False), ("enter", True)):
            await pilot.press(key)
            await pilot.pause()
            assert row.is_open is is_open
            assert app.panel.query_one("#more-sliders").display is is_open
        assert app.more == "›▾ less"
        await pilot.press("tab")
        assert app.focused is app.slider("typical-p")
        await pilot.click(row)
        assert not app.panel.query_one("#more-sliders").display


async def test_up_and_down_go_through_the_rows() -> None:
    app = Host()
    async with app.run_test() as pilot:
        app.panel.query_one(PresetRow).focus()
        ids = []
        for _ in range(7):
            await pilot.press("down")
            ids.append(app.focused.id if app.focused else None)
        assert ids == [*(n.replace("_", "-") for n in MAIN), "seed", "more"]
        await pilot.press("up")
        assert app.focused is app.panel.query_one("#seed")


async def test_the_users_defaults_come_back() -> None:
    mine = SamplingParams(temperature=1.1, top_k=9, max_new_tokens=77, seed=5)
    app = Host(defaults=mine)
    async with app.run_test() as pilot:
        assert app.panel.params == mine
        assert app.panel.query_one("#seed", Input).value == "5"
        app.panel.choose_preset("greedy")
        app.panel.new_seed()
        await pilot.pause()
        seed = app.panel.params.seed
        app.panel.reset()
        assert app.panel.params == SamplingParams(
            temperature=1.1, top_k=9, max_new_tokens=77, seed=seed
        )
        assert app.more == " ▸ more"
        app.slider("top-k").focus()
        await pilot.press("end", "backspace")
        assert app.panel.params.top_k == 9


@pytest.mark.parametrize("typed", ["-5", "9" * 25, "9" * 5000])
async def test_a_seed_that_is_none_is_told(typed: str) -> None:
    app = Host()
    async with app.run_test(notifications=True) as pilot:
        seed = app.panel.query_one("#seed", Input)
        seed.focus()
        await pilot.pause()
        app.post_message(events.Paste(typed))
        await until(pilot, lambda: seed.value == typed)
        await pilot.press("enter")
        await pilot.pause()
        (notice,) = app._notifications
        assert notice.message.startswith("seed must be")
        assert typed[:20] in notice.message
        assert app.panel.params.seed == SamplingParams().seed
        assert seed.value == str(SamplingParams().seed)


async def test_other_settings_are_taken_at_once() -> None:
    app = Host()
    async with app.run_test() as pilot:
        other = SamplingParams(temperature=0.333, top_k=5, seed=99, logit_bias=((3, -2.0),))
        app.panel.take(other)
        await pilot.pause()
        assert app.heard == [other]
        assert app.panel.query_one("#seed", Input).value == "99"
        assert app.slider("temperature").value == 0.333


async def test_the_focused_parameter_is_explained() -> None:
    app = Host()
    async with app.run_test() as pilot:
        for name in SLIDERS:
            assert app.slider(name.replace("_", "-")).tooltip == KNOBS[name].help
        app.slider("min-p").focus()
        await pilot.pause()
        assert app.explained == KNOBS["min_p"].help
        await pilot.press("down")
        await pilot.pause()
        assert app.explained == KNOBS["repetition_penalty"].help
        app.screen.set_focus(None)
        await pilot.pause()
        assert app.explained == ""


async def test_every_preset_shows_its_values() -> None:
    app = Host()
    async with app.run_test() as pilot:
        for name in PRESETS:
            app.panel.choose_preset(name)
            await pilot.pause()
            for slider in app.panel.query(Slider):
                field = str(slider.id).replace("-", "_")
                assert slider.value == getattr(app.panel.params, field)
