"""``llmfit recommend --tiers``: the first choice by use for usual machines of 12 to 128 GB, in one table."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.recommend.ranking import Recommendation
from llmfit.advisor.recommend.tiers import TIER_RAM, TIER_RAM_GB_PER_S, TIERS, Tier
from llmfit.advisor.text import printable
from llmfit.advisor.units import format_context
from llmfit.tui.candidates import Narrowing
from llmfit.tui.cli.documents import Document, recommendation_document
from llmfit.tui.cli.options import USE_CASES
from llmfit.tui.cli.render import TABLE_WIDTH, machine_line, table, two_figures, wrapped
from llmfit.tui.session import machine_from, recommendations_for


@dataclass(frozen=True, slots=True)
class TierChoices:
    """The first choice of one class of hardware for every use; ``None`` where nothing runs."""

    tier: Tier
    machine: Machine
    by_use: tuple[tuple[str, Recommendation | None], ...]


def choose_for_tiers(
    context_tokens: int | None, min_tok_s: float | None, narrowed: Narrowing
) -> Iterator[TierChoices]:
    """One class after the other. Raises UsageError for what no model of the catalogue is."""
    for tier in TIERS:
        machine = machine_from(tier.described)
        by_use = []
        for use_case in USE_CASES:
            found = recommendations_for(machine, use_case, context_tokens, min_tok_s, 1, narrowed=narrowed)
            by_use.append((use_case, found[0] if found else None))
        yield TierChoices(tier, machine, tuple(by_use))


def tier_document(choices: TierChoices) -> Document:
    return {
        "memory_gb": choices.tier.memory_gb,
        "gpu": choices.tier.gpu,
        "ram": None if choices.tier.shares_memory else TIER_RAM,
        "uses": [
            {"use_case": use, "recommendation": None if found is None else recommendation_document(found)}
            for use, found in choices.by_use
        ],
    }


def tier_lines(all_choices: Sequence[TierChoices]) -> Iterator[str]:
    """One row for every model that is first in a class, with the uses for which it is."""
    yield "The first choice by GPU memory and use"
    yield ""
    rows = [["", "model", "quant", "ctx", "tok/s"]]
    uses_of = ["for"]
    for choices in all_choices:
        size = f"{choices.tier.memory_gb} GB"
        for found, uses in _by_model(choices):
            rows.append([size, *found])
            uses_of.append(", ".join(uses))
            size = ""
    cells = table(rows, right=(0, 3, 4))
    start = max(len(line) for line in cells) + 2
    for line, text in zip(cells, uses_of, strict=True):
        yield from wrapped_beside(line.ljust(start), text)
    yield ""
    yield "What stands for each class:"
    for choices in all_choices:
        yield f"  {choices.tier.memory_gb:>3} GB  {machine_line(choices.machine)}"
    yield from wrapped(
        f"Assumed beside a card: {TIER_RAM} of RAM read at {TIER_RAM_GB_PER_S} GB/s (1e9 bytes). tok/s: "
        "decode, nothing in the context yet. Ask with --gpu for reasons, memory and the command."
    )


def wrapped_beside(start: str, text: str) -> list[str]:
    """``text`` behind ``start``, going on below itself, in TABLE_WIDTH columns."""
    first, *more = textwrap.wrap(text, TABLE_WIDTH - len(start)) or [""]
    return [start + first, *(" " * len(start) + line for line in more)]


def _by_model(choices: TierChoices) -> Iterator[tuple[list[str], list[str]]]:
    uses_of: dict[tuple[str, ...], list[str]] = {}
    for use, found in choices.by_use:
        uses_of.setdefault(_cells(found), []).append(use)
    for cells, uses in uses_of.items():
        yield list(cells), uses


def _cells(found: Recommendation | None) -> tuple[str, ...]:
    if found is None:
        return ("nothing runs well", "", "", "")
    judgement = found.judgement
    speed = judgement.speed
    return (
        printable(judgement.model.id.split("/")[-1]),
        printable(judgement.model.quantization),
        format_context(judgement.settings.context_tokens),
        "?" if speed is None else two_figures(speed.decode_tok_s.expected),
    )
