"""What CPUs reach of their RAM's bandwidth, and what their arithmetic costs: few constants, each with its
evidence.

Fitted by tests/bench/fit_host.py to the decode runs of tests/data/speed_*.csv.gz with weights in RAM (10 CPUs
alone, 5 rigs with a GPU), weighing by device; tests/bench/offload_accuracy.py scores them, also on devices
and models that were left out of the fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

SIMPLE, K_QUANT, IQ4, I_QUANT = "floats and simple blocks", "k-quants", "IQ4 and Q3_K", "i-quants"
TYPE_GROUPS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("F32", "F16", "BF16"), SIMPLE),
        **dict.fromkeys(("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "MXFP4", "NVFP4", "TQ1_0", "TQ2_0"), SIMPLE),
        **dict.fromkeys(("Q2_K", "Q4_K", "Q5_K", "Q6_K"), K_QUANT),
        **dict.fromkeys(("IQ4_NL", "IQ4_XS", "Q3_K"), IQ4),
    }
)
"""Tensor types whose products cost a CPU about the same; what is not here (IQ1 to IQ3) looks values up in
tables and costs most."""


@dataclass(frozen=True, slots=True)
class HostConstants:
    """The model of the CPU's part. Shares are of the RAM's peak where not said otherwise."""

    read_share: float = 0.67
    """What all cores together read of weights. One for dense matrices and routed experts, alone and beside
    a GPU: fitted apart they came out at 0.65 and 0.68."""
    measured_share: float = 0.92
    """Of a read rate measured with all cores (llmfit's own figure, advisor/hardware/bandwidth): nothing reads
    faster, and synchronising the threads after each matrix costs a little."""
    core_bytes_per_s: float = 19e9
    """What one core reads at most; one thread of an EPYC with Zen 4 decodes F16 at 18 to 21 GB/s."""
    s_per_parameter: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({
        SIMPLE: 0.040e-9, K_QUANT: 0.047e-9, IQ4: 0.067e-9, I_QUANT: 0.115e-9,
    }), hash=False)  # fmt: skip
    """Arithmetic of one core with AVX2 or NEON, by group of TYPE_GROUPS.

    CPU time per parameter on one thread of an EPYC with Zen 4 and AVX512, llama-bench b11434 on 0.5 billion
    parameters of one type, median of three (for the ratios; the machine was shared), in 1e-9 s: Q2_K 0.026,
    Q4_0 0.036, Q4_K 0.038, IQ4_NL 0.041, Q3_K 0.055, Q6_K 0.060, IQ4_XS 0.062, IQ2_XXS 0.112, IQ1_S 0.112,
    IQ2_S 0.124, IQ3_XXS 0.136, IQ3_S 0.163."""
    old_cpu_factor: float = 2.0
    """The arithmetic of x86 cores without AVX2: AVX multiplies integers of half the width."""
    attention_s: float = 0.25e-9
    """Attention of one core, for an element of the cache and a query head that uses it.

    One thread of the same EPYC, 2,048 tokens deep in f16: 0.47e-9 with flash attention, 0.09e-9 without. A
    Zen 4 rig without layers on its GPU (gemma-4-26B-A4B, llama-bench, 15.5 and 10.5 tok/s at 0 and 16,384
    tokens): 0.2e-9 to 0.4e-9, by whether 8 or 16 cores work. No other rows tell."""
    operation_s: float = 1.7e-6
    """An operation of the graph that the CPU works through: its threads wait for each other after each."""
    crossing_s: float = 45e-6
    """A layer of which only the experts or the cache are in RAM: activations go to the CPU and back."""
    remote_share: float = 0.3
    """What a further NUMA node adds of its RAM's bandwidth: without ``--numa`` the pages of a file lie on the
    node that read it first, and the cores of the other nodes read them across the link."""


HOST = HostConstants()
USUAL_BYTES_PER_S_A_CORE = 10e9
"""Where nobody tells how many cores a CPU has: so much of its RAM's peak for each, as in the rows (i5-3230M
13, 7840HS 11, 5600X 8.5, EPYC 9554 7, 7950X 5 GB/s): a wider memory has a larger CPU."""
FEWEST_CORES, MOST_CORES = 2, 64

CPU_ONLY_RANGE = (0.65, 1.35)
"""Low and high as factors of the expected speed. Of 387 runs on devices left out of the fit 89 % (alone),
85 % (experts) and all (layers) lie inside; wider than 80 % needs, because two rigs make most of the rows."""
EXPERTS_IN_RAM_RANGE = (0.78, 1.27)
LAYERS_IN_RAM_RANGE = (0.80, 1.25)
