"""How much we doubt an estimate: what must be free beyond it before we say "fits".

Weights and cache are llama.cpp's own sums. Compute buffers are replayed; their doubt was set so that no row
of tests/data/memory_oracle.csv.gz is counted below llama.cpp's own figure (tests/llama_cpp/test_oracle.py).
"""

from __future__ import annotations

from llmfit.advisor.memory.assignment import Assignment
from llmfit.advisor.units import MIB

GPU_FLOOR_BYTES = 16 * MIB
FULL_OFFLOAD_SHARE = 0.05
"""Of the compute buffer: also covers what CUDA's graph optimiser may add, which fake cards do not show."""
PARTIAL_OFFLOAD_SHARE = 0.10
"""With weights in RAM the scheduler stages copies whose lifetimes are harder to predict."""
HOST_FLOOR_BYTES = 64 * MIB
HOST_SHARE = 0.10


def gpu_margin_bytes(compute_bytes: int, assignment: Assignment) -> int:
    """Doubt of a card's compute buffer, without the driver's (overhead.py)."""
    whole = assignment.fully_offloaded and not assignment.has_overrides
    share = FULL_OFFLOAD_SHARE if whole else PARTIAL_OFFLOAD_SHARE
    return GPU_FLOOR_BYTES + int(compute_bytes * share)


def host_margin_bytes(compute_bytes: int) -> int:
    """Doubt of the host's compute buffer and of the process itself."""
    return HOST_FLOOR_BYTES + int(compute_bytes * HOST_SHARE)
