"""The article about a model: what the catalogue knows of it, brought to the advisor that builds the tables.

The command line and the app both ask here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmfit.advisor.recommend.article.build import at_one_context, build_article
from llmfit.advisor.recommend.article.values import About, Article, Knowledge, Known, Pitfall, Score
from llmfit.tui.cli.settings import request_from
from llmfit.tui.model_facts import quality_facts
from llmfit.tui.session import MachineCache, ModelChoice, Values, model_choice, with_projector

if TYPE_CHECKING:
    from llmfit.advisor.hardware.machine import Machine
    from llmfit.advisor.model.model import Model
    from llmfit.advisor.recommend.request import Request
    from llmfit.advisor.speed.calibration.machine_speeds import MachineSpeeds
    from llmfit.catalog.models import CatalogModel


@dataclass(frozen=True, slots=True)
class Subject:
    """A model in the file type that was asked for or chosen, with everything that an answer takes."""

    choice: ModelChoice
    model: Model
    machine: Machine
    speeds: MachineSpeeds | None
    request: Request
    """Its context is fixed."""
    known: Known


def article_for(values: Values, machines: MachineCache) -> Article:
    """The article that options (or keys of the same names) ask for. Raises as ``judge_from``."""
    return article_of(subject_of(values, machines))


def article_of(subject: Subject) -> Article:
    return build_article(
        subject.model,
        subject.machine,
        subject.request,
        subject.known,
        build=subject.choice.build,
        speeds=subject.speeds,
    )


def subject_of(values: Values, machines: MachineCache) -> Subject:
    """Raises UsageError, GgufError, NetworkError or NotModelledError."""
    request = with_projector(request_from(values))
    found = machines.get(values)
    choice = model_choice(values)
    request = at_one_context(choice.sample(), request)
    model = choice.best_for(found.machine, request)
    return Subject(choice, model, found.machine, found.speeds, request, known_of(model, found.machine))


def known_of(model: Model, machine: Machine | None = None) -> Known:
    """What the catalogue has on a model; of one that only its file describes, its losses by size and the
    pitfalls of its architecture. With ``machine`` the pitfalls of other hardware are left out."""
    entry = _entry_of(model)
    pitfalls = _pitfalls(model, machine)
    from llmfit.catalog.build import native_quantization, only_quantization

    native_quant = native_quantization(model.shape.architecture)
    if entry is None:
        return Known(
            About(model.id, is_embedding=model.is_embedding),
            quality_facts(model),
            native_quant,
            pitfalls=pitfalls,
        )
    return Known(
        about=_about(entry, model.is_embedding),
        facts=quality_facts(model),
        native_quant=native_quant,
        only_quant=only_quantization(entry),
        pitfalls=pitfalls,
        scores=_scores(entry.id),
        knowledge=_knowledge(entry),
    )


def _entry_of(model: Model) -> CatalogModel | None:
    if model.source != "catalog":
        return None
    from llmfit.catalog.models import find_model

    return find_model(model.id)


def _about(entry: CatalogModel, is_embedding: bool) -> About:
    return About(
        model_id=entry.id,
        family=entry.family,
        license=entry.license,
        released=entry.release_date,
        modalities=entry.modalities,
        reasoning=entry.reasoning,
        tool_use=entry.tool_use,
        notes=entry.notes,
        is_embedding=is_embedding,
    )


def _scores(model_id: str) -> tuple[Score, ...]:
    from llmfit.catalog.evidence import evidence_of

    return tuple(
        Score(
            benchmark=row.benchmark,
            score=row.score,
            unit=row.unit,
            kind=row.kind,
            source=row.source,
            date=row.date,
            mode=row.mode or row.counts_in,
            setting=row.setting,
            counts_for=row.counts_for,
            shown_for=row.shown_for,
            is_doubtful=row.is_doubtful,
        )
        for row in evidence_of(model_id)
    )


def _knowledge(entry: CatalogModel) -> Knowledge | None:
    from llmfit.catalog.knowledge import knowledge_of

    found = knowledge_of(entry)
    if found is None:
        return None
    return Knowledge(found.share, found.low_share, found.high_share, found.is_measured, found.basis)


def _pitfalls(model: Model, machine: Machine | None) -> tuple[Pitfall, ...]:
    from llmfit.catalog.pitfalls import pitfalls_of

    return tuple(
        Pitfall(
            text=row.pitfall,
            symptom=row.symptom,
            fix=row.fix,
            severity=row.severity,
            builds=row.builds_text,
            source=row.source,
        )
        for row in pitfalls_of(model.id, model.shape.architecture, machine)
    )
