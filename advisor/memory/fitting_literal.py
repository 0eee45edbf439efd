"""The layout that llama.cpp makes of flags the user gave: nothing is searched, the verdict is honest."""

from __future__ import annotations

from dataclasses import replace

from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.memory.breakdown import MemoryEstimate
from llmfit.advisor.memory.estimate import estimate_memory
from llmfit.advisor.memory.fitting import DOES_NOT_FIT, FITS_CPU, FITS_GPU, FITS_OFFLOAD, Layout
from llmfit.advisor.memory.fitting_budget import machine_budgets
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.memory.weights import WeightTable
from llmfit.advisor.model.shape import ModelShape


def layout_as_given(
    shape: ModelShape, weights: WeightTable, machine: Machine, settings: LaunchSettings
) -> Layout:
    """All cards that llama.cpp uses together take part (the first alone with ``-sm none``), and without
    ``-ts`` layers are split by free memory.

    That is what llama-server does with ``-ngl`` and without ``-fit``. Raises as ``estimate_memory``.
    """
    budgets = machine_budgets(machine)
    # A card whose memory is not known is given layers like any other: its whole need is then missing.
    devices = tuple(
        gpu.index for gpu in machine.gpus if gpu.index in budgets.by_index or gpu.usable_bytes is None
    )
    if settings.split_mode == "none":
        devices = devices[:1]
    placed = replace(settings, devices=devices, gpu_layers=settings.gpu_layers if devices else 0)
    memory = estimate_memory(shape, weights, placed, machine)
    shortfall_bytes = budgets.shortfall_bytes(memory)
    return Layout(placed, memory, _verdict(memory, shortfall_bytes), shortfall_bytes, ())


def _verdict(memory: MemoryEstimate, shortfall_bytes: int) -> str:
    if shortfall_bytes:
        return DOES_NOT_FIT
    if not any(gpu.weights_bytes for gpu in memory.gpus):
        return FITS_CPU
    return FITS_GPU if memory.everything_on_gpus else FITS_OFFLOAD
