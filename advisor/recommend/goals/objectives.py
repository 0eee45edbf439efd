"""What a goal wants, as a list of criteria: the first that tells two configurations apart decides.

A difference within a criterion's doubt is a tie and leaves the decision to the next one; after the last, the
plainest configuration wins (llama-server's own defaults). docs/advice.md has the lists in words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log2

from llmfit.advisor.recommend.goals.values import BALANCE, CONTEXT, QUALITY, SPEED, Configuration, Tried
from llmfit.advisor.recommend.judgement import FITS_OFFLOAD, VERDICT_ORDER
from llmfit.advisor.recommend.ladders import DEFAULTS, GOOD_ENOUGH
from llmfit.advisor.recommend.needs import COMFORTABLE_TOK_S, Need
from llmfit.advisor.recommend.outlook import SPILL_POINTS, slowness_points
from llmfit.advisor.recommend.quality import QualityFacts

TIE_LOSS_POINTS = 0.5
"""Losses are bands around judgements: half a point apart at their upper ends, they are the same."""
TIE_SPEED_SHARE = 0.05
"""Less is within the doubt of every estimate, and nobody feels it."""
TIE_PREFILL_SHARE = 0.15
"""What a larger micro-batch must bring."""
TIE_CONTEXT_SHARE = 0.05
ACCEPTABLE_FACTOR = 1.25
"""A file type is of the class of Q4_K_M if it loses at most so many times what Q4_K_M does (IQ4_XS 1.2)."""
CONTEXT_POINTS = 4.0
"""What each halving of the context planned for weighs in the balance, like a halving of the speed."""


@dataclass(frozen=True, slots=True)
class Question:
    """What the criteria refer to."""

    facts: QualityFacts
    need: Need
    start_tokens: int

    @property
    def acceptable_points(self) -> float | None:
        """The most that a file type may lose while another one fits; None where nothing is known."""
        loss = self.facts.file_type_loss(GOOD_ENOUGH)
        return None if loss is None else loss.points * ACCEPTABLE_FACTOR

    def excess_points(self, tried: Tried) -> float:
        limit = self.acceptable_points
        if limit is None or tried.file_loss is None:
            return 0.0
        return max(0.0, tried.file_loss.points - limit)

    def weighed_points(self, tried: Tried) -> float:
        """What speaks against a configuration, in points of ability: the measure of the balance."""
        short = log2(self.start_tokens / min(self.start_tokens, tried.configuration.context_tokens))
        slow = slowness_points(self.need, tried.order_tok_s, tried.wait_s)
        spills = SPILL_POINTS if tried.judgement.verdict == FITS_OFFLOAD else 0.0
        return tried.expected_loss_points + slow + spills + CONTEXT_POINTS * short


@dataclass(frozen=True, slots=True)
class Criterion:
    """``value``: more is better. Differences up to ``tie`` and ``tie_share`` (of the best) do not count."""

    name: str
    value: Callable[[Question, Tried], float]
    tie: float = 0.0
    tie_share: float = 0.0


EXCESS = Criterion("excess", lambda q, t: -q.excess_points(t), tie=TIE_LOSS_POINTS)
READABLE = Criterion(
    "readable", lambda _, t: min(t.order_tok_s, COMFORTABLE_TOK_S), tie_share=TIE_SPEED_SHARE
)
IS_READABLE = Criterion(
    "readable", lambda _, t: float(t.order_tok_s >= COMFORTABLE_TOK_S * (1 - TIE_SPEED_SHARE))
)
PLANNED = Criterion("planned", lambda q, t: min(q.start_tokens, t.configuration.context_tokens))
LOSS = Criterion("loss", lambda _, t: -t.worst_loss_points, tie=TIE_LOSS_POINTS)
DECODE = Criterion("decode", lambda _, t: t.order_tok_s, tie_share=TIE_SPEED_SHARE)
PREFILL = Criterion("prefill", lambda _, t: t.prefill_tok_s, tie_share=TIE_PREFILL_SHARE)
VERDICT = Criterion("verdict", lambda _, t: -VERDICT_ORDER[t.judgement.verdict])
LENGTH = Criterion("length", lambda _, t: t.configuration.context_tokens, tie_share=TIE_CONTEXT_SHARE)
WEIGHED = Criterion("weighed", lambda q, t: -q.weighed_points(t), tie=TIE_LOSS_POINTS)

CRITERIA: dict[str, tuple[Criterion, ...]] = {
    QUALITY: (EXCESS, READABLE, PLANNED, LOSS, DECODE, PREFILL, VERDICT),
    SPEED: (EXCESS, DECODE, PLANNED, PREFILL, LOSS, VERDICT),
    CONTEXT: (EXCESS, PLANNED, IS_READABLE, VERDICT, LENGTH, LOSS, DECODE, PREFILL),
    BALANCE: (EXCESS, READABLE, WEIGHED, LOSS, DECODE, PREFILL, VERDICT),
}
"""EXCESS comes first everywhere: files worse than Q4_K_M are for models that have no room in it."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """Best first. ``fell_by`` is the criterion that put each behind the first; None: it is only less plain.

    ``finalists`` are those that nothing but the speed of prompts and plainness could tell apart.
    """

    order: tuple[Tried, ...]
    finalists: tuple[Tried, ...]
    fell_by: dict[Configuration, Criterion | None]


def rank(tried: Sequence[Tried], question: Question, goal: str) -> Ranking:
    """Every one in its place: the best by all criteria in turn, then the best of the rest."""
    criteria = CRITERIA[goal]
    values = [[criterion.value(question, one) for criterion in criteria] for one in tried]
    plain = [plainness(one, question) for one in tried]
    rest = list(range(len(tried)))
    order: list[int] = []
    finalists: list[int] = []
    fell_by: dict[Configuration, Criterion | None] = {}
    while rest:
        pool = rest
        for place, criterion in enumerate(criteria):
            best = max(values[number][place] for number in pool)
            least = best - criterion.tie - criterion.tie_share * abs(best)
            kept = [number for number in pool if values[number][place] >= least]
            if not order and criterion is PREFILL:
                finalists = pool
            if not order:
                fell_by.update({tried[number].configuration: criterion for number in set(pool) - set(kept)})
            pool = kept
        if not order:
            fell_by.update({tried[number].configuration: None for number in pool})
        winner = min(pool, key=lambda number: plain[number])
        order.append(winner)
        rest.remove(winner)
    return Ranking(
        tuple(tried[number] for number in order), tuple(tried[number] for number in finalists), fell_by
    )


def plainness(tried: Tried, question: Question) -> tuple[object, ...]:
    """Fewest flags first: no two configurations have the same."""
    one = tried.configuration
    return (
        one.n_slots,
        one.cache_type != DEFAULTS.cache_type_k,
        one.ubatch != DEFAULTS.ubatch,
        one.ubatch,
        one.context_tokens != question.start_tokens,
        one.file_type.startswith("IQ"),
        -one.context_tokens,
        tried.worst_loss_points,
        one.file_type,
        one.cache_type,
    )
