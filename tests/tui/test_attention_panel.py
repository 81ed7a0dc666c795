import pytest
from rich.cells import cell_len
from textual.app import App, ComposeResult

from minigpt_tui.inside import Inside
from minigpt_tui.widgets.attention_panel import EMPTY, HEADING, AttentionPanel

TEXT = "to\nbe"
LADDER = [
    [("a", 0.4), ("e", 0.3), (" ", 0.1)],
    [("e", 0.5), ("a", 0.3), ("\n", 0.1)],
    [("i", 0.6), ("\x1b", 0.3), ("界", 0.1)],
    [("e", 1.0), ("a", 0.0), ("b", 0.0)],
]


def one_hot(at: int) -> list[float]:
    return [float(i == at) for i in range(len(TEXT))]


# head h of layer l looks at character l + h alone
INSIDE = Inside(TEXT, [[one_hot(layer + head) for head in range(2)] for layer in range(3)], LADDER)


class Host(App[None]):
    CSS = "AttentionPanel { width: 30; }"
    AUTO_FOCUS = ""

    def __init__(self, height: int = 10) -> None:
        super().__init__()
        self.panel = AttentionPanel()
        self.panel.styles.height = height
        self.chosen: list[tuple[int, int | None]] = []

    def compose(self) -> ComposeResult:
        yield self.panel

    def on_attention_panel_chosen(self, message: AttentionPanel.Chosen) -> None:
        self.chosen.append((message.layer, message.head))

    @property
    def lines(self) -> list[str]:
        content = self.panel.render()
        return [line.rstrip() for line in content.plain.split("\n")]


async def test_without_a_place_it_says_what_to_do() -> None:
    app = Host()
    async with app.run_test() as pilot:
        await pilot.press("tab", "down", "right")
        assert app.lines == EMPTY.split("\n")
        assert app.panel.weights == []
        assert app.chosen == []


async def test_every_layer_has_its_likeliest_characters() -> None:
    app = Host()
    async with app.run_test():
        app.panel.show(INSIDE)
        assert app.lines[0] == HEADING
        assert app.lines[1:5] == [
            " start    a  40% e  30% ␣  10%",
            "›layer 1  e  50% a  30% ↵  10%",
            " layer 2  i  60% ␛  30% 界 10%",
            " layer 3  e 100% a   0% b   0%",
        ]
        assert app.lines[5:] == [
            "↰ layer 1, all heads  ●●",
            "  50%                        t",
            "  50%                       to",
        ]


async def test_with_the_focus_it_tells_its_keys() -> None:
    app = Host()
    async with app.run_test() as pilot:
        app.panel.show(INSIDE)
        await pilot.press("tab")
        assert app.lines[0] == "↑↓ layer   ←→ head   0 mean"
        app.set_keymap({"attention.mean": "x", "attention.head.after": "n"})
        assert app.lines[0] == "↑↓ layer   ←N head   X mean"


async def test_a_place_deep_in_the_text_is_shown_with_what_is_before_it() -> None:
    app = Host()
    text = "once in\ta long line\nof \x1b[31mtext"
    weights = [0.0] * 22 + [0.004, 0.006, 0.99] + [0.0] * 6
    async with app.run_test():
        app.panel.show(Inside(text, [[weights]], LADDER[:2]))
        assert app.lines[4:] == ["  99% …ce in⇥a long line↵of ␛[", "   1% …nce in⇥a long line↵of ␛"]


async def test_the_guess_that_wins_is_bold_on_every_rung() -> None:
    app = Host()
    async with app.run_test():
        app.panel.show(INSIDE)
        content = app.panel.render()
        bold = [
            content.plain[span.start : span.end]
            for span in content.spans
            if span.style == "bold $primary"
        ]
        assert bold == [" e  30%", " e  50%", " e 100%"]


@pytest.mark.parametrize(
    ("keys", "chosen", "looked_at"),
    [
        (["down"], (1, None), {1, 2}),
        (["right"], (0, 0), {0}),
        (["right", "right", "right"], (0, 1), {1}),
        (["down", "right", "right"], (1, 1), {2}),
        (["down", "right", "right", "left"], (1, 0), {1}),
        (["right", "left"], (0, None), {0, 1}),
        (["right", "m"], (0, None), {0, 1}),
        (["right", "0"], (0, None), {0, 1}),
        (["down", "down", "down", "down"], (2, None), {2, 3}),
        (["down", "up"], (0, None), {0, 1}),
    ],
)
async def test_keys_choose_a_layer_and_a_head(
    keys: list[str], chosen: tuple[int, int | None], looked_at: set[int]
) -> None:
    app = Host()
    async with app.run_test() as pilot:
        app.panel.show(INSIDE)
        await pilot.press("tab", *keys)
        assert app.chosen[-1] == chosen
        assert {i for i, weight in enumerate(app.panel.weights) if weight > 0} == looked_at
        assert sum(app.panel.weights) == pytest.approx(1)


async def test_at_an_end_nothing_is_posted() -> None:
    app = Host()
    async with app.run_test() as pilot:
        app.panel.show(INSIDE)
        await pilot.press("tab", "up", "left", "m")
        assert app.chosen == []


async def test_a_click_on_a_rung_chooses_its_layer() -> None:
    app = Host()
    async with app.run_test() as pilot:
        app.panel.show(INSIDE)
        await pilot.click(AttentionPanel, offset=(3, 4))
        await pilot.click(AttentionPanel, offset=(3, 1))  # the start looks nowhere
        assert app.chosen == [(2, None)]


async def test_few_rows_show_the_rungs_around_the_chosen_one() -> None:
    many = Inside(TEXT, [INSIDE.attention[0]] * 12, [LADDER[0]] * 13)
    app = Host(height=6)
    async with app.run_test() as pilot:
        app.panel.show(many)
        await pilot.press("tab", *["down"] * 5)
        assert [line[:9].strip() for line in app.lines[:4]] == [
            "layer 4", "layer 5", "›layer 6", "layer 7",
        ]  # fmt: skip
        assert app.lines[4].startswith("↰ layer 6, all heads")
        assert len(app.lines) == 6
        await pilot.press(*["down"] * 9)
        assert app.lines[3].startswith("›layer 12")


async def test_another_model_may_have_fewer_layers_and_heads() -> None:
    app = Host()
    async with app.run_test() as pilot:
        app.panel.show(INSIDE)
        await pilot.press("tab", "down", "down", "right", "right")
        app.panel.show(Inside("ab", [[[0.5, 0.5]]], LADDER[:2]))
        assert (app.panel.chosen_layer, app.panel.chosen_head) == (0, 0)
        assert app.panel.weights == [0.5, 0.5]
        app.panel.show(None)
        assert app.lines == EMPTY.split("\n")


@pytest.mark.parametrize("width", [1, 5, 12, 18, 30, 31, 200])
async def test_it_fits_any_width(width: int) -> None:
    app = Host()
    async with app.run_test(size=(220, 30)) as pilot:
        app.panel.styles.width = width
        app.panel.show(Inside("界" * 80, [[[1 / 80] * 80] * 40], LADDER[:2]))
        await pilot.pause()
        assert len(app.lines) == 10
        if width >= 30:  # what is narrower is cut
            assert max(map(cell_len, app.lines)) <= width
