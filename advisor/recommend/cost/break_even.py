"""Own computer against an API: electricity, write-off, and from how many tokens a month it pays.

Every price is the user's; none is assumed. What is assumed besides is a sentence in ``assumptions``.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf

from llmfit.advisor.errors import UsageError
from llmfit.advisor.recommend.cost.energy import TOKENS_PER_PRICE, Spread
from llmfit.advisor.recommend.cost.of_judgement import Energy
from llmfit.advisor.speed.speed_range import SpeedRange

DEFAULT_MONTHS = 36.0
"""Straight-line write-off where nobody says: three years, a usual life of a computer in accounts."""
DEFAULT_PROMPT_PER_OUTPUT = 3.0
"""Tokens of prompt for each generated one where nobody says: the 3:1 of usual blended API prices."""
SECONDS_A_MONTH = 365.25 / 12 * 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """What the user says; ``None`` is not said, and nothing stands in for it.

    API prices are for a million tokens. Raises UsageError for prices that cannot be used together.
    """

    usd_per_kwh: float | None = None
    hardware_usd: float | None = None
    months: float | None = None
    api_usd_in: float | None = None
    api_usd_out: float | None = None
    prompt_per_output: float | None = None

    def __post_init__(self) -> None:
        if self.months is not None and self.hardware_usd is None:
            raise UsageError("--months", "nothing to write off", "Give --hardware-usd as well.")
        if self.api_usd_in is not None and self.api_usd_out is None:
            raise UsageError("--api-usd-in", "no price of generated tokens", "Give --api-usd-out as well.")
        if self.prompt_per_output and self.api_usd_out is not None and self.api_usd_in is None:
            hint = "Give --api-usd-in as well, or --prompt-per-output 0."
            raise UsageError("--api-usd-out", "no price of a prompt's tokens", hint)

    @property
    def prompt_tokens_per_output(self) -> float:
        """As said; none where the API's price of them is not known."""
        if self.prompt_per_output is not None:
            return self.prompt_per_output
        if self.api_usd_out is not None and self.api_usd_in is None:
            return 0.0
        return DEFAULT_PROMPT_PER_OUTPUT

    @property
    def hardware_usd_per_month(self) -> float | None:
        return None if self.hardware_usd is None else self.hardware_usd / (self.months or DEFAULT_MONTHS)

    @property
    def api_usd_per_million(self) -> float | None:
        """A million generated tokens with the prompts that belong to them."""
        if self.api_usd_out is None:
            return None
        return self.api_usd_out + self.prompt_tokens_per_output * (self.api_usd_in or 0.0)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a configuration costs. Everything "with prompts" is for a million generated tokens and
    ``prompt_tokens_per_output`` million tokens of prompts."""

    energy: Energy
    prices: Prices

    @property
    def output_usd_per_million(self) -> Spread | None:
        """Electricity of generated tokens alone."""
        return self._usd(None if self.energy.output is None else self.energy.output.kwh_per_million)

    @property
    def prompt_usd_per_million(self) -> Spread | None:
        """Electricity of a prompt's tokens alone."""
        return self._usd(None if self.energy.prompt is None else self.energy.prompt.kwh_per_million)

    @property
    def kwh_with_prompts(self) -> Spread | None:
        output, prompt = self.energy.output, self.energy.prompt
        n_prompt = self.prices.prompt_tokens_per_output
        if output is None or (prompt is None and n_prompt):
            return None
        if prompt is None:
            return output.kwh_per_million
        return output.kwh_per_million.plus(prompt.kwh_per_million.times(n_prompt))

    @property
    def usd_with_prompts(self) -> Spread | None:
        """Electricity."""
        return self._usd(self.kwh_with_prompts)

    @property
    def saved_usd_per_million(self) -> Spread | None:
        """API less electricity, with prompts; negative where electricity alone is dearer."""
        own, api = self.usd_with_prompts, self.prices.api_usd_per_million
        if own is None or api is None:
            return None
        return Spread(api - own.high, api - own.expected, api - own.low)

    @property
    def most_tokens_per_month(self) -> Spread | None:
        """Generated tokens of a month without a pause, prompts read in between, one request at a time."""
        output, prompt = self.energy.output, self.energy.prompt
        n_prompt = self.prices.prompt_tokens_per_output
        if output is None or (prompt is None and n_prompt):
            return None
        prompt_tok_s = SpeedRange(inf, inf, inf) if prompt is None else prompt.tok_s
        return Spread(
            _tokens_a_month(output.tok_s.low, prompt_tok_s.low, n_prompt),
            _tokens_a_month(output.tok_s.expected, prompt_tok_s.expected, n_prompt),
            _tokens_a_month(output.tok_s.high, prompt_tok_s.high, n_prompt),
        )

    @property
    def hardware_usd_per_million(self) -> float | None:
        """Write-off of a million generated tokens if the computer never rests: the least it can be."""
        per_month, most = self.prices.hardware_usd_per_month, self.most_tokens_per_month
        if per_month is None or most is None:
            return None
        return per_month / most.expected * TOKENS_PER_PRICE

    def _usd(self, kwh: Spread | None) -> Spread | None:
        price = self.prices.usd_per_kwh
        return None if kwh is None or price is None else kwh.times(price)


