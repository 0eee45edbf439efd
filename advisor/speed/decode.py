"""Decode as a sum of times: first form, with rough constants and the hard bound of bytes over bandwidth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llmfit.advisor.speed import efficiency
from llmfit.advisor.speed.bytes_read import PlaceReads


@dataclass(frozen=True, slots=True)
class DecodeTime:
    """Seconds a token by cause. ``bound_s`` is bytes over peak bandwidth, device after device."""

    gpu_memory_s: float
    host_memory_s: float
    launch_s: float
    bound_s: float

    @property
    def total_s(self) -> float:
        return max(self.bound_s, self.gpu_memory_s + self.host_memory_s + self.launch_s)


def decode_time(
    gpus: Sequence[PlaceReads],
    gpu_bytes_per_s: Sequence[float],
    host: PlaceReads,
    host_bytes_per_s: float | None,
    architecture: str,
    cards: Sequence[efficiency.CardFactor] = (),
    host_peak_bytes_per_s: float | None = None,
) -> DecodeTime | None:
    """Time of one decode step; ``None`` where a bandwidth that matters is not known.

    The devices work one after the other (layer split): their times add up. ``cards`` says how each GPU
    differs from the constants, where it does. ``host_peak_bytes_per_s`` bounds the part in RAM where the
    figure beside it is a measured one, which lies below the peak.
    """
    bound_s = gpu_s = launch_s = 0.0
    factor = efficiency.KERNEL_FACTOR.get(architecture, 1.0)
    alike = efficiency.CardFactor()
    for position, (reads, bytes_per_s) in enumerate(zip(gpus, gpu_bytes_per_s, strict=True)):
        card = cards[position] if cards else alike
        bound_s += reads.total_bytes / bytes_per_s
        gpu_s += (
            reads.dense_bytes / efficiency.DENSE_WEIGHTS
            + reads.expert_bytes / efficiency.EXPERT_WEIGHTS
            + reads.cache_bytes / efficiency.KV_CACHE
        ) / (bytes_per_s * card.bandwidth_factor)
        launch_s += reads.n_layers * efficiency.LAYER_OVERHEAD_S * factor * card.layer_overhead_factor
    launch_s += max(0, sum(1 for reads in gpus if reads.n_layers) - 1) * efficiency.EXTRA_GPU_S
    host_s = 0.0
    if host.total_bytes > 0:
        if host_bytes_per_s is None:
            return None
        bound_s += host.total_bytes / max(host_bytes_per_s, host_peak_bytes_per_s or 0.0)
        host_s, sync_s = _host_time(host, host_bytes_per_s, alone=not any(reads.n_layers for reads in gpus))
        launch_s += sync_s
    return DecodeTime(gpu_s, host_s, launch_s, bound_s)


def _host_time(host: PlaceReads, bytes_per_s: float, alone: bool) -> tuple[float, float]:
    """(seconds reading, seconds of synchronisation or compute) of the part on the CPU."""
    if alone:
        read_s = host.total_bytes / (bytes_per_s * efficiency.HOST_ONLY)
        return read_s, host.n_parameters * efficiency.HOST_COMPUTE_S_PER_PARAMETER
    read_s = (
        (host.dense_bytes + host.cache_bytes) / efficiency.HOST_DENSE_WEIGHTS
        + host.expert_bytes / efficiency.HOST_EXPERT_WEIGHTS
    ) / bytes_per_s
    return read_s, host.n_layers * efficiency.HOST_LAYER_SYNC_S
