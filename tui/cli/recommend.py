"""``llmfit recommend``: a short list for this machine, no two of one family, every pick ready to start."""

from __future__ import annotations

import argparse

from llmfit.advisor.hardware.machine_file import machine_to_json
from llmfit.tui.cli.documents import recommendation_document
from llmfit.tui.cli.output import print_json, print_lines, print_notes
from llmfit.tui.cli.render import recommendation_lines
from llmfit.tui.session import machine_from, recommendations_for, with_speeds


def run(parsed: argparse.Namespace) -> int:
    known = with_speeds(machine_from(vars(parsed)))
    machine = known.machine
    picks = recommendations_for(
        machine,
        parsed.use_case,
        context_tokens=parsed.context,
        min_tok_s=parsed.min_tps,
        limit=parsed.limit,
        speeds=known.speeds,
    )
    if parsed.json:
        described = machine_to_json(machine)
        print_json(
            {
                "schema": "llmfit.recommend/1",
                "machine": {key: value for key, value in described.items() if key != "schema"},
                "use_case": parsed.use_case,
                "recommendations": [recommendation_document(pick) for pick in picks],
            }
        )
    else:
        print_lines(list(recommendation_lines(picks, machine, parsed.use_case)))
        print_notes([known.note] if known.note else [])
    return 0
