"""Compute buffers: what llama.cpp's scheduler allocates beside weights and cache, on each GPU and in RAM.

Not a formula: the graph of the worst batch is built (compute/graph.py), scheduled (compute/scheduler.py) and
laid out (compute/allocator.py) as llama.cpp b11434 does it when it measures (``llama_context::sched_reserve`` in
src/llama-context.cpp with ``ggml_backend_sched_reserve_size``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llmfit.advisor.memory.assignment import HOST_DEVICE, Assignment
from llmfit.advisor.memory.compute.builder import Batch, CacheView, GraphBuilder, Layout, PlacedWeight
from llmfit.advisor.memory.compute.graph import ModelGraph
from llmfit.advisor.memory.compute.scheduler import Scheduler, settle_flash_attn
from llmfit.advisor.memory.kv_cache import CacheGeometry
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.memory.weights import CPU_MOE_PATTERN, INPUT_LAYER, OUTPUT_LAYER, WeightTable
from llmfit.advisor.model.shape import ModelShape


@dataclass(frozen=True, slots=True)
class ComputeBuffers:
    """Bytes of the scheduler's buffers. ``margin_bytes`` is our doubt of each GPU's, 0 where the replay is exact."""

    gpu_bytes: tuple[int, ...]
    host_bytes: int
    margin_bytes: tuple[int, ...]


def compute_buffers(
    shape: ModelShape,
    weights: WeightTable,
    settings: LaunchSettings,
    assignment: Assignment,
    cache: CacheGeometry,
) -> ComputeBuffers:
    """The compute buffers of one launch; NotModelledError where the architecture's graph is not known."""
    n_gpus = assignment.n_devices
    builder = GraphBuilder(
        shape,
        _placed(weights, assignment),
        _batch(cache),
        _cache_view(settings, cache),
        _layout(shape, assignment),
    )
    ModelGraph(builder).build()
    settle_flash_attn(builder.nodes)
    pipeline = (
        n_gpus > 1 and assignment.fully_offloaded and settings.kv_offload and not assignment.has_overrides
    )
    scheduler = Scheduler(n_gpus, op_offload=settings.op_offload, pipeline=pipeline)
    sizes = scheduler.buffer_bytes(builder.nodes, builder.leafs)
    return ComputeBuffers(sizes[:n_gpus], sizes[n_gpus], (0,) * n_gpus)


def _batch(cache: CacheGeometry) -> Batch:
    """The worst batch: a multiple of the slots, with as many logits as the context promised."""
    n_tokens = min(cache.n_ctx, cache.n_ubatch)
    n_outputs = min(n_tokens, cache.n_outputs)
    rounded = -(-n_tokens // cache.n_seq_max) * cache.n_seq_max
    return Batch(rounded, cache.n_seq_max, n_outputs)


def _cache_view(settings: LaunchSettings, cache: CacheGeometry) -> CacheView:
    return CacheView(
        type_k=settings.cache_type_k.upper(),
        type_v=settings.cache_type_v.upper(),
        cells=cache.n_ctx_seq,
        window_cells=cache.swa_cells,
        n_streams=cache.n_stream,
        state_copies=1 + cache.n_rs_seq,
        flash_attn=cache.flash_attn,
        offload=settings.kv_offload,
    )


def _layout(shape: ModelShape, assignment: Assignment) -> Layout:
    cpu = assignment.n_devices
    devices = assignment.layer_device[: shape.n_layer]
    return Layout(cpu, tuple(cpu if device == HOST_DEVICE else device for device in devices))


def _placed(weights: WeightTable, assignment: Assignment) -> Mapping[str, PlacedWeight]:
    """Every weight with the backend whose buffer holds it; a tied embedding is the output, too."""
    cpu = assignment.n_devices
    found = {}
    for tensor in weights.tensors:
        device = _device(tensor.name, tensor.layer, assignment) if tensor.gpu_bytes else HOST_DEVICE
        found[tensor.name] = PlacedWeight(
            tensor.type_name, tensor.dims, cpu if device == HOST_DEVICE else device
        )
    if "output.weight" not in found and "token_embd.weight" in found:
        device = assignment.output_device
        embedding = found["token_embd.weight"]
        found["output.weight"] = PlacedWeight(
            embedding.kind, embedding.dims, cpu if device == HOST_DEVICE else device
        )
    return found


def _device(name: str, layer: int, assignment: Assignment) -> int:
    override = assignment.overrides.get(name)
    if override is not None:
        return override
    if layer == OUTPUT_LAYER:
        return assignment.output_device
    if layer == INPUT_LAYER:
        return HOST_DEVICE
    if layer < 0:
        return assignment.layer_device[0]
    if layer < assignment.n_cpu_moe and CPU_MOE_PATTERN.search(name):
        return HOST_DEVICE
    return assignment.layer_device[layer]
