"""How much a model knows without looking it up: an axis of its own, which follows size more than skill."""

from __future__ import annotations

import math
from dataclasses import dataclass

from llmfit.catalog.evidence import Evidence, evidence_of
from llmfit.catalog.models import CatalogModel

_BENCHMARK = "AA-Omniscience accuracy (AA)"
_BASE, _PER_LN_BILLION, _PER_LN_ACTIVE_SHARE, _PER_YEAR = -3.11, 0.350, 0.111, 0.125
_LOGIT_DOUBT = 0.34
"""Eight of ten of the 155 scores lie so close to the law, in logits (the 10th and 90th percentile of what it
misses by)."""
_LAST_YEARS = 2.375
"""Release of the newest model in the fit, 2026-05: later ones are not extrapolated."""
_FIRST_YEAR = 2024


@dataclass(frozen=True, slots=True)
class Knowledge:
    """Share of AA-Omniscience's questions that a model answers rightly without tools.

    ``low_share`` and ``high_share`` bound the 80 % interval of an estimate; a measured share is both.
    """

    share: float
    low_share: float
    high_share: float
    is_measured: bool
    basis: str
    source: str


def knowledge_of(entry: CatalogModel) -> Knowledge | None:
    """Measured where anybody did, in the mode that knows most; else ``knowledge_share``'s estimate."""
    measured = [row for row in evidence_of(entry.id) if row.benchmark == _BENCHMARK and not row.is_doubtful]
    if measured:
        return _measured(max(measured, key=lambda row: row.score))
    count = entry.parameters
    return knowledge_share(count.text, count.active, entry.release_date)


def knowledge_share(
    n_parameters: int, n_active_parameters: int | None, released: str | None
) -> Knowledge | None:
    """What size and date let one expect; None where the date is not known.

    logit p = -3.11 + .350 ln(parameters in billions) + .111 ln(active share) + .125 (years since 2024-01),
    least squares over 155 AA-Omniscience scores of 2026-07, R2 .79. ``released`` is ``YYYY`` or ``YYYY-MM``
    or longer.
    """
    if not released or n_parameters <= 0:
        return None
    active_share = min(1.0, (n_active_parameters or n_parameters) / n_parameters)
    logit = (
        _BASE
        + _PER_LN_BILLION * math.log(n_parameters / 10**9)
        + _PER_LN_ACTIVE_SHARE * math.log(active_share)
        + _PER_YEAR * min(_LAST_YEARS, _years_since_2024(released))
    )
    return Knowledge(
        share=_share(logit),
        low_share=_share(logit - _LOGIT_DOUBT),
        high_share=_share(logit + _LOGIT_DOUBT),
        is_measured=False,
        basis="estimated from size and date: a law fitted to 155 AA-Omniscience scores, R2 .79",
        source="AA-Omniscience accuracy, 2026-07; the fit is this catalogue's",
    )


def _measured(row: Evidence) -> Knowledge:
    share = row.score / 100
    basis = ", ".join(part for part in ("AA-Omniscience accuracy", row.date, row.mode) if part)
    return Knowledge(share, share, share, True, basis, row.source)


def _years_since_2024(released: str) -> float:
    """The middle of the month; of June where only the year is known."""
    year, _, rest = released.partition("-")
    month = int(rest[:2]) if rest else 6
    return int(year) - _FIRST_YEAR + (month - 0.5) / 12


def _share(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))
