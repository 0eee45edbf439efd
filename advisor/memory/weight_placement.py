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
from llmfit.advisor.model.tensor_names import INPUT_EMBEDDING


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
    if table.tied_type in repack_types and table.tied_rows_fit:
        repacked += table.output_matrix_bytes
        host += 0 if table.tied_copy_host_bytes else table.output_matrix_bytes
    return WeightBytes((), host, repacked)


def _by_tensor(table: WeightTable, assignment: Assignment) -> WeightBytes:
    """The same tensor by tensor, for ``-ot`` rules."""
    sums = [0] * (assignment.n_devices + 1)
    for tensor in table.tensors:
        for device in _devices_of(tensor, assignment):
            on_gpu = device >= 0 and tensor.gpu_bytes > 0
            sums[device if on_gpu else HOST_DEVICE] += tensor.gpu_bytes if on_gpu else tensor.host_bytes
    device = tied_output_device(table, assignment)
    if table.tied_copy_host_bytes or INPUT_EMBEDDING not in assignment.overrides:
        sums[device] += table.tied_copy_gpu_bytes if device >= 0 else table.tied_copy_host_bytes
    return WeightBytes(tuple(sums[:-1]), sums[-1])


def _devices_of(tensor: PlacedTensor, assignment: Assignment) -> tuple[int, ...]:
    if tensor.layer == EVERY_LAYER and tensor.name not in assignment.overrides:
        return tuple(set(assignment.layer_device))
    return (tensor_device(tensor, assignment),)


def tensor_device(tensor: PlacedTensor, assignment: Assignment) -> int:
    """The device whose buffer holds the tensor (of copies on every device, that of the first layer).

    ``llama_model_loader::create_tensor``: an override first, then the layer's device, or RAM for what no GPU
    can multiply with.
    """
    moved = assignment.overrides.get(tensor.name)
    if moved is not None:
        return moved
    if tensor.layer == INPUT_LAYER or not tensor.gpu_bytes:
        return HOST_DEVICE
    if tensor.layer == OUTPUT_LAYER:
        return assignment.output_device
    if tensor.layer < 0:
        return assignment.layer_device[0]
    if tensor.layer < assignment.n_cpu_moe and CPU_MOE_PATTERN.search(tensor.name):
        return HOST_DEVICE
    return assignment.layer_device[tensor.layer]


def tied_output_device(table: WeightTable, assignment: Assignment) -> int:
    """Where a tied token embedding is multiplied with: its copy, which an override of its name moves, too.

    The embedding itself in RAM where the model makes no copy (bitnet).
    """
    home = assignment.output_device if table.tied_type else HOST_DEVICE
    return assignment.overrides.get(INPUT_EMBEDDING, home)


def everything_on_gpus(table: WeightTable, assignment: Assignment) -> bool:
    """All weights and the KV cache are on GPUs, but for the tables that rows are looked up in.

    These are always in RAM; a tied token embedding has a copy on the GPU that computes the output.
    """
    if not assignment.fully_offloaded or HOST_DEVICE in assignment.cache_device:
        return False
    if any(table.pinned_host_bytes):
        return False
    experts = zip(assignment.experts_on_host, table.expert_gpu_bytes, strict=True)
    if any(n_bytes for on_host, n_bytes in experts if on_host):
        return False
    if not assignment.overrides:
        return True
    if table.tied_type and tied_output_device(table, assignment) == HOST_DEVICE:
        return False
    return all(
        tensor.layer == INPUT_LAYER or tensor_device(tensor, assignment) != HOST_DEVICE
        for tensor in table.tensors
    )
