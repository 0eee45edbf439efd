"""A speed with its doubt."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SpeedRange:
    """Tokens per second with the doubt of the estimate: four of five truths lie between low and high."""

    low: float
    expected: float
    high: float

    @staticmethod
    def around(expected_tok_s: float, factors: tuple[float, float], bound_tok_s: float) -> SpeedRange:
        """``factors`` are low and high over expected; nothing is above the bound."""
        low, high = factors
        expected = min(expected_tok_s, bound_tok_s)
        return SpeedRange(expected * low, expected, min(bound_tok_s, expected * high))
