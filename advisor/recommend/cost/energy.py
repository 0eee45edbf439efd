"""Energy and its price: watts over tokens per second. Pure arithmetic, no assumption in it."""

from __future__ import annotations

TOKENS_PER_PRICE = 1_000_000
"""Prices and energies are for so many tokens, as API price lists are."""
_JOULES_PER_KWH = 3_600_000


def kwh_per_million_tokens(watts: float, tok_s: float) -> float:
    """Energy of a million tokens at a constant power and speed. Both must be above 0.

    W / (tok/s) is J a token; a kWh is 3.6e6 J. Raises ValueError for a power or speed that is not above 0.
    """
    if not (watts > 0 and tok_s > 0):
        raise ValueError("power and speed must be above 0")
    return watts / tok_s * TOKENS_PER_PRICE / _JOULES_PER_KWH


def usd_per_million_tokens(watts: float, tok_s: float, usd_per_kwh: float) -> float:
    """What the electricity of a million tokens costs. Errors as ``kwh_per_million_tokens``."""
    return kwh_per_million_tokens(watts, tok_s) * usd_per_kwh
