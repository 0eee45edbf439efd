"""What GPUs reach of their peak while decoding: one place for every constant, each with its evidence.

Fitted by ``tests/bench/fit_decode.py`` on the rows of tests/data/speed_*.csv.gz that lie wholly on GPUs:
1,119 of 52 devices, 89 models and 132 users. Devices with many rows count less a row; every factor of a
backend or class is held near 1, so that no single user's rows decide it, and a class that nobody measured is
1. What leaving out the model, the device or the user of a row costs: ``tests/bench/speed_accuracy.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from llmfit.advisor.hardware.machine import Gpu


@dataclass(frozen=True, slots=True)
class CardFactor:
    """How a kind of card differs from the common constants.

    ``bandwidth_factor`` and ``cache_factor`` multiply the share of the peak bandwidth that weights and cache
    are read with, ``launch_factor`` the time a kernel costs.
    """

    bandwidth_factor: float = 1.0
    launch_factor: float = 1.0
    cache_factor: float = 1.0


@dataclass(frozen=True, slots=True)
class DecodeConstants:
    """Everything that decode on GPUs takes from measurements."""

    weights_share: float
    """Of the peak bandwidth, for Q4_K: what matrices are read with, experts like dense ones."""
    cache_share: float
    """Of the peak bandwidth: what the KV cache is read with."""
    latent_cache_factor: float
    """Time of a cached token of latent attention (MLA) over its bytes' time: all heads compute on one row."""
    kernel_s: float
    """Starting one kernel and waiting for the one before."""
    step_s: float
    """Whatever a token costs besides: sampling, copying the logits."""
    hop_s: float
    """Handing the activations to the next GPU."""
    bf16_experts_factor: float
    """Time of experts in BF16 on Vulkan over that elsewhere: no matrix product for it there."""
    type_factor: Mapping[str, float] = field(hash=False)
    """Share of the bandwidth by tensor type relative to Q4_K: unpacking costs, long rows gain."""
    by_backend: Mapping[str, CardFactor] = field(hash=False)
    by_class: Mapping[str, CardFactor] = field(hash=False)
    """On top of the backend's; see ``class_of``. No entry: 1."""


TYPE_GROUPS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("F32", "F16", "BF16"), "F16"),
        "Q8_0": "Q8_0",
        "Q6_K": "Q6_K",
        **dict.fromkeys(("Q5_K", "Q5_0", "Q5_1"), "Q5_K"),
        **dict.fromkeys(("Q4_0", "Q4_1", "MXFP4", "NVFP4"), "Q4_0"),
        **dict.fromkeys(("Q4_K", "IQ4_XS", "IQ4_NL"), "Q4_K"),
        **dict.fromkeys(("Q3_K", "Q2_K"), "Q3_K"),
        **dict.fromkeys(("IQ3_S", "IQ3_XXS", "IQ2_S", "IQ2_XS", "IQ2_XXS"), "IQ3_S"),
        **dict.fromkeys(("IQ1_S", "IQ1_M", "TQ1_0", "TQ2_0", "Q1_0", "Q2_0"), "IQ1_S"),
    }
)
"""Tensor types that are unpacked alike share one factor, named after the most usual of them."""

