"""Hardware as it is sold: a card or a whole computer with its list price, the price's date and source.

A list price is what a maker asked for on a day. It is not what a shop asks today, and nothing here claims so.
"""

from __future__ import annotations

from dataclasses import dataclass

from llmfit.advisor.hardware.machine import GpuFacts


@dataclass(frozen=True, slots=True)
class Price:
    """``date`` is ``2025-03-05``, ``2025-03`` or ``2026``: from when the maker asked it."""

    usd: int
    date: str
    kind: str
    """``launch``: the first one; ``list``: a later one of the maker; ``street``: what shops asked."""
    source: str


@dataclass(frozen=True, slots=True)
class CardOffer:
    """A graphics card that one can put into a computer. ``price`` is ``None`` where nobody states one."""

    facts: GpuFacts
    memory_bytes: int
    price: Price | None
    released: str | None = None
    """As the catalogue dates it: ``2020-09-01``."""


@dataclass(frozen=True, slots=True)
class BoxOffer:
    """A computer that is sold whole and whose GPU uses its RAM: Macs, DGX Spark, Ryzen AI Max."""

    name: str
    facts: GpuFacts
    memory_bytes: int
    price: Price | None
    withdrawn: str | None = None
    """Since when the maker no longer sells it, where that is known."""


__all__ = ["BoxOffer", "CardOffer", "Price"]
