"""The options of the commands that give advice: show, compare, plan, check, cost."""

from __future__ import annotations

import argparse
from typing import Any

from llmfit.advisor.units import parse_context
from llmfit.tui.cli.option_groups import (
    add_json,
    add_machine_options,
    add_model,
    add_setting_options,
    positive_count,
    positive_float,
)

MAX_COMPARED = 4


def add_advice_commands(commands: argparse._SubParsersAction[Any]) -> None:
    """One sub-parser a command, as in the contract of the command line."""
    _add_show(commands.add_parser("show", help="everything about one model on this machine, in tables"))
    _add_compare(commands.add_parser("compare", help="two to four models or configurations side by side"))
    _add_plan(commands.add_parser("plan", help="which GPUs or machines run a model, cheapest first"))
    _add_check(commands.add_parser("check", help="is a claim about a model physically possible"))
    _add_cost(commands.add_parser("cost", help="electricity, hardware, and against an API's price"))


def _add_show(show: argparse.ArgumentParser) -> None:
    add_model(show)
    add_machine_options(show)
    add_setting_options(show)
    show.add_argument("--evidence", action="store_true", help="every benchmark score known of the model")
    add_json(show)


def _add_compare(compare: argparse.ArgumentParser) -> None:
    compare.add_argument(
        "models",
        metavar="MODEL",
        nargs="+",
        help='a model, or in quotes a model with options of its own: "qwen3-32b --quant Q6_K"',
    )
    compare.add_argument("--quant", metavar="NAME", help="file type of all that name none")
    add_machine_options(compare)
    add_setting_options(compare)
    add_json(compare)


def _add_plan(plan: argparse.ArgumentParser) -> None:
    add_model(plan)
    add_setting_options(plan)
    plan.add_argument("--tps", type=positive_float, metavar="N", help="decode speed to reach, tok/s")
    plan.add_argument(
        "--upgrade", action="store_true", help="what to add to this machine (or the one that --gpu describes)"
    )
    plan.add_argument("--budget-usd", type=positive_float, metavar="USD", help="nothing dearer than this")
    plan.add_argument("--limit", type=positive_count, default=16, metavar="N", help="rows in all")
    plan.add_argument(
        "--host-usd",
        type=positive_float,
        metavar="USD",
        help="a computer for the cards, with 64 GiB of RAM (default: not in the prices, and said so)",
    )
    plan.add_argument(
        "--ram-usd-per-gb", type=positive_float, metavar="USD", help="RAM above that (default: printed)"
    )
    add_machine_options(plan)
    add_json(plan)


def _add_check(check: argparse.ArgumentParser) -> None:
    add_model(check)
    add_machine_options(check)
    add_setting_options(check)
    claims = check.add_argument_group("what is claimed (GB = 1e9 bytes)")
    claims.add_argument("--claim-vram", type=positive_float, metavar="GB", help="so much VRAM is used")
    claims.add_argument("--claim-weights", type=positive_float, metavar="GB", help="the file's size")
    claims.add_argument("--claim-kv", type=positive_float, metavar="GB", help="the KV cache's size")
    claims.add_argument("--claim-tps", type=positive_float, metavar="N", help="decode speed, tok/s")
    claims.add_argument(
        "--claim-does-not-fit", action="store_true", help="it does not fit there (without it: it does)"
    )
    claims.add_argument(
        "--claim-usd-per-million", type=positive_float, metavar="USD", help="electricity for 1e6 tokens"
    )
    claims.add_argument("--watts", type=positive_float, metavar="N", help="power while generating")
    claims.add_argument("--usd-per-kwh", type=positive_float, metavar="USD")
    claims.add_argument(
        "--claim-bandwidth-ratio", type=positive_float, metavar="N", help="--gpu has N times that of --than"
    )
    claims.add_argument("--than", metavar="SPEC", help="the other GPU of --claim-bandwidth-ratio")
    claims.add_argument("--claims", metavar="FILE", help="many claims at once: a JSON file of them")
    add_json(check)


def _add_cost(cost: argparse.ArgumentParser) -> None:
    add_model(cost)
    add_machine_options(cost)
    add_setting_options(cost)
    prices = cost.add_argument_group("prices in US dollars (none is assumed)")
    prices.add_argument(
        "--watts",
        type=positive_float,
        metavar="N",
        help="power of the whole computer while it generates (default: from what its cards are rated)",
    )
    prices.add_argument("--usd-per-kwh", type=positive_float, metavar="USD")
    prices.add_argument("--hardware-usd", type=positive_float, metavar="USD", help="what the computer cost")
    prices.add_argument(
        "--months", type=positive_float, metavar="N", help="over which it is written off (default: 36)"
    )
    prices.add_argument("--api-usd-in", type=positive_float, metavar="USD", help="API: 1e6 tokens of prompt")
    prices.add_argument("--api-usd-out", type=positive_float, metavar="USD", help="API: 1e6 generated tokens")
    prices.add_argument(
        "--prompt-per-output",
        type=float_from_zero,
        metavar="N",
        help="tokens of prompt for each generated one (default: 3; 0 with no --api-usd-in)",
    )
    add_json(cost)


def float_from_zero(text: str) -> float:
    """A ratio. Raises ArgumentTypeError for anything that is not a number from 0."""
    return 0.0 if text.strip() in ("0", "0.0") else positive_float(text)


__all__ = ["MAX_COMPARED", "add_advice_commands", "parse_context"]
