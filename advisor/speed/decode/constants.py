"""What GPUs reach of their peak while decoding: one place for every constant, each with its evidence.

Fitted by ``tests/bench/fit_decode.py`` on the rows of tests/data (speed.md there) that lie wholly on GPUs:
1,341 of 86 devices, 95 models and 164 users. Devices with many rows count less a row; every factor of a
backend or class is held near 1, and a class that nobody measured is 1. What leaving out the model, the device
or the user of a row costs: ``tests/bench/speed_accuracy.py``.
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
    stacked_memory: CardFactor
    """On top of the backend's for cards with HBM: more bandwidth than their slow units ask for."""
    by_class: Mapping[str, CardFactor] = field(hash=False)
    """On top of these; see ``class_of``. No entry: 1."""


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
    weights_share=0.722,
    cache_share=0.721,
    latent_cache_factor=1.96,
    kernel_s=4.54e-6,
    step_s=97e-6,
    hop_s=103e-6,
    bf16_experts_factor=3.5,
    type_factor=MappingProxyType(
        {
            "F16": 1.1,
            "Q8_0": 1.13,
            "Q6_K": 1.06,
            "Q5_K": 1.05,
            "Q4_0": 1.08,
            "Q3_K": 0.7,
            "IQ3_S": 0.8,
            "IQ1_S": 0.82,
        }
    ),
    by_backend=MappingProxyType(
        {
            "cuda": CardFactor(0.96, 0.61, 0.99),
            "metal": CardFactor(1.08, 1.1, 0.89),
            "rocm": CardFactor(1.04, 1.22, 1.19),
            "sycl": CardFactor(0.96, 2.14),
            "vulkan": CardFactor(0.87, 0.69, 0.93),
        }
    ),
    stacked_memory=CardFactor(0.61, 1.25),
    by_class=MappingProxyType(
        {
            "Ada Lovelace/cuda": CardFactor(1.26, 0.68),  # 136 rows, 8 devices, 9 users
            "Ada Lovelace/vulkan": CardFactor(1.3, 0.73),  # 4 rows, 2 devices, 2 users
            "Ampere HBM/cuda": CardFactor(1.17, 1.01),  # 21 rows, 3 devices, 2 users
            "Ampere/cuda": CardFactor(0.98, 0.63),  # 127 rows, 7 devices, 16 users
            "Ampere/vulkan": CardFactor(1.1, 0.62),  # 11 rows, 2 devices, 2 users
            "Apple/metal": CardFactor(1.04, 1.06),  # 97 rows, 11 devices, 34 users
            "Blackwell 2.0/cuda": CardFactor(1.1, 0.6),  # 186 rows, 11 devices, 30 users
            "CDNA 3.0/rocm": CardFactor(1.02, 0.93),  # 5 rows, 2 devices, 2 users
            "GCN 5.1/rocm": CardFactor(1.05, 0.92),  # 14 rows, 3 devices, 3 users
            "Pascal/cuda": CardFactor(0.87, 1.78),  # 20 rows, 2 devices, 4 users
            "RDNA 2.0/rocm": CardFactor(1.01, 0.86),  # 11 rows, 4 devices, 7 users
            "RDNA 3.0/rocm": CardFactor(0.97, 0.97),  # 46 rows, 5 devices, 13 users
            "RDNA 3.0/vulkan": CardFactor(1.31, 0.98),  # 22 rows, 4 devices, 5 users
            "RDNA 3.5/rocm": CardFactor(1.01, 0.77),  # 191 rows, 1 device, 4 users
            "RDNA 3.5/vulkan": CardFactor(1.25, 0.85),  # 142 rows, 1 device, 4 users
            "RDNA 4.0/rocm": CardFactor(1.18, 0.87),  # 95 rows, 3 devices, 5 users
            "RDNA 4.0/vulkan": CardFactor(1.19, 1.12),  # 58 rows, 3 devices, 5 users
            "Turing/cuda": CardFactor(0.92, 1.37),  # 13 rows, 5 devices, 8 users
            "Turing/vulkan": CardFactor(0.93, 0.83),  # 2 rows, 2 devices, 2 users
            "Xe-HPG/sycl": CardFactor(0.94, 2.19),  # 4 rows, 2 devices, 3 users
            "Xe2-HPG (BMG-G31)/sycl": CardFactor(1.05, 0.9),  # 4 rows, 1 device, 2 users
            "Xe2-HPG/sycl": CardFactor(0.99, 0.78),  # 4 rows, 2 devices, 2 users
            "integrated/vulkan": CardFactor(0.51, 1.13),  # 19 rows, 2 devices, 19 users
            # Of one user alone: as doubtful as a class that nobody measured.
            "Blackwell 2.0/vulkan": CardFactor(1.05, 0.91),  # 2 rows, 1 device
            "Blackwell Ultra HBM/cuda": CardFactor(0.91, 0.91),  # 10 rows, 1 device
            "GCN 4.0/rocm": CardFactor(0.91, 2.04),  # 1 row, 1 device
            "GCN 4.0/vulkan": CardFactor(0.86, 1.05),  # 2 rows, 1 device
            "GCN 5.1/vulkan": CardFactor(0.78, 1.11),  # 1 row, 1 device
            "Hopper HBM/cuda": CardFactor(0.98, 0.79),  # 30 rows, 3 devices
            "Pascal HBM/cuda": CardFactor(0.7, 1.83),  # 6 rows, 1 device
            "Pascal/vulkan": CardFactor(0.65, 1.84),  # 43 rows, 1 device
            "RDNA 1.0/rocm": CardFactor(0.9, 1.14),  # 1 row, 1 device
            "RDNA 1.0/vulkan": CardFactor(0.94, 1.04),  # 2 rows, 1 device
            "Volta HBM/cuda": CardFactor(1.23, 0.91),  # 10 rows, 1 device
            "Xe-HPG/vulkan": CardFactor(0.89, 1.2),  # 1 row, 1 device
            "Xe2-HPG (BMG-G31)/vulkan": CardFactor(1.05, 0.9),  # 3 rows, 1 device
        }
    ),
)
"""Relative to an imaginary backend between all: nothing of it is 1 by definition."""

