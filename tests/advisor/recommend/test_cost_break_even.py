"""Energy, prices and break-even: sums that a person can repeat on paper."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfit.advisor.errors import UsageError
from llmfit.advisor.recommend.cost.break_even import (
    DEFAULT_PROMPT_PER_OUTPUT,
    SECONDS_A_MONTH,
    Cost,
    Prices,
    break_even,
)
from llmfit.advisor.recommend.cost.energy import kwh_per_million_tokens, usd_per_million_tokens
from llmfit.advisor.recommend.cost.of_judgement import Energy, TokenEnergy
from llmfit.advisor.recommend.cost.power import stated_power
from llmfit.advisor.speed.speed_range import SpeedRange


def energy(watts: float = 400.0, decode: float = 40.0, prefill: float | None = 1000.0) -> Energy:
    power = stated_power(watts)
    prompt = (
        None if prefill is None else TokenEnergy(power, SpeedRange(prefill * 0.8, prefill, prefill * 1.2))
    )
    return Energy(TokenEnergy(power, SpeedRange(decode * 0.8, decode, decode * 1.2)), prompt)


def test_the_claim_of_an_article() -> None:
    """575 W, 64 tok/s, $0.069/kWh: $0.172, claimed as $0.173."""
    assert usd_per_million_tokens(575, 64, 0.069) == pytest.approx(0.1722, abs=5e-5)
    assert kwh_per_million_tokens(575, 64) == pytest.approx(0.575 * 1e6 / 64 / 3600)


@pytest.mark.parametrize(("watts", "tok_s"), [(0, 1), (1, 0), (-1, 1), (1, float("nan"))])
def test_no_power_and_no_speed_have_no_energy(watts: float, tok_s: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        kwh_per_million_tokens(watts, tok_s)


def test_break_even_by_hand() -> None:
    """400 W at 40 tok/s: 2.778 kWh; at 1000 tok/s 0.111 kWh, three times: 0.333. At $0.30 a kWh $0.9333.

    The API takes 3 + 3 x 0.5 = $4.50: $3.5667 saved a million. $1200 over 24 months are $50 a month: 14.02
    million tokens.
    """
    prices = Prices(usd_per_kwh=0.3, hardware_usd=1200, months=24, api_usd_in=0.5, api_usd_out=3.0)
    cost = Cost(energy(), prices)
    assert cost.prices.prompt_tokens_per_output == DEFAULT_PROMPT_PER_OUTPUT == 3
    assert cost.usd_with_prompts is not None and cost.usd_with_prompts.expected == pytest.approx(
        0.93333, abs=1e-4
    )
    assert prices.api_usd_per_million == 4.5
    found = break_even(cost)
    assert found.tokens_per_month == pytest.approx(14.0187e6, rel=1e-4)
    assert found.why == ""
    assert found.low_tokens is not None and found.high_tokens is not None
    assert found.low_tokens < found.tokens_per_month < found.high_tokens


def test_a_month_without_a_pause() -> None:
    cost = Cost(energy(), Prices(prompt_per_output=0))
    assert cost.most_tokens_per_month is not None
    assert cost.most_tokens_per_month.expected == pytest.approx(40 * 2_629_800)
    with_prompts = Cost(energy(), Prices(prompt_per_output=25)).most_tokens_per_month
    assert with_prompts is not None and with_prompts.expected == pytest.approx(20 * SECONDS_A_MONTH)


def test_more_than_the_computer_can_make_is_no_break_even() -> None:
    prices = Prices(usd_per_kwh=0.3, hardware_usd=100_000, months=12, api_usd_in=0.5, api_usd_out=3.0)
    found = break_even(Cost(energy(), prices))
    assert found.tokens_per_month is None
    assert "2,336.4 million" in found.why and "without a pause makes 93.9 million" in found.why


def test_electricity_dearer_than_the_api_never_pays() -> None:
    prices = Prices(usd_per_kwh=0.4, hardware_usd=1, api_usd_out=1.0)
    found = break_even(Cost(energy(), prices))
    assert found.tokens_per_month is None
    assert "$1.11" in found.why and "$1.00" in found.why


@pytest.mark.parametrize(
    ("said", "lacking"),
    [
        ({"hardware_usd": 1.0, "api_usd_out": 1.0}, "--usd-per-kwh"),
        ({"usd_per_kwh": 1.0, "api_usd_out": 1.0}, "--hardware-usd"),
        ({"usd_per_kwh": 1.0, "hardware_usd": 1.0}, "--api-usd-out"),
    ],
)
def test_nothing_stands_in_for_a_price_that_nobody_said(said: dict[str, float], lacking: str) -> None:
    found = break_even(Cost(energy(), Prices(**said)))
    assert found.tokens_per_month is None and lacking in found.why
    others = {"--usd-per-kwh", "--hardware-usd", "--api-usd-out"} - {lacking}
    assert not any(other in found.why for other in others)


def test_without_a_price_of_a_kwh_there_are_kwh_and_no_dollars() -> None:
    cost = Cost(energy(), Prices(api_usd_in=1.0, api_usd_out=2.0))
    assert cost.kwh_with_prompts is not None
    assert cost.output_usd_per_million is cost.usd_with_prompts is cost.saved_usd_per_million is None


def test_prompts_that_cannot_be_reckoned_are_not_left_out_silently() -> None:
    unread = energy(prefill=None)
    assert Cost(unread, Prices()).kwh_with_prompts is None
    assert Cost(unread, Prices(prompt_per_output=0)).kwh_with_prompts is not None
    assert break_even(Cost(unread, Prices(usd_per_kwh=1.0))).tokens_per_month is None


def test_an_api_without_a_price_of_prompts_is_compared_without_prompts() -> None:
    prices = Prices(api_usd_out=2.0)
    assert prices.prompt_tokens_per_output == 0 and prices.api_usd_per_million == 2.0


@pytest.mark.parametrize(
    "wrong", [{"months": 12.0}, {"api_usd_in": 1.0}, {"api_usd_out": 1.0, "prompt_per_output": 2.0}]
)
def test_prices_that_cannot_be_used_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        Prices(**wrong)


@given(
    watts=st.floats(5, 3000), decode=st.floats(0.5, 500), prefill=st.floats(1, 20000),
    kwh=st.floats(0.01, 1), hardware=st.floats(1, 50_000), api=st.floats(0.01, 100), ratio=st.floats(0, 50),
)  # fmt: skip
def test_at_the_break_even_both_bills_are_the_same(
    watts: float, decode: float, prefill: float, kwh: float, hardware: float, api: float, ratio: float
) -> None:
    prices = Prices(
        usd_per_kwh=kwh, hardware_usd=hardware, api_usd_in=api / 5, api_usd_out=api, prompt_per_output=ratio
    )
    cost = Cost(energy(watts, decode, prefill), prices)
    found = break_even(cost)
    if found.tokens_per_month is None:
        assert found.why
        return
    millions = found.tokens_per_month / 1e6
    own = hardware / 36 + millions * cost.usd_with_prompts.expected  # type: ignore[union-attr]
    bill = millions * prices.api_usd_per_million  # type: ignore[operator]
    assert own == pytest.approx(bill, rel=1e-5, abs=1e-3)
    assert found.tokens_per_month <= cost.most_tokens_per_month.expected  # type: ignore[union-attr]
