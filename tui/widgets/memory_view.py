"""Where the bytes go: a bar and the parts for each device of one judgement."""

from __future__ import annotations

from rich.text import Text
from textual.reactive import reactive
from textual.widgets import Static

from llmfit.advisor.memory.breakdown import DeviceMemory, MemoryEstimate
from llmfit.advisor.text import printable
from llmfit.advisor.units import GIB, format_gib
from llmfit.tui.widgets.memory_bar import estimate_bar, legend, parts_text

MIN_BAR_WIDTH = 10
MAX_BAR_WIDTH = 40


class MemoryView(Static):
    """Draws a MemoryEstimate to the width it has."""

    memory: reactive[MemoryEstimate | None] = reactive(None)

    def watch_memory(self) -> None:
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        width = min(MAX_BAR_WIDTH, max(MIN_BAR_WIDTH, self.size.width - 26))
        self.update(Text("") if self.memory is None else memory_text(self.memory, width))


def memory_text(memory: MemoryEstimate, bar_width: int) -> Text:
    """Two lines a device (bar with the total, parts), the legend last."""
    lines = []
    for device in memory.devices:
        lines.append(_bar_line(device, bar_width))
        lines.append(Text(f"       {parts_text(device)}", "dim", no_wrap=True, overflow="ellipsis"))
    lines.append(legend())
    return Text("\n").join(lines)


def _bar_line(device: DeviceMemory, bar_width: int) -> Text:
    line = Text(f"{printable(device.name)[:6]:<6} ", no_wrap=True, overflow="ellipsis")
    line.append_text(estimate_bar(device, bar_width))
    line.append(f" {device.total_bytes / GIB:.1f}")
    if device.free_bytes is not None:
        line.append(f" of {format_gib(device.free_bytes)} free")
    if device.shortfall_bytes:
        line.append(f" ✗ {format_gib(device.shortfall_bytes)} over", "bold red")
    return line
