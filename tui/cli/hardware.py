"""``llmfit hardware``: what this machine is, and from which source each value was read."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.hardware.machine_file import machine_to_json
from llmfit.advisor.text import printable
from llmfit.tui.cli.measuring import measured_machine
from llmfit.tui.cli.output import print_json, print_lines
from llmfit.tui.cli.render import gpu_line, ram_line, wrapped
from llmfit.tui.session import machine_from


def run(parsed: argparse.Namespace) -> int:
    values = vars(parsed)
    machine = measured_machine(values) if parsed.measure else machine_from(values, find_server=True)
    if parsed.json:
        print_json(machine_to_json(machine))
    else:
        print_lines(list(_lines(machine)))
    return 0


def _lines(machine: Machine) -> Iterator[str]:
    cpu = machine.cpu
    if cpu.name is not None or not machine.simulated:
        cores = "core count not known" if cpu.physical_cores is None else f"{cpu.physical_cores} cores"
        yield f"CPU {printable(cpu.name or 'not known')}: {cores}"
    yield ram_line(machine)
    for gpu in machine.gpus:
        yield gpu_line(gpu)
        read = ", ".join(f"{name} from {source}" for name, source in sorted(gpu.sources.items()))
        if read:
            yield from wrapped(printable(read), start="     ")
    if not machine.gpus:
        yield "No GPU."
    server = machine.llama_server
    if server is not None:
        yield f"llama-server {printable(server.version or '')} at {printable(server.path)}"
    elif not machine.simulated:
        yield "llama-server: not found on PATH"
    for note in machine.notes:
        yield from wrapped(f"Note: {printable(note)}")
