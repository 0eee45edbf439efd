"""Bytes of weights on each device: sums over a WeightTable for one Assignment."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from llmfit.advisor.memory.assignment import HOST_DEVICE, Assignment
from llmfit.advisor.memory.weights import (
    CPU_MOE_PATTERN,
    EVERY_LAYER,
    INPUT_LAYER,
    OUTPUT_LAYER,
    PlacedTensor,
    WeightTable,
)


@dataclass(frozen=True, slots=True)
class WeightBytes:
    """Weights on each device that takes part, and in RAM (mapped, pinned or private alike).

    ``repacked_bytes`` is the part of ``host_bytes`` that the CPU backend copied into its own layout: private
    RAM that llama.cpp does not report as host memory.
    """

    gpu_bytes: tuple[int, ...]
    host_bytes: int
    repacked_bytes: int = 0


def weight_bytes(
    table: WeightTable, assignment: Assignment, repack_types: AbstractSet[str] = frozenset()
) -> WeightBytes:
    """``model`` in llama.cpp's memory breakdown (``llama_model::memory_breakdown``).

    ``repack_types``: what this CPU repacks (host.py); it does so only without any GPU, because a GPU's pinned
    host buffer comes first in the list (make_cpu_buft_list, src/llama-model.cpp).
    """
    if assignment.overrides:
        return _by_tensor(table, assignment)
    if assignment.n_devices == 0:
        return _on_cpu(table, repack_types)
    sums = [0] * (assignment.n_devices + 1)
    host = table.input_host_bytes
    for layer, device in enumerate(assignment.layer_device):
        if device < 0:
            host += table.layer_host_bytes[layer]
        elif assignment.experts_on_host[layer]:
            sums[device] += table.layer_gpu_bytes[layer] - table.expert_gpu_bytes[layer]
            host += table.expert_host_bytes[layer]
        else:
            sums[device] += table.layer_gpu_bytes[layer]
            host += table.pinned_host_bytes[layer]
    output = assignment.output_device
    if output < 0:
        host += table.output_host_bytes + table.tied_copy_host_bytes
    else:
        sums[output] += table.output_gpu_bytes + table.tied_copy_gpu_bytes
    for device in set(assignment.layer_device):
        if device < 0:
            host += table.every_layer_host_bytes
        else:
            sums[device] += table.every_layer_gpu_bytes
    return WeightBytes(tuple(sums[:-1]), host)


def _on_cpu(table: WeightTable, repack_types: AbstractSet[str]) -> WeightBytes:
    """A tied embedding that is repacked for the output is a second copy: the input reads the original."""
    host = table.input_host_bytes + table.output_host_bytes + table.every_layer_host_bytes
    host += sum(table.layer_host_bytes) + table.tied_copy_host_bytes
    repacked = sum(size for kind, size in table.repackable_bytes.items() if kind in repack_types)
    if table.tied_type in repack_types and not table.tied_copy_host_bytes:
        host += table.output_matrix_bytes
    if table.tied_type in repack_types:
        repacked += table.output_matrix_bytes
    return WeightBytes((), host, repacked)


def _by_tensor(table: WeightTable, assignment: Assignment) -> WeightBytes:
    """The same tensor by tensor, for ``-ot`` rules."""
    sums = [0] * (assignment.n_devices + 1)
    for tensor in table.tensors:
        for device in _devices_of(tensor, assignment):
            on_gpu = device >= 0 and tensor.gpu_bytes > 0
            sums[device if on_gpu else HOST_DEVICE] += tensor.gpu_bytes if on_gpu else tensor.host_bytes
    device = assignment.overrides.get("token_embd.weight", assignment.output_device)
    if table.tied_copy_host_bytes or "token_embd.weight" not in assignment.overrides:
        sums[device] += table.tied_copy_gpu_bytes if device >= 0 else table.tied_copy_host_bytes
    return WeightBytes(tuple(sums[:-1]), sums[-1])


def _devices_of(tensor: PlacedTensor, assignment: Assignment) -> tuple[int, ...]:
    moved = assignment.overrides.get(tensor.name)
    if moved is not None:
        return (moved,)
    if tensor.layer == INPUT_LAYER:
        return (HOST_DEVICE,)
    if tensor.layer == OUTPUT_LAYER:
        return (assignment.output_device,)
    if tensor.layer == EVERY_LAYER:
        return tuple(set(assignment.layer_device))
    if tensor.layer < assignment.n_cpu_moe and CPU_MOE_PATTERN.search(tensor.name):
        return (HOST_DEVICE,)
    return (assignment.layer_device[tensor.layer],)
