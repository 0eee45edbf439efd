"""This machine: one line a card with a bar, one for the RAM, one for what could not be read."""

from __future__ import annotations

from rich.text import Text
from textual.reactive import reactive
from textual.widgets import Static

from llmfit.advisor.hardware.machine import Gpu, Machine
from llmfit.advisor.text import printable
from llmfit.advisor.units import format_gib
from llmfit.tui.cli.render import bandwidth_text, gpu_memory_text, ram_line
from llmfit.tui.widgets.memory_bar import usage_bar

BAR_WIDTH = 14
MAX_NOTES = 1


class MachinePanel(Static):
    """Draws a Machine; ``None`` while the probes are still running."""

    machine: reactive[Machine | None] = reactive(None)

    def watch_machine(self, machine: Machine | None) -> None:
        self.update(Text("Looking at this machine…", "dim") if machine is None else machine_text(machine))


def machine_text(machine: Machine) -> Text:
    """All lines of the panel."""
    lines = [_gpu_text(gpu) for gpu in machine.gpus] or [Text("No GPU found: everything runs on the CPU.")]
    host = Text(ram_line(machine), no_wrap=True, overflow="ellipsis")
    cpu = machine.cpu
    if cpu.name:
        host.append(f" · {printable(cpu.name)}", "dim")
    if cpu.physical_cores:
        host.append(f" · {cpu.physical_cores} cores", "dim")
    lines.append(host)
    lines += [Text(f"Note: {printable(note)}", "dim") for note in machine.notes[:MAX_NOTES]]
    return Text("\n", no_wrap=True, overflow="ellipsis").join(lines)


def _gpu_text(gpu: Gpu) -> Text:
    name = printable(gpu.name).removeprefix("NVIDIA ").removeprefix("GeForce ")
    text = Text(f"GPU{gpu.index} {name:<14} ", no_wrap=True, overflow="ellipsis")
    text.append_text(usage_bar(gpu, BAR_WIDTH))
    text.append(f" {gpu_memory_text(gpu)}")
    holders = ", ".join(
        f"{printable(process.name)} {format_gib(process.vram_bytes)}"
        for process in gpu.processes
        if process.vram_bytes
    )
    if holders:
        text.append(f" ({holders})", "dim")
    text.append(f" · {bandwidth_text(gpu.bandwidth_bytes_per_s)}", "dim")
    return text
