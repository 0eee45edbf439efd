"""What a measured figure is remembered under: enough to tell one computer from another, nothing private."""

from __future__ import annotations

from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.text import clean_text
from llmfit.advisor.units import GIB


def machine_fingerprint(machine: Machine) -> str:
    """``linux, AMD EPYC 9354, 2 cores, 2 threads, 24 GiB, DDR5-4800 x 2``; ``?`` for what is unknown.

    Everything that the RAM's bandwidth depends on: a change of CPU, usable cores, RAM or its speed is
    another computer. No serial number, no host name, no address: people send such files to each other. RAM
    is rounded to GiB, because what the kernel keeps for itself changes with its version.
    """
    cpu, memory = machine.cpu, machine.memory
    size = "?" if memory.total_bytes is None else str(round(memory.total_bytes / GIB))
    parts = (
        machine.os,
        cpu.name or "?",
        f"{_shown(cpu.physical_cores)} cores",
        f"{_shown(cpu.logical_cores)} threads",
        f"{size} GiB",
        f"{memory.memory_type or '?'}-{_shown(memory.transfer_rate_mt_s)} x {_shown(memory.channels)}",
    )
    return ", ".join(clean_text(part) for part in parts)


def _shown(number: int | None) -> str:
    return "?" if number is None else str(number)
