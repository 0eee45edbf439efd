"""The class of a card: what cards of one architecture, used through one backend, reach of their peak."""

from __future__ import annotations

from dataclasses import dataclass

from llmfit.advisor.hardware.machine import Gpu
from llmfit.advisor.speed import efficiency


@dataclass(frozen=True, slots=True)
class CardClass:
    """Shares of the peak bandwidth with which each kind of bytes is read, and fixed costs in seconds."""

    name: str
    dense_share: float
    expert_share: float
    cache_share: float
    layer_s: float


def card_class(gpu: Gpu, os: str) -> CardClass:
    card = efficiency.card_factor(gpu.architecture, gpu.backend)
    return CardClass(
        f"{gpu.architecture} {gpu.backend}",
        efficiency.DENSE_WEIGHTS * card.bandwidth_factor,
        efficiency.EXPERT_WEIGHTS * card.bandwidth_factor,
        efficiency.KV_CACHE * card.bandwidth_factor,
        efficiency.LAYER_OVERHEAD_S * card.layer_overhead_factor,
    )
