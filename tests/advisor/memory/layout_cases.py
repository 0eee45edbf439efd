"""Layouts of known models on simulated machines, for the tests of placement."""

from __future__ import annotations

from dataclasses import replace

from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.memory.fitting import (
    Layout,
    find_layout,
)
from llmfit.advisor.memory.fitting_budget import machine_budgets
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.units import GIB
from tests.llama_cpp.placement_models import cards_named, known_model, machine_with

LLAMA_8B = "llama3.1-8b.Q4_K_M"
QWEN_32B = "qwen3-32b.Q4_K_M"
QWEN_MOE = "qwen3-30b-a3b.Q4_K_M"
GEMMA_27B = "gemma3-27b.Q4_K_M"
MIMO = "mimo-v2-flash.Q4_K_M"


def layout_of(
    model: str,
    cards: str,
    context_tokens: int = 32768,
    ram_gib: int = 64,
    fixed: frozenset[str] = frozenset(),
    **changes: object,
) -> Layout:
    return layout_on(
        model, machine_with(*cards_named(cards), ram_bytes=ram_gib * GIB), context_tokens, fixed, **changes
    )


def layout_on(
    model: str,
    machine: Machine,
    context_tokens: int = 32768,
    fixed: frozenset[str] = frozenset(),
    **changes: object,
) -> Layout:
    known = known_model(model)
    base = replace(LaunchSettings(context_tokens), **changes)  # type: ignore[arg-type]
    return find_layout(known.shape, known.weights, machine, base, fixed)


def within_budgets(layout: Layout, machine: Machine) -> bool:
    return machine_budgets(machine).shortfall_bytes(layout.memory) == 0
