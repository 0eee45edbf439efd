"""``llmfit command``: nothing but the line that starts llama-server, ready to paste into a shell."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator

from llmfit.advisor.errors import LlmfitError
from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.recommend.judgement import Judgement
from llmfit.advisor.recommend.warnings import NO_MTP, SERVER_SEES_NO_GPU
from llmfit.advisor.units import format_gib
from llmfit.tui.cli.estimate import judge_from
from llmfit.tui.cli.output import print_json, print_lines, print_notes
from llmfit.tui.session import MachineCache


def run(parsed: argparse.Namespace) -> int:
    found = None
    if parsed.goal is None:
        judgement = judge_from(vars(parsed), MachineCache())
    else:
        from llmfit.tui.goal_choice import choose_for_goal

        found = choose_for_goal(vars(parsed), MachineCache())
        judgement = found.judgement
    if judgement.argv is None or judgement.shell_line is None:
        hint = f"Would help: {judgement.remedies[0].text}." if judgement.remedies else ""
        why = f"does not fit, {format_gib(judgement.shortfall_bytes)} short"
        raise LlmfitError(f"{judgement.model.id} {judgement.model.quantization}", why, hint)
    if parsed.json:
        document: dict[str, object] = {
            "schema": "llmfit.command/1",
            "argv": list(judgement.argv),
            "environment": dict(judgement.environment),
            "shell": judgement.shell_line,
            "verdict": judgement.verdict,
        }
        if found is not None:
            from llmfit.tui.cli.choices import choices_document

            document |= choices_document(found)
        print_json(document)
        return 0
    print_lines([judgement.shell_line])
    if found is not None:
        from llmfit.tui.cli.choices import choice_notes

        print_notes(list(choice_notes(found)))
    print_notes(list(_notes(judgement)))
    return 0


def _notes(judgement: Judgement) -> Iterator[str]:
    """What the line itself cannot say; stdout holds nothing but the line."""
    for warning in judgement.warnings:
        if warning.code in (SERVER_SEES_NO_GPU, NO_MTP):
            yield warning.text
    yield from _other_server(judgement.machine)


def _other_server(machine: Machine) -> Iterator[str]:
    """Where the line would start another llama-server than the one whose devices it names."""
    planned = machine.llama_server
    if planned is None or machine.described_by is not None:
        return
    from llmfit.advisor.server.find import path_server

    started = path_server(machine, os.environ)
    if started != planned.path:
        what = "is not on PATH" if started is None else f"means {started} in a shell"
        yield f"llama-server {what}; this line was planned for {planned.path}."
