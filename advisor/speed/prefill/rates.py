"""How fast a device multiplies prompts: reference rates, shares by type of tensor, links to the RAM."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from llmfit.advisor.hardware.machine import Gpu, Machine
from llmfit.advisor.speed.prefill.constants import Kernels, PrefillConstants
from llmfit.advisor.speed.reads import PlaceReads, Role

FLOP_PER_PARAMETER = 2
FLOAT_TYPES = frozenset({"F16", "BF16", "F32"})
LOW_TYPES = frozenset(
    {"Q2_K", "Q3_K", "IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "TQ1_0", "TQ2_0"}
)
K_TYPES = frozenset({"Q4_K", "Q5_K", "Q6_K"})
SHADER_ARCHITECTURES = frozenset({"Maxwell", "Pascal"})
"""NVIDIA cards without matrix units."""
LANE_BYTES_PER_S = {1: 250e6, 2: 500e6, 3: 985e6, 4: 1969e6, 5: 3938e6, 6: 7563e6}
"""One lane of PCI Express by generation: transfer rate after line coding (PCI-SIG base specifications)."""
USUAL_PCIE = (4, 16)
"""Where the link of a card is not known."""
USUAL_RAM_BYTES_PER_S = 64e9
"""Two channels of DDR5-4000 or of a little more than DDR4-3200: where nothing is known."""
USUAL_FLOPS_PER_BYTE = {"nvidia": 114.0, "amd": 123.0, "intel": 240.0, "apple": 35.0}
"""Rate over bandwidth of the cards of a vendor: the median over the catalogue. For a card of unknown rate."""
BLEND = 4
"""How sharply the slower of link and RAM decides: two equal ones reach 84 % of each."""


@dataclass(frozen=True, slots=True)
class CardRates:
    """A GPU as prefill sees it. ``peak_flops`` is its fastest arithmetic: nothing multiplies faster.

    ``quant_flops`` is what quantised matrices reach. ``is_known_class``: its rate is known, and cards of its
    architecture were measured with its backend.
    """

    label: str
    bytes_per_s: float
    peak_flops: float
    quant_flops: float
    float_flops: float
    attention_flops: float
    state_flops: float
    kernels: Kernels
    is_known_class: bool


def card_rates(gpu: Gpu, constants: PrefillConstants) -> CardRates | None:
    """``None`` where neither its rate nor its bandwidth is known."""
    flops, bandwidth = gpu.fp16_flops, gpu.bandwidth_bytes_per_s
    if not bandwidth:
        return None
    known = float(flops or bandwidth * USUAL_FLOPS_PER_BYTE.get(gpu.vendor, 60.0))
    kernels = constants.kernels[kernels_of(gpu)]
    reference = reference_flops(gpu, known)
    if "Mobile" in gpu.name or "Laptop" in gpu.name:
        reference *= constants.mobile_factor if gpu.vendor == "nvidia" else 1.0
    of_class = constants.class_factor.get((gpu.architecture or "", gpu.backend), 1.0)
    quant = reference * kernels.matrix_share * of_class
    return CardRates(
        label=f"GPU {gpu.index}",
        bytes_per_s=float(bandwidth),
        peak_flops=known * _peak_factor(gpu),
        quant_flops=quant,
        float_flops=quant * kernels.float_factor,
        attention_flops=reference * kernels.attention_share * _attention_factor(gpu),
        state_flops=reference * constants.state_share,
        kernels=kernels,
        is_known_class=bool(flops) and (gpu.architecture or "", gpu.backend) in constants.class_factor,
    )


def kernels_of(gpu: Gpu) -> str:
    """Name of the entry of ``PrefillConstants.kernels`` whose kernels run on it."""
    if gpu.backend == "cuda":
        return "cuda shader" if gpu.architecture in SHADER_ARCHITECTURES else "cuda"
    if gpu.backend == "vulkan":
        return "vulkan nvidia" if gpu.vendor == "nvidia" else "vulkan"
    return gpu.backend if gpu.backend in ("rocm", "metal", "sycl") else "vulkan"


def reference_flops(gpu: Gpu, fp16_flops: float) -> float:
    """The rate that quantised matrices follow.

    On NVIDIA's matrix units they are multiplied as 8-bit integers (ggml-cuda/mmq.cuh), whose peak is four
    times the FP16 rate with FP32 accumulation on GeForce cards and twice that on all others, where FP16 is
    not halved: a quarter of the 8-bit peak.
    """
    if gpu.vendor != "nvidia" or gpu.architecture in SHADER_ARCHITECTURES or "GeForce" in gpu.name:
        return fp16_flops
    return fp16_flops / 2


def _attention_factor(gpu: Gpu) -> float:
    """RDNA 4 doubled what its matrix units do a clock; attention got no faster (by the slopes with depth of
    an R9700, an 8060S and a 7900 XTX: 60 operations a clock and compute unit on all three)."""
    return 0.5 if gpu.architecture == "RDNA 4.0" else 1.0


def _peak_factor(gpu: Gpu) -> float:
    """The fastest arithmetic over ``Gpu.fp16_flops``: 8-bit integers (data sheets: four times on GeForce and
    with DP4A on Pascal, else twice); the matrix units in the GPU of Apple's M5 are not in its rate."""
    if gpu.vendor == "nvidia":
        quarter = gpu.architecture in SHADER_ARCHITECTURES or "GeForce" in gpu.name
        return 4.0 if quarter else 2.0
    return 10.0 if gpu.architecture == "Apple M5" else 2.0


