"""Bars of memory: which part of a device is taken by what. Glyphs differ as well as colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

if TYPE_CHECKING:
    from llmfit.advisor.memory.breakdown import DeviceMemory

PARTS = (
    ("weights", "█", "blue"),
    ("KV", "▓", "magenta"),
    ("compute", "▒", "cyan"),
    ("driver", "░", ""),
)
OTHERS_GLYPH = "╳"
FREE_GLYPH = "·"
OVER_GLYPH = "!"


def part_sizes(device: DeviceMemory) -> tuple[int, int, int, int]:
    """Bytes of one device, in the order of PARTS."""
    return (device.weights_bytes, device.kv_cache_bytes, device.compute_bytes, device.overhead_bytes)


def held_bytes(device: DeviceMemory) -> int:
    """What other programs hold of a device."""
    if device.capacity_bytes is None or device.free_bytes is None:
        return 0
    return max(0, device.capacity_bytes - device.free_bytes)


def estimate_bar(device: DeviceMemory, missing_bytes: int, width: int) -> Text:
    """One line of ``width`` cells: what others hold, the parts of the estimate, then what stays free.

    A device that is too small is drawn to the scale of what is needed, and the missing part as ``!``.
    """
    capacity_bytes = device.capacity_bytes or device.total_bytes or 1
    bar = Text(no_wrap=True, overflow="crop")
    scale = width / max(capacity_bytes, device.total_bytes + held_bytes(device))
    position = _extend(bar, OTHERS_GLYPH, "yellow", 0.0, held_bytes(device) * scale)
    for (_, glyph, style), size_bytes in zip(PARTS, part_sizes(device), strict=True):
        position = _extend(bar, glyph, style, position, size_bytes * scale)
    bar.append(FREE_GLYPH * max(0, width - round(position)), "dim")
    if missing_bytes:
        over = min(width, max(1, round(missing_bytes * scale)))
        bar.right_crop(over)
        bar.append(OVER_GLYPH * over, "bold red")
    return bar


def _extend(bar: Text, glyph: str, style: str, position: float, cells: float) -> float:
    """Appends so that rounding never adds up: each part ends at the rounded sum."""
    end = position + cells
    bar.append(glyph * max(0, round(end) - round(position)), style)
    return end
