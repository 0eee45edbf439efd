"""This machine: one line a card with a bar, one for the RAM, one for what could not be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.text import Text
from textual.reactive import reactive
from textual.widgets import Static

from llmfit.advisor.text import printable
from llmfit.tui.widgets.memory_bar import usage_bar

if TYPE_CHECKING:
    from llmfit.advisor.hardware.machine import Gpu, Machine

MAX_LINES = 10
MAX_LINES_SHORT = 3
MAX_SINGLE_CARDS = 4
SHORT_HEIGHT = 34
MAX_NAME_WIDTH = 30
NARROW = 100


class MachinePanel(Static):
    """Draws a Machine; ``None`` while the probes are still running."""

    machine: reactive[Machine | None] = reactive(None)
    problem: reactive[str] = reactive("")

    def watch_machine(self) -> None:
        self._draw()

    def watch_problem(self) -> None:
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        if self.machine is not None:
            max_lines = MAX_LINES_SHORT if self.app.size.height < SHORT_HEIGHT else MAX_LINES
            self.update(machine_text(self.machine, self.content_size.width or self.app.size.width, max_lines))
        else:
            self.update(Text(printable(self.problem) or "Looking at this machine…", "dim"))


def machine_text(machine: Machine, width: int, max_lines: int) -> Text:
    """At most ``max_lines`` lines: of many cards equal idle ones share one, then the rest is summed up."""
    room = max_lines - 1
    groups = [[gpu] for gpu in machine.gpus]
    if len(groups) > min(room, MAX_SINGLE_CARDS):
        groups = [list(group) for _, group in groupby(machine.gpus, key=_alike)]
    shown, left = (groups, []) if len(groups) <= room else (groups[: room - 1], groups[room - 1 :])
    lines = list(_card_lines(shown, width))
    if left:
        lines.append(_summed_up([gpu for group in left for gpu in group]))
    if not machine.gpus:
        lines.append(Text("No GPU found: everything runs on the CPU."))
    lines.append(_host_text(machine))
    notes = machine.notes[: max_lines - len(lines)]
    lines += [Text(f"Note: {printable(note)}", "dim") for note in notes]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return Text("\n").join(lines)


def _alike(gpu: Gpu) -> object:
    """Cards with the same key look the same but for their number; a card that somebody uses is told alone."""
    if gpu.processes:
        return gpu.index
    return (gpu.name, gpu.vram_total_bytes, gpu.vram_free_bytes, gpu.bandwidth_bytes_per_s)


def _card_lines(groups: Sequence[Sequence[Gpu]], width: int) -> Iterator[Text]:
    """Aligned columns: label, name, bar, use, bandwidth; last who uses it, because that may be cut."""
    from llmfit.tui.cli.render import bandwidth_text, gpu_memory_text

    if not groups:
        return
    labels = [_label(group) for group in groups]
    names = [_name(group) for group in groups]
    used = [gpu_memory_text(group[0]) + (" each" if len(group) > 1 else "") for group in groups]
    speeds = [bandwidth_text(group[0].bandwidth_bytes_per_s) for group in groups]
    widths = [max(map(cell_len, column)) for column in (labels, names, used, speeds)]
    name_width = min(widths[1], MAX_NAME_WIDTH, max(12, width - widths[0] - widths[2] - widths[3] - 16))
    for group, label, name, use, speed in zip(groups, labels, names, used, speeds, strict=True):
        if cell_len(name) > name_width:
            name = set_cell_size(name, name_width - 1) + "…"
        line = Text(f"{set_cell_size(label, widths[0])} {set_cell_size(name, name_width)}  ")
        line.append_text(usage_bar(group[0], 8 if width < NARROW else 16))
        line.append(f" {use.rjust(widths[2])}")
        line.append(f"  {speed.rjust(widths[3])}", "dim")
        room = width - line.cell_len - 2
        line.append(f"  {_holders(group[0], room)}")
        yield line


def _label(group: Sequence[Gpu]) -> str:
    first, last = group[0].index, group[-1].index
    return f"GPU{first}" if first == last else f"GPU{first}-{last}"


def _name(group: Sequence[Gpu]) -> str:
    name = printable(group[0].name).removeprefix("NVIDIA ").removeprefix("GeForce ")
    return name if len(group) == 1 else f"{len(group)}x {name}"


def _holders(gpu: Gpu, room: int) -> str:
    """``Xorg 0.6, firefox 1.5`` (GiB); the ones that find no room are counted: ``Xorg 0.6, +2``."""
    from llmfit.advisor.units import GIB

    known = sorted(gpu.processes, key=lambda process: -(process.vram_bytes or 0))
    told = [
        f"{printable(process.name, 24)} "
        + ("?" if process.vram_bytes is None else f"{process.vram_bytes / GIB:.1f}")
        for process in known
    ]
    for count in range(len(told), 0, -1):
        left = len(told) - count
        text = ", ".join(told[:count]) + (f", +{left}" if left else "")
        if cell_len(text) <= room:
            return text
    programs = "program" if len(told) == 1 else "programs"
    return f"{len(told)} {programs}" if told and room >= len(f"{len(told)} {programs}") else ""


def _summed_up(gpus: Sequence[Gpu]) -> Text:
    """``… and 5 more cards: 12.3 of 120.0 GiB used``."""
    from llmfit.advisor.units import GIB

    text = f"… and {len(gpus)} more cards"
    known = [gpu for gpu in gpus if gpu.vram_total_bytes is not None and gpu.vram_free_bytes is not None]
    if len(known) == len(gpus):
        total = sum(gpu.vram_total_bytes or 0 for gpu in gpus)
        used = total - sum(gpu.vram_free_bytes or 0 for gpu in gpus)
        text += f": {used / GIB:.1f} of {total / GIB:.1f} GiB used"
    return Text(text)


def _host_text(machine: Machine) -> Text:
    from llmfit.tui.cli.render import ram_line

    host = Text(ram_line(machine))
    cpu = machine.cpu
    if cpu.name:
        host.append(f" · {printable(cpu.name)}", "dim")
    if cpu.physical_cores:
        host.append(f" · {cpu.physical_cores} cores", "dim")
    server = machine.llama_server
    if server is not None:
        build = f" b{server.build}" if server.build else ""
        host.append(f" · llama-server{build} {printable(' '.join(server.backends))}".rstrip(), "dim")
    elif not machine.simulated:
        host.append(" · no llama-server found", "dim")
    return host
