"""How much we doubt an estimate: what must be free beyond it before we say "fits".

Weights and cache are llama.cpp's own sums. Compute buffers are replayed; their doubt was set so that no row
of tests/data/memory_oracle.csv.gz is counted below llama.cpp's own figure (tests/llama_cpp/test_oracle.py).
"""

from __future__ import annotations

from llmfit.advisor.units import MIB

GPU_FLOOR_BYTES = 16 * MIB
GPU_SHARE = 0.05
"""Of the compute buffer: CUDA's graph optimiser may prolong lifetimes, which fake cards do not show
(ggml_backend_cuda_graph_optimize), and other builds than b11434 reserve a little differently."""
UNCHECKED_GPU_SHARE = 0.5
"""Where the replay doubts itself (compute/families.py names the graphs that were met to the byte): the worst
graph that was not found exact came out 39 % below llama.cpp's own figure."""
HOST_FLOOR_BYTES = 64 * MIB
HOST_SHARE = 0.10


def gpu_margin_bytes(compute_bytes: int, replay_doubt_bytes: int) -> int:
    """Doubt of a card's compute buffer, without the driver's (overhead.py).

    ``replay_doubt_bytes`` is what the replay itself is unsure of (ComputeBuffers.margin_bytes), 0 for a graph
    that was checked.
    """
    share = UNCHECKED_GPU_SHARE if replay_doubt_bytes else GPU_SHARE
    return GPU_FLOOR_BYTES + int(compute_bytes * share) + replay_doubt_bytes


def host_margin_bytes(compute_bytes: int) -> int:
    """Doubt of the host's compute buffer and of the process itself."""
    return HOST_FLOOR_BYTES + int(compute_bytes * HOST_SHARE)
