"""``llmfit cost`` for people: power, energy and price a million tokens, an API beside it, all assumptions."""

from __future__ import annotations

from collections.abc import Iterator

from llmfit.advisor.recommend.cost.assumptions import assumptions_of
from llmfit.advisor.recommend.cost.break_even import BreakEven, Cost, break_even
from llmfit.advisor.recommend.cost.energy import Spread
from llmfit.advisor.recommend.cost.of_judgement import TokenEnergy
from llmfit.advisor.recommend.judgement import Judgement
from llmfit.advisor.text import printable
from llmfit.tui.cli.render import machine_line, table, verdict_text, wrapped
from llmfit.tui.speed_words import basis_text, speed_text, two_figures

UNKNOWN = "?"
LEAST_SHARE = 0.01
"""Less is not said in per cent."""


def cost_lines(cost: Cost, judgement: Judgement) -> Iterator[str]:
    """At most 80 columns."""
    model = judgement.model
    name = f"{printable(model.id)} {printable(model.quantization)}"
    yield f"Cost of {name} on {machine_line(judgement.machine)}"
    yield verdict_text(judgement)
    yield ""
    rates = list(_rates(cost, judgement))
    yield from (*rates, "") if rates else ()
    yield "For a million tokens (1e6), in kWh and US dollars"
    yield from (f"  {line}" for line in _price_table(cost))
    for why in cost.energy.unknown:
        yield from wrapped(why, start="  ! ")
    yield ""
    yield "Against an API, and when it pays"
    for sentence in _comparison(cost, break_even(cost)):
        yield from wrapped(sentence, start="  - ")
    yield ""
    yield "Assumed"
    for sentence in assumptions_of(cost, judgement):
        yield from wrapped(printable(sentence), start="  - ")


def _rates(cost: Cost, judgement: Judgement) -> Iterator[str]:
    """Power and speed, and where the power goes."""
    speed = judgement.speed
    output, prompt = cost.energy.output, cost.energy.prompt
    rows = []
    if speed is not None:
        basis = basis_text(speed.basis, judgement)
        rows.append(("Decode", f"{speed_text(speed.decode_tok_s)} tok/s, {basis}", output))
        if speed.prefill is not None:
            basis = basis_text(speed.prefill.basis, judgement)
            rows.append(("Prefill", f"{speed_text(speed.prefill.tok_s)} tok/s, {basis}", prompt))
    for what, tok_s, tokens in rows:
        watts = (
            "power not known" if tokens is None else f"{watts_text(tokens.power.watts)}, {tokens.power.basis}"
        )
        yield f"{what:<9}{tok_s}; {watts}"
    if output is not None and len(output.power.parts) > 1:
        yield "While it decodes, in watts:"
        width = max(len(part.what) for part in output.power.parts)
        for part in output.power.parts:
            yield f"  {part.what:<{width}}  {_watts(part.draw_w):>15}"


def _price_table(cost: Cost) -> list[str]:
    energy, prices = cost.energy, cost.prices
    n_prompt = prices.prompt_tokens_per_output
    rows = [["", "kWh", "electricity", "API"]]
    rows.append(
        ["generated", _kwh(energy.output), _usd(cost.output_usd_per_million), _price(prices.api_usd_out)]
    )
    rows.append(
        [
            "read (prompts)",
            _kwh(energy.prompt),
            _usd(cost.prompt_usd_per_million),
            _price(prices.api_usd_in),
        ]
    )
    if n_prompt:
        with_prompts = cost.kwh_with_prompts
        rows.append(
            [
                f"1 generated, {n_prompt:g} read",
                UNKNOWN if with_prompts is None else _figures(with_prompts),
                _usd(cost.usd_with_prompts),
                _price(prices.api_usd_per_million),
            ]
        )
    return table(rows, right=(1, 2, 3))