def matrix_s(reads: Iterable[tuple[str, float]], rates: CardRates) -> float:
    """Seconds a token for (type, parameters) multiplied with it."""
    seconds = 0.0
    for type_name, n_parameters in reads:
        if type_name in FLOAT_TYPES:
            rate = rates.float_flops
        elif type_name in K_TYPES:
            rate = rates.quant_flops * rates.kernels.k_factor
        elif type_name in LOW_TYPES:
            rate = rates.quant_flops * rates.kernels.low_factor
        else:
            rate = rates.quant_flops
        seconds += FLOP_PER_PARAMETER * n_parameters / rate
    return seconds


def typed(reads: PlaceReads, role: Role) -> tuple[tuple[str, float], ...]:
    """(type, parameters) of the weights of one role."""
    return tuple((read.type_name, read.n_parameters) for read in reads.weights if read.role is role)


def link_bytes_per_s(gpu: Gpu) -> float:
    """Peak of the link between RAM and a GPU; the memory's own where they share it."""
    if gpu.unified_memory and gpu.bandwidth_bytes_per_s:
        return float(gpu.bandwidth_bytes_per_s)
    generation, width = gpu.pcie_generation or USUAL_PCIE[0], gpu.pcie_width or USUAL_PCIE[1]
    return LANE_BYTES_PER_S.get(generation, LANE_BYTES_PER_S[6]) * width


def copy_bytes_per_s(gpu: Gpu, machine: Machine, constants: PrefillConstants) -> float:
    """What copies of weights from RAM reach: nearly the link's share or the RAM's, whichever is less."""
    ram = float(machine.memory.bandwidth_bytes_per_s or USUAL_RAM_BYTES_PER_S) * constants.copy_ram_share
    link = link_bytes_per_s(gpu) * constants.pcie_share
    factor = constants.vulkan_copy_factor if gpu.backend == "vulkan" else 1.0
    slower: float = (link**-BLEND + ram**-BLEND) ** (-1 / BLEND)
    return factor * slower


def host_flops(machine: Machine, constants: PrefillConstants) -> float | None:
    """What the CPU multiplies a second; ``None`` where nothing is known of its cores or its RAM."""
    cpu, ram = machine.cpu, machine.memory.bandwidth_bytes_per_s
    if cpu.physical_cores:
        fast = cpu.performance_cores or cpu.physical_cores
        cores = fast + 0.5 * (cpu.physical_cores - fast)
        wide = any(feature.startswith(("avx512", "amx")) for feature in cpu.features)
        return cores * constants.core_flops * (constants.wide_core_factor if wide else 1.0)
    return None if ram is None else ram * constants.host_ram_flops_per_byte
