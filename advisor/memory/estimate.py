"""Memory of one configuration on one machine: every part put together.

Weights and cache follow llama.cpp's arithmetic exactly; compute buffers replay its allocator; driver overhead
is a stated constant. The doubt of all that is the margin of each device: see margin.py. Who asks for several
contexts or cache types of one placement prepares it once: see prepared.py.
"""

from __future__ import annotations

from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.memory.breakdown import MemoryEstimate
from llmfit.advisor.memory.prepared import prepare_memory
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.memory.weights import WeightTable, weight_table
from llmfit.advisor.model.model import Model
from llmfit.advisor.model.shape import ModelShape


def estimate_model_memory(model: Model, settings: LaunchSettings, machine: Machine) -> MemoryEstimate:
    """One estimate of one model. A search builds the WeightTable once and calls ``estimate_memory``."""
    table = weight_table(model.shape, model.tensors, settings.load_mtp)
    return estimate_memory(model.shape, table, settings, machine)


def estimate_memory(
    shape: ModelShape, weights: WeightTable, settings: LaunchSettings, machine: Machine
) -> MemoryEstimate:
    """Where every byte goes: the GPUs of ``settings.devices`` in order, then the host.

    Raises UsageError for settings that llama.cpp refuses or devices the machine does not have,
    NotModelledError where a rule is not known.
    """
    prepared = prepare_memory(shape, weights, settings, machine)
    return prepared.estimate(settings.context_tokens, settings.cache_type_k, settings.cache_type_v)
