"""All facts of a machine with their sources, and its notes in full."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from textual.reactive import reactive
from textual.widgets import Static

from llmfit.advisor.text import printable

if TYPE_CHECKING:
    from llmfit.advisor.hardware.machine import Machine
    from llmfit.tui.machine_facts import Section

WHAT_WIDTH = 21


class FactsView(Static):
    """Draws a Machine to the width it has."""

    machine: reactive[Machine | None] = reactive(None, always_update=True)

    def watch_machine(self, machine: Machine | None) -> None:
        if machine is not None:
            self.update(facts_of(machine))


def facts_of(machine: Machine) -> RenderableType:
    from llmfit.tui.machine_facts import machine_sections, remarks

    parts: list[RenderableType] = []
    told = [_remark(glyph, text) for glyph, text in remarks(machine)]
    if told:
        parts += [Text("What to know", "bold"), *told, Text("")]
    for section in machine_sections(machine):
        parts += [Text(section.title, "bold"), _table(section), Text("")]
    return Group(*parts[:-1])


def _remark(glyph: str, text: str) -> Table:
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(width=3)
    table.add_column(ratio=1, overflow="fold")
    style = {"✗": "bold red", "!": "bold yellow"}.get(glyph, "")
    table.add_row(Text(f"  {glyph}", style), Text(printable(text)))
    return table


def _table(section: Section) -> RenderableType:
    """Three aligned columns; values and sources wrap under themselves."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=WHAT_WIDTH, no_wrap=True)
    table.add_column(ratio=3, overflow="fold")
    has_sources = any(fact.source for fact in section.facts)
    if has_sources:
        table.add_column(ratio=2, overflow="fold")
    for fact in section.facts:
        cells = [Text(f"  {fact.what}", "dim"), Text(fact.value)]
        table.add_row(*cells, *([Text(fact.source, "dim")] if has_sources else []))
    for line in section.lines:
        table.add_row("", Text(line))
    return table
