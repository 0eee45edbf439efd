"""What hardware reaches of its peak while it reads a prompt: the fitted constants, each with its evidence.

Fitted by ``tests/bench/fit_prefill.py`` on the prefill rows of tests/data/speed_*.csv.gz, a device with n
rows weighing as n to the power 0.4, each constant held near a shared value (START there); the rows
behind each class of cards stand beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Kernels:
    """What the kernels of one backend reach: shares of the reference rate (see ``reference_flops``).

    ``matrix_share`` is that of quantised matrices on a card that is not in CLASS_FACTOR, ``float_factor``,
    ``k_factor`` and ``low_factor`` what F16 and BF16, K-quants and types below 4 bits have of it,
    ``expert_factor`` what experts have. Every expert that is touched costs the time of ``pad_tokens`` more
    tokens than it got: tiles are filled up. ``layer_s`` is spent on each layer of a ubatch.
    """

    matrix_share: float
    float_factor: float
    k_factor: float
    low_factor: float
    expert_factor: float
    pad_tokens: float
    attention_share: float
    layer_s: float


@dataclass(frozen=True, slots=True)
class PrefillConstants:
    """Everything that is fitted. ``kernels`` by name of ``rates.kernels_of``, ``class_factor`` by
    (architecture, backend)."""

    kernels: Mapping[str, Kernels]
    class_factor: Mapping[tuple[str, str], float]
    mobile_factor: float
    """NVIDIA's laptop cards boost above the clock of the data sheet, which the catalogue's rate is for."""
    weight_read_share: float
    """Of the peak bandwidth, reading every weight once for each ubatch."""
    state_share: float
    """Of the reference rate, the recurrence of linear layers."""
    expert_layers: float
    state_layers: float
    """How many layers' ``layer_s`` a layer with experts, one with a state costs more."""
    pipeline_share: float
    """Of the time that a perfect pipeline over several GPUs would hide."""
    odd_head_factor: float
    """Attention with heads that are not 128 wide, over that with heads that are."""
    pcie_share: float
    """Of the link's peak, copying weights from RAM."""
    copy_ram_share: float
    """Of the RAM's bandwidth, the same: the driver copies pageable memory into a buffer of its own."""
    vulkan_copy_factor: float
    """Vulkan copies slower than CUDA and ROCm."""
    core_flops: float
    """A core of a CPU with AVX2."""
    wide_core_factor: float
    """A core with AVX-512, over that."""
    host_ram_flops_per_byte: float
    """Where nothing is known of the cores: operations for each byte of RAM bandwidth."""


class Placement(Enum):
    """What the doubt of a rate depends on."""

    ONE_GPU = "one GPU"
    SEVERAL_GPUS = "several GPUs"
    OFFLOAD = "partly in RAM"
    CPU = "CPU only"
    UNKNOWN_CARD = "unknown card"
    UNKNOWN_CPU = "unknown CPU"


