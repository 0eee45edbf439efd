"""``llmfit command``: nothing but the line that starts llama-server, ready to paste into a shell."""

from __future__ import annotations

import argparse

from llmfit.advisor.errors import LlmfitError
from llmfit.advisor.units import format_gib
from llmfit.tui.cli.estimate import judge_from
from llmfit.tui.cli.output import print_json, print_lines


def run(parsed: argparse.Namespace) -> int:
    judgement = judge_from(vars(parsed))
    if judgement.argv is None or judgement.shell_line is None:
        hint = f"Would help: {judgement.remedies[0].text}." if judgement.remedies else ""
        why = f"does not fit, {format_gib(judgement.shortfall_bytes)} short"
        raise LlmfitError(f"{judgement.model.id} {judgement.model.quantization}", why, hint)
    if parsed.json:
        print_json(
            {
                "schema": "llmfit.command/1",
                "argv": list(judgement.argv),
                "environment": dict(judgement.environment),
                "shell": judgement.shell_line,
                "verdict": judgement.verdict,
            }
        )
    else:
        print_lines([judgement.shell_line])
    return 0
