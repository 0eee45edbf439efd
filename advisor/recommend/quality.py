"""How good a model is, and what its file type and its cache type take away. Pure values: the figures are the
catalogue's.

Everything is on the ability scale of 0 to 100. A difference of less than ``TIE_POINTS`` is no difference.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

TIE_POINTS = 6.0
"""Smaller differences of ability are ties: of two models of one size the better one wins an unseen benchmark
in 60 % of cases up to 3 points apart and in 72 % up to 6."""


@dataclass(frozen=True, slots=True)
class Quality:
    """An ability for one use on a scale of 0 to 100, with its 80 % interval and the grade of its evidence."""

    score: float
    low: float
    high: float
    grade: str
    is_tested: bool
    """Whether the evidence is enough to stand first; which grades that takes is the catalogue's rule."""
    basis: str
    sources: tuple[str, ...] = ()
    thinks: bool = False
    """Whether the ability is that of a mode in which the model thinks before it answers."""


@dataclass(frozen=True, slots=True)
class Loss:
    """What a file type or a cache type costs, in points, with the band that files and models spread over.

    A judgement over measurements, not a measurement: show the band, never a decimal.
    """

    points: float
    low_points: float
    high_points: float
    basis: str

    @property
    def band_text(self) -> str:
        """``less than a point``, ``1 to 5 points``."""
        if self.high_points <= 0:
            return "nothing"
        if self.high_points < 1:
            return "less than a point"
        low, high = math.floor(self.low_points), math.ceil(self.high_points)
        return f"{low} to {high} points" if low else f"up to {high} point{'s' if high > 1 else ''}"


NO_LOSS = Loss(0.0, 0.0, 0.0, "nothing is lost")


@dataclass(frozen=True, slots=True)
class ReducedQuality:
    """An ability with the losses of a configuration taken off; ``low`` is what ranks."""

    score: float
    low: float
    high: float


def reduced(quality: Quality, *losses: Loss) -> ReducedQuality:
    """The 80 % interval of ability less losses: the doubts of both add as independent ones do."""
    score = quality.score - sum(loss.points for loss in losses)
    below = math.hypot(quality.score - quality.low, *(loss.high_points - loss.points for loss in losses))
    above = math.hypot(quality.high - quality.score, *(loss.points - loss.low_points for loss in losses))
    return ReducedQuality(score, score - below, score + above)


@dataclass(frozen=True, slots=True)
class QualityFacts:
    """What is known of one model's quality for one use. ``None`` stands for what nobody measured."""

    quality: Quality | None
    file_type_loss: Callable[[str], Loss | None]
    """By the name of a file type."""
    cache_loss: Callable[[str, str], Loss | None]
    """By the types of K and V."""


__all__ = ["NO_LOSS", "TIE_POINTS", "Loss", "Quality", "QualityFacts", "ReducedQuality", "reduced"]
