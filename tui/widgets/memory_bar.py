"""Bars of memory: which part of a device is taken by what. Glyphs differ as well as colours."""

from __future__ import annotations

from rich.text import Text

from llmfit.advisor.hardware.machine import Gpu
from llmfit.advisor.memory.breakdown import DeviceMemory
from llmfit.advisor.units import GIB

PARTS = (
    ("weights", "█", "bold blue"),
    ("KV", "▓", "bold magenta"),
    ("compute", "▒", "bold cyan"),
    ("driver", "░", "dim"),
)
OTHERS_GLYPH = "╳"
FREE_GLYPH = "·"
OVER_GLYPH = "!"


def estimate_bar(device: DeviceMemory, width: int) -> Text:
    """One line of ``width`` cells: parts of the estimate, then what others hold, then what stays free."""
    parts = (device.weights_bytes, device.kv_cache_bytes, device.compute_bytes, device.overhead_bytes)
    capacity_bytes = device.capacity_bytes or device.total_bytes or 1
    held_bytes = max(0, capacity_bytes - device.free_bytes) if device.free_bytes is not None else 0
    bar = Text(no_wrap=True, overflow="crop")
    scale = width / max(capacity_bytes, device.total_bytes + held_bytes)
    position = 0.0
    for (_, glyph, style), size_bytes in zip(PARTS, parts, strict=True):
        position = _extend(bar, glyph, style, position, size_bytes * scale)
    position = _extend(bar, OTHERS_GLYPH, "dim yellow", position, held_bytes * scale)
    over = device.shortfall_bytes > 0
    bar.append(
        (OVER_GLYPH if over else FREE_GLYPH) * max(0, width - round(position)), "red" if over else "dim"
    )
    return bar


def usage_bar(gpu: Gpu, width: int) -> Text:
    """How full a card is now, by whoever fills it."""
    if not gpu.vram_total_bytes or gpu.vram_free_bytes is None:
        return Text("?" * width, "dim")
    used = round(width * (gpu.vram_total_bytes - gpu.vram_free_bytes) / gpu.vram_total_bytes)
    bar = Text("█" * used, "yellow")
    bar.append(FREE_GLYPH * (width - used), "dim")
    return bar


def legend() -> Text:
    """The meaning of the glyphs, once, beside the bars."""
    text = Text(no_wrap=True, overflow="ellipsis")
    for name, glyph, style in PARTS:
        text.append(f"{glyph} ", style)
        text.append(f"{name}  ")
    text.append(f"{OTHERS_GLYPH} ", "dim yellow")
    text.append("in use")
    return text


def parts_text(device: DeviceMemory) -> str:
    """``weights 19.2  KV 1.6  compute 0.3  driver 0.5 GiB``."""
    sizes = (device.weights_bytes, device.kv_cache_bytes, device.compute_bytes, device.overhead_bytes)
    named = (f"{name} {size / GIB:.1f}" for (name, _, _), size in zip(PARTS, sizes, strict=True) if size)
    return "  ".join(named)


def _extend(bar: Text, glyph: str, style: str, position: float, cells: float) -> float:
    """Appends so that rounding never adds up: each part ends at the rounded sum."""
    end = position + cells
    count = round(end) - round(position)
    if count > 0:
        bar.append(glyph * count, style)
    return end
