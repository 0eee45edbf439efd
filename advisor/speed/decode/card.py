"""A GPU as decode sees it: what cards of its architecture, used through its backend, reach of their peak."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from llmfit.advisor.hardware.machine import Gpu
from llmfit.advisor.speed.decode.constants import (
    DECODE,
    CardFactor,
    DecodeConstants,
    class_of,
    has_stacked_memory,
)

_LIKE_THE_REST = CardFactor()


@dataclass(frozen=True, slots=True)
class Card:
    """``weights_bytes_per_s`` is for Q4_K, the type that the others are relative to."""

    label: str
    backend: str
    peak_bytes_per_s: float
    weights_bytes_per_s: float
    cache_bytes_per_s: float
    kernel_s: float

    @staticmethod
    def of(gpu: Gpu, constants: DecodeConstants = DECODE) -> Card | None:
        """``None`` where its bandwidth is not known."""
        if gpu.bandwidth_bytes_per_s is None:
            return None
        peak = float(gpu.bandwidth_bytes_per_s)
        backend = constants.by_backend.get(gpu.backend, _LIKE_THE_REST)
        kind = constants.by_class.get(class_of(gpu), _LIKE_THE_REST)
        memory = constants.stacked_memory if has_stacked_memory(gpu) else _LIKE_THE_REST
        factors = (backend, memory, kind)
        weights_share = constants.weights_share * prod(one.bandwidth_factor for one in factors)
        cache_share = constants.cache_share * prod(one.cache_factor for one in factors)
        return Card(
            label=f"GPU {gpu.index}",
            backend=gpu.backend,
            peak_bytes_per_s=peak,
            weights_bytes_per_s=peak * weights_share,
            cache_bytes_per_s=peak * cache_share,
            kernel_s=constants.kernel_s * prod(one.launch_factor for one in factors),
        )
