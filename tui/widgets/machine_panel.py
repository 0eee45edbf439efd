"""This machine: one line a card with a bar by program, one for the RAM, what could not be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.text import Text
from textual.reactive import reactive
from textual.widgets import Static

from llmfit.advisor.text import printable
from llmfit.tui.labels import short_gpu_name
from llmfit.tui.widgets.usage_bar import OTHERS, holder_marks, usage_bar, usage_parts

if TYPE_CHECKING:
    from llmfit.advisor.hardware.machine import Gpu, Machine, Memory

MAX_LINES = 10
MAX_LINES_SHORT = 3
MAX_SINGLE_CARDS = 4
SHORT_HEIGHT = 34
MAX_NAME_WIDTH = 30
NARROW, WIDE = 100, 140
BAR_WIDTHS = (8, 16, 24)
MIN_OTHERS_BYTES = 2**26
"""Memory in use by nobody known is told from there on, 0.1 GiB; less is what every driver takes."""


class MachinePanel(Static):
    """Draws a Machine; ``None`` while the probes are still running. ``problem`` is why they failed."""

    machine: reactive[Machine | None] = reactive(None, always_update=True)
    problem: reactive[str] = reactive("")

    def watch_machine(self) -> None:
        self._draw()

    def watch_problem(self) -> None:
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        if self.machine is None:
            self.update(Text(printable(self.problem) or "Looking at this machine…", "dim"))
            return
        width = self.content_size.width or self.app.size.width
        max_lines = MAX_LINES_SHORT if self.app.size.height < SHORT_HEIGHT else MAX_LINES
        told = [_loud_line(line, width) for line in loud_problems(self.machine, self.problem)]
        self.update(Text("\n").join([*told, machine_text(self.machine, width, max_lines)]))


def loud_problems(machine: Machine, probe_problem: str) -> list[tuple[str, ...]]:
    """What nobody may overlook, each as forms of which one is shorter than the other.

    A llama-server that uses no card of this machine makes every answer on the screen worthless.
    """
    from llmfit.advisor.diagnosis.diagnose import server_problem

    loud: list[tuple[str, ...]] = []
    found = server_problem(machine)
    if found is not None:
        full = f"✗ {found.text} {found.fix or ''}".rstrip()
        loud.append((full, f"✗ {found.text}", _SHORT_PROBLEM))
    if probe_problem:
        loud.append((f"✗ This machine could not be read again: {probe_problem}",))
    return loud


_SHORT_PROBLEM = "✗ The llama-server here does not use this machine's GPU: m tells more"


def _loud_line(forms: Sequence[str], width: int) -> Text:
    """The first form that has room, else the last, cut."""
    fitting = (form for form in forms if cell_len(printable(form)) <= width)
    line = Text(printable(next(fitting, forms[-1])), "bold red")
    line.truncate(width, overflow="ellipsis")
    return line


def machine_text(machine: Machine, width: int, max_lines: int) -> Text:
    """At most ``max_lines`` lines: of many cards equal idle ones share one, then the rest is summed up.

    Notes that find no room are counted at the end of the last line, with the key that shows them.
    """
    room = max_lines - 1
    groups = [[gpu] for gpu in machine.gpus]
    if len(groups) > min(room, MAX_SINGLE_CARDS):
        groups = [list(group) for _, group in groupby(machine.gpus, key=_alike)]
    shown, left = (groups, []) if len(groups) <= room else (groups[: room - 1], groups[room - 1 :])
    lines = list(_card_lines(shown, width, machine.memory))
    if left:
        lines.append(_summed_up([gpu for group in left for gpu in group]))
    if machine.unseen_gpus:
        lines.append(Text(f"✗ {printable(machine.unseen_gpus[0])}", "bold red"))
    elif not machine.gpus:
        lines.append(Text("No GPU found: everything runs on the CPU."))
    lines.append(_host_text(machine))
    told = [note for note in machine.notes if note not in machine.unseen_gpus[:1]]
    notes = told[: max_lines - len(lines)]
    lines += [Text(f"Note: {printable(note)}", "dim") for note in notes]
    hidden = len(told) - len(notes)
    more = "" if not hidden else f"   +{hidden} {'note' if hidden == 1 else 'notes'}: m"
    for line in lines:
        line.truncate(width - (len(more) if line is lines[-1] else 0), overflow="ellipsis")
    lines[-1].append(more, "bold not dim")
    return Text("\n").join(lines)


def _alike(gpu: Gpu) -> object:
    """Cards with the same key look the same but for their number; a card that somebody uses is told alone."""
    if gpu.processes:
        return gpu.index
    return (gpu.name, gpu.vram_total_bytes, gpu.vram_free_bytes, gpu.bandwidth_bytes_per_s)


def _card_lines(groups: Sequence[Sequence[Gpu]], width: int, memory: Memory) -> Iterator[Text]:
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
        line.append_text(usage_bar(group[0], bar_width(width), memory))
        line.append(f" {use.rjust(widths[2])}")
        line.append(f"  {speed.rjust(widths[3])}", "dim")
        room = width - line.cell_len - 2
        line.append("  ")
        line.append_text(_holders(group[0], room))
        yield line


def bar_width(width: int) -> int:
    return BAR_WIDTHS[(width >= NARROW) + (width >= WIDE)]


def _label(group: Sequence[Gpu]) -> str:
    first, last = group[0].index, group[-1].index
    return f"GPU{first}" if first == last else f"GPU{first}-{last}"


def _name(group: Sequence[Gpu]) -> str:
    name = short_gpu_name(group[0])
    return name if len(group) == 1 else f"{len(group)}x {name}"


def _holders(gpu: Gpu, room: int) -> Text:
    """``█ firefox 1.5, ▓ Xorg 0.6, ╳ other 0.2`` (GiB); what finds no room is counted: ``+2``."""
    told = list(_told_holders(gpu))
    for count in range(len(told), 0, -1):
        left = len(told) - count
        text = Text(", ").join(told[:count]).append(f", +{left}" if left else "")
        if text.cell_len <= room:
            return text
    count = len(gpu.processes)
    text = Text(f"{count} {'program' if count == 1 else 'programs'}" if count else "")
    return text if text.cell_len <= room else Text("")


def _told_holders(gpu: Gpu) -> Iterator[Text]:
    """Each program with its glyph in the bar, the largest first, then what nobody is known to hold."""
    from llmfit.advisor.hardware.machine import UNKNOWN_SIZE
    from llmfit.advisor.units import GIB, format_gib

    marks = holder_marks(gpu)
    for process in gpu.holders:
        size = UNKNOWN_SIZE if process.vram_bytes is None else f"{process.vram_bytes / GIB:.1f}"
        glyph, style = marks[process.pid]
        yield Text(glyph, style).append(f" {printable(process.name, 24)} {size}", "default")
    others = next((part.size_bytes for part in usage_parts(gpu) if part.glyph == OTHERS[0]), 0)
    if others >= MIN_OTHERS_BYTES:
        word = "in RAM" if gpu.unified_memory else "other"
        yield Text(OTHERS[0], OTHERS[1]).append(f" {word} {others / GIB:.1f}", "default")
    if gpu.carve_out_bytes:
        yield Text(f"carve-out {format_gib(gpu.carve_out_bytes)}")


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
    elif machine.described_by is None:
        found = "no llama-server that works" if machine.llama_servers else "no llama-server found"
        host.append(f" · {found}", "dim")
    return host
