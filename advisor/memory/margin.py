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
"""For graphs that were never found exact: the worst of them was 39 % below llama.cpp's own figure."""
_EXACT_GRAPHS = frozenset(
    """
    afmoe apertus arcee baichuan bailingmoe bailingmoe2 bitnet bloom chatglm cohere2 command-r dbrx
    deepseek deepseek2 deepseek32 dots1 ernie4_5 ernie4_5-moe exaone exaone-moe exaone4 falcon
    falcon-h1 gemma gemma2 gemma3 gemma3n gemma4 glm-dsa glm4 glm4moe gpt-oss gptneox granite
    granite_swa granitehybrid granitemoe grok grovemoe hunyuan-dense hunyuan-moe hy_v3 internlm2
    jais jais2 jamba kimi-linear laguna lfm2 lfm2moe llama llama4 maincoder mamba mamba2 mellum
    mimo2 minicpm minimax-m2 mistral3 mistral4 mpt nemotron nemotron_h nemotron_h_moe olmo olmo2
    olmoe orion paddleocr pangu-embedded phi2 phi3 phimoe plamo3 qwen qwen2 qwen2moe qwen2vl qwen3
    qwen35 qwen35moe qwen3moe qwen3next qwen3vl qwen3vlmoe refact seed_oss smollm3 spark2_5 stablelm
    starcoder2 step35 xverse
    """.split()  # noqa: SIM905 - 94 quoted names read worse
)
"""Architectures whose compute buffers the replay met to the byte: the 40 of the oracle, and others asked on
models of 8 layers in six settings (one and two cards, flash attention on and off, q8_0, layers in RAM)."""
HOST_FLOOR_BYTES = 64 * MIB
HOST_SHARE = 0.10


def gpu_margin_bytes(architecture: str, compute_bytes: int, replay_doubt_bytes: int) -> int:
    """Doubt of a card's compute buffer, without the driver's (overhead.py).

    ``replay_doubt_bytes`` is what the replay itself is unsure of (ComputeBuffers.margin_bytes).
    """
    share = GPU_SHARE if architecture in _EXACT_GRAPHS else UNCHECKED_GPU_SHARE
    return GPU_FLOOR_BYTES + int(compute_bytes * share) + replay_doubt_bytes


def host_margin_bytes(compute_bytes: int) -> int:
    """Doubt of the host's compute buffer and of the process itself."""
    return HOST_FLOOR_BYTES + int(compute_bytes * HOST_SHARE)