def _comparison(cost: Cost, even: BreakEven) -> Iterator[str]:
    prices, most = cost.prices, cost.most_tokens_per_month
    if most is not None:
        yield (
            f"A month without a pause makes {_millions(most.expected)} generated tokens "
            f"({_millions(most.low)} to {_millions(most.high)})."
        )
    per_month, at_full_use = prices.hardware_usd_per_month, cost.hardware_usd_per_million
    if per_month is not None:
        spread = (
            "" if at_full_use is None else f": at least {usd_text(at_full_use)} a million, if it never rests"
        )
        yield f"The hardware costs {usd_text(per_month)} a month{spread}."
    saved = cost.saved_usd_per_million
    if saved is not None:
        yield _saved_text(saved)
    if even.tokens_per_month is None:
        yield f"Break-even: {even.why[:1].lower()}{even.why[1:]}"
        return
    yield f"Break-even at {_millions(even.tokens_per_month)} generated tokens a month{_range_of(even)}."
    if most is not None:
        share = even.tokens_per_month / most.expected
        part = f"{share:.0%}" if share >= LEAST_SHARE else "less than 1%"
        yield f"That is {part} of what it can make in a month."


def _saved_text(saved: Spread) -> str:
    """The API's bill less the electricity, as a gain or a loss."""
    sign, what = (1, "less") if saved.expected >= 0 else (-1, "more")
    ends = sorted((sign * saved.low, sign * saved.high))
    between = "" if saved.is_exact else f" ({usd_text(ends[0])} to {usd_text(ends[1])})"
    return (
        f"Electricity costs {usd_text(abs(saved.expected))}{between} {what} than the API, for a million "
        "generated tokens with their prompts."
    )


def _range_of(even: BreakEven) -> str:
    if even.low_tokens is None:
        return ""
    if even.high_tokens is None:
        return f" ({_millions(even.low_tokens)} at best; at the worst power and speed it never pays)"
    ends = _millions(even.low_tokens), _millions(even.high_tokens)
    return "" if ends[0] == ends[1] else f" ({ends[0]} to {ends[1]})"


def watts_text(watts: Spread) -> str:
    """``406 W (237-506)``."""
    return f"{watts.expected:.0f} W" + ("" if watts.is_exact else f" ({watts.low:.0f}-{watts.high:.0f})")


def usd_text(usd: float) -> str:
    """``$0.0042``, ``$0.17``, ``$12.30``, ``$1,250``; never rounded to nothing."""
    size = abs(usd)
    sign = "-" if usd < 0 else ""
    if size >= 100:
        return f"{sign}${size:,.0f}"
    if size >= 0.1 or size == 0:
        return f"{sign}${size:.2f}"
    return f"{sign}${size:.2g}" if size >= 0.0001 else f"{sign}${size:.1e}"


def _watts(watts: Spread) -> str:
    return f"{watts.expected:.0f} ({watts.low:.0f}-{watts.high:.0f})"


def _kwh(tokens: TokenEnergy | None) -> str:
    return UNKNOWN if tokens is None else _figures(tokens.kwh_per_million)


def _figures(spread: Spread) -> str:
    if spread.is_exact:
        return two_figures(spread.expected)
    return f"{two_figures(spread.expected)} ({two_figures(spread.low)}-{two_figures(spread.high)})"


def _usd(usd: Spread | None) -> str:
    if usd is None:
        return UNKNOWN
    if usd.is_exact:
        return usd_text(usd.expected)
    return f"{usd_text(usd.expected)} ({usd_text(usd.low)}-{usd_text(usd.high)})"


def _price(usd: float | None) -> str:
    return "–" if usd is None else usd_text(usd)


def _millions(tokens: float) -> str:
    """``8.7 million``, ``60,000``."""
    if tokens >= 1e6:
        return f"{two_figures(tokens / 1e6)} million"
    return f"{tokens:,.0f}" if tokens < 1e3 else f"{float(two_figures(tokens / 1e3)) * 1e3:,.0f}"
