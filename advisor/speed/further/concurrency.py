"""Several streams at once (``--parallel N``): how fast all together, how fast each, the tokens they share.

Apart from the plain figure of one stream, from which it starts: with one stream both are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, hypot, log, log2

from llmfit.advisor.memory.kv_cache import cache_geometry
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.model.shape import ModelShape
from llmfit.advisor.speed.further.batch import BatchPlan, Tokens, scaled_work
from llmfit.advisor.speed.speed_range import SpeedRange
from llmfit.advisor.speed.terms import StepTime

STREAMS = (1, 2, 4, 8, 16, 32)
"""What a table is made of unless somebody asks for others."""
FIRST_DOUBT, DOUBT_PER_DOUBLING = 0.13, 0.06
DOUBTFUL_DOUBLINGS = 3
"""Logarithm of the range of the growth: four of five measured ones lie inside
(tests/bench/concurrency_accuracy.py); from 8 streams on it does not get wider."""
MEASURED_BACKENDS = frozenset(("cuda", "metal"))
UNMEASURED_FACTOR = 2.0
"""So much wider on backends of which hardly anybody published steps with several streams."""


@dataclass(frozen=True, slots=True)
class ConcurrentSpeed:
    """``n_streams`` at once, each with ``depth_tokens`` in its cache.

    ``bound_tok_s`` is that of all together. ``step`` computes one token of each stream.
    """

    n_streams: int
    depth_tokens: int
    aggregate_tok_s: SpeedRange
    stream_tok_s: SpeedRange
    bound_tok_s: float
    limited_by: str
    step: StepTime


@dataclass(frozen=True, slots=True)
class CachePool:
    """``pool_tokens`` is what all slots hold together, ``slot_tokens`` what one of them can hold at most.

    In a unified cache (``--kv-unified``) a slot may take what the others leave.
    """

    pool_tokens: int
    slot_tokens: int
    n_slots: int
    unified: bool

    def depth_tokens(self, n_streams: int) -> int:
        """How deep that many streams can all be at once."""
        return self.pool_tokens // max(1, n_streams) if self.unified else self.slot_tokens


def cache_pool(shape: ModelShape, settings: LaunchSettings) -> CachePool:
    """Raises UsageError as ``cache_geometry``."""
    geometry = cache_geometry(shape, settings)
    return CachePool(geometry.n_ctx, geometry.n_ctx_seq, settings.parallel, settings.kv_unified)


def concurrent_speed(
    batches: BatchPlan,
    one: StepTime,
    plain_tok_s: SpeedRange,
    settings: LaunchSettings,
    n_streams: int,
    depth_tokens: int,
) -> ConcurrentSpeed:
    """``one`` and ``plain_tok_s`` are the plain step and speed at this depth, calibrated or measured or not.

    More streams than a ubatch holds take several steps (``-ub``).
    """
    tokens = Tokens.UNIFIED if settings.kv_unified else Tokens.STREAMS
    step = _step(batches, one, n_streams, tokens, depth_tokens, max(1, min(settings.ubatch, settings.batch)))
    bound_tok_s = n_streams / step.bound_s
    if n_streams == 1:
        aggregate = plain_tok_s
    else:
        growth = n_streams * one.total_s / step.total_s
        factors = _factors(plain_tok_s, growth_range(n_streams, batches.backends))
        aggregate = SpeedRange.around(plain_tok_s.expected * growth, factors, bound_tok_s)
    return ConcurrentSpeed(
        n_streams=n_streams,
        depth_tokens=depth_tokens,
        aggregate_tok_s=aggregate,
        stream_tok_s=_each(aggregate, n_streams),
        bound_tok_s=bound_tok_s,
        limited_by=step.limited_by.value,
        step=step,
    )


def concurrency_table(
    batches: BatchPlan,
    one: StepTime,
    plain_tok_s: SpeedRange,
    settings: LaunchSettings,
    depth_tokens: int,
    streams: Sequence[int] = STREAMS,
) -> tuple[ConcurrentSpeed, ...]:
    """``concurrent_speed`` for each number of ``streams``, all at the same depth."""
    return tuple(
        concurrent_speed(batches, one, plain_tok_s, settings, n_streams, depth_tokens)
        for n_streams in streams
    )


def growth_range(n_tokens: int, backends: frozenset[str] = MEASURED_BACKENDS) -> tuple[float, float]:
    """(low, high) of how a step of ``n_tokens`` outruns that of one, over the expected growth."""
    doublings = min(log2(n_tokens), DOUBTFUL_DOUBLINGS)
    doubt = min(doublings, 1.0) * FIRST_DOUBT + max(0.0, doublings - 1) * DOUBT_PER_DOUBLING
    if not backends <= MEASURED_BACKENDS:
        doubt *= UNMEASURED_FACTOR
    return exp(-doubt), exp(doubt)


def _step(
    batches: BatchPlan, one: StepTime, n_streams: int, tokens: Tokens, depth_tokens: int, ubatch_tokens: int
) -> StepTime:
    if n_streams <= ubatch_tokens:
        return batches.step(one, n_streams, tokens, depth_tokens)
    n_full, rest = divmod(n_streams, ubatch_tokens)
    full = batches.step(one, ubatch_tokens, tokens, depth_tokens)
    terms = [scaled_work(term, n_full, n_full) for term in full.terms]
    bound_s = full.bound_s * n_full
    if rest:
        last = batches.step(one, rest, tokens, depth_tokens)
        terms += last.terms
        bound_s += last.bound_s
    return StepTime(tuple(terms), bound_s)


def _factors(plain: SpeedRange, growth: tuple[float, float]) -> tuple[float, float]:
    """Both doubts together, as independent ones."""
    low = hypot(log(plain.low / plain.expected), log(growth[0]))
    high = hypot(log(plain.high / plain.expected), log(growth[1]))
    return exp(-low), exp(high)


def _each(aggregate: SpeedRange, n_streams: int) -> SpeedRange:
    return SpeedRange(*(tok_s / n_streams for tok_s in (aggregate.low, aggregate.expected, aggregate.high)))
