"""``llmfit cost``: electricity, write-off and an API's price, with everything that is assumed."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from llmfit.advisor.errors import LlmfitError
from llmfit.advisor.recommend.cost.break_even import Cost, Prices
from llmfit.advisor.recommend.cost.of_judgement import energy_per_million
from llmfit.advisor.recommend.cost.power import stated_power
from llmfit.advisor.recommend.judgement import Judgement
from llmfit.advisor.units import format_gib
from llmfit.tui.cli import output
from llmfit.tui.cli.estimate import judge_from
from llmfit.tui.session import MachineCache


def run(parsed: argparse.Namespace) -> int:
    """Raises LlmfitError where it does not fit: what cannot run has no cost."""
    values = vars(parsed)
    prices = prices_from(values)
    machines = MachineCache()
    judgement = judge_from(values, machines)
    if not judgement.fits:
        raise _does_not_fit(judgement)
    cost = Cost(
        energy_per_million(judgement, None if parsed.watts is None else stated_power(parsed.watts)), prices
    )
    if parsed.json:
        from llmfit.tui.cli.cost_document import cost_document

        output.print_json(cost_document(cost, judgement))
        return 0
    from llmfit.tui.cli.cost_lines import cost_lines

    output.print_lines(list(cost_lines(cost, judgement)))
    output.print_notes(machines.notes)
    return 0


def prices_from(values: Mapping[str, float | None]) -> Prices:
    """The options as they were parsed. Raises UsageError for prices that cannot be used together."""
    names = ("usd_per_kwh", "hardware_usd", "months", "api_usd_in", "api_usd_out", "prompt_per_output")
    return Prices(**{name: values.get(name) for name in names})


def _does_not_fit(judgement: Judgement) -> LlmfitError:
    hint = f"Would help: {judgement.remedies[0].text}." if judgement.remedies else ""
    why = f"does not fit, {format_gib(judgement.shortfall_bytes)} short"
    return LlmfitError(f"{judgement.model.id} {judgement.model.quantization}", why, hint)
