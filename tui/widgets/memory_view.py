"""Where the bytes go: one aligned line for each device of a judgement, with a bar where there is room."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from llmfit.tui.labels import device_label
from llmfit.tui.widgets.judgement_view import JudgementView
from llmfit.tui.widgets.memory_bar import (
    FREE_GLYPH,
    OTHERS_GLYPH,
    OVER_GLYPH,
    PARTS,
    estimate_bar,
    held_bytes,
    part_sizes,
)

if TYPE_CHECKING:
    from llmfit.advisor.memory.breakdown import DeviceMemory
    from llmfit.advisor.recommend.judgement import Judgement

MIN_BAR_WIDTH = 6
MAX_BAR_WIDTH = 48
_SHORT_NAMES = {"compute": "comp", "weights": "wts", "driver": "drv"}
_GAP = "  "


class MemoryView(JudgementView):
    """Draws the memory of a judgement to the width it has."""

    def text_of(self, judgement: Judgement, width: int) -> Text:
        return memory_text(judgement, width)


def memory_text(judgement: Judgement, width: int) -> Text:
    """A head that is the legend as well, a line a device, and what is missing; GiB throughout."""
    devices = judgement.memory.devices
    missing = missing_by_device(judgement)
    forms = list(_forms(devices, missing))
    fitting = (form for form in forms[1:] if _width_of(form) <= width)
    roomy = _width_of(forms[0]) + len(_GAP) + MIN_BAR_WIDTH <= width
    head, *rows = forms[0] if roomy else next(fitting, forms[-1])
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    room = width - _width_of([head, *rows]) - len(_GAP)
    bar_width = min(room, MAX_BAR_WIDTH) if room >= MIN_BAR_WIDTH else 0
    lines = [_line(head, widths, Text(" " * bar_width), "dim")]
    for device, row in zip(devices, rows, strict=True):
        missing_bytes = missing.get(row[0], 0)
        bar = estimate_bar(device, missing_bytes, bar_width)
        lines.append(_line(row, widths, bar, "bold red" if missing_bytes else ""))
    lines += _notes(devices, missing, bar_width > 0)
    return Text("\n").join(lines)


def _forms(devices: Sequence[DeviceMemory], missing: Mapping[str, int]) -> Iterator[list[list[str]]]:
    """Head and rows, each form narrower than the one before."""
    rows = [[device_label(device), *_sizes(device), _total(device, missing)] for device in devices]
    yield [["", *(f"{glyph} {name}" for name, glyph, _ in PARTS), "total of free"], *rows]
    rows = [[*row[:-1], row[-1].replace(" of ", "/")] for row in rows]
    yield [["", *(_SHORT_NAMES.get(name, name) for name, _, _ in PARTS), "total/free"], *rows]
    rest = [gib(device.compute_bytes + device.overhead_bytes) for device in devices]
    rows = [[*row[:3], other, row[-1]] for row, other in zip(rows, rest, strict=True)]
    yield [["", "wts", "KV", "other", "total/free"], *rows]
    yield [["", "wts", "KV", "other", "total"], *([*row[:-1], row[-1].split("/")[0]] for row in rows)]


def missing_by_device(judgement: Judgement) -> dict[str, int]:
    """Bytes that each device lacks, by its label: the same figures that the verdict rests on."""
    from llmfit.advisor.memory.fitting_budget import machine_budgets

    if judgement.fits:
        return {}
    budgets, memory = machine_budgets(judgement.machine), judgement.memory
    missing = {device_label(device): budgets.card_shortfall_bytes(device) for device in memory.gpus}
    missing[device_label(memory.host)] = budgets.ram_shortfall_bytes(memory)
    return {label: size_bytes for label, size_bytes in missing.items() if size_bytes}


def _sizes(device: DeviceMemory) -> list[str]:
    return [gib(size_bytes) for size_bytes in part_sizes(device)]


def _total(device: DeviceMemory, missing: Mapping[str, int]) -> str:
    free = "?" if device.free_bytes is None else gib(device.free_bytes)
    return f"{'✗ ' if device_label(device) in missing else ''}{gib(device.total_bytes)} of {free}"


def gib(size_bytes: int) -> str:
    """``19.2``; a small thing that is not nothing is ``<0.1``, nothing is a dash."""
    size = size_bytes / 2**30
    if size_bytes == 0:
        return "–"
    return f"{size:.1f}" if size >= 0.05 else "<0.1"


def _width_of(rows: list[list[str]]) -> int:
    columns = range(len(rows[0]))
    return sum(max(len(row[column]) for row in rows) for column in columns) + len(_GAP) * (len(columns) - 1)


def _line(cells: list[str], widths: list[int], bar: Text, style: str) -> Text:
    line = Text(cells[0].ljust(widths[0]), style, no_wrap=True, overflow="ellipsis")
    if bar:
        line.append(_GAP)
        line.append_text(bar)
    for cell, width in zip(cells[1:], widths[1:], strict=True):
        line.append(_GAP + cell.rjust(width))
    return line


def _notes(devices: Sequence[DeviceMemory], missing: Mapping[str, int], with_bar: bool) -> list[Text]:
    """What is missing where, and the glyphs that the head does not explain."""
    notes = []
    if missing:
        amounts = ", ".join(f"{label} {gib(size_bytes)}" for label, size_bytes in missing.items())
        notes.append(Text(f"✗ missing, margins counted: {amounts}", "bold red"))
    glyphs = [f"{FREE_GLYPH} stays free"]
    if any(held_bytes(device) for device in devices):
        glyphs.insert(0, f"{OTHERS_GLYPH} held by other programs")
    if missing:
        glyphs.append(f"{OVER_GLYPH} missing")
    if with_bar:
        notes.append(Text("  ".join(glyphs), "dim"))
    return notes
