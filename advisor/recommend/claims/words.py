"""Figures and machines in the sentences of a check. GB is 1e9 bytes, as in the claims themselves."""

from __future__ import annotations

from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.text import printable
from llmfit.advisor.units import GB, GIB

MAX_NAME_CHARACTERS = 60
SMALLEST_GB = 0.01
"""Less is said in MB."""


def gb(size_bytes: float) -> str:
    """``187.1 GB``, ``1.61 GB``, ``0.05 GB``, ``3.2 MB``; never rounded to nothing."""
    size = size_bytes / GB
    if 0 < abs(size) < SMALLEST_GB:
        return f"{size * 1000:.2g} MB"
    return f"{size:.1f} GB" if abs(size) >= 10 else f"{size:.2f} GB"


def tok_s(speed: float) -> str:
    """``187 tok/s``, ``18.3 tok/s``, ``0.42 tok/s``."""
    return f"{number(speed)} tok/s"


def number(value: float) -> str:
    """Three figures: ``187``, ``18.3``, ``0.172``."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def dollars(usd: float) -> str:
    """``$0.172``, ``$12.34``."""
    return f"${usd:.3f}" if usd < 1 else f"${usd:,.2f}"


def machine_text(machine: Machine) -> str:
    """``2x GeForce RTX 3090``, ``no GPU``."""
    counts: dict[str, int] = {}
    for gpu in machine.gpus:
        name = printable(gpu.name, MAX_NAME_CHARACTERS)
        counts[name] = counts.get(name, 0) + 1
    named = [name if count == 1 else f"{count}x {name}" for name, count in counts.items()]
    return " and ".join(named) or "a computer without a GPU"


def memory_text(machine: Machine) -> str:
    """``RTX 4090: 25.8 GB (24 GiB)``, of several cards the sum."""
    free = gpu_bytes(machine)
    return f"{machine_text(machine)}: {gb(free)} ({free / GIB:.0f} GiB)"


def gpu_bytes(machine: Machine) -> int:
    """What all GPUs together have free."""
    return sum(gpu.usable_bytes or 0 for gpu in machine.gpus)
