"""Claims that need no model: what electricity costs, and how two cards' bandwidths compare."""

from __future__ import annotations

from llmfit.advisor.hardware.machine import GpuFacts
from llmfit.advisor.recommend.claims.claim import (
    CONTRADICTED,
    SUPPORTED,
    TIMES,
    UNKNOWN,
    USD_PER_MILLION,
    Claim,
    Reason,
)
from llmfit.advisor.recommend.claims.words import dollars, number
from llmfit.advisor.recommend.cost.energy import usd_per_million_tokens
from llmfit.advisor.units import GB

COST_TOLERANCE_SHARE = 0.10
RATIO_TOLERANCE_SHARE = 0.02
"""Bandwidths of data sheets are exact; makers of cards differ by less."""


def cost_reason(claim: Claim, expected_tok_s: float | None, rated_watts: float | None) -> Reason:
    """Electricity of a million tokens. ``expected_tok_s`` and ``rated_watts`` stand in for what the claim
    leaves out."""
    claimed = claim.usd_per_million_tokens
    speed = claim.decode_tok_s or expected_tok_s
    watts = claim.watts or rated_watts
    if claimed is None or speed is None or watts is None or claim.usd_per_kwh is None:
        missing = [
            name
            for name, value in (("power", watts), ("speed", speed), ("price of a kWh", claim.usd_per_kwh))
            if value is None
        ]
        said = "" if claimed is None else f"{dollars(claimed)} claimed; "
        text = f"Electricity of 1e6 tokens: {said}not known without {' and '.join(missing)}."
        return Reason("electricity", UNKNOWN, text, claimed, None, USD_PER_MILLION)
    computed = usd_per_million_tokens(watts, speed, claim.usd_per_kwh)
    verdict = SUPPORTED if abs(claimed - computed) <= COST_TOLERANCE_SHARE * computed else CONTRADICTED
    assumed = "" if claim.watts else ", the cards' rated power"
    expected = "" if claim.decode_tok_s else ", as expected"
    text = (
        f"Electricity of 1e6 tokens: {dollars(claimed)} claimed, {dollars(computed)} computed "
        f"({number(watts)} W{assumed} / {number(speed)} tok/s{expected} x ${claim.usd_per_kwh:g} a kWh)."
    )
    return Reason("electricity", verdict, text, claimed, computed, USD_PER_MILLION)


def ratio_reason(claimed: float, one: GpuFacts, other: GpuFacts) -> Reason:
    """``one`` has ``claimed`` times the memory bandwidth of ``other``: as exactly as it is said."""
    if one.bandwidth_bytes_per_s is None or other.bandwidth_bytes_per_s is None:
        text = f"Bandwidth: {claimed:g} times claimed; that of one of the cards is not known."
        return Reason("bandwidth", UNKNOWN, text, claimed, None, TIMES)
    computed = one.bandwidth_bytes_per_s / other.bandwidth_bytes_per_s
    doubt = max(RATIO_TOLERANCE_SHARE * computed, _half_a_digit(claimed))
    verdict = SUPPORTED if abs(claimed - computed) <= doubt else CONTRADICTED
    text = (
        f"Bandwidth: {claimed:g} times claimed, {computed:.2f} times computed: "
        f"{one.bandwidth_bytes_per_s / GB:,.0f} GB/s ({one.name}) over "
        f"{other.bandwidth_bytes_per_s / GB:,.0f} GB/s ({other.name})."
    )
    return Reason("bandwidth", verdict, text, claimed, computed, TIMES)


def _half_a_digit(value: float) -> float:
    """Half of the last digit that was said, at most a tenth of the whole: ``2`` may stand for 1.91."""
    digits = f"{value:g}".partition(".")[2]
    return min(0.5 * 10.0 ** -len(digits), 0.1 * value)


__all__ = ["cost_reason", "ratio_reason"]
