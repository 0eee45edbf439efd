"""Across models: which few are worth running on this machine, by evidence of quality first.

Ranking key: the lower end of the 80 % interval of a model's ability for the use with the losses of its file
type taken off, less what slowness weighs. A model without direct evidence (grade D or E) never comes first
while one with evidence fits; less than ``TIE_POINTS`` apart is a tie, and speed and use of the hardware
decide (choosing.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.memory.fitting import largest_context
from llmfit.advisor.memory.settings import ALL_LAYERS
from llmfit.advisor.memory.weights import weight_table
from llmfit.advisor.recommend.choosing import CLEARLY, USED_SHARE, Choice, Pick
from llmfit.advisor.recommend.judgement import FITS_GPU, Judgement
from llmfit.advisor.recommend.ladders import LONG_CONTEXT_TOKENS
from llmfit.advisor.recommend.needs import COMFORTABLE_TOK_S
from llmfit.advisor.recommend.outlook import Candidate, Goal, Option, find_options
from llmfit.advisor.recommend.quality import (
    NO_LOSS,
    TIE_POINTS,
    Loss,
    Quality,
    ReducedQuality,
    reduced,
)
from llmfit.advisor.recommend.request import Request
from llmfit.advisor.recommend.search import judge
from llmfit.advisor.units import format_context, format_gib

if TYPE_CHECKING:
    from llmfit.advisor.speed.calibration.machine_speeds import MachineSpeeds

USUAL_LIMIT = 5
"""So many are chosen even where fewer are shown."""

BEST_QUALITY = "best quality"
FASTEST = "fastest"
LONGEST_CONTEXT = "longest context"
BALANCED = "balanced"
ALTERNATIVE = "alternative"


@dataclass(frozen=True, slots=True)
class Recommendation:
    """``quality`` is the model's own; ``reduced`` has the losses of file type and cache taken off."""

    purpose: str
    why: tuple[str, ...]
    quality: Quality
    loss: Loss
    reduced: ReducedQuality
    judgement: Judgement


def recommend(
    candidates: Sequence[Candidate], machine: Machine, goal: Goal, speeds: MachineSpeeds | None = None
) -> tuple[Recommendation, ...]:
    """The best ``goal.limit`` models, one a family, each with its purpose; best quality first.

    ``speeds`` is what was measured on this machine.
    """
    context_is_open = goal.context_tokens is None
    if goal.use_case == "long-context" and context_is_open:
        goal = replace(goal, context_tokens=LONG_CONTEXT_TOKENS)
    options = find_options(candidates, machine, goal)
    floors = (goal.min_tok_s,) if goal.min_tok_s is not None else (COMFORTABLE_TOK_S, 0.0)
    for floor_tok_s in floors:
        # A short list is the beginning of the longer one: what is chosen must not depend on where it is cut.
        # The first of all does not: whoever wants only that need not wait for the others.
        n_chosen = 1 if goal.limit == 1 else max(goal.limit, USUAL_LIMIT)
        at_least_usual = replace(goal, limit=n_chosen)
        choice = Choice(machine, at_least_usual, options, floor_tok_s, speeds)
        choice.fill()
        if choice.picks:
            return _described(choice, context_is_open, speeds)[: goal.limit]
    return ()


def _described(
    choice: Choice, context_is_open: bool, speeds: MachineSpeeds | None
) -> tuple[Recommendation, ...]:
    """Names what each pick is best for; a pick that is best at nothing is an alternative."""
    picks, goal = choice.picks, choice.goal
    purposes = dict(_purposes(picks, goal.need.quick_tok_s, context_is_open))
    recommendations = []
    for number, pick in enumerate(picks[: goal.limit]):
        purpose = purposes.get(number, ALTERNATIVE)
        judgement, candidate = pick.judgement, pick.option.candidate
        if purpose == LONGEST_CONTEXT:
            judgement = _with_longest_context(judgement, speeds)
        loss = goal.loss(pick.option.quant, candidate)
        settings = judgement.settings
        cache_loss = candidate.facts(judgement.model).cache_loss(settings.cache_type_k, settings.cache_type_v)
        left = reduced(candidate.quality, loss, cache_loss or NO_LOSS)
        why = (*_why_able(pick.option, loss, picks[0].option), *_why_chosen(choice, pick), *_why(judgement))
        recommendations.append(Recommendation(purpose, why, candidate.quality, loss, left, judgement))
    return tuple(recommendations)


def _purposes(picks: Sequence[Pick], quick_tok_s: float, context_is_open: bool) -> Iterator[tuple[int, str]]:
    """(position, purpose): the first is the best; any other purpose goes to a pick that clearly beats it.

    Balanced is what is quick and abler than the fastest. Where the context is given, none is longer. What has
    no evidence may be the fastest all the same: a purpose that one row of the list belies would be none.
    """
    taken, fastest = {0}, 0
    yield 0, BEST_QUALITY
    measures: list[tuple[str, Callable[[Pick], float]]] = [(FASTEST, lambda pick: pick.tok_s)]
    if context_is_open:
        measures.append((LONGEST_CONTEXT, lambda pick: _reachable_context(pick.judgement)))
    for purpose, measure in measures:
        values = [measure(pick) for pick in picks]
        best = max(range(len(picks)), key=lambda number: values[number])
        is_known = purpose != FASTEST or picks[best].known_tok_s > 0
        if is_known and best not in taken and values[best] >= CLEARLY * values[0]:
            taken.add(best)
            yield best, purpose
            if purpose == FASTEST:
                fastest = best
    for number, pick in enumerate(picks[:fastest]):
        if number not in taken and pick.known_tok_s >= max(quick_tok_s, CLEARLY * picks[0].tok_s):
            yield number, BALANCED
            return


