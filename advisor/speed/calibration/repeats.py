"""Runs of one configuration: which of them count, and how far their middle may be believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, sqrt
from statistics import median

MAX_APART_SHARE = 0.15
"""As far as the repeats of one run may differ, runs may."""
MAD_TO_DEVIATION = 1.4826
"""Median absolute deviation to standard deviation, of a normal distribution."""


@dataclass(frozen=True, slots=True)
class Repeats:
    """``why_not`` has a clause for each run that does not count, ``None`` for the others.

    ``noise_share`` is the standard deviation of the logarithm of their middle, by how far all of them lie
    from it: 0 where they agree.
    """

    why_not: tuple[str | None, ...]
    noise_share: float = 0.0


def middle_of(values: Sequence[float]) -> float:
    """The median of the logarithms: of two, neither the larger nor the smaller dominates."""
    return exp(median(log(value) for value in values))


def compare_repeats(tok_s: Sequence[float]) -> Repeats:
    """Speeds of one configuration, each above 0, compared with each other.

    Two that differ by more than MAX_APART_SHARE say nothing: nobody knows which is right. Of three or more
    the median counts with those that are near it; where none is, none counts.
    """
    if len(tok_s) < 2:
        return Repeats((None,) * len(tok_s))
    apart = max(tok_s) / min(tok_s) - 1
    middle = middle_of(tok_s)
    near = [max(one / middle, middle / one) - 1 <= MAX_APART_SHARE for one in tok_s]
    if not any(near) or (len(tok_s) == 2 and apart > MAX_APART_SHARE):
        count = "two" if len(tok_s) == 2 else str(len(tok_s))
        why = f"{count} runs of the same differ by {apart:.0%}; measure once more"
        return Repeats((why,) * len(tok_s))
    spread = MAD_TO_DEVIATION * median(abs(log(one / middle)) for one in tok_s)
    reasons = (
        None if good else f"{one / middle:.2g} times as fast as the other runs of the same"
        for one, good in zip(tok_s, near, strict=True)
    )
    return Repeats(tuple(reasons), spread / sqrt(len(tok_s)))
