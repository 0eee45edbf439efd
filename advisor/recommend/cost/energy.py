"""Energy and its price: watts over tokens per second. Pure arithmetic, no assumption in it."""

from __future__ import annotations

from dataclasses import dataclass

TOKENS_PER_PRICE = 1_000_000
"""Prices and energies are for so many tokens, as API price lists are."""
_JOULES_PER_KWH = 3_600_000


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure with its doubt; the unit is that of the field that holds it."""

    low: float
    expected: float
    high: float

    @staticmethod
    def exactly(value: float) -> Spread:
        return Spread(value, value, value)

    def times(self, factor: float) -> Spread:
        """``factor`` must not be negative."""
        return Spread(self.low * factor, self.expected * factor, self.high * factor)

    def plus(self, other: Spread) -> Spread:
        """Both at their lowest, both at their highest: the doubts are not taken to cancel out."""
        return Spread(self.low + other.low, self.expected + other.expected, self.high + other.high)

    @property
    def is_exact(self) -> bool:
        return self.low == self.high


def kwh_per_million_tokens(watts: float, tok_s: float) -> float:
    """Energy of a million tokens at a constant power and speed.

    W / (tok/s) is J a token; a kWh is 3.6e6 J. Raises ValueError for a power or speed that is not above 0.
    """
    if not (watts > 0 and tok_s > 0):
        raise ValueError("power and speed must be above 0")
    return watts / tok_s * TOKENS_PER_PRICE / _JOULES_PER_KWH


def usd_per_million_tokens(watts: float, tok_s: float, usd_per_kwh: float) -> float:
    """What the electricity of a million tokens costs. Errors as ``kwh_per_million_tokens``."""
    return kwh_per_million_tokens(watts, tok_s) * usd_per_kwh
