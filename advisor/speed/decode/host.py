"""The part of a decode step that the CPU does: weights in RAM are read, multiplied, and waited for.

A CPU reads and multiplies at the same time, but neither hides the other wholly: matrices of one type take the
root of the sum of the squares of both times. Simple types are bound by the RAM, those with lookup tables by
the arithmetic, small CPUs and old ones, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import hypot

from llmfit.advisor.hardware.machine import Cpu, Machine, Memory
from llmfit.advisor.speed.decode.host_constants import (
    CPU_ONLY_RANGE,
    EXPERTS_IN_RAM_RANGE,
    FEWEST_CORES,
    HOST,
    I_QUANT,
    LAYERS_IN_RAM_RANGE,
    MOST_CORES,
    TYPE_GROUPS,
    USUAL_BYTES_PER_S_A_CORE,
    HostConstants,
)
from llmfit.advisor.speed.reads import DecodeReads, PlaceReads, Role, WeightReads
from llmfit.advisor.speed.terms import Cause, Term

PLACE = "RAM"
MEASURED = "measured"
"""Beginning of ``Memory.bandwidth_source`` where the figure was measured by reading (remembered.py)."""
F16_BYTES = 2
HEADS_A_CACHE_HEAD = 4
"""Of today's models: 4 to 8 query heads share one of the cache."""
X86_BEFORE_AVX2 = frozenset({"sse4_2", "avx", "f16c"})
"""Features (hardware/host/cpuinfo.py) that a CPU without AVX2 tells."""


@dataclass(frozen=True, slots=True)
class Host:
    """What the speed of the CPU's part depends on.

    ``read_bytes_per_s`` is what all cores together read, ``peak_bytes_per_s`` bounds it. ``n_fast_cores``
    are those that work, less what an old CPU takes longer.
    """

    read_bytes_per_s: float
    peak_bytes_per_s: float
    n_fast_cores: float
    constants: HostConstants = HOST

    @staticmethod
    def of(machine: Machine, constants: HostConstants = HOST) -> Host | None:
        """``None`` where nothing is known of the RAM's bandwidth."""
        ram, cpu = machine.memory, machine.cpu
        if ram.bandwidth_bytes_per_s is None:
            return None
        n_cores = n_working_cores(cpu) or usual_cores(ram)
        return Host(
            read_bytes_per_s=_read_bytes_per_s(ram, cpu.numa_nodes or 1, n_cores, constants),
            peak_bytes_per_s=float(max(ram.bandwidth_bytes_per_s, ram.peak_bandwidth_bytes_per_s or 0)),
            n_fast_cores=n_cores / (constants.old_cpu_factor if _is_old(cpu) else 1.0),
            constants=constants,
        )

    def read_s(self, read: WeightReads) -> float:
        return read.n_bytes / self.read_bytes_per_s

    def arithmetic_s(self, read: WeightReads) -> float:
        each_s = self.constants.s_per_parameter[TYPE_GROUPS.get(read.type_name, I_QUANT)]
        return read.n_parameters * each_s / self.n_fast_cores


def n_working_cores(cpu: Cpu) -> int | None:
    """Threads that llama.cpp starts by default: one a physical core, of the fast ones where a CPU has both
    kinds (common_cpu_get_num_math, common/common.cpp; Ollama does the same)."""
    return cpu.performance_cores or cpu.physical_cores


def usual_cores(ram: Memory) -> int:
    """How many cores a CPU with this RAM usually has, where nobody tells; see USUAL_BYTES_PER_S_A_CORE."""
    peak = ram.peak_bandwidth_bytes_per_s or ram.bandwidth_bytes_per_s or 0
    return max(FEWEST_CORES, min(MOST_CORES, round(peak / USUAL_BYTES_PER_S_A_CORE)))


def _is_old(cpu: Cpu) -> bool:
    """An x86 CPU that tells its features, AVX2 not among them."""
    return "avx2" not in cpu.features and not X86_BEFORE_AVX2.isdisjoint(cpu.features)


def _read_bytes_per_s(ram: Memory, n_nodes: int, n_cores: int, constants: HostConstants) -> float:
    """The least of what the RAM's peak, a measurement and the cores allow."""
    limits = [n_cores * constants.core_bytes_per_s]
    known, peak = ram.bandwidth_bytes_per_s, ram.peak_bandwidth_bytes_per_s
    nodes_share = (1 + (n_nodes - 1) * constants.remote_share) / n_nodes
    if known is not None and (ram.bandwidth_source or "").startswith(MEASURED):
        limits.append(known * constants.measured_share * nodes_share)
    else:
        peak = known
    if peak is not None:
        limits.append(peak * constants.read_share * nodes_share)
    return min(limits)


def cache_bytes_per_s(host: Host, heads_a_cache_head: float = HEADS_A_CACHE_HEAD) -> float:
    """How fast the CPU works through what lies of the KV cache in RAM, as f16.

    Attention multiplies every element once for each query head that shares it: arithmetic sets the rate.
    """
    read_s = F16_BYTES / host.read_bytes_per_s
    work_s = heads_a_cache_head * host.constants.attention_s / host.n_fast_cores
    return F16_BYTES / hypot(read_s, work_s)


def host_terms(reads: PlaceReads, host: Host, alone: bool) -> tuple[Term, ...]:
    """Everything the CPU does in one step but reading the KV cache; ``alone``: no GPU takes part."""
    terms = []
    for role in Role:
        of_role = [read for read in reads.weights if read.role is role]
        if of_role:
            terms.append(_weights_term(role, of_role, host))
    crossings = 0 if alone else reads.n_expert_only_layers + reads.n_cache_only_layers
    for what, n, each_s, unit in (
        ("operations", reads.n_kernels, host.constants.operation_s, "operations"),
        ("crossings", crossings, host.constants.crossing_s, "layers"),
    ):
        if n:
            terms.append(Term(what, PLACE, Cause.LAUNCH, n * each_s, n, 1 / each_s, unit))
    return tuple(terms)


def _weights_term(role: Role, reads: Iterable[WeightReads], host: Host) -> Term:
    """Of one role; its cause is what takes longer, reading or multiplying."""
    time_s = read_s = arithmetic_s = n_bytes = 0.0
    for read in reads:
        reading, working = host.read_s(read), host.arithmetic_s(read)
        time_s += hypot(reading, working)
        read_s += reading
        arithmetic_s += working
        n_bytes += read.n_bytes
    cause = Cause.SYSTEM_MEMORY if read_s >= arithmetic_s else Cause.COMPUTE
    return Term(role.value, PLACE, cause, time_s, n_bytes, n_bytes / time_s)


def host_range(reads: DecodeReads) -> tuple[float, float]:
    """Low and high as factors of the expected speed where RAM is read."""
    if not any(place.is_used for place in reads.gpus):
        return CPU_ONLY_RANGE
    return EXPERTS_IN_RAM_RANGE if reads.host.n_expert_layers else LAYERS_IN_RAM_RANGE
