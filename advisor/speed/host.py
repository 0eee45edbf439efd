"""The part of a decode step that the CPU does: rough constants, with the evidence beside them."""

from __future__ import annotations

from dataclasses import dataclass

from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.speed import efficiency
from llmfit.advisor.speed.reads import PlaceReads, Role
from llmfit.advisor.speed.terms import Cause, Term

PLACE = "RAM"


@dataclass(frozen=True, slots=True)
class Host:
    """What the speed of the CPU's part depends on.

    ``bytes_per_s`` is the best known figure, measured or a peak; ``peak_bytes_per_s`` bounds it.
    """

    bytes_per_s: float
    peak_bytes_per_s: float

    @staticmethod
    def of(machine: Machine) -> Host | None:
        """``None`` where nothing is known of the RAM's bandwidth."""
        ram = machine.memory
        if ram.bandwidth_bytes_per_s is None:
            return None
        peak = max(ram.bandwidth_bytes_per_s, ram.peak_bandwidth_bytes_per_s or 0)
        return Host(float(ram.bandwidth_bytes_per_s), float(peak))


def cache_bytes_per_s(host: Host, alone: bool) -> float:
    """How fast the CPU reads what lies of the KV cache in RAM."""
    return host.bytes_per_s * (efficiency.HOST_ONLY if alone else efficiency.HOST_DENSE_WEIGHTS)


def host_terms(reads: PlaceReads, host: Host, alone: bool) -> tuple[Term, ...]:
    """Everything the CPU does in one step but reading the KV cache; ``alone``: no GPU takes part."""
    dense_bytes = reads.weight_bytes(Role.DENSE, Role.OUTPUT)
    expert_bytes = reads.weight_bytes(Role.EXPERT)
    dense_rate = host.bytes_per_s * (efficiency.HOST_ONLY if alone else efficiency.HOST_DENSE_WEIGHTS)
    expert_rate = host.bytes_per_s * (efficiency.HOST_ONLY if alone else efficiency.HOST_EXPERT_WEIGHTS)
    terms = [
        Term(what, PLACE, Cause.SYSTEM_MEMORY, n_bytes / rate, n_bytes, rate)
        for what, n_bytes, rate in (
            (Role.DENSE.value, dense_bytes, dense_rate),
            (Role.EXPERT.value, expert_bytes, expert_rate),
        )
        if n_bytes
    ]
    if alone:
        n, each_s = reads.n_parameters(), efficiency.HOST_COMPUTE_S_PER_PARAMETER
        terms.append(Term("arithmetic", PLACE, Cause.COMPUTE, n * each_s, 2 * n, 2 / each_s, "FLOP"))
    elif reads.n_layers:
        each_s = efficiency.HOST_LAYER_SYNC_S
        n_layers = reads.n_layers
        terms.append(
            Term("layers", PLACE, Cause.LAUNCH, n_layers * each_s, n_layers, 1 / each_s, "layers")
        )
    return tuple(terms)