ONE_USER_CLASSES = frozenset(
    (
        "Blackwell 2.0/vulkan",
        "Blackwell Ultra HBM/cuda",
        "GCN 4.0/rocm",
        "GCN 4.0/vulkan",
        "GCN 5.1/vulkan",
        "Hopper HBM/cuda",
        "Pascal HBM/cuda",
        "Pascal/vulkan",
        "RDNA 1.0/rocm",
        "RDNA 1.0/vulkan",
        "Volta HBM/cuda",
        "Xe-HPG/vulkan",
        "Xe2-HPG (BMG-G31)/vulkan",
    )
)
"""Classes that one user alone measured: as doubtful as one that nobody did."""

INTEGRATED = "integrated"
INTEGRATED_BYTES_PER_S = 150e9
"""Two channels of today's RAM reach less; a Strix Halo and an Apple chip have more of them."""


_HBM_CAPABILITIES = frozenset(("6.0", "7.0", "8.0", "9.0", "10.0", "10.3"))
"""Compute capabilities of NVIDIA's chips with HBM: P100, V100, A100, H100, B200, B300 and their kin."""
_HBM_ARCHITECTURES = ("CDNA", "GCN 5")


def has_stacked_memory(gpu: Gpu) -> bool:
    """Whether its memory is HBM: NVIDIA's computing cards, AMD's Instinct and Vega."""
    if gpu.vendor == "nvidia":
        return gpu.compute_capability in _HBM_CAPABILITIES
    return not gpu.unified_memory and (gpu.architecture or "").startswith(_HBM_ARCHITECTURES)


def class_of(gpu: Gpu) -> str:
    """The class of a card: its architecture and backend. Apple's chips are one class, so are GPUs that share
    the two channels of a PC's RAM with the CPU; NVIDIA's chips with HBM are none with its cards."""
    if gpu.vendor == "apple":
        return "Apple/metal"
    kind = gpu.architecture or "unknown"
    if (
        gpu.unified_memory
        and gpu.vendor != "nvidia"
        and (gpu.bandwidth_bytes_per_s or 0) < INTEGRATED_BYTES_PER_S
    ):
        kind = INTEGRATED
    elif gpu.vendor == "nvidia" and has_stacked_memory(gpu):
        kind += " HBM"
    return f"{kind}/{gpu.backend}"
