"""How sure a speed is: low and high as factors of the expected one, by what is known of its kind.

Four of five measurements lie inside where the constants were fitted without the model or without the card
but with others of its class; without its class, inside the wider ones (tests/bench/speed_accuracy.py, tables
"model left out" and "device left out").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llmfit.advisor.hardware.machine import Gpu
from llmfit.advisor.speed.decode.constants import DECODE, ONE_USER_CLASSES, class_of
from llmfit.advisor.speed.decode.host import host_range
from llmfit.advisor.speed.prefill.constants import Placement
from llmfit.advisor.speed.prefill.plan import PrefillPlan, prefill_range
from llmfit.advisor.speed.reads import DecodeReads

Range = tuple[float, float]

DEEP_TOKENS = 9000
ONE_CARD: Range = (0.75, 1.18)
ONE_CARD_EXPERTS: Range = (0.84, 1.40)
DEEP: Range = (0.74, 1.22)
SEVERAL_CARDS: Range = (0.68, 1.40)
NEW_CLASS: Range = (0.74, 1.10)
"""On top of the others, where nobody or one user alone measured a card of this class."""
_OF_OTHER_CARDS = "a card that is not among theirs lies outside more often"
_PREFILL_WHY: Mapping[Placement, str] = {
    Placement.ONE_GPU: "one card of a class that was measured",
    Placement.SEVERAL_GPUS: "several cards of classes that were measured",
    Placement.OFFLOAD: "a part of the weights is in RAM",
    Placement.CPU: "the CPU alone",
    Placement.UNKNOWN_CARD: "a card of a class that nobody measured",
    Placement.UNKNOWN_CPU: "the CPU computes, of whose cores nothing is known",
}


@dataclass(frozen=True, slots=True)
class Doubt:
    """Low and high as ``factors`` of the expected speed, and in a clause what they are for."""

    factors: Range
    why: str


def decode_doubt(reads: DecodeReads, gpus: Sequence[Gpu], depth_tokens: int) -> Doubt:
    """Of the expected decode speed; ``gpus`` are those of ``reads.gpus``, of which those count that read."""
    used = [gpu for place, gpu in zip(reads.gpus, gpus, strict=True) if place.is_used]
    if reads.host.is_used:
        why = "a part is read from RAM, by CPUs that differ most" if used else "the CPU alone"
        return Doubt(host_range(reads), why)
    if len(used) > 1:
        factors, why = SEVERAL_CARDS, "several cards"
    elif depth_tokens > DEEP_TOKENS:
        factors, why = DEEP, "one card, deep in the context"
    elif any(place.n_expert_layers for place in reads.gpus):
        factors, why = ONE_CARD_EXPERTS, "one card, a model with experts"
    else:
        factors, why = ONE_CARD, "one card, a model without experts"
    if all(is_known(gpu) for gpu in used):
        return Doubt(factors, f"{why}, of a class that several people measured; {_OF_OTHER_CARDS}")
    low, high = factors
    return Doubt((low * NEW_CLASS[0], high * NEW_CLASS[1]), f"{why}, of a class that hardly anybody measured")


def decode_range(reads: DecodeReads, gpus: Sequence[Gpu], depth_tokens: int) -> Range:
    """(low, high) as factors of the expected decode speed."""
    return decode_doubt(reads, gpus, depth_tokens).factors


def prefill_doubt(plan: PrefillPlan) -> Doubt:
    """Of the expected prefill speed."""
    return Doubt(prefill_range(plan), _PREFILL_WHY[plan.placement])


def is_known(gpu: Gpu) -> bool:
    """Whether several people measured cards of its class."""
    kind = class_of(gpu)
    return kind in DECODE.by_class and kind not in ONE_USER_CLASSES
