"""What CPUs reach of their RAM's bandwidth, and what their arithmetic costs: few constants, each with its
evidence.

Fitted by tests/bench/fit_host.py to the decode runs of tests/data/speed_*.csv.gz with weights in RAM (9 CPUs
alone, 4 rigs with a GPU), weighing by device; tests/bench/offload_accuracy.py scores them, also on devices
and models that were left out of the fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

FLOAT, SIMPLE, K_QUANT, IQ4, I_QUANT = "float", "simple blocks", "k-quants", "IQ4", "i-quants"
TYPE_GROUPS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("F32", "F16", "BF16"), FLOAT),
        **dict.fromkeys(("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "MXFP4", "NVFP4", "TQ1_0", "TQ2_0"), SIMPLE),
        **dict.fromkeys(("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"), K_QUANT),
        **dict.fromkeys(("IQ4_NL", "IQ4_XS"), IQ4),
    }
)
"""Tensor types whose products cost a CPU about the same; what is not here (IQ1 to IQ3) looks values up in
tables and costs most."""


@dataclass(frozen=True, slots=True)
class HostConstants:
    """The model of the CPU's part. Shares are of the RAM's peak where not said otherwise."""

    dense_share: float = 0.635
    """With which matrices are read one after the other: what streaming all cores reach of DDR4 and DDR5."""
    expert_share: float = 0.70
    """The same for routed experts."""
    measured_share: float = 0.92
    """Of a read rate measured with all cores (llmfit's own figure, advisor/hardware/bandwidth): nothing reads
    faster, and synchronising the threads after each matrix costs a little."""
    core_bytes_per_s: float = 16.8e9
    """What one core reads at most."""
    s_per_parameter: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({
        FLOAT: 0.040e-9, SIMPLE: 0.040e-9, K_QUANT: 0.051e-9, IQ4: 0.090e-9, I_QUANT: 0.119e-9,
    }), hash=False)  # fmt: skip
    """Arithmetic of one core with AVX2 or NEON, by group of TYPE_GROUPS."""
    old_cpu_factor: float = 2.2
    """The arithmetic of x86 cores without AVX2 costs so much more."""
    layer_s: float = 31e-6
    """A layer that the CPU works through: its threads wait for each other after every matrix."""
    crossing_s: float = 48e-6
    """A layer of which only the experts are in RAM: activations go to the CPU and back."""
    remote_share: float = 0.3
    """What a further NUMA node adds of its RAM's bandwidth: without ``--numa`` the pages of a file lie on the
    node that read it first, and the cores of the other nodes read them across the link."""


HOST = HostConstants()
USUAL_CORES = 8
"""Where nobody tells how many cores a CPU has: a desktop or laptop of today."""

CPU_ONLY_RANGE = (0.65, 1.35)
"""Low and high as factors of the expected speed: 80 % of runs on devices left out of the fit lie inside."""
EXPERTS_IN_RAM_RANGE = (0.80, 1.25)
LAYERS_IN_RAM_RANGE = (0.80, 1.25)
