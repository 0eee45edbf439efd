"""What hardware reaches of its peak while decoding: first, rough constants, each with its evidence.

Source of all values: 695 llama.cpp, Ollama and LM Studio runs that fit on their GPU, collected from public
benchmark submissions in 2026; fitted as a sum of times, median error 7.9 % leaving one model out and 13 %
leaving one GPU out. The ranges are wide on purpose: other people's cards of the same name differ by 20 %.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

DENSE_WEIGHTS = 0.89
"""Share of the GPU's peak bandwidth that matrices of dense layers are read with."""
EXPERT_WEIGHTS = 0.61
"""The same for routed experts: scattered reads."""
KV_CACHE = 0.73
LAYER_OVERHEAD_S = 56e-6
"""Launch and synchronisation a layer and token on a GPU."""
HOP_S = 76e-6
"""A hop to the next GPU."""

TYPE_FACTOR: Mapping[str, float] = {}
FAMILY_FACTOR = {
    "qwen3next": 2.0, "qwen35": 2.0, "qwen35moe": 2.0, "kimi-linear": 2.0,
    "gemma2": 1.7, "gemma3": 1.7, "gemma4": 1.9, "gemma3n": 1.9, "mimo2": 1.9, "step35": 1.9,
    "deepseek2": 2.1, "deepseek32": 2.1, "glm-dsa": 2.1, "mistral4": 2.1,
    "nemotron_h": 2.2, "nemotron_h_moe": 2.2, "granitehybrid": 2.2, "jamba": 2.2, "falcon-h1": 2.2,
    "gpt-oss": 1.1, "lfm2": 0.7, "lfm2moe": 0.7,
}  # fmt: skip
"""Launch overhead of a family relative to a plain transformer layer."""


@dataclass(frozen=True, slots=True)
class CardFactor:
    """How a kind of card differs from the constants above: its share of the bandwidth, and its overhead a
    layer, each as a factor."""

    bandwidth_factor: float = 1.0
    layer_overhead_factor: float = 1.0


CARD_FACTORS: Mapping[tuple[str, str], CardFactor] = {
    ("Pascal", "cuda"): CardFactor(0.6, 1.9),
    ("RDNA 3.0", "rocm"): CardFactor(1.0, 1.8),
    ("RDNA 4.0", "rocm"): CardFactor(1.0, 1.7),
    **{(f"Apple M{generation}", "metal"): CardFactor(0.9, 1.35) for generation in range(1, 6)},
}
"""By (``Gpu.architecture``, ``Gpu.backend``); what is not here is like the rest.

Evidence, of tests/data/speed_*.csv.gz: RDNA 3 with ROCm 42 rows of 3 devices and 9 users, RDNA 4 with ROCm 85
rows of 2 devices, Apple 76 rows of 11 devices, with a median error of 12 to 36 % before. Pascal: 43 rows of
a GTX 1050 Ti, estimated more than twice too fast without it; other collections say "about half", too."""
_LIKE_THE_REST = CardFactor()


def card_factor(architecture: str | None, backend: str) -> CardFactor:
    """How a card of this architecture, used through this backend, differs from the constants."""
    return CARD_FACTORS.get((architecture or "", backend), _LIKE_THE_REST)


DENSE_RANGE = (0.80, 1.15)
"""Low and high as factors of the expected speed, everything on known GPUs."""
EXPERT_RANGE = (0.65, 1.30)