def _reachable_context(judgement: Judgement) -> float:
    """About how many tokens of cache the free room of the cards would hold, capped by training.

    Only what stays on the GPUs counts: with more in RAM almost anything reaches its trained context, slowly.
    """
    if judgement.verdict != FITS_GPU:
        return judgement.settings.context_tokens
    cache_bytes = max(1, judgement.memory.kv_cache_bytes)
    room_bytes = sum(max(0, (gpu.free_bytes or 0) - gpu.required_bytes) for gpu in judgement.memory.gpus)
    tokens = judgement.settings.context_tokens * (1 + room_bytes / cache_bytes)
    return min(tokens, judgement.model.shape.context_train_tokens or tokens)


def _with_longest_context(judgement: Judgement, speeds: MachineSpeeds | None) -> Judgement:
    """The same model with all the context that stays on the GPUs."""
    model, machine = judgement.model, judgement.machine
    tokens = largest_context(
        model.shape,
        weight_table(model.shape, model.tensors),
        machine,
        replace(judgement.settings, devices=(), gpu_layers=ALL_LAYERS, tensor_split=None),
        frozenset({"cache_type_k", "cache_type_v"}),
        (FITS_GPU,),
    )
    if tokens <= judgement.settings.context_tokens:
        return judgement
    request = Request(
        context_tokens=tokens,
        cache_type_k=judgement.settings.cache_type_k,
        projector_bytes=judgement.settings.projector_bytes or None,
    )
    longer = judge(model, machine, request, remedies=False, speeds=speeds)
    trained_tokens = model.shape.context_train_tokens
    limit = "all it was trained for" if tokens >= trained_tokens > 0 else "the most that stays on the GPUs"
    reason = f"{format_context(tokens)} of context is {limit}; no other row reaches more there."
    return replace(longer, reasons=(*longer.reasons, reason))


def _why_able(option: Option, loss: Loss, best: Option) -> Iterator[str]:
    """How good the model is, by which evidence, and what its file type costs."""
    quality = option.candidate.quality
    if quality.is_tested:
        yield (
            f"Ability {quality.score:.0f} of 100 (80 % interval {quality.low:.0f} to {quality.high:.0f}): "
            f"{quality.basis}."
        )
    else:
        yield f"No direct evidence of quality ({quality.basis}): ranked by size and family."
    if option is not best and option.is_tested and abs(best.key - option.key) < TIE_POINTS:
        yield f"Within {TIE_POINTS:.0f} points of the first: a tie, let speed and context decide."
    if option.candidate.native_quant == option.quant:
        yield f"{option.quant} is the type it was trained in: nothing is lost."
    else:
        yield f"{option.quant} costs {loss.band_text} of that."


def _why_chosen(choice: Choice, pick: Pick) -> Iterator[str]:
    """For the first: which abler one of the same rank was passed over, and what speaks against it."""
    ablest = choice.passed_over
    if ablest is None or pick is not choice.picks[0]:
        return
    judgement, used_bytes = ablest.judgement, ablest.gpu_bytes
    name = f"{judgement.model.id.split('/')[-1]} {judgement.model.quantization}"
    if judgement.model.id == pick.judgement.model.id:
        name = judgement.model.quantization
    against = []
    if used_bytes < USED_SHARE * choice.gpu_bytes:
        against.append(f"uses {format_gib(used_bytes)} of the GPUs' {format_gib(choice.gpu_bytes)}")
    if ablest.known_tok_s and ablest.known_tok_s < pick.known_tok_s:
        against.append(f"decodes {ablest.known_tok_s:.0f} tokens a second to {pick.known_tok_s:.0f}")
    if against:
        yield (
            f"{name} is rated {ablest.option.key:.0f} to {pick.option.key:.0f} (lower ends, losses taken "
            f"off), which is a tie, but {' and '.join(against)}."
        )


def _why(judgement: Judgement) -> Iterator[str]:
    yield from judgement.reasons
    if judgement.verdict != FITS_GPU and judgement.speed is None:
        way = (
            "--ram-bandwidth states it"
            if judgement.machine.described_by is not None
            else "llmfit hardware --measure finds it"
        )
        yield f"How fast it is depends on the bandwidth of the RAM, which is not known: {way}."


__all__ = [
    "ALTERNATIVE",
    "BALANCED",
    "BEST_QUALITY",
    "FASTEST",
    "LONGEST_CONTEXT",
    "Candidate",
    "Goal",
    "Quality",
    "Recommendation",
    "recommend",
]
