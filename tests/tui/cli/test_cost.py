"""``llmfit cost``: the contract's names, no hidden price, and text that fits a terminal."""

from __future__ import annotations

import pytest

from tests.tui.cli.conftest import Run

CARD = ("--gpu", "RTX 3090", "--ram", "64GiB")
MODEL = ("qwen3-32b", "--quant", "Q4_K_M")
PRICES = ("--usd-per-kwh", "0.3", "--hardware-usd", "1500", "--api-usd-in", "0.4", "--api-usd-out", "3")
CONTRACT = (
    "schema", "watts", "decode_tok_s", "usd_per_kwh", "electricity_usd_per_million_output_tokens",
    "api_usd_per_million", "break_even_tokens_per_month", "assumptions",
)  # fmt: skip


def test_the_names_of_the_contract_and_a_sum_that_adds_up(run: Run) -> None:
    answer = run("cost", *MODEL, *CARD, "--watts", "575", *PRICES, "--json")
    assert answer.code == 0
    found = answer.document
    assert found["schema"] == "llmfit.cost/1" and set(CONTRACT) <= set(found)
    assert found["watts"] == 575 and found["watts_basis"] == "stated"
    kwh = 0.575 * 1e6 / found["decode_tok_s"] / 3600
    assert found["electricity_usd_per_million_output_tokens"] == pytest.approx(kwh * 0.3)
    assert found["api_usd_per_million"] == pytest.approx(3 + 3 * 0.4)
    saved = found["api_usd_per_million"] - found["electricity_usd_per_million_with_prompts"]
    assert found["break_even_tokens_per_month"] == pytest.approx(1500 / 36 / saved * 1e6, abs=1)
    assert found["break_even_why"] is None


def test_no_price_is_hidden(run: Run) -> None:
    found = run("cost", *MODEL, *CARD, "--json").document
    for name in CONTRACT:
        if "usd" in name or "break_even" in name:
            assert found[name] is None
    assert found["kwh_per_million_output_tokens"]["expected"] > 0
    assert found["watts_basis"] == "rated" and found["watts_range"]["low"] < found["watts"]
    assert any("No price of a kWh is assumed" in said for said in found["assumptions"])
    assert any("--prompt-per-output" in said for said in found["assumptions"])


def test_every_price_that_is_used_stands_among_the_assumptions(run: Run) -> None:
    said = " ".join(run("cost", *MODEL, *CARD, *PRICES, "--json").document["assumptions"])
    for price in ("$0.30", "$1,500.00", "36 months", "$0.40", "$3.00"):
        assert price in said


def test_depth_makes_it_dearer(run: Run) -> None:
    shallow, deep = (
        run("cost", *MODEL, *CARD, "--context", "16k", *more, "--json").document
        for more in ((), ("--depth", "14k"))
    )
    assert (
        shallow["kwh_per_million_output_tokens"]["expected"]
        < deep["kwh_per_million_output_tokens"]["expected"]
    )
    assert "14336 tokens in the context" in " ".join(deep["assumptions"])


@pytest.mark.parametrize(
    "options",
    [
        (*MODEL, *CARD, *PRICES),
        (*MODEL, *CARD),
        (*MODEL, "--gpu", "2x RTX 3090", "--ram", "64GiB", *PRICES),
        (*MODEL, "--gpu", "DGX Spark", "--usd-per-kwh", "0.069", "--api-usd-out", "0.0005"),
        (*MODEL, "--gpu", "M4 Max 128GB"),
        (*MODEL, "--gpu", "none", "--ram", "64GiB", "--ram-bandwidth", "80"),
        (*MODEL, "--gpu", "none", "--ram", "64GiB"),
        (*MODEL, "--gpu", "RTX 4060 Ti", "--ram", "64GiB", "--ram-bandwidth", "80", *PRICES),
    ],
    ids=lambda options: " ".join(options[3:5]),
)
def test_text_fits_eighty_columns_and_says_what_is_assumed(run: Run, options: tuple[str, ...]) -> None:
    answer = run("cost", *options)
    assert answer.code == 0 and answer.err == ""
    lines = answer.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "Assumed" in lines and any("kWh" in line for line in lines)


def test_a_cpu_alone_has_no_rated_power(run: Run) -> None:
    cpu = ("--gpu", "none", "--ram", "64GiB", "--ram-bandwidth", "80")
    found = run("cost", *MODEL, *cpu, "--json").document
    assert found["watts"] is None and found["decode_tok_s"] > 0
    assert "--watts" in found["unknown"][0]
    assert run("cost", *MODEL, *cpu, "--watts", "120", "--json").document["watts"] == 120


def test_what_does_not_fit_has_no_cost(run: Run) -> None:
    answer = run("cost", "mimo-v2-flash", "--quant", "Q8_0", *CARD, "--json")
    assert answer.code == 1 and "does not fit" in answer.document["error"]["message"]


@pytest.mark.parametrize(
    "wrong",
    [
        ("--watts", "0"), ("--watts", "-5"), ("--watts", "nan"), ("--watts", "inf"),
        ("--usd-per-kwh", "free"),
        ("--months", "12"), ("--api-usd-in", "1"), ("--prompt-per-output", "-1"),
        ("--hardware-usd", "1e99"),
        ("--api-usd-out", "1", "--prompt-per-output", "2"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_nonsense_is_refused_in_one_line(run: Run, wrong: tuple[str, ...]) -> None:
    answer = run("cost", *MODEL, *CARD, *wrong)
    assert answer.code == 2 and answer.out == ""
    assert answer.err.startswith("llmfit: error: ") and answer.err.count("\n") == 1


def test_small_counts_are_said_as_they_are(run: Run) -> None:
    """Against a very dear API few tokens suffice: no ``0.06 million``, no ``0%``."""
    dear = ("--usd-per-kwh", "0.3", "--hardware-usd", "1500", "--api-usd-in", "100", "--api-usd-out", "400")
    text = " ".join(run("cost", *MODEL, *CARD, *dear).out.split())
    assert "Break-even at 60,000 generated tokens a month." in text
    assert "less than 1% of what it can make" in text


def test_without_a_speed_it_is_the_speed_that_is_missing(run: Run) -> None:
    """Not the power: that was stated."""
    asked = ("cost", *MODEL, "--gpu", "none", "--ram", "64GiB", "--watts", "120")
    answer = run(*asked)
    assert "--watts" not in answer.out and "--ram-bandwidth" in answer.out
    assert "\n\n\n" not in answer.out
    assert "No speed is known" in run(*asked, "--json").document["break_even_why"]


def test_prompts_can_be_left_out(run: Run) -> None:
    found = run("cost", *MODEL, *CARD, *PRICES, "--prompt-per-output", "0", "--json").document
    assert found["prompt_tokens_per_output_token"] == 0 and found["api_usd_per_million"] == 3
    assert found["electricity_usd_per_million_with_prompts"] == pytest.approx(
        found["electricity_usd_per_million_output_tokens"]
    )
