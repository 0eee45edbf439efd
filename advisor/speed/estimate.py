"""estimate_speed(): decode speed with its doubt, its bound and what limits it."""

from __future__ import annotations

from dataclasses import dataclass

from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.memory.assignment import assign_layers
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.memory.weights import WeightTable
from llmfit.advisor.model.model import Model
from llmfit.advisor.speed import efficiency
from llmfit.advisor.speed.card_class import Card
from llmfit.advisor.speed.decode import plan_decode
from llmfit.advisor.speed.host import Host, host_range
from llmfit.advisor.speed.reads import DecodeReads, decode_reads


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
    assignment = assign_layers(model.shape, settings, [gpu.usable_bytes for gpu in gpus], weights)
    reads = decode_reads(model.shape, model.tensors, weights, assignment)
    cards = [Card.of(gpu) for gpu in gpus[: assignment.n_devices]]
    known = [card for card in cards if card is not None]
    if len(known) < len(cards):
        return None
    plan = plan_decode(reads, known, Host.of(machine))
    if plan is None:
        return None
    step = plan.step(depth_tokens, settings.cache_type_k, settings.cache_type_v)
    expected, bound = 1 / step.total_s, 1 / step.bound_s
    low_factor, high_factor = _range(reads)
    return SpeedEstimate(
        decode_tok_s=SpeedRange(expected * low_factor, expected, min(bound, expected * high_factor)),
        prefill_tok_s=None,
        depth_tokens=depth_tokens,
        bound_tok_s=bound,
        limited_by=step.limited_by.value,
        basis="formula",
    )


def _range(reads: DecodeReads) -> tuple[float, float]:
    if reads.host.is_used:
        return host_range(reads)
    if any(place.n_expert_layers for place in reads.gpus):
        return efficiency.EXPERT_RANGE
    return efficiency.DENSE_RANGE
