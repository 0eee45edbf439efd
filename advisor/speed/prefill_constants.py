"""What hardware reaches of its peak while it reads a prompt: the fitted constants, each with its evidence.

Fitted by ``tests/bench/fit_prefill.py`` on the prefill rows of tests/data/speed_*.csv.gz, every device with
the same say however many rows it has, each constant held near the shared value that stands first; the rows
and devices behind each class are in EVIDENCE.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


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
    """Everything that is fitted. ``kernels`` by name of ``prefill_rates.kernels_of``, ``class_factor`` by
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
    pcie_share: float
    """Of the link's peak, copying weights from RAM."""
    copy_ram_share: float
    """Of the RAM's bandwidth, the same: the driver copies pageable memory into a buffer of its own."""
    core_flops: float
    """A core of a CPU with AVX2."""
    wide_core_factor: float
    """A core with AVX-512, over that."""
    host_ram_flops_per_byte: float
    """Where nothing is known of the cores: operations for each byte of RAM bandwidth."""


START = PrefillConstants(
    kernels={
        "cuda": Kernels(0.90, 0.75, 0.95, 0.90, 0.8, 20.0, 0.5, 30e-6),
        "cuda shader": Kernels(0.80, 0.6, 0.95, 0.90, 0.8, 20.0, 0.3, 40e-6),
        "rocm": Kernels(0.30, 1.2, 0.95, 0.90, 0.6, 20.0, 0.2, 60e-6),
        "vulkan nvidia": Kernels(0.75, 0.9, 0.95, 0.90, 0.6, 20.0, 0.4, 40e-6),
        "vulkan": Kernels(0.25, 0.8, 0.95, 0.90, 0.6, 20.0, 0.15, 60e-6),
        "sycl": Kernels(0.25, 0.8, 0.95, 0.90, 0.6, 20.0, 0.15, 60e-6),
        "metal": Kernels(0.60, 1.0, 0.95, 0.90, 0.7, 10.0, 0.3, 40e-6),
    },
    class_factor={("Apple M5", "metal"): 2.3},
    mobile_factor=1.25,
    weight_read_share=0.7,
    state_share=0.1,
    expert_layers=1.0,
    state_layers=2.0,
    pipeline_share=0.8,
    pcie_share=0.65,
    copy_ram_share=0.23,
    core_flops=45e9,
    wide_core_factor=2.5,
    host_ram_flops_per_byte=7.0,
)
CONSTANTS = START
