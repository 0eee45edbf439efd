"""``llmfit hardware`` for people: the facts of a machine in aligned lines, each with where it was read."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from llmfit.advisor.diagnosis.diagnose import server_problem
from llmfit.advisor.hardware.machine import UNKNOWN_PROGRAM, UNKNOWN_SIZE, Gpu, Machine
from llmfit.advisor.text import printable
from llmfit.advisor.units import format_gib
from llmfit.tui.cli.render import TEXT_WIDTH, machine_line, wrapped
from llmfit.tui.machine_facts import Fact, Section, machine_sections


def hardware_lines(machine: Machine, width: int = TEXT_WIDTH) -> Iterator[str]:
    """The machine in a line, what is wrong with its llama-server, then section by section, last the notes."""
    yield machine_line(machine)
    trouble = server_problem(machine)
    if trouble is not None:
        yield from wrapped(f"! {printable(trouble.text)} {printable(trouble.fix or '')}".rstrip(), width)
    programs = {f"GPU{gpu.index}": tuple(_program_facts(gpu)) for gpu in machine.gpus}
    for section in machine_sections(machine):
        yield ""
        yield section.title
        facts = (*section.facts, *programs.get(section.title.split(" ", 1)[0], ()))
        yield from section_lines(Section(section.title, facts, section.lines), width)
    if machine.notes:
        yield ""
        yield "Notes"
        for note in machine.notes:
            yield from wrapped(printable(note), width, "  - ")


def section_lines(section: Section, width: int = TEXT_WIDTH) -> Iterator[str]:
    """``  bandwidth   936 GB/s (catalog)``, values under each other."""
    what_width = max((len(fact.what) for fact in section.facts), default=0)
    for fact in section.facts:
        yield from _wrapped_fact(fact, what_width, width)
    for line in section.lines:
        yield from wrapped(line, width, "  ")


def _wrapped_fact(fact: Fact, what_width: int, width: int) -> Sequence[str]:
    source = f" ({fact.source})" if fact.source else ""
    start = f"  {fact.what:{what_width}}  "
    return textwrap.wrap(
        f"{fact.value}{source}", width, initial_indent=start, subsequent_indent=" " * len(start),
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _program_facts(gpu: Gpu) -> Iterator[Fact]:
    """Who holds memory of the card, the largest first."""
    source = gpu.sources.get("processes", "")
    for number, holder in enumerate(gpu.holders):
        size = UNKNOWN_SIZE if holder.vram_bytes is None else format_gib(holder.vram_bytes, 2)
        name = printable(holder.name) or UNKNOWN_PROGRAM
        yield Fact(
            "held by" if number == 0 else "", f"{name} {size}, process {holder.pid}", printable(source)
        )
