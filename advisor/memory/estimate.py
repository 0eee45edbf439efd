"""Memory of one configuration on one machine: every part put together.

Weights and cache follow llama.cpp's arithmetic exactly; compute buffers replay its allocator; driver overhead
is a stated constant. The doubt of all that is the margin of each device: see margin.py.
"""

from __future__ import annotations

from llmfit.advisor.errors import UsageError
from llmfit.advisor.hardware.machine import Gpu, Machine
from llmfit.advisor.memory.assignment import assign_layers
from llmfit.advisor.memory.breakdown import DeviceMemory, MemoryEstimate
from llmfit.advisor.memory.compute_buffer import ComputeBuffers, compute_buffers
from llmfit.advisor.memory.draft import DraftBytes, draft_bytes
from llmfit.advisor.memory.host import host_memory, repack_types
from llmfit.advisor.memory.kv_cache import CacheBytes, cache_bytes, cache_geometry
from llmfit.advisor.memory.margin import gpu_margin_bytes, host_margin_bytes
from llmfit.advisor.memory.overhead import PROJECTOR_DOUBT_BYTES, driver_overhead
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.memory.weight_placement import WeightBytes, everything_on_gpus, weight_bytes
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
    gpus = _devices(settings, machine)
    geometry = cache_geometry(shape, settings)
    assignment = assign_layers(shape, settings, [gpu.usable_bytes for gpu in gpus], weights)
    placed = weight_bytes(weights, assignment, repack_types(machine.cpu.features, settings))
    cache = cache_bytes(shape, settings, geometry, assignment)
    compute = compute_buffers(shape, weights, settings, assignment, geometry)
    draft = draft_bytes(shape, settings, geometry, assignment, compute)
    projector_bytes = settings.projector_bytes
    devices = [
        _gpu_memory(position, gpu, placed, cache, compute, draft, projector_bytes if position == 0 else 0)
        for position, gpu in enumerate(gpus[: assignment.n_devices])
    ]
    host = host_memory(shape, weights, placed, settings, geometry)
    devices.append(
        DeviceMemory(
            name="host",
            kind="host",
            gpu_index=None,
            weights_bytes=placed.host_bytes,
            kv_cache_bytes=cache.host_bytes,
            compute_bytes=compute.host_bytes,
            overhead_bytes=host.overhead_bytes + draft.host_bytes + (0 if devices else projector_bytes),
            margin_bytes=host_margin_bytes(compute.host_bytes)
            + (0 if devices else _projector_doubt_bytes(projector_bytes)),
            capacity_bytes=machine.memory.capacity_bytes,
            free_bytes=machine.memory.available_bytes,
            draft_bytes=draft.host_bytes,
        )
    )
    return MemoryEstimate(tuple(devices), host, everything_on_gpus(weights, assignment))


def _gpu_memory(
    position: int,
    gpu: Gpu,
    placed: WeightBytes,
    cache: CacheBytes,
    compute: ComputeBuffers,
    draft: DraftBytes,
    projector_bytes: int,
) -> DeviceMemory:
    overhead = driver_overhead(gpu.backend)
    return DeviceMemory(
        name=gpu.name,
        kind="gpu",
        gpu_index=gpu.index,
        weights_bytes=placed.gpu_bytes[position],
        kv_cache_bytes=cache.gpu_bytes[position],
        compute_bytes=compute.gpu_bytes[position],
        overhead_bytes=overhead.expected_bytes + draft.gpu_bytes[position] + projector_bytes,
        margin_bytes=overhead.doubt_bytes
        + _projector_doubt_bytes(projector_bytes)
        + gpu_margin_bytes(compute.gpu_bytes[position], compute.margin_bytes[position]),
        capacity_bytes=gpu.vram_total_bytes,
        free_bytes=gpu.vram_free_bytes,
        draft_bytes=draft.gpu_bytes[position],
    )


def _projector_doubt_bytes(projector_bytes: int) -> int:
    return PROJECTOR_DOUBT_BYTES if projector_bytes else 0


def _devices(settings: LaunchSettings, machine: Machine) -> list[Gpu]:
    by_index = {gpu.index: gpu for gpu in machine.gpus}
    unknown = next((index for index in settings.devices if index not in by_index), None)
    if unknown is not None:
        raise UsageError(f"GPU {unknown}", f"this machine has {len(machine.gpus)} GPUs")
    return [by_index[index] for index in settings.devices]
