"""The second context that ``--spec-type draft-mtp`` makes: the model's own MTP blocks as a draft model.

It shares the weights. Its cache holds the MTP blocks only, for as many tokens as the main context, without
rollback snapshots (``common_speculative_init_from_params`` in common/speculative.cpp, ``create_memory`` with
LLAMA_CONTEXT_TYPE_MTP in src/llama-model.cpp). llama.cpp reports it apart from the main context, so it is
counted under overhead, with the compute buffer bounded by the main context's.
"""

from __future__ import annotations

from dataclasses import dataclass

from llmfit.advisor.memory.assignment import Assignment
from llmfit.advisor.memory.compute_buffer import ComputeBuffers
from llmfit.advisor.memory.kv_cache import CacheGeometry, kv_layer_bytes
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.model.shape import ModelShape


@dataclass(frozen=True, slots=True)
class DraftBytes:
    """Cache and compute buffers of the draft context by device."""

    gpu_bytes: tuple[int, ...]
    host_bytes: int


def draft_bytes(
    shape: ModelShape,
    settings: LaunchSettings,
    geometry: CacheGeometry,
    assignment: Assignment,
    compute: ComputeBuffers,
) -> DraftBytes:
    """Zero without ``draft-mtp`` or without MTP blocks."""
    sums = [0] * (assignment.n_devices + 1)
    if settings.load_mtp and shape.mtp_cache:
        for block in shape.mtp_cache:
            device = assignment.cache_device[block.layer]
            cells = geometry.swa_cells if block.windowed else geometry.n_ctx_seq
            sums[device] += kv_layer_bytes(
                shape, settings, geometry, block.k_elements, block.v_elements, cells, device >= 0
            )
        for device in {assignment.layer_device[block.layer] for block in shape.mtp_cache}:
            sums[device] += compute.gpu_bytes[device] if device >= 0 else compute.host_bytes
    return DraftBytes(tuple(sums[:-1]), sums[-1])
