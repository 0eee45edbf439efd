"""Speeds beside the plain one of a judgement: several streams at once, speculation, another split.

Each is a figure of its own: the plain decode speed is never mixed with them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from llmfit.advisor.memory.assignment import assign_layers
from llmfit.advisor.memory.weights import WeightTable, weight_table
from llmfit.advisor.recommend.judgement import Judgement
from llmfit.advisor.speed.estimate import SpeedPlan
from llmfit.advisor.speed.further.acceptance import mtp_acceptance
from llmfit.advisor.speed.further.batch import BatchPlan, plan_batches
from llmfit.advisor.speed.further.concurrency import CachePool, ConcurrentSpeed, cache_pool, concurrent_speed
from llmfit.advisor.speed.further.speculation import (
    SpeculativeSpeed,
    plan_mtp,
    speculative_speed,
    state_snapshot_s,
)
from llmfit.advisor.speed.further.tensor_split import (
    TensorSplitSpeed,
    tensor_split_refusal,
    tensor_split_speed,
)


@dataclass(frozen=True, slots=True)
class Concurrency:
    """The slots of a launch: what they share, and how fast 1, 2, 4 … and all of them are at once."""

    pool: CachePool
    by_streams: tuple[ConcurrentSpeed, ...]

    @property
    def all_slots(self) -> ConcurrentSpeed:
        return self.by_streams[-1]


def concurrency_of(judgement: Judgement) -> Concurrency | None:
    """``None`` with one slot, or where no speed is known.

    Streams are as deep as the speed that was asked for, or as all of them can be at once.
    """
    plan, speed, settings = judgement.speed_plan, judgement.speed, judgement.settings
    if plan is None or speed is None or settings.parallel < 2:
        return None
    pool = cache_pool(judgement.model.shape, settings)
    batches = _batches(judgement, plan)
    depth_tokens = min(speed.depth_tokens, pool.depth_tokens(settings.parallel))
    if depth_tokens != speed.depth_tokens:
        speed = plan.estimate(depth_tokens)
    found = (
        concurrent_speed(batches, speed.step, speed.decode_tok_s, settings, n_streams, depth_tokens)
        for n_streams in _streams(settings.parallel)
    )
    return Concurrency(pool, tuple(found))


def speculation_of(judgement: Judgement) -> SpeculativeSpeed | None:
    """What the model's own MTP blocks make of the plain speed; ``None`` where the settings do not ask for it,
    the model has none, or no speed is known."""
    plan, speed = judgement.speed_plan, judgement.speed
    settings, model = judgement.settings, judgement.model
    if plan is None or speed is None or not settings.load_mtp:
        return None
    gpus = judgement.machine.gpus_of(settings.devices)
    assignment = assign_layers(model.shape, settings, [gpu.usable_bytes for gpu in gpus], _weights(judgement))
    draft = plan_mtp(model.shape, model.tensors, assignment, plan.cards, plan.host)
    if draft is None:
        return None
    return speculative_speed(
        _batches(judgement, plan),
        replace(draft, token=plan.calibrated(draft.token), catch_up=plan.calibrated(draft.catch_up)),
        speed.step,
        speed.decode_tok_s,
        mtp_acceptance(model.shape.architecture),
        settings.spec_draft_max,
        speed.depth_tokens,
        snapshot_s=state_snapshot_s(plan.reads, plan.cards),
    )


def tensor_split_of(judgement: Judgement) -> TensorSplitSpeed | str | None:
    """What ``--split-mode tensor`` would make of several cards, or why there is no figure; ``None`` where the
    launch does not use several."""
    plan, speed = judgement.speed_plan, judgement.speed
    if plan is None or speed is None or len(plan.gpus) < 2:
        return None
    refusal = tensor_split_refusal(judgement.model.shape, plan.gpus, judgement.settings)
    if refusal is not None:
        return refusal
    return tensor_split_speed(
        judgement.model, _weights(judgement), plan.gpus, judgement.settings, speed.depth_tokens
    )


def _weights(judgement: Judgement) -> WeightTable:
    model, settings = judgement.model, judgement.settings
    return weight_table(model.shape, model.tensors, load_mtp=settings.load_mtp)


def _batches(judgement: Judgement, plan: SpeedPlan) -> BatchPlan:
    return plan_batches(judgement.model.shape, plan.reads, plan.cards, plan.host, plan.gpus)


def _streams(n_slots: int) -> Iterator[int]:
    """1, 2, 4 … below the slots, then all of them."""
    n_streams = 1
    while n_streams < n_slots:
        yield n_streams
        n_streams *= 2
    yield n_slots
