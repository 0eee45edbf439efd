"""What hardware reaches of its peak while decoding: first, rough constants, each with its evidence.

Source of all values: 695 llama.cpp, Ollama and LM Studio runs that fit on their GPU, collected from public
benchmark submissions in 2026; fitted as a sum of times, median error 7.9 % leaving one model out and 13 %
leaving one GPU out. The ranges are wide on purpose: other people's cards of the same name differ by 20 %.
"""

from __future__ import annotations

DENSE_WEIGHTS = 0.89
"""Share of the GPU's peak bandwidth that matrices of dense layers are read with."""
EXPERT_WEIGHTS = 0.61
"""The same for routed experts: scattered reads."""
KV_CACHE = 0.73
HOST_DENSE_WEIGHTS = 0.42
"""Share of the RAM's peak bandwidth that the CPU reads dense layers with, beside a GPU."""
HOST_EXPERT_WEIGHTS = 0.61
HOST_ONLY = 0.45
"""Share of the RAM's peak with everything on the CPU (0.3 to 0.6 seen)."""
LAYER_OVERHEAD_S = 56e-6
"""Launch and synchronisation a layer and token on a GPU."""
HOST_LAYER_SYNC_S = 0.28e-3
"""A layer whose work is partly on the host."""
HOST_COMPUTE_S_PER_PARAMETER = 1.4e-12
"""CPU only: 1.4 ms per billion parameters read."""
EXTRA_GPU_S = 76e-6
"""A hop to the next GPU."""

KERNEL_FACTOR = {
    "qwen3next": 2.0, "qwen35": 2.0, "qwen35moe": 2.0, "kimi-linear": 2.0,
    "gemma2": 1.7, "gemma3": 1.7, "gemma4": 1.9, "gemma3n": 1.9, "mimo2": 1.9, "step35": 1.9,
    "deepseek2": 2.1, "deepseek32": 2.1, "glm-dsa": 2.1, "mistral4": 2.1,
    "nemotron_h": 2.2, "nemotron_h_moe": 2.2, "granitehybrid": 2.2, "jamba": 2.2, "falcon-h1": 2.2,
    "gpt-oss": 1.1, "lfm2": 0.7, "lfm2moe": 0.7,
}  # fmt: skip
"""Launch overhead of a family relative to a plain transformer layer."""

DENSE_RANGE = (0.80, 1.15)
"""Low and high as factors of the expected speed, everything on known GPUs."""
EXPERT_RANGE = (0.65, 1.30)
OFFLOAD_RANGE = (0.55, 1.45)
HOST_ONLY_RANGE = (0.55, 1.5)