CONSTANTS = PrefillConstants(
    kernels={
        "cuda": Kernels(0.848, 0.723, 1.11, 0.662, 0.697, 24.9, 0.645, 0.00018),
        "cuda shader": Kernels(1.01, 0.6, 0.95, 0.9, 0.794, 20.1, 0.4, 8.01e-05),
        "rocm": Kernels(0.284, 1.42, 0.96, 0.818, 0.496, 23.5, 0.124, 9.8e-05),
        "vulkan nvidia": Kernels(0.739, 0.899, 0.938, 0.9, 0.51, 20.5, 0.528, 7.89e-05),
        "vulkan": Kernels(0.33, 0.784, 1.15, 0.779, 0.675, 21.8, 0.103, 8.93e-05),
        "sycl": Kernels(0.25, 0.8, 0.95, 0.9, 0.6, 20, 0.12, 8e-05),
        "metal": Kernels(0.701, 1, 0.84, 0.9, 0.877, 9.74, 0.511, 8.08e-05),
    },
    class_factor={
        ("Apple M5", "metal"): 2.3,  # 1 rows, 1 devices, 1 sources
        ("Turing", "cuda"): 0.503,  # 26 rows, 2 devices, 2 sources
        ("Hopper", "cuda"): 0.45,  # tables of 2024, see START in fit_prefill.py
        ("Ada Lovelace", "cuda"): 1.52,  # 358 rows, 4 devices, 4 sources
        ("Ada Lovelace", "vulkan"): 1.06,  # 3 rows, 1 devices, 1 sources
        ("Ampere", "cuda"): 0.952,  # 114 rows, 5 devices, 6 sources
        ("Ampere", "vulkan"): 1.34,  # 7 rows, 3 devices, 3 sources
        ("Apple M1", "metal"): 0.978,  # 3 rows, 1 devices, 1 sources
        ("Apple M2", "metal"): 1.04,  # 30 rows, 1 devices, 1 sources
        ("Apple M4", "metal"): 1.04,  # 3 rows, 1 devices, 2 sources
        ("Blackwell 2.0", "cuda"): 1.23,  # 58 rows, 7 devices, 13 sources
        ("GCN 4.0", "rocm"): 0.922,  # 1 rows, 1 devices, 1 sources
        ("GCN 4.0", "vulkan"): 1.01,  # 2 rows, 1 devices, 1 sources
        ("GCN 5.1", "rocm"): 1.64,  # 6 rows, 1 devices, 2 sources
        ("Pascal", "cuda"): 1.01,  # 7 rows, 1 devices, 1 sources
        ("RDNA 2.0", "rocm"): 1.15,  # 8 rows, 2 devices, 2 sources
        ("RDNA 2.0", "vulkan"): 1.05,  # 1 rows, 1 devices, 1 sources
        ("RDNA 3.0", "rocm"): 1.01,  # 27 rows, 3 devices, 5 sources
        ("RDNA 3.0", "vulkan"): 1,  # 27 rows, 3 devices, 4 sources
        ("RDNA 3.5", "rocm"): 1,  # 192 rows, 1 devices, 5 sources
        ("RDNA 3.5", "vulkan"): 0.713,  # 152 rows, 1 devices, 5 sources
        ("RDNA 4.0", "rocm"): 0.881,  # 141 rows, 2 devices, 3 sources
        ("RDNA 4.0", "vulkan"): 0.595,  # 67 rows, 2 devices, 2 sources
        ("Turing", "vulkan"): 0.901,  # 1 rows, 1 devices, 1 sources
        ("Volta", "cuda"): 0.958,  # 3 rows, 1 devices, 1 sources
        ("Xe2-HPG (BMG-G31)", "vulkan"): 1.1,  # 4 rows, 1 devices, 1 sources
    },
    mobile_factor=1.25,
    weight_read_share=0.699,
    state_share=0.0762,
    expert_layers=1,
    state_layers=2.2,
    pipeline_share=0.748,
    odd_head_factor=0.87,
    pcie_share=0.791,
    copy_ram_share=0.224,
    vulkan_copy_factor=0.667,
    core_flops=4.07e10,
    wide_core_factor=1.9,
    host_ram_flops_per_byte=7,
)
RANGES: Mapping[Placement, tuple[float, float]] = {
    Placement.ONE_GPU: (0.63, 1.52),
    Placement.SEVERAL_GPUS: (0.51, 1.28),
    Placement.OFFLOAD: (0.63, 1.66),
    Placement.CPU: (0.69, 1.51),
    Placement.UNKNOWN_CARD: (0.4, 2.2),
    Placement.UNKNOWN_CPU: (0.4, 2.2),
}
"""Low and high over the expected rate: between them lie four of five of the measured over the estimated rates
of cards left out of the fit (tests/bench/prefill_accuracy.py), devices weighed as in the fit. Of unknown
cards assumed: cards that are alone in their class were estimated at a third to twice of what they reached.
Of a CPU whose cores nobody tells the same is assumed."""
