"""How full a card is now and by whom: a bar with a glyph for each holder, beside its colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

from llmfit.tui.widgets.memory_bar import FREE_GLYPH, OTHERS_GLYPH

if TYPE_CHECKING:
    from llmfit.advisor.hardware.machine import Gpu, Memory

HOLDERS = (("█", "yellow"), ("▓", "magenta"), ("▒", "cyan"), ("░", "blue"))
"""For the programs that hold most, the largest first."""
SMALLER = ("▪", "green")
"""For all the other programs together."""
OTHERS = (OTHERS_GLYPH, "yellow")
"""In use, but by nobody who is known: the driver's own buffers, a desktop, programs of other users."""
RESERVED = ("≡", "dim")
"""What the driver keeps of the total even when nothing runs."""
BEYOND_GLYPH = "╌"
"""RAM that a GPU with unified memory may not use."""
CARVE_OUT_END = "|"
UNKNOWN_GLYPH = "?"
Mark = tuple[str, str]
"""A glyph and its style."""


@dataclass(frozen=True, slots=True)
class Part:
    """One stretch of a bar."""

    glyph: str
    style: str
    size_bytes: int


def holder_marks(gpu: Gpu) -> dict[int, Mark]:
    """The glyph and its style of each program, by process id."""
    return {
        process.pid: HOLDERS[rank] if rank < len(HOLDERS) else SMALLER
        for rank, process in enumerate(gpu.holders)
    }


def used_bytes(gpu: Gpu) -> int | None:
    """What is not free, the driver's part included; ``None`` where that is not known."""
    if gpu.vram_total_bytes is None or gpu.vram_free_bytes is None:
        return None
    return max(0, gpu.vram_total_bytes - gpu.vram_free_bytes)


def usage_parts(gpu: Gpu, marks: Mapping[int, Mark] | None = None) -> list[Part]:
    """Who fills the used memory, in the order of the bar; the parts add up to what is used.

    Programs may share pages, so that their sizes together can be more than what is used: what comes last is
    cut then. What nobody is known to hold is ``OTHERS``.
    """
    left_bytes = used_bytes(gpu) or 0
    reserved_bytes = min(gpu.vram_reserved_bytes or 0, left_bytes)
    left_bytes -= reserved_bytes
    marks, parts = holder_marks(gpu) if marks is None else marks, []
    for process in gpu.holders:
        size_bytes = min(process.vram_bytes or 0, left_bytes)
        left_bytes -= size_bytes
        parts.append(Part(*marks[process.pid], size_bytes))
    return [*parts, Part(*OTHERS, left_bytes), Part(*RESERVED, reserved_bytes)]


def usage_bar(
    gpu: Gpu, width: int, memory: Memory | None = None, marks: Mapping[int, Mark] | None = None
) -> Text:
    """``width`` cells: who holds what, then what is free; at least one cell where anything is held.

    Of a GPU that shares the system's RAM (``memory``) the bar is all RAM: what it may not use is ``╌``, and
    ``|`` stands where its carve-out ends. ``marks`` are the programs' glyphs where a list has given them.
    """
    used, total = used_bytes(gpu), gpu.vram_total_bytes
    if used is None or not total:
        return Text(UNKNOWN_GLYPH * width, "dim")
    beyond = _beyond_bytes(gpu, memory)
    scale = width / (total + beyond)
    parts = usage_parts(gpu, marks)
    bar = Text(no_wrap=True, overflow="crop")
    in_use = min(width, max(round(used * scale), 1 if used else 0))
    for part, cells in zip(parts, _shared_out([part.size_bytes for part in parts], in_use), strict=True):
        bar.append(part.glyph * cells, part.style)
    bar.append(FREE_GLYPH * max(0, round(total * scale) - len(bar)), "dim")
    bar.append(BEYOND_GLYPH * (width - len(bar)), "dim")
    return _with_carve_out(bar, round((gpu.carve_out_bytes or 0) * scale))


def _shared_out(sizes: Sequence[int], cells: int) -> list[int]:
    """``cells`` by size: whole ones first, the rest to the largest remainders, of equal ones the first."""
    total = sum(sizes)
    if not total:
        return [0] * len(sizes)
    shares = [size * cells / total for size in sizes]
    shared = [int(share) for share in shares]
    by_remainder = sorted(range(len(sizes)), key=lambda number: shared[number] - shares[number])
    for number in by_remainder[: cells - sum(shared)]:
        shared[number] += 1
    return shared


def _beyond_bytes(gpu: Gpu, memory: Memory | None) -> int:
    """The RAM that this GPU may not use; 0 for a card with memory of its own."""
    if not gpu.unified_memory or memory is None or memory.total_bytes is None:
        return 0
    return max(0, memory.total_bytes + (gpu.carve_out_bytes or 0) - (gpu.vram_total_bytes or 0))


def _with_carve_out(bar: Text, cell: int) -> Text:
    if not 0 < cell < len(bar):
        return bar
    return bar[: cell - 1] + Text(CARVE_OUT_END, "bold") + bar[cell:]
