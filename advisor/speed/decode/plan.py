"""Decode as a sum of times: what one token reads on each device, what starting its kernels costs, the hops.

The devices work one after the other (layer split): their times add up. Nothing is faster than bytes over peak
bandwidth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from llmfit.advisor.speed.decode.card import Card
from llmfit.advisor.speed.decode.constants import DECODE, TYPE_GROUPS, DecodeConstants
from llmfit.advisor.speed.decode.host import PLACE, Host, cache_bytes_per_s, host_terms
from llmfit.advisor.speed.reads import CacheReads, DecodeReads, PlaceReads, Role, WeightReads
from llmfit.advisor.speed.terms import Cause, StepTime, Term

SAMPLING = "step"
"""The term of what a token costs besides its graph."""
PLAIN_CACHE = "f16"
"""A quantised cache is not read faster: unpacking it costs what its size saves (8060S, RTX 4090, RX 9060 XT:
same slope with q8_0 as with f16). Its time is that of f16; only the bound knows its bytes."""


@dataclass(frozen=True, slots=True)
class _CacheRate:
    """A place's cache, how fast it is read and how fast it could be at most."""

    where: str
    cause: Cause
    reads: CacheReads
    bytes_per_s: float
    peak_bytes_per_s: float

    def time_s(self, depth_tokens: int, cache_type_k: str, cache_type_v: str) -> tuple[float, float]:
        """(seconds, bytes) of reading it at a depth; see PLAIN_CACHE."""
        n_bytes = self.reads.n_bytes(depth_tokens, cache_type_k, cache_type_v)
        plain = self.reads.n_bytes(depth_tokens, PLAIN_CACHE, PLAIN_CACHE)
        return max(plain, n_bytes) / self.bytes_per_s, n_bytes


@dataclass(frozen=True, slots=True)
class DecodePlan:
    """A step of one placement at any depth: made once, asked for every context.

    ``fixed`` are the terms that do not depend on the depth, ``fixed_bound_s`` their bytes over the peak.
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
            time_s, n_bytes = cache.time_s(depth_tokens, cache_type_k, cache_type_v)
            bound_s += n_bytes / cache.peak_bytes_per_s
            if time_s:
                terms.append(_cache_term(cache, time_s, n_bytes))
        return StepTime(tuple(terms), bound_s)

    def total_s(self, depth_tokens: int, cache_type_k: str = "f16", cache_type_v: str = "f16") -> float:
        """``step(…).total_s`` without the terms: for tables."""
        total_s, bound_s = self.fixed_s, self.fixed_bound_s
        for cache in self.caches:
            time_s, n_bytes = cache.time_s(depth_tokens, cache_type_k, cache_type_v)
            total_s += time_s
            bound_s += n_bytes / cache.peak_bytes_per_s
        return max(total_s, bound_s)

    def scaled(self, factor_of: Callable[[Term], float]) -> DecodePlan:
        """The plan with every term's time multiplied; the bound stays."""
        fixed = tuple(term.scaled(factor_of(term)) for term in self.fixed)
        caches = tuple(
            replace(cache, bytes_per_s=cache.bytes_per_s / factor_of(_cache_term(cache, 1.0, 1.0)))
            for cache in self.caches
        )
        return DecodePlan(fixed, sum(term.time_s for term in fixed), self.fixed_bound_s, caches)


def _cache_term(cache: _CacheRate, time_s: float, n_bytes: float) -> Term:
    return Term("KV cache", cache.where, cache.cause, time_s, n_bytes, n_bytes / time_s)


def plan_decode(
    reads: DecodeReads, cards: Sequence[Card], host: Host | None, constants: DecodeConstants = DECODE
) -> DecodePlan | None:
    """What a step costs; ``None`` where the RAM's bandwidth matters and is not known.

    ``cards`` are those of ``reads.gpus`` in order.
    """
    terms: list[Term] = []
    caches: list[_CacheRate] = []
    bound_s = 0.0
    for place, card in zip(reads.gpus, cards, strict=True):
        terms += _gpu_terms(place, card, constants)
        bound_s += place.weight_bytes() / card.peak_bytes_per_s
        rate = card.cache_bytes_per_s / (constants.latent_cache_factor if place.cache.is_latent else 1.0)
        caches.append(_CacheRate(card.label, Cause.GPU_MEMORY, place.cache, rate, card.peak_bytes_per_s))
    used = [card for place, card in zip(reads.gpus, cards, strict=True) if place.is_used]
    if used:
        terms.append(Term(SAMPLING, used[-1].label, Cause.LAUNCH, constants.step_s))
    terms += [
        Term("hop", f"{first.label} to {then.label}", Cause.LAUNCH, constants.hop_s)
        for first, then in pairwise(used)
    ]
    if reads.host.is_used:
        if host is None:
            return None
        alone = not used
        terms += host_terms(reads.host, host, alone)
        bound_s += reads.host.weight_bytes() / host.peak_bytes_per_s
        rate = cache_bytes_per_s(host)
        caches.append(_CacheRate(PLACE, Cause.SYSTEM_MEMORY, reads.host.cache, rate, host.peak_bytes_per_s))
    fixed_s = sum(term.time_s for term in terms)
    return DecodePlan(tuple(terms), fixed_s, bound_s, tuple(caches))


def _gpu_terms(reads: PlaceReads, card: Card, constants: DecodeConstants) -> list[Term]:
    """Weights by role, and the kernels that its layers start."""
    terms = []
    for role in Role:
        of_role = [read for read in reads.weights if read.role is role]
        n_bytes = sum(read.n_bytes for read in of_role)
        if n_bytes:
            time_s = sum(weights_s(read, card, constants) for read in of_role)
            terms.append(Term(role.value, card.label, Cause.GPU_MEMORY, time_s, n_bytes, n_bytes / time_s))
    if reads.n_kernels:
        n, each_s = reads.n_kernels, card.kernel_s
        terms.append(Term("kernels", card.label, Cause.LAUNCH, n * each_s, n, 1 / each_s, "kernels"))
    return terms


def weights_s(read: WeightReads, card: Card, constants: DecodeConstants = DECODE) -> float:
    """Seconds a token that a card takes to read these matrices."""
    factor = constants.type_factor.get(TYPE_GROUPS.get(read.type_name, ""), 1.0)
    if read.type_name == "BF16" and read.role is Role.EXPERT and card.backend == "vulkan":
        factor /= constants.bf16_experts_factor
    return read.n_bytes / (card.weights_bytes_per_s * factor)