@dataclass(frozen=True, slots=True)
class BreakEven:
    """Generated tokens a month from which the own computer is cheaper; ``None`` with the reason ``why``."""

    tokens_per_month: int | None
    why: str
    low_tokens: int | None = None
    high_tokens: int | None = None
    """Over the doubt of power and speed; ``high_tokens`` is ``None`` where it may never pay."""


def break_even(cost: Cost) -> BreakEven:
    """Where write-off plus electricity equals the API's bill, at the expected power and speed."""
    missing = _missing(cost)
    saved, per_month = cost.saved_usd_per_million, cost.prices.hardware_usd_per_month
    if missing is not None or saved is None or per_month is None:
        return BreakEven(None, missing or "")
    own, api = cost.usd_with_prompts, cost.prices.api_usd_per_million
    if saved.expected <= 0 and own is not None:
        why = f"Never: the electricity alone costs ${own.expected:.2f}, the API ${api:.2f}."
        return BreakEven(None, why)
    tokens = ceil(per_month / saved.expected * TOKENS_PER_PRICE)
    most = cost.most_tokens_per_month
    if most is not None and tokens > most.expected:
        return BreakEven(None, _out_of_reach(tokens, most.expected))
    low = ceil(per_month / saved.high * TOKENS_PER_PRICE)
    high = ceil(per_month / saved.low * TOKENS_PER_PRICE) if saved.low > 0 else None
    if high is not None and most is not None and high > most.low:
        high = None
    return BreakEven(tokens, "", low, high)


def _missing(cost: Cost) -> str | None:
    """The first thing that a break-even needs and nobody said or knows."""
    prices = cost.prices
    if cost.kwh_with_prompts is None:
        return next(iter(cost.energy.unknown), "What it draws is not known (--watts).")
    wanted = (
        (prices.usd_per_kwh, "--usd-per-kwh"),
        (prices.api_usd_out, "--api-usd-in and --api-usd-out"),
        (prices.hardware_usd, "--hardware-usd"),
    )
    lacking = [option for value, option in wanted if value is None]
    return f"It needs {', '.join(lacking)}." if lacking else None


def _out_of_reach(tokens: int, most: float) -> str:
    return (
        f"Not with this computer: it takes {tokens / 1e6:,.1f} million generated tokens a month, and one "
        f"request after the other without a pause makes {most / 1e6:,.1f} million."
    )


def _tokens_a_month(output_tok_s: float, prompt_tok_s: float, n_prompt: float) -> float:
    return SECONDS_A_MONTH / (1 / output_tok_s + n_prompt / prompt_tok_s)


__all__ = ["DEFAULT_MONTHS", "DEFAULT_PROMPT_PER_OUTPUT", "BreakEven", "Cost", "Prices", "break_even"]
