"""How surprised a model was, as five levels: bounds, names, colours and marks. Pure data."""

import math
from dataclasses import dataclass
from enum import StrEnum

from minigpt_tui.nodes import Origin
from minigpt_tui.protocol import Score


class Heat(StrEnum):
    """What the colour of a character tells."""

    OFF = "off"
    PROBABILITY = "probability"
    ENTROPY = "entropy"
    RANK = "rank"


@dataclass(frozen=True, slots=True)
class Scale:
    """The levels of one kind of heat, from 0, what was to be expected, to 4."""

    title: str
    short: str
    """Of the title, where there is little room."""
    bounds: tuple[float, float, float, float]
    """The most that levels 0 to 3 take, in the unit of `surprise`."""
    labels: tuple[str, str, str, str, str]


# Of 6,000 characters that the `laptop` model wrote with the default settings, the levels take
# 50, 16, 16, 16, 2% by probability, 20, 20, 25, 15, 20% by entropy, 65, 12, 11, 8, 4% by rank.
SCALES = {
    Heat.PROBABILITY: Scale(
        "probability of the character",
        "probability",
        (-math.log(0.5), -math.log(0.25), -math.log(0.1), -math.log(0.03)),
        ("≥50%", "≥25%", "≥10%", "≥3%", "<3%"),
    ),
    Heat.ENTROPY: Scale(
        "entropy of the guess, in bits",
        "entropy, bits",
        (0.5, 1.5, 2.5, 3.5),
        ("≤0.5", "≤1.5", "≤2.5", "≤3.5", ">3.5"),
    ),
    Heat.RANK: Scale(
        "rank among the guesses",
        "rank",
        (1, 2, 4, 9),
        ("1st", "2nd", "3–4", "5–9", "≥10"),
    ),
}

_ROUNDING = 1e-6
"""An exact half is a level 0, also after it was kept in 32 bits."""


def level(heat: Heat, origin: Origin | Score) -> int:
    """How unexpected a character is, from 0 to 4; 0 where the heat is off.

    >>> from minigpt_tui.nodes import Author
    >>> origin = Origin(7, math.log(0.3), 2.0, 3, 64, False, Author.MODEL, True)
    >>> [level(heat, origin) for heat in Heat]
    [0, 1, 3, 2]
    """
    if heat is Heat.OFF:
        return 0
    surprise = {
        Heat.PROBABILITY: -origin.logprob,
        Heat.ENTROPY: origin.entropy / math.log(2),
        Heat.RANK: origin.rank,
    }[heat]
    return sum(surprise > bound + _ROUNDING for bound in SCALES[heat].bounds)


SHARES = (0.05, 0.2, 0.4, 0.7)
"""Of the largest weight: what levels 0 to 3 of attention take."""
SHARE_LABELS = ("<5%", "≥5%", "≥20%", "≥40%", "≥70%")


def share_level(share: float) -> int:
    """How much of the most that was given to one place, as a level.

    >>> [share_level(share) for share in (0.0, 0.05, 0.5, 1.0)]
    [0, 1, 3, 4]
    """
    return sum(share >= bound for bound in SHARES)


@dataclass(frozen=True, slots=True)
class Shade:
    """The colours of a character, as #rrggbb."""

    background: str
    foreground: str


Shades = tuple[Shade, Shade, Shade, Shade, Shade]


@dataclass(frozen=True, slots=True)
class Palette:
    """A shade for each level, on dark and on light themes."""

    name: str
    dark: Shades
    light: Shades

    def shades(self, *, is_dark: bool) -> Shades:
        """The ones for a theme."""
        return self.dark if is_dark else self.light


def _shades(backgrounds: str, foregrounds: str) -> Shades:
    a, b, c, d, e = (
        Shade(f"#{back}", f"#{fore}")
        for back, fore in zip(backgrounds.split(), foregrounds.split(), strict=True)
    )
    return a, b, c, d, e


_INK, _CHALK = "14110f", "f6f1e7"

EMBER = Palette(
    "ember",
    _shades("1c2b2e 38421f 66480f 8a3a16 ae1f32", f"{_CHALK} " * 5),
    _shades("dcefe6 eef0b8 fbd68a f5a876 ec7c7c", f"{_INK} " * 5),
)
"""From calm green to glowing red."""

CIVIDIS = Palette(
    "cividis",
    _shades("00224e 3b496c 7d7c78 bcae6c fee838", f"{_CHALK} {_CHALK} {_INK} {_INK} {_INK}"),
    _shades("fdf3bd e0cf7e 9f9c79 575d6d 00224e", f"{_INK} {_INK} {_INK} {_CHALK} {_CHALK}"),
)
"""Cividis (Nuñez, Anderton, Renslow 2018): blue to yellow, alike to every eye, and each level is
clearly lighter or darker than the one before, so that it is read in grey too."""

PALETTES = {palette.name: palette for palette in (EMBER, CIVIDIS)}


@dataclass(frozen=True, slots=True)
class Mark:
    """What tells a level without colour."""

    style: str
    """For the text: words that rich, Textual and CSS all have."""
    symbol: str
    """For the legend."""


MARKS = (
    Mark("", "·"),
    Mark("italic", "░"),
    Mark("underline", "▒"),
    Mark("bold italic", "▓"),
    Mark("bold underline", "█"),
)
