"""What the screens ask about a pick, by the functions of show, plan, compare and estimate --goal.

The machine is always the one that the app knows, with its programs that count as closed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from llmfit.tui.messages import Pick

if TYPE_CHECKING:
    from llmfit.advisor.hardware.machine import Machine
    from llmfit.advisor.recommend.article.comparison import Comparison
    from llmfit.advisor.recommend.article.values import Article
    from llmfit.advisor.recommend.judgement import Judgement
    from llmfit.advisor.recommend.plan.upgrade import Upgrade
    from llmfit.advisor.recommend.plan.values import Cheaper, Option, Plan, Question
    from llmfit.advisor.recommend.request import Request
    from llmfit.advisor.speed.calibration.machine_speeds import MachineSpeeds
    from llmfit.tui.goal_choice import GoalChoice
    from llmfit.tui.model_article import Subject
    from llmfit.tui.session import MachineCache

MAX_ARTICLES = 8
MAX_OPTIONS = 12


@dataclass(frozen=True, slots=True)
class NewHardware:
    """What ``llmfit plan`` prints."""

    plan: Plan
    target_is_given: bool
    cheaper: tuple[Cheaper, ...]


@dataclass(frozen=True, slots=True)
class UpgradeHere:
    """What ``llmfit plan --upgrade`` prints."""

    question: Question
    upgrade: Upgrade
    instead: Option | None
    target_is_given: bool


class Articles:
    """The last few are remembered, each for one judgement and one state of the measurements."""

    def __init__(self) -> None:
        self._known: list[tuple[Judgement, MachineSpeeds | None, Article]] = []

    def about(self, pick: Pick, speeds: MachineSpeeds | None) -> Article:
        """Raises as ``judge``."""
        from llmfit.tui.model_article import article_of

        judgement = pick.judgement
        for known, known_speeds, article in self._known:
            if known is judgement and known_speeds is speeds:
                return article
        article = article_of(_subject(pick, judgement.machine, speeds))
        self._known = [*self._known, (judgement, speeds, article)][-MAX_ARTICLES:]
        return article


def best_for_goal(
    pick: Pick, goal: str, context_tokens: int | None, speeds: MachineSpeeds | None
) -> GoalChoice:
    """The pick's model configured for a goal; its file type is open unless it is a file. May raise."""
    from llmfit.tui.goal_choice import choose_for_goal

    values = {"model": _values(pick)["model"], "goal": goal, "context": context_tokens}
    return choose_for_goal(values, _one_machine(pick.judgement.machine, speeds))


def new_hardware(pick: Pick, target_tok_s: float | None) -> NewHardware:
    """Raises LlmfitError where no hardware could be judged."""
    from llmfit.advisor.recommend.plan.search import plan_hardware
    from llmfit.tui.cli.plan import cheaper_ways, chosen_rows, question_from

    asked = question_from({**_values(pick), "tps": target_tok_s})
    asked = replace(asked, question=replace(asked.question, model=pick.judgement.model))
    plan = plan_hardware(asked.question)
    return NewHardware(chosen_rows(plan, MAX_OPTIONS), asked.target_is_given, cheaper_ways(asked, plan))


def upgrade_here(pick: Pick, target_tok_s: float | None) -> UpgradeHere:
    """What to add to the pick's machine, on which it runs today as the pick says. Raises as ``judge``."""
    from llmfit.advisor.recommend.plan.search import cheapest_option
    from llmfit.advisor.recommend.plan.upgrade import plan_upgrade
    from llmfit.advisor.recommend.plan.values import BOX
    from llmfit.tui.cli.plan import question_from

    asked = question_from({**_values(pick), "tps": target_tok_s, "upgrade": True})
    question = replace(asked.question, model=pick.judgement.model)
    upgrade = plan_upgrade(question, pick.judgement.machine, pick.judgement)
    instead = None if upgrade.is_enough else cheapest_option(question, BOX)
    return UpgradeHere(question, upgrade, instead, asked.target_is_given)


def side_by_side(picks: Sequence[Pick], machine: Machine, speeds: MachineSpeeds | None) -> Comparison:
    """Two to four picks, all on ``machine``. Raises as ``judge``."""
    from llmfit.advisor.recommend.article.comparison import Entry, compare

    subjects = [_subject(pick, machine, speeds) for pick in picks]
    return compare(
        [
            Entry(one.model, one.machine, one.request, one.known, build=one.choice.build, speeds=one.speeds)
            for one in subjects
        ]
    )


# ---------------------------------------------------------------- a pick as if a user had asked for it


def _subject(pick: Pick, machine: Machine, speeds: MachineSpeeds | None) -> Subject:
    from functools import partial

    from llmfit.catalog.build import build_model
    from llmfit.catalog.models import find_model
    from llmfit.tui.model_article import Subject, known_of
    from llmfit.tui.session import ModelChoice

    model = pick.judgement.model
    build = partial(build_model, find_model(model.id)) if model.source == "catalog" else None
    choice = ModelChoice(build, model, model.quantization, model.n_parameters)
    return Subject(choice, model, machine, speeds, request_of(pick.judgement), known_of(model, machine))


def request_of(judgement: Judgement) -> Request:
    """What leads to this judgement again: the context, and the cache types and the micro-batch where the
    advisor has chosen others than the plain ones. The placement follows from them."""
    from llmfit.advisor.recommend.ladders import DEFAULTS
    from llmfit.advisor.recommend.request import Request

    settings = judgement.settings
    types = settings.cache_type_k, settings.cache_type_v
    plain_cache = types == (DEFAULTS.cache_type_k, DEFAULTS.cache_type_v)
    return Request(
        context_tokens=settings.context_tokens,
        cache_type_k=None if plain_cache else settings.cache_type_k,
        cache_type_v=None if plain_cache else settings.cache_type_v,
        ubatch=None if settings.ubatch == DEFAULTS.ubatch else settings.ubatch,
        projector_bytes=settings.projector_bytes or None,
    )


def _values(pick: Pick) -> dict[str, object]:
    """Model, file type and context as options of the command line. What the advisor chose besides was for
    this machine, and says nothing about another."""
    model, context_tokens = pick.judgement.model, pick.judgement.settings.context_tokens
    named: dict[str, object] = {"model": pick.file or model.id}
    if not pick.file:
        named["quant"] = model.quantization
    return {**named, "context": context_tokens}


def _one_machine(machine: Machine, speeds: MachineSpeeds | None) -> MachineCache:
    from llmfit.tui.session import KnownSpeeds, MachineCache

    class OneMachine(MachineCache):
        """Whatever is asked, it is this one."""

        def get(self, values: Mapping[str, object]) -> KnownSpeeds:
            return KnownSpeeds(machine, speeds)

    return OneMachine()
