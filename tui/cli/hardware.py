"""``llmfit hardware``: what this machine is, and from which source each value was read."""

from __future__ import annotations

import argparse

from llmfit.advisor.hardware.machine_file import machine_to_json
from llmfit.tui.cli.measuring import measured_machine
from llmfit.tui.cli.output import print_json, print_lines
from llmfit.tui.llama_servers import asked_afresh
from llmfit.tui.session import machine_from


def run(parsed: argparse.Namespace) -> int:
    values = vars(parsed)
    if parsed.measure:
        machine = measured_machine(values)
    else:
        machine = machine_from(values, find_server=True, ask_servers=asked_afresh)
    if parsed.json:
        print_json(machine_to_json(machine))
    else:
        from llmfit.tui.cli.render_machine import hardware_lines  # brings the estimate's tables

        print_lines(list(hardware_lines(machine)))
    return 0
