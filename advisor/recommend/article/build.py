"""build_article(): everything worth reading about one model on one machine, each figure from ``judge``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from llmfit.advisor.errors import LlmfitError
from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.memory.fitting import FITS_CPU
from llmfit.advisor.memory.kv_cache import CONTEXT_PADDING_TOKENS
from llmfit.advisor.model.model import Model
from llmfit.advisor.recommend.article.architecture import architecture_of
from llmfit.advisor.recommend.article.cards import cards_rows, find_needs, ram_cases
from llmfit.advisor.recommend.article.tables import (
    Case,
    context_ladder,
    depth_points,
    loss_of,
    prompt_rows,
    quality_after_losses,
    quant_rows,
)
from llmfit.advisor.recommend.article.values import Article, GoalChoice, Known, QuantRow
from llmfit.advisor.recommend.cost.of_judgement import energy_per_million
from llmfit.advisor.recommend.goals.search import search_configurations
from llmfit.advisor.recommend.goals.values import BALANCE, QUALITY, SPEED
from llmfit.advisor.recommend.judgement import Judgement
from llmfit.advisor.recommend.request import Request
from llmfit.advisor.recommend.search import Variants, default_context, judge
from llmfit.advisor.units import pad

if TYPE_CHECKING:
    from llmfit.advisor.speed.calibration.machine_speeds import MachineSpeeds


def at_one_context(model: Model, request: Request) -> Request:
    """``request`` with its context fixed, so that all tables speak of the same: what was asked, or what
    ``judge`` would begin with."""
    if request.context_tokens is not None:
        return request
    tokens = max(default_context(model), pad(request.filled_tokens, CONTEXT_PADDING_TOKENS))
    return replace(request, context_tokens=tokens)


def largest_running(quants: Sequence[QuantRow]) -> Judgement | None:
    """Of the file types that run, the largest that a GPU takes part in, if any: one that fills the RAM of a
    computer with GPUs and leaves them idle is several times slower, for less than its next smaller one loses.
    """
    runs = [row.judgement for row in quants if row.fits]
    with_gpu = (judgement for judgement in runs if judgement.verdict != FITS_CPU)
    return next(with_gpu, runs[0] if runs else None)


def build_article(
    model: Model,
    machine: Machine,
    request: Request,
    known: Known,
    build: Variants | None = None,
    speeds: MachineSpeeds | None = None,
) -> Article:
    """The article about ``model`` in its file type and, through ``build``, in the others.

    Raises as ``judge`` does.
    """
    request = at_one_context(model, request)
    case = Case(machine, request, known.facts, speeds)
    asked = judge(model, machine, request, variants=build, speeds=speeds)
    several = build if known.only_quant is None else None
    quants = quant_rows(case, asked, several, known.native_quant)
    running = asked if asked.fits else largest_running(quants)
    subject = asked if running is None else running
    cards = cards_rows(case, asked, several)
    return Article(
        about=known.about,
        architecture=architecture_of(model),
        machine=machine,
        context_tokens=subject.settings.context_tokens,
        asked=asked,
        running=running,
        quality=known.facts.quality,
        running_quality=None if running is None else quality_after_losses(running, known.facts),
        quants=quants,
        ladder=context_ladder(case, subject.model),
        depths=() if known.about.is_embedding else depth_points(subject),
        prompts=prompt_rows(subject),
        cards=cards,
        needs=find_needs(case, asked, cards),
        ram_cases=() if running is None else ram_cases(case, running),
        energy=None if running is None else energy_per_million(running),
        goals=_by_goal(case, asked, several, known) if asked.fits and not known.about.is_embedding else (),
        pitfalls=known.pitfalls,
        scores=known.scores,
        knowledge=known.knowledge,
    )


def _by_goal(case: Case, asked: Judgement, build: Variants | None, known: Known) -> tuple[GoalChoice, ...]:
    """The three goals at the article's context; for the longest context see the ladder."""
    choices = []
    for goal in (QUALITY, SPEED, BALANCE):
        try:
            found = search_configurations(
                build or asked.model, known.facts, case.machine, goal, case.request, case.speeds
            )
        except LlmfitError:
            continue  # settings that the user fixed for one placement may fit no other
        if found.ranked:
            best = found.ranked[0]
            loss = loss_of(best.judgement, known.facts)
            why = tuple(choice.reason for choice in best.choices if not choice.is_fixed)
            choices.append(GoalChoice(goal, best.judgement, loss, why))
    return tuple(choices)


__all__ = ["at_one_context", "build_article", "largest_running"]
