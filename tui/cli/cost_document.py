"""``llmfit.cost/1``. Money in US dollars; unknown is null."""

from __future__ import annotations

from llmfit.advisor.recommend.cost.assumptions import assumptions_of
from llmfit.advisor.recommend.cost.break_even import Cost, break_even
from llmfit.advisor.recommend.cost.energy import Spread
from llmfit.advisor.recommend.cost.of_judgement import TokenEnergy
from llmfit.advisor.recommend.judgement import Judgement
from llmfit.advisor.speed.speed_range import SpeedRange
from llmfit.tui.cli.documents import Document, machine_document, model_document, settings_document


def cost_document(cost: Cost, judgement: Judgement) -> Document:
    """The contract's plain figures are the expected ones; each has its range beside it."""
    energy, prices, speed = cost.energy, cost.prices, judgement.speed
    even = break_even(cost)
    document: Document = {
        "schema": "llmfit.cost/1",
        "model": model_document(judgement.model),
        "machine": machine_document(judgement),
        "settings": settings_document(judgement.settings),
        "verdict": judgement.verdict,
    }
    document |= _power_document("", energy.output) | _power_document("prompt_", energy.prompt)
    document |= _speed_document("decode", None if speed is None else speed.decode_tok_s)
    document |= _speed_document("prefill", None if speed is None else speed.prefill_tok_s)
    document |= {
        "usd_per_kwh": prices.usd_per_kwh,
        "prompt_tokens_per_output_token": prices.prompt_tokens_per_output,
        "kwh_per_million_output_tokens": _energy(energy.output),
        "kwh_per_million_prompt_tokens": _energy(energy.prompt),
    }
    document |= _usd_document("electricity_usd_per_million_output_tokens", cost.output_usd_per_million)
    document |= _usd_document("electricity_usd_per_million_prompt_tokens", cost.prompt_usd_per_million)
    document |= _usd_document("electricity_usd_per_million_with_prompts", cost.usd_with_prompts)
    most = cost.most_tokens_per_month
    return document | {
        "api_usd_per_million": prices.api_usd_per_million,
        "saved_usd_per_million": _spread(cost.saved_usd_per_million),
        "hardware_usd_per_month": prices.hardware_usd_per_month,
        "hardware_usd_per_million_at_full_use": cost.hardware_usd_per_million,
        "most_tokens_per_month": None if most is None else int(most.expected),
        "break_even_tokens_per_month": even.tokens_per_month,
        "break_even_tokens_per_month_range": {"low": even.low_tokens, "high": even.high_tokens},
        "break_even_why": even.why or None,
        "unknown": list(energy.unknown),
        "assumptions": list(assumptions_of(cost, judgement)),
    }


def _power_document(prefix: str, tokens: TokenEnergy | None) -> Document:
    power = None if tokens is None else tokens.power
    return {
        f"{prefix}watts": None if power is None else power.watts.expected,
        f"{prefix}watts_range": None if power is None else _spread(power.watts),
        f"{prefix}watts_basis": None if power is None else power.basis,
        f"{prefix}watts_parts": None
        if power is None
        else [{"what": part.what, "watts": _spread(part.draw_w)} for part in power.parts],
    }


def _speed_document(what: str, tok_s: SpeedRange | None) -> Document:
    if tok_s is None:
        return {f"{what}_tok_s": None, f"{what}_tok_s_range": None}
    spread = {"low": tok_s.low, "expected": tok_s.expected, "high": tok_s.high}
    return {f"{what}_tok_s": tok_s.expected, f"{what}_tok_s_range": spread}


def _usd_document(name: str, usd: Spread | None) -> Document:
    return {name: None if usd is None else usd.expected, f"{name}_range": _spread(usd)}


def _energy(tokens: TokenEnergy | None) -> Document | None:
    return None if tokens is None else _spread(tokens.kwh_per_million)


def _spread(spread: Spread | None) -> Document | None:
    return None if spread is None else {"low": spread.low, "expected": spread.expected, "high": spread.high}
