"""estimate_speed(): decode speed with its doubt, its bound and what limits it."""

from __future__ import annotations

from dataclasses import dataclass

from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.memory.assignment import assign_layers
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.memory.weights import WeightTable
from llmfit.advisor.model.model import Model
from llmfit.advisor.speed import efficiency
from llmfit.advisor.speed.bytes_read import PlaceReads, decode_reads, reads_by_place
from llmfit.advisor.speed.decode import DecodeTime, decode_time


@dataclass(frozen=True, slots=True)
class SpeedRange:
    """Tokens per second with the doubt of the estimate: the truth should lie between low and high."""

    low: float
    expected: float
    high: float


@dataclass(frozen=True, slots=True)
class SpeedEstimate:
    """``bound_tok_s`` is bytes per token over bandwidth: nothing without speculation can be faster.

    ``prefill_tok_s`` is ``None`` until prefill is modelled. ``basis`` is ``formula``, ``calibrated`` or
    ``measured``.
    """

    decode_tok_s: SpeedRange
    prefill_tok_s: SpeedRange | None
    depth_tokens: int
    bound_tok_s: float
    limited_by: str
    basis: str


def estimate_speed(
    model: Model, weights: WeightTable, machine: Machine, settings: LaunchSettings, depth_tokens: int = 0
) -> SpeedEstimate | None:
    """Decode speed of one stream at a depth; ``None`` where a bandwidth that matters is not known."""
    gpus = [gpu for index in settings.devices for gpu in machine.gpus if gpu.index == index]
    bandwidths = [gpu.bandwidth_bytes_per_s for gpu in gpus]
    assignment = assign_layers(model.shape, settings, [gpu.usable_bytes for gpu in gpus], weights)
    reads = decode_reads(model.shape, model.tensors)
    per_gpu, host = reads_by_place(model.shape, reads, weights, settings, assignment, depth_tokens)
    if any(bytes_per_s is None for bytes_per_s in bandwidths):
        return None
    known = [float(bytes_per_s) for bytes_per_s in bandwidths if bytes_per_s is not None][: len(per_gpu)]
    cards = [efficiency.card_factor(gpu.architecture, gpu.backend) for gpu in gpus][: len(per_gpu)]
    ram = machine.memory
    time = decode_time(
        per_gpu,
        known,
        host,
        ram.bandwidth_bytes_per_s,
        model.shape.architecture,
        cards,
        ram.peak_bandwidth_bytes_per_s,
    )
    return None if time is None else _with_doubt(time, per_gpu, host, depth_tokens)


def _with_doubt(
    time: DecodeTime, per_gpu: tuple[PlaceReads, ...], host: PlaceReads, depth_tokens: int
) -> SpeedEstimate:
    expected = 1 / time.total_s
    bound = 1 / time.bound_s
    low_factor, high_factor = _range(per_gpu, host)
    return SpeedEstimate(
        decode_tok_s=SpeedRange(expected * low_factor, expected, min(bound, expected * high_factor)),
        prefill_tok_s=None,
        depth_tokens=depth_tokens,
        bound_tok_s=bound,
        limited_by=_limit(time),
        basis="formula",
    )


def _range(per_gpu: tuple[PlaceReads, ...], host: PlaceReads) -> tuple[float, float]:
    if host.total_bytes > 0:
        on_gpu = any(reads.n_layers for reads in per_gpu)
        return efficiency.OFFLOAD_RANGE if on_gpu else efficiency.HOST_ONLY_RANGE
    if any(reads.expert_bytes for reads in per_gpu):
        return efficiency.EXPERT_RANGE
    return efficiency.DENSE_RANGE


def _limit(time: DecodeTime) -> str:
    parts = {
        "gpu memory": time.gpu_memory_s,
        "system memory": time.host_memory_s,
        "launch overhead": time.launch_s,
    }
    return max(parts, key=lambda name: parts[name])
