"""The cards of a machine by program, and the cursor that ticks programs as closed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rich.cells import set_cell_size
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.events import Click
from textual.geometry import Region
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import Static

from llmfit.advisor.text import printable
from llmfit.tui.labels import short_gpu_name
from llmfit.tui.widgets.memory_bar import FREE_GLYPH
from llmfit.tui.widgets.usage_bar import (
    BEYOND_GLYPH,
    CARVE_OUT_END,
    OTHERS,
    RESERVED,
    Mark,
    holder_marks,
    usage_bar,
    usage_parts,
)

if TYPE_CHECKING:
    from llmfit.advisor.hardware.machine import Gpu, VramProcess
    from llmfit.tui.known_machine import KnownMachine

MAX_BAR_WIDTH = 96
NAME_WIDTH = 24
MIN_SIZE_WIDTH = 10
_GLYPH_END = 7
"""A program's line begins with ``▸ [x] █``."""


@dataclass(frozen=True, slots=True)
class _Line:
    """``pid`` of the program that the line is about; ``None`` where it is about none."""

    text: Text
    pid: int | None = None


class CardsView(Static, can_focus=True):
    """Draws a KnownMachine. Space ticks the program under the cursor: ``Ticked`` tells which."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "tick", "as if closed", key_display="space"),
        Binding("enter", "tick", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("up,k", "move(-1)", show=False),
    ]

    known: reactive[KnownMachine | None] = reactive(None, always_update=True)
    cursor: reactive[int] = reactive(0)
    """Counts the lines of programs."""

    class Ticked(Message):
        def __init__(self, pid: int) -> None:
            super().__init__()
            self.pid = pid

    class Passed(Message):
        """The cursor was to leave the programs upwards (-1) or downwards (1): the page scrolls instead."""

        def __init__(self, step: int) -> None:
            super().__init__()
            self.step = step

    def __init__(self, id: str | None = None) -> None:
        super().__init__("", id=id)
        self._lines: list[_Line] = []

    def watch_known(self) -> None:
        self._draw()

    def watch_cursor(self) -> None:
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def on_focus(self) -> None:
        self._draw()

    def on_blur(self) -> None:
        self._draw()

    @property
    def _rows(self) -> list[int]:
        """The lines that the cursor may stand on."""
        return [number for number, line in enumerate(self._lines) if line.pid is not None]

    @property
    def cursor_region(self) -> Region | None:
        """Where the cursor is, in this widget."""
        rows = self._rows
        return Region(0, rows[self.cursor], self.size.width, 1) if rows else None

    def _draw(self) -> None:
        if self.known is None:
            return
        width = self.content_size.width or self.app.size.width
        self._lines = list(_lines(self.known, width))
        for line in self._lines:
            line.text.truncate(width, overflow="ellipsis")  # one line each: the cursor counts them
        rows = self._rows
        if rows and self.cursor >= len(rows):
            self.set_reactive(CardsView.cursor, len(rows) - 1)
        if rows:
            chosen = self._lines[rows[self.cursor]].text
            chosen.plain = f"▸{chosen.plain[1:]}"
            chosen.stylize("bold")
            if self.has_focus:
                chosen.stylize("reverse", _GLYPH_END)  # a reversed glyph would be another one
        self.update(Text("\n").join([line.text for line in self._lines]))

    def action_move(self, step: int) -> None:
        if 0 <= self.cursor + step < len(self._rows):
            self.cursor += step
            self.post_message(self.Passed(0))
        else:
            self.post_message(self.Passed(step))

    def action_tick(self) -> None:
        rows = self._rows
        if rows:
            self._tick(rows[self.cursor])

    def on_click(self, event: Click) -> None:
        if event.y in self._rows:
            self.cursor = self._rows.index(event.y)
            self._tick(event.y)

    def _tick(self, number: int) -> None:
        pid = self._lines[number].pid
        if pid is not None:
            self.post_message(self.Ticked(pid))


def _lines(known: KnownMachine, width: int) -> Iterator[_Line]:
    """For each card a head, a bar and its programs; then what the glyphs mean."""
    planned = known.planned
    if not planned.gpus:
        text = "No GPU could be read" if planned.unseen_gpus else "No GPU found"
        yield _Line(Text(f"{text}: everything runs on the CPU."))
        return
    shown = ""
    for before, after in zip(known.probed.gpus, planned.gpus, strict=True):
        yield _Line(_head(before, after))
        bar_width = min(width, MAX_BAR_WIDTH)
        bar = usage_bar(after, bar_width, planned.memory, holder_marks(before))
        shown += bar.plain
        yield _Line(bar)
        yield from _programs(before, known)
        yield _Line(Text(""))
    yield from (_Line(line) for line in _legend(known, shown))


def _head(before: Gpu, after: Gpu) -> Text:
    """``GPU0 RTX 3090   2.1 of 24.0 GiB used, 21.9 GiB free → 23.4 GiB free``."""
    from llmfit.advisor.units import format_gib
    from llmfit.tui.cli.render import gpu_memory_text

    head = Text(f"GPU{before.index} {short_gpu_name(before)}", "bold")
    head.append(f"   {gpu_memory_text(before)}", "not bold")
    if before.vram_free_bytes is not None:
        head.append(f", {format_gib(before.vram_free_bytes)} free", "not bold")
    if after.vram_free_bytes != before.vram_free_bytes and after.vram_free_bytes is not None:
        head.append(f" → {format_gib(after.vram_free_bytes)} free", "bold yellow")
    return head


def _programs(gpu: Gpu, known: KnownMachine) -> Iterator[_Line]:
    """A line a program, the largest first, then what nobody is known to hold."""
    from llmfit.advisor.units import format_gib

    marks = holder_marks(gpu)
    size_width = max([MIN_SIZE_WIDTH, *(len(_size(process)) for process in gpu.processes)])
    for process in gpu.holders:
        line = _program(process, marks[process.pid], size_width, process.pid in known.closed)
        yield _Line(line, process.pid)
    for part in usage_parts(gpu):
        if part.glyph in _SAID and part.size_bytes:
            line = Text("      ").append(part.glyph, part.style)
            yield _Line(line.append(f" {_SAID[part.glyph]}, {format_gib(part.size_bytes)}", "dim"))
    if gpu.carve_out_bytes:
        yield _Line(Text(f"      {CARVE_OUT_END} carve-out, {format_gib(gpu.carve_out_bytes)}", "dim"))
    if not gpu.processes:
        yield _Line(Text("      No program is known to hold memory here.", "dim"))


_SAID = {
    OTHERS[0]: "in use, by nobody who is known",
    RESERVED[0]: "kept by the driver, never free",
}


def _size(process: VramProcess) -> str:
    from llmfit.advisor.hardware.machine import UNKNOWN_SIZE
    from llmfit.advisor.units import format_gib

    return UNKNOWN_SIZE if process.vram_bytes is None else format_gib(process.vram_bytes)


def _program(process: VramProcess, mark: Mark, size_width: int, is_closed: bool) -> Text:
    """``  [x] █ firefox        1.5 GiB   pid 2345   as if closed``."""
    name = printable(process.name, NAME_WIDTH)
    line = Text(f"  {'[x]' if is_closed else '[ ]'} ").append(mark[0], mark[1])
    line.append(f" {set_cell_size(name, NAME_WIDTH)} {_size(process):>{size_width}}   pid {process.pid}")
    line.append("   as if closed" if is_closed else "", "bold yellow")
    return line


def _legend(known: KnownMachine, shown: str) -> Iterator[Text]:
    """What the glyphs of the bars (``shown``) mean that no line has explained."""
    told = [f"{FREE_GLYPH} free"]
    if BEYOND_GLYPH in shown:
        told.append(f"{BEYOND_GLYPH} RAM that the GPU may not use")
    if any(gpu.processes for gpu in known.probed.gpus):
        told.append("space: plan as if a program were closed")
    yield Text("   ".join(told), "dim")
