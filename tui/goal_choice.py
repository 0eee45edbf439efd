"""``--goal``: what the catalogue, the machine and the user's settings mean for the search by a goal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from llmfit.advisor.errors import UsageError
from llmfit.advisor.memory.weights import weight_table
from llmfit.advisor.model.model import Model
from llmfit.advisor.recommend.goals.search import search_configurations
from llmfit.advisor.recommend.goals.values import GOALS, YOU_FIXED_IT, ConfigurationSearch
from llmfit.advisor.recommend.judgement import Judgement
from llmfit.advisor.recommend.needs import COMFORTABLE_TOK_S
from llmfit.advisor.recommend.quality import Quality
from llmfit.advisor.recommend.remedies import find_remedies
from llmfit.tui.cli.settings import request_from
from llmfit.tui.model_facts import quality_facts
from llmfit.tui.session import MachineCache, ModelChoice, Values, model_choice, with_projector


@dataclass(frozen=True, slots=True)
class GoalChoice:
    """A search and its best configuration, with what would help where that is slow or does not fit."""

    search: ConfigurationSearch
    judgement: Judgement
    ability: Quality | None
    """Of the model itself, before losses."""


def choose_for_goal(values: Values, machines: MachineCache) -> GoalChoice:
    """The configuration that suits the ``goal`` in options (or a JSON line) best. Raises as ``judge``."""
    goal = values.get("goal")
    if goal not in GOALS:
        raise UsageError(f"goal {goal!r}", "unknown", f"Known: {', '.join(GOALS)}.")
    request = with_projector(request_from(values))
    known = machines.get(values)
    choice = model_choice(values)
    sample = choice.sample()
    facts = quality_facts(sample)
    search = search_configurations(
        _to_choose_from(choice, sample),
        facts,
        known.machine,
        str(goal),
        request,
        known.speeds,
        file_type_reason=choice.quant_reason or YOU_FIXED_IT,
    )
    judgement = search.best
    if judgement is None:
        raise ValueError("a search has a best configuration or the nearest one")
    if _needs_help(judgement):
        weights = weight_table(
            judgement.model.shape, judgement.model.tensors, load_mtp=judgement.settings.load_mtp
        )
        variants = choice.build if choice.quant is None else None
        remedies = find_remedies(judgement, weights, request, variants, known.speeds)
        judgement = replace(judgement, remedies=remedies)
    return GoalChoice(search, judgement, facts.quality)


def _to_choose_from(choice: ModelChoice, sample: Model) -> Callable[[str], Model] | Model:
    return sample if choice.quant is not None or choice.build is None else choice.build


def _needs_help(judgement: Judgement) -> bool:
    speed = judgement.speed
    return not judgement.fits or (speed is not None and speed.decode_tok_s.expected < COMFORTABLE_TOK_S)
