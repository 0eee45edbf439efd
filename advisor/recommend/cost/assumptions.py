"""What a cost rests on, a sentence each: printed with every answer."""

from __future__ import annotations

from collections.abc import Iterator

from llmfit.advisor.recommend.cost.break_even import DEFAULT_MONTHS, Cost, Prices
from llmfit.advisor.recommend.judgement import Judgement


def assumptions_of(cost: Cost, judgement: Judgement) -> tuple[str, ...]:
    """In the order of the sum: power, speed, use, prices; then what was assumed of the machine."""
    return tuple(
        dict.fromkeys(
            (*_of_power(cost), *_of_use(cost, judgement), *_of_prices(cost.prices), *judgement.assumed)
        )
    )


def _of_power(cost: Cost) -> Iterator[str]:
    for tokens in (cost.energy.output, cost.energy.prompt):
        if tokens is not None:
            yield from tokens.power.assumptions


def _of_use(cost: Cost, judgement: Judgement) -> Iterator[str]:
    speed = judgement.speed
    if speed is None:
        return
    depth = (
        f"with {speed.depth_tokens} tokens in the context" if speed.depth_tokens else "with an empty context"
    )
    yield f"Decode {depth} (--depth), one request at a time, without speculation."
    if cost.energy.prompt is not None and speed.prefill is not None:
        yield (
            f"A prompt is {speed.prefill.prompt_tokens} tokens long (--prompt) and read in full: what a "
            "cache would save, here or at the API, is not counted."
        )
    if cost.energy.output is not None:
        yield (
            "The lowest figure is the least power at the highest speed, the highest the most power at the "
            "lowest speed. Hours in which nobody asks anything are not counted."
        )


def _of_prices(prices: Prices) -> Iterator[str]:
    if prices.usd_per_kwh is None:
        yield "No price of a kWh is assumed: give --usd-per-kwh, or multiply the kWh by yours."
    else:
        yield f"A kWh costs {_exact(prices.usd_per_kwh)}, as stated."
    if prices.hardware_usd is not None:
        months = f"{prices.months or DEFAULT_MONTHS:g} months"
        assumed = "" if prices.months else " (assumed: --months)"
        yield (
            f"Hardware: {_exact(prices.hardware_usd)} over {months}{assumed} in equal parts, worth nothing "
            "afterwards."
        )
    if prices.api_usd_out is not None:
        into = (
            ""
            if prices.api_usd_in is None
            else f"{_exact(prices.api_usd_in)} a million tokens of prompt and "
        )
        yield f"API: {into}{_exact(prices.api_usd_out)} a million generated tokens, as stated."
    yield _prompts(prices)


def _prompts(prices: Prices) -> str:
    n_prompt = prices.prompt_tokens_per_output
    if n_prompt and prices.prompt_per_output is None:
        return f"{n_prompt:g} tokens of prompt for each generated one (assumed: --prompt-per-output)."
    if n_prompt:
        return f"{n_prompt:g} tokens of prompt for each generated one, as stated."
    why = (
        "as stated"
        if prices.prompt_per_output is not None
        else "for there is no --api-usd-in to compare with"
    )
    return f"Prompts are left out, {why}."


def _exact(usd: float) -> str:
    """As it was given: ``$0.30``, ``$0.069``, ``$1,500.00``."""
    cents = f"{usd:,.2f}"
    return f"${cents}" if float(cents.replace(",", "")) == usd else f"${usd:g}"


__all__ = ["assumptions_of"]
