"""The second context that ``--spec-type draft-mtp`` makes: the model's own MTP blocks as a draft model.

It shares the weights. Its cache holds the MTP blocks only, for as many tokens as the main context, without
rollback snapshots (``common_speculative_init_from_params`` in common/speculative.cpp, ``create_memory`` with
LLAMA_CONTEXT_TYPE_MTP in src/llama-model.cpp). llama.cpp reports it apart from the main context, so it is
counted under overhead, with the compute buffer bounded by the main context's.
"""

from __future__ import annotations

from collections.abc import Sequence

from llmfit.advisor.memory.assignment import Assignment
from llmfit.advisor.memory.kv_cache import CacheRows, kv_layer_bytes
from llmfit.advisor.model.shape import ModelShape


def draft_bytes(
    shape: ModelShape, rows: CacheRows, assignment: Assignment, compute_bytes: Sequence[int]
) -> tuple[int, ...]:
    """Cache and compute buffers of the draft context on each GPU and, last, in RAM; for ``draft-mtp`` only.

    ``compute_bytes`` are the main context's, in the same order. Zero without MTP blocks.
    """
    sums = [0] * (assignment.n_devices + 1)
    for block in shape.mtp_cache:
        device = assignment.cache_device[block.layer]
        cells = rows.window_cells if block.windowed else rows.cells
        sums[device] += kv_layer_bytes(shape, rows, block.k_elements, block.v_elements, cells, device >= 0)
    for device in {assignment.layer_device[block.layer] for block in shape.mtp_cache}:
        sums[device] += compute_bytes[device]
    return tuple(sums)
