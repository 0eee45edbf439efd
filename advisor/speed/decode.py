"""Decode as a sum of times: what one token reads on each device, what starting its kernels costs, the hops.

The devices work one after the other (layer split): their times add up. Nothing is faster than bytes over peak
bandwidth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llmfit.advisor.hardware.machine import Gpu
from llmfit.advisor.model.shape import ModelShape
from llmfit.advisor.speed.card_class import CardClass, card_class
from llmfit.advisor.speed.efficiency import FAMILY_FACTOR, HOP_S, TYPE_FACTOR
from llmfit.advisor.speed.host import PLACE, Host, cache_bytes_per_s, host_terms
from llmfit.advisor.speed.reads import CacheReads, DecodeReads, PlaceReads, Role
from llmfit.advisor.speed.terms import Cause, StepTime, Term

PLAIN_CACHE = "f16"
"""A quantised cache is not read faster: unpacking it costs what its size saves (8060S, RTX 4090, RX 9060 XT:
same slope with q8_0 as with f16). Its time is that of f16; only the bound knows its bytes."""


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU as decode sees it: its label, peak bandwidth and class."""

    label: str
    bytes_per_s: float
    kind: CardClass

    @staticmethod
    def of(gpu: Gpu, os: str) -> Card | None:
        """``None`` where its bandwidth is not known."""
        if gpu.bandwidth_bytes_per_s is None:
            return None
        return Card(f"GPU {gpu.index}", float(gpu.bandwidth_bytes_per_s), card_class(gpu, os))


@dataclass(frozen=True, slots=True)
class _CacheRate:
    """A place's cache, how fast it is read and how fast it could be at most."""

    where: str
    cause: Cause
    reads: CacheReads
    bytes_per_s: float
    peak_bytes_per_s: float


@dataclass(frozen=True, slots=True)
class DecodePlan:
    """A step of one placement at any depth: made once, asked for every context.

    ``fixed`` are the terms that do not depend on the depth, ``fixed_bound_s`` their bytes over peak bandwidth.
    """

    fixed: tuple[Term, ...]
    fixed_s: float
    fixed_bound_s: float
    caches: tuple[_CacheRate, ...]

    def step(self, depth_tokens: int, cache_type_k: str = "f16", cache_type_v: str = "f16") -> StepTime:
        """The time of one token with ``depth_tokens`` in the cache, for one stream."""
        bound_s = self.fixed_bound_s
        terms = list(self.fixed)
        for cache in self.caches:
            n_bytes = cache.reads.n_bytes(depth_tokens, cache_type_k, cache_type_v)
            plain = cache.reads.n_bytes(depth_tokens, PLAIN_CACHE, PLAIN_CACHE)
            bound_s += n_bytes / cache.peak_bytes_per_s
            if plain:
                time_s = max(plain, n_bytes) / cache.bytes_per_s
                rate = n_bytes / time_s
                terms.append(Term("KV cache", cache.where, cache.cause, time_s, n_bytes, rate))
        return StepTime(tuple(terms), bound_s)


def plan_decode(
    shape: ModelShape, reads: DecodeReads, cards: Sequence[Card], host: Host | None
) -> DecodePlan | None:
    """What a step costs by the constants of ``efficiency``; ``None`` where the RAM's bandwidth matters and is
    not known. ``cards`` are those of ``reads.gpus`` in order."""
    terms: list[Term] = []
    caches: list[_CacheRate] = []
    bound_s = 0.0
    for place, card in zip(reads.gpus, cards, strict=True):
        terms += _gpu_terms(shape, place, card)
        bound_s += place.weight_bytes() / card.bytes_per_s
        rate = card.bytes_per_s * card.kind.cache_share
        caches.append(_CacheRate(card.label, Cause.GPU_MEMORY, place.cache, rate, card.bytes_per_s))
    used = [card for place, card in zip(reads.gpus, cards, strict=True) if place.is_used]
    terms += [
        Term("hop", f"{first.label} to {then.label}", Cause.LAUNCH, HOP_S, 1, 1 / HOP_S, "hops")
        for first, then in zip(used, used[1:], strict=False)
    ]
    if reads.host.is_used:
        if host is None:
            return None
        alone = not used
        terms += host_terms(reads.host, host, alone)
        bound_s += reads.host.weight_bytes() / host.peak_bytes_per_s
        rate = cache_bytes_per_s(host, alone)
        caches.append(
            _CacheRate(PLACE, Cause.SYSTEM_MEMORY, reads.host.cache, rate, host.peak_bytes_per_s)
        )
    fixed_s = sum(term.time_s for term in terms)
    return DecodePlan(tuple(terms), fixed_s, bound_s, tuple(caches))


def _gpu_terms(shape: ModelShape, reads: PlaceReads, card: Card) -> list[Term]:
    """Weights by role, and what its layers cost besides reading."""
    terms = []
    kind = card.kind
    for role in Role:
        n_bytes = reads.weight_bytes(role)
        if not n_bytes:
            continue
        share = kind.expert_share if role is Role.EXPERT else kind.dense_share
        slow_bytes = sum(
            read.n_bytes / TYPE_FACTOR.get(read.type_name, 1.0) for read in reads.weights if read.role is role
        )
        time_s = slow_bytes / (card.bytes_per_s * share)
        terms.append(Term(role.value, card.label, Cause.GPU_MEMORY, time_s, n_bytes, n_bytes / time_s))
    n_layers = reads.n_layers
    if n_layers:
        each_s = kind.layer_s * FAMILY_FACTOR.get(shape.architecture, 1.0)
        terms.append(
            Term("layers", card.label, Cause.LAUNCH, n_layers * each_s, n_layers, 1 / each_s, "layers")
        )
    return terms
