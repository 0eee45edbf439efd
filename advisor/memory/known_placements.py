"""Placements that were prepared before: asked again with another context they answer in microseconds."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from llmfit.advisor.errors import LlmfitError
from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.memory.breakdown import MemoryEstimate
from llmfit.advisor.memory.prepared import PreparedMemory, prepare_memory
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.memory.weights import WeightTable
from llmfit.advisor.model.shape import ModelShape
from llmfit.advisor.same import Same

ANY_CONTEXT_TOKENS = 32768
"""Stands for every context in what is remembered; no figure depends on it."""


def placement_memory(
    shape: ModelShape, weights: WeightTable, settings: LaunchSettings, machine: Machine
) -> MemoryEstimate:
    """``estimate_memory``, with what it has in common with other contexts and cache types remembered.

    Raises as it does.
    """
    prepared = prepared_placement(shape, weights, settings, machine)
    return prepared.estimate(settings.context_tokens, settings.cache_type_k, settings.cache_type_v)


def prepared_placement(
    shape: ModelShape, weights: WeightTable, settings: LaunchSettings, machine: Machine
) -> PreparedMemory:
    """``prepare_memory``, remembered. Its own settings may name another context."""
    try:
        return _prepared(Same(shape), Same(weights), without_context(settings), Same(machine))
    except LlmfitError:  # what stands for every context may be refused where this one is not
        return prepare_memory(shape, weights, settings, machine)


def without_context(settings: LaunchSettings) -> LaunchSettings:
    """Equal for settings that differ in context and cache types only."""
    return replace(settings, context_tokens=ANY_CONTEXT_TOKENS, cache_type_k="f16", cache_type_v="f16")


@lru_cache(maxsize=256)
def _prepared(
    shape: Same[ModelShape], weights: Same[WeightTable], settings: LaunchSettings, machine: Same[Machine]
) -> PreparedMemory:
    return prepare_memory(shape.it, weights.it, settings, machine.it)
