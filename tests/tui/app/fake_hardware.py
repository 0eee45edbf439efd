"""Plans and comparisons written down by hand, for the screens that draw them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from llmfit.advisor.hardware.machine import GpuFacts
from llmfit.advisor.hardware.offers import CardOffer, Price
from llmfit.advisor.recommend.article.architecture import architecture_of
from llmfit.advisor.recommend.article.comparison import Comparison, Contender
from llmfit.advisor.recommend.article.values import About, DepthPoint, PromptRow
from llmfit.advisor.recommend.cost.of_judgement import Energy
from llmfit.advisor.recommend.judgement import Judgement
from llmfit.advisor.recommend.plan.hosts import DESKTOP
from llmfit.advisor.recommend.plan.upgrade import ADD_SAME, Change, Gain, Upgrade
from llmfit.advisor.recommend.plan.values import CARDS, Candidate, Option, Plan, Question
from llmfit.advisor.recommend.quality import Loss, ReducedQuality
from llmfit.advisor.recommend.request import Request
from llmfit.advisor.speed.speed_range import SpeedRange
from llmfit.advisor.units import GIB
from llmfit.catalog.gpus import lookup_gpu
from llmfit.tui.messages import Pick
from llmfit.tui.pick_answers import NewHardware, UpgradeHere

USUAL_TOK_S = 8.0
CARD = CardOffer(
    GpuFacts("some-card", "GeForce Some Card", "nvidia", "cuda", (24 * GIB,), 24 * GIB, power_limit_w=350.0),
    24 * GIB,
    Price(1500, "2026-01-02", "launch", "its maker"),
)


def question_about(pick: Pick, target_tok_s: float | None) -> Question:
    request = Request(context_tokens=pick.judgement.settings.context_tokens)
    model, wanted = pick.judgement.model, target_tok_s or USUAL_TOK_S
    return Question(model, request, wanted, (CARD,), (), lookup_gpu)


def new_hardware_for(pick: Pick, target_tok_s: float | None) -> NewHardware:
    """Two cards where the pick runs here; nothing for what does not."""
    question = question_about(pick, target_tok_s)
    candidate = Candidate(CARDS, 2, card=CARD, host=DESKTOP)
    options = (Option(candidate, pick.judgement, True, 700.0, ()),) if pick.judgement.fits else ()
    return NewHardware(Plan(question, options, (), 7), target_tok_s is not None, ())


def upgrade_for(pick: Pick, target_tok_s: float | None) -> UpgradeHere:
    question, now = question_about(pick, target_tok_s), pick.judgement
    change = Change(ADD_SAME, "Add one Some Card", CARD, 1, None, now.machine, 1500.0, 350.0)
    gains = (Gain(change, now, now, True, ()),) if now.fits else ()
    upgrade = Upgrade(now, False, gains, ())
    return UpgradeHere(question, upgrade, None, target_tok_s is not None)


def comparison_of(picks: Sequence[Pick]) -> Comparison:
    contenders = tuple(_contender(pick.judgement) for pick in picks)
    return Comparison(contenders, 32768, 8192, ("The first is the first.",))


def _contender(judgement: Judgement) -> Contender:
    model, speed = judgement.model, SpeedRange(12.0, 15.0, 19.0)
    return Contender(
        name=model.id.split("/")[-1],
        about=About(model.id, license="apache-2.0", released="2025-04-28"),
        architecture=architecture_of(model),
        judgement=replace(judgement),
        weights_bytes=18 * GIB,
        loss=Loss(1.0, 0.2, 2.6, "written down"),
        quality=None,
        reduced=ReducedQuality(69.0, 64.0, 76.0),
        deep=DepthPoint(32768, speed, "formula"),
        prompt=PromptRow(8192, SpeedRange(700.0, 1024.0, 1600.0), 8.0, "formula"),
        energy=Energy(None, None),
    )
