"""A number's place on a slider's track, and the steps between."""

import math
from dataclasses import dataclass

VALUE_CELLS = 5
LOG_SPAN = 1000
"""A longer span of whole numbers is shown on a logarithmic scale."""


@dataclass(frozen=True, slots=True)
class Scale:
    """From `low` to `high`; larger values up to `limit` are accepted and shown at the end.

    >>> scale = Scale(0.0, 2.0, 0.05, 0.8)
    >>> scale.stepped(0.8, 1), scale.stepped(0.803, 1), scale.format(1.0)
    (0.85, 0.85, '1.00')
    """

    low: float
    high: float
    step: float
    default: float
    limit: float | None = None
    is_integer: bool = False

    @property
    def is_log(self) -> bool:
        """Whether equal ways on the track are equal ratios."""
        return self.is_integer and self.high - self.low >= LOG_SPAN

    def fraction(self, value: float) -> float:
        """Where a value lies, from 0 to 1."""
        if self.is_log:
            place = math.log1p(max(value - self.low, 0)) / math.log1p(self.high - self.low)
        else:
            place = (value - self.low) / (self.high - self.low)
        return min(max(place, 0.0), 1.0)

    def at(self, fraction: float) -> float:
        """The value at a place, on the grid of steps (of whole numbers, if logarithmic)."""
        fraction = min(max(fraction, 0.0), 1.0)
        if self.is_log:
            return self.clamped(self.low + math.expm1(fraction * math.log1p(self.high - self.low)))
        raw = self.low + fraction * (self.high - self.low)
        return self.clamped(round(raw / self.step) * self.step)

    def stepped(self, value: float, n_steps: float) -> float:
        """The value some steps on; whole steps land on the grid of steps."""
        by = n_steps * self.step
        if self.is_integer and abs(by) < 1:
            by = math.copysign(1, by)
        if abs(by) < self.step:
            return self.clamped(value + by)
        grid = value / self.step
        # a hair of tolerance: 0.15 / 0.05 is 2.9999999999999996
        near = math.floor(grid + 1e-9) if by > 0 else math.ceil(grid - 1e-9)
        return self.clamped(near * self.step + by)

    @property
    def highest(self) -> float:
        """The largest value that is accepted."""
        return math.inf if self.limit is None else self.limit

    def accepts(self, value: float) -> bool:
        """Whether a value is within the limits."""
        return self.low <= value <= self.highest

    def clamped(self, value: float) -> float:
        """The nearest value that is accepted."""
        if self.is_integer:
            value = round(value)
        return min(max(round(value, 6), self.low), self.highest)

    def format(self, value: float) -> str:
        """A value as text, of at most VALUE_CELLS characters if it is below 1e100.

        >>> scale = Scale(-2.0, 2.0, 0.1, 0.0)
        >>> [scale.format(v) for v in (0.8, 0.805, -0.805, 33.333, 0.0004, -4e-6)]
        ['0.80', '0.805', '-0.81', '33.33', '4e-04', '-4e-6']
        """
        if self.is_integer:
            text = str(int(value))
            return text if len(text) <= VALUE_CELLS else f"{value:.0e}"
        if 0 < abs(value) < 0.001:
            text = f"{value:.0e}"
            return text if len(text) <= VALUE_CELLS else text.replace("e-0", "e-")
        text = next(t for n in (3, 2, 1, 0) if len(t := f"{value:.{n}f}") <= VALUE_CELLS)
        return text.removesuffix("0") if text[-4:-3] == "." else text
