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
from llmfit.advisor.recommend.cost.energy import Spread, usd_per_million_tokens
from llmfit.advisor.recommend.cost.of_judgement import TokenEnergy
from llmfit.advisor.units import GB

COST_TOLERANCE_SHARE = 0.10
RATIO_TOLERANCE_SHARE = 0.02
"""Bandwidths of data sheets are exact; makers of cards differ by less."""


def cost_reason(claim: Claim, expected: TokenEnergy | None) -> Reason:
    """Electricity of a million tokens. ``expected`` stands in, with its doubt, for the power and the speed
    that the claim leaves out."""
    claimed = claim.usd_per_million_tokens
    watts = _stated(claim.watts) or (None if expected is None else expected.power.watts)
    speed = _stated(claim.decode_tok_s) or _expected_tok_s(expected)
    price = claim.usd_per_kwh
    if claimed is None or speed is None or watts is None or price is None:
        missing = [
            name
            for name, value in (("power", watts), ("speed", speed), ("price of a kWh", price))
            if value is None
        ]
        said = "" if claimed is None else f"{dollars(claimed)} claimed; "
        text = f"Electricity of 1e6 tokens: {said}not known without {_listed(missing)}."
        return Reason("electricity", UNKNOWN, text, claimed, None, USD_PER_MILLION)
    computed = usd_per_million_tokens(watts.expected, speed.expected, price)
    least = usd_per_million_tokens(watts.low, speed.high, price)
    most = usd_per_million_tokens(watts.high, speed.low, price)
    is_possible = (1 - COST_TOLERANCE_SHARE) * least <= claimed <= (1 + COST_TOLERANCE_SHARE) * most
    between = "" if least == most else f", {dollars(least)} to {dollars(most)} possible"
    assumed = "" if claim.watts else " of the whole computer, as rated"
    as_expected = "" if claim.decode_tok_s else ", as expected"
    text = (
        f"Electricity of 1e6 tokens: {dollars(claimed)} claimed, {dollars(computed)} computed{between} "
        f"({number(watts.expected)} W{assumed} / {number(speed.expected)} tok/s{as_expected} "
        f"x ${price:g} a kWh)."
    )
    verdict = SUPPORTED if is_possible else CONTRADICTED
    return Reason("electricity", verdict, text, claimed, computed, USD_PER_MILLION)


def _stated(value: float | None) -> Spread | None:
    return None if value is None else Spread.exactly(value)


def _expected_tok_s(energy: TokenEnergy | None) -> Spread | None:
    if energy is None:
        return None
    return Spread(energy.tok_s.low, energy.tok_s.expected, energy.tok_s.high)


def _listed(names: list[str]) -> str:
    """``power, speed and price of a kWh``"""
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)


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