DECODE = DecodeConstants(
    weights_share=0.776,
    cache_share=0.747,
    latent_cache_factor=2.02,
    kernel_s=3.54e-6,
    step_s=113e-6,
    hop_s=109e-6,
    bf16_experts_factor=3.2,
    type_factor=MappingProxyType(
        {
            "F16": 1.12,
            "Q8_0": 1.14,
            "Q6_K": 1.09,
            "Q5_K": 1.065,
            "Q4_0": 1.09,
            "Q3_K": 0.75,
            "IQ3_S": 0.81,
            "IQ1_S": 0.82,
        }
    ),
    by_backend=MappingProxyType(
        {
            "cuda": CardFactor(0.965, 0.70, 0.99),
            "metal": CardFactor(1.05, 1.33, 0.91),
            "rocm": CardFactor(1.03, 1.42, 1.16),
            "vulkan": CardFactor(0.925, 0.85, 0.96),
        }
    ),
    by_class=MappingProxyType(
        {
            "Ada Lovelace/cuda": CardFactor(1.17, 0.83),  # 115 rows, 4 devices, 6 users
            "Ampere/cuda": CardFactor(0.90, 0.71),  # 127 rows, 7 devices, 16 users
            "Apple/metal": CardFactor(1.03, 1.175),  # 77 rows, 10 devices, 32 users
            "Blackwell 2.0 unified/cuda": CardFactor(1.01, 0.70),  # 108 rows, 1 device, 6 users
            "Blackwell 2.0/cuda": CardFactor(1.03, 0.70),  # 77 rows, 9 devices, 23 users
            "Pascal/cuda": CardFactor(0.495, 1.125),  # 43 rows, 1 device, 1 user, and "about half" by others
            "RDNA 2.0/rocm": CardFactor(1.19, 0.805),  # 4 rows, 2 devices, 3 users
            "RDNA 3.0/rocm": CardFactor(0.96, 1.035),  # 39 rows, 2 devices, 9 users
            "RDNA 3.0/vulkan": CardFactor(1.18, 1.015),  # 21 rows, 3 devices, 4 users
            "RDNA 3.5/rocm": CardFactor(0.94, 0.85),  # 191 rows, 1 device, 4 users
            "RDNA 3.5/vulkan": CardFactor(1.09, 0.905),  # 142 rows, 1 device, 4 users
            "RDNA 4.0/rocm": CardFactor(1.08, 0.965),  # 91 rows, 3 devices, 4 users
            "RDNA 4.0/vulkan": CardFactor(0.995, 1.59),  # 48 rows, 2 devices, 2 users
            "Turing/cuda": CardFactor(0.945, 1.78),  # 8 rows, 5 devices, 7 users
            "integrated/vulkan": CardFactor(0.46, 1.165),  # 19 rows, 2 devices, 19 users
            # Of one user alone, and therefore held nearer to 1:
            "Ada Lovelace/vulkan": CardFactor(1.075, 0.97),  # 3 rows
            "Ampere/vulkan": CardFactor(1.05, 0.82),  # 2 rows
            "GCN 4.0/rocm": CardFactor(0.97, 1.155),  # 1 row
            "GCN 4.0/vulkan": CardFactor(0.91, 1.035),  # 2 rows
            "Turing/vulkan": CardFactor(0.945, 1.06),  # 1 row
            "Xe2-HPG (BMG-G31)/vulkan": CardFactor(0.985, 0.995),  # 3 rows
        }
    ),
)
"""Relative to an imaginary backend between all: nothing of it is 1 by definition."""

ONE_USER_CLASSES = frozenset(
    ("Ada Lovelace/vulkan", "Ampere/vulkan", "GCN 4.0/rocm", "GCN 4.0/vulkan", "Turing/vulkan")
) | {"Xe2-HPG (BMG-G31)/vulkan"}
"""Classes that one user alone measured: as doubtful as one that nobody did."""

INTEGRATED = "integrated"
INTEGRATED_BYTES_PER_S = 150e9
"""Two channels of today's RAM reach less; a Strix Halo and an Apple chip have more of them."""


def class_of(gpu: Gpu) -> str:
    """The class of a card: its architecture and backend. Apple's chips are one class, so are GPUs that share
    the two channels of a PC's RAM with the CPU; NVIDIA's with unified memory are none with its cards."""
    if gpu.vendor == "apple":
        return "Apple/metal"
    kind = gpu.architecture or "unknown"
    if gpu.unified_memory and gpu.vendor == "nvidia":
        kind += " unified"
    elif gpu.unified_memory and (gpu.bandwidth_bytes_per_s or 0) < INTEGRATED_BYTES_PER_S:
        kind = INTEGRATED
    return f"{kind}/{gpu.backend}"
