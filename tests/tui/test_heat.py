import math
from itertools import pairwise

import pytest

from minigpt_tui.heat import CIVIDIS, MARKS, PALETTES, SCALES, Heat, Palette, level
from minigpt_tui.nodes import Author, Origin

MEASURES = [heat for heat in Heat if heat is not Heat.OFF]


def origin(p: float = 0.5, entropy: float = 1.0, rank: int = 1) -> Origin:
    return Origin(7, math.log(p), entropy, rank, 64, False, Author.MODEL, True)


def luminance(colour: str) -> float:
    """As WCAG 2 defines it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(
    ("p", "expected"),
    [(1, 0), (0.5, 0), (0.49, 1), (0.25, 1), (0.1, 2), (0.03, 3), (0.029, 4), (1e-30, 4)],
)
def test_the_less_likely_the_hotter(p: float, expected: int) -> None:
    assert level(Heat.PROBABILITY, origin(p)) == expected


def test_each_heat_looks_at_its_own_number() -> None:
    assert [level(heat, origin(0.01, 0.0, 1)) for heat in Heat] == [0, 4, 0, 0]
    assert [level(heat, origin(0.9, 3.0, 1)) for heat in Heat] == [0, 0, 4, 0]
    assert [level(heat, origin(0.9, 0.0, 65)) for heat in Heat] == [0, 0, 0, 4]


@pytest.mark.parametrize(
    ("bits", "label"), [(0.5, "≤0.5"), (2, "≤2.5"), (3.5, "≤3.5"), (4, ">3.5")]
)
def test_entropy_is_told_in_bits_as_elsewhere(bits: float, label: str) -> None:
    scale = SCALES[Heat.ENTROPY]
    found = level(Heat.ENTROPY, origin(entropy=bits * math.log(2)))
    assert scale.labels[found] == label
    assert "bits" in scale.title
    assert "bits" in scale.short


@pytest.mark.parametrize("rank", range(1, 12))
def test_the_labels_of_the_ranks_are_true(rank: int) -> None:
    names = ["1st", "2nd", "3–4", "3–4", *["5–9"] * 5]
    label = SCALES[Heat.RANK].labels[level(Heat.RANK, origin(rank=rank))]
    assert label == (names[rank - 1] if rank < 10 else "≥10")


@pytest.mark.parametrize("heat", MEASURES)
def test_bounds_rise_and_every_level_has_a_label(heat: Heat) -> None:
    scale = SCALES[heat]
    assert all(a < b for a, b in pairwise(scale.bounds))
    assert len(set(scale.labels)) == 5


@pytest.mark.parametrize("palette", PALETTES.values(), ids=PALETTES)
@pytest.mark.parametrize("is_dark", [True, False])
def test_every_shade_can_be_read(palette: Palette, is_dark: bool) -> None:
    shades = palette.shades(is_dark=is_dark)
    assert len({shade.background for shade in shades}) == 5
    for shade in shades:
        assert contrast(shade.background, shade.foreground) >= 4.5


@pytest.mark.parametrize("is_dark", [True, False])
def test_cividis_is_a_ladder_of_lightness(is_dark: bool) -> None:
    backgrounds = [shade.background for shade in CIVIDIS.shades(is_dark=is_dark)]
    steps = [luminance(b) - luminance(a) for a, b in pairwise(backgrounds)]
    assert all(step > 0 for step in steps) or all(step < 0 for step in steps)
    assert all(contrast(a, b) > 1.3 for a, b in pairwise(backgrounds))


def test_the_marks_tell_the_levels_apart() -> None:
    assert len({mark.style for mark in MARKS}) == 5
    assert len({mark.symbol for mark in MARKS}) == 5
