"""``llmfit recommend``: a short list for this machine, no two of one family, every pick ready to start."""

from __future__ import annotations

import argparse

from llmfit.advisor.errors import UsageError
from llmfit.tui.candidates import Narrowing
from llmfit.tui.cli.documents import recommendation_document
from llmfit.tui.cli.output import print_json, print_lines, print_notes
from llmfit.tui.cli.render import recommendation_lines
from llmfit.tui.session import machine_from, recommendations_for, with_speeds

SCHEMA = "llmfit.recommend/1"
DEFAULT_USE = "general"
USUAL_LIMIT = 5


def run(parsed: argparse.Namespace) -> int:
    narrowed = Narrowing(parsed.license, parsed.family)
    if parsed.tiers:
        return _run_tiers(parsed, narrowed)
    known = with_speeds(machine_from(vars(parsed)))
    machine = known.machine
    picks = recommendations_for(
        machine,
        parsed.use_case or DEFAULT_USE,
        context_tokens=parsed.context,
        min_tok_s=parsed.min_tps,
        limit=parsed.limit or USUAL_LIMIT,
        speeds=known.speeds,
        narrowed=narrowed,
    )
    if parsed.json:
        from llmfit.advisor.hardware.machine_file import machine_to_json

        described = machine_to_json(machine)
        print_json(
            {
                "schema": SCHEMA,
                "machine": {key: value for key, value in described.items() if key != "schema"},
                "use_case": parsed.use_case or DEFAULT_USE,
                "recommendations": [recommendation_document(pick) for pick in picks],
            }
        )
    else:
        print_lines(list(recommendation_lines(picks, machine, parsed.use_case or DEFAULT_USE)))
        print_notes([known.note] if known.note else [])
    return 0


def _run_tiers(parsed: argparse.Namespace, narrowed: Narrowing) -> int:
    """Classes of hardware are described ones: options of a machine would contradict them."""
    from llmfit.tui.cli.tiers import choose_for_tiers, tier_document, tier_lines

    for option in ("gpu", "ram", "ram_bandwidth", "vram_free", "machine"):
        if getattr(parsed, option, None) is not None:
            raise UsageError("--tiers", f"contradicts --{option.replace('_', '-')}", "Leave one of them out.")
    for option, why in (("use_case", "shows every use"), ("limit", "shows the first choice alone")):
        if getattr(parsed, option) is not None:
            said = f"{why}, so it contradicts --{option.replace('_', '-')}"
            raise UsageError("--tiers", said, "Leave one of them out.")
    choices = tuple(choose_for_tiers(parsed.context, parsed.min_tps, narrowed))
    if parsed.json:
        print_json({"schema": SCHEMA, "tiers": [tier_document(one) for one in choices]})
    else:
        print_lines(list(tier_lines(choices)))
    return 0
