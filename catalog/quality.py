"""How good a model is, by evidence, and what quantising it costs: for ranking, never as a fact of one task.

The abilities come from one fit over published benchmark scores (``ability_sources.json`` states the method).
They are true to a few points at best. How they rank models is the business of ``advisor.recommend``: the
lower end of the interval counts, untested models stand behind tested ones, and small gaps are ties.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import cast

from llmfit.catalog import loader

TESTED_GRADES = ("A", "B", "C")
_ABILITY_OF_USE = {
    "general": "general",
    "coding": "coding",
    "reasoning": "reasoning",
    "chat": "chat",
    "tools": "tools",
    "agents": "tools",
}
_GRADE_TEXT = {
    "A": "15 or more independent scores",
    "B": "6 to 14 independent scores",
    "C": "few scores",
    "D": "one or two scores",
    "E": "no score: estimated from size, date and family",
}


@dataclass(frozen=True, slots=True)
class QualitySource:
    """Where scores were read; ``kind`` is ``independent`` or ``vendor``."""

    text: str
    kind: str
    n_scores: int


@dataclass(frozen=True, slots=True)
class Quality:
    """Ability of a model for one use, 0 to 100, at full precision, with its 80 % interval.

    ``ability`` names the fitted ability that stands for ``use_case``; ``n_direct`` counts the scores of that
    very use, ``n_scores`` all of them. ``mode`` is ``thinking``, ``non-thinking`` or ``low effort``.
    """

    model_id: str
    use_case: str
    ability: str
    mode: str
    score: int
    lo80: int
    hi80: int
    grade: str
    n_direct: int
    n_scores: int
    sources: tuple[QualitySource, ...]

    @property
    def is_tested(self) -> bool:
        """Whether it may stand first: a model with two scores or none is listed as untested."""
        return self.grade in TESTED_GRADES

    @property
    def basis(self) -> str:
        """What the figure rests on, for people: one line."""
        text = f"grade {self.grade}, {_GRADE_TEXT[self.grade]}, {self.mode}"
        if self.use_case != self.ability:
            return f"{text}; nothing measured for {self.use_case}, the {self.ability} ability stands in"
        if not self.n_direct and self.n_scores:
            return f"{text}; none of them for {self.ability}, inferred from the others"
        return text


def quality_of(model_id: str, use_case: str) -> Quality | None:
    """The model's quality in the mode that suits the use best; None for a model that nobody fitted.

    Uses without a fitted ability (vision, long-context) get the general one and say so in ``basis``.
    """
    return max(qualities(model_id, use_case), key=lambda found: (found.is_tested, found.lo80), default=None)


def qualities(model_id: str, use_case: str) -> tuple[Quality, ...]:
    """The model's quality in every mode that was fitted."""
    row = _abilities(model_id)
    if row is None:
        return ()
    ability = _ABILITY_OF_USE.get(use_case, "general")
    sources = _sources(cast(Sequence[Sequence[int]], row["sources"]))
    modes = cast(Mapping[str, Mapping[str, object]], row["modes"])
    return tuple(
        _quality(model_id, use_case, ability, mode, fitted, sources) for mode, fitted in modes.items()
    )


@cache
def _abilities(model_id: str) -> loader.Row | None:
    return loader.bundled_row(loader.ABILITIES, model_id)


def _quality(
    model_id: str,
    use_case: str,
    ability: str,
    mode: str,
    fitted: Mapping[str, object],
    sources: tuple[QualitySource, ...],
) -> Quality:
    score, lo80, hi80, n_direct = cast(Sequence[int], fitted[ability])
    return Quality(
        model_id=model_id,
        use_case=use_case,
        ability=ability,
        mode=mode,
        score=score,
        lo80=lo80,
        hi80=hi80,
        grade=str(fitted["grade"]),
        n_direct=n_direct,
        n_scores=cast(int, fitted["scores"]),
        sources=sources,
    )


@dataclass(frozen=True, slots=True)
class QualityLoss:
    """Expected drop in benchmark points, with the band between publishers of one file type (x/2 to 2x).

    Judgement over measurements, not a measurement: show the band, never a decimal.
    """

    points: float
    basis: str

    @property
    def low(self) -> float:
        return self.points / 2

    @property
    def high(self) -> float:
        return self.points * 2


def quality_loss(
    quantization: str, n_parameters: int, *, is_moe: bool, trained_in_it: bool = False
) -> QualityLoss | None:
    """What a file type of llama-quantize costs a model of that size; None where it was never measured.

    ``trained_in_it``: the weights were trained in that precision (gpt-oss in MXFP4), so the published scores
    are those of this very file.
    """
    if trained_in_it:
        return QualityLoss(0.0, "trained in this precision: its published scores are scores of these weights")
    row = loader.quantization_rows().get(quantization)
    points = cast("Mapping[str, float | None] | None", row and row["loss_points"])
    found = points.get(_loss_class(n_parameters, is_moe)) if points else None
    if row is None or found is None:
        return None
    return QualityLoss(found, str(row["loss_basis"]))


def _loss_class(n_parameters: int, is_moe: bool) -> str:
    """The class of ``loss_classes`` in quantizations.json."""
    if is_moe:
        return "moe"
    return "small" if n_parameters < 4 * 10**9 else "mid" if n_parameters <= 14 * 10**9 else "large"


def cache_loss(
    type_k: str, type_v: str, *, is_mla: bool, delicate_keys: bool, rotated: bool
) -> QualityLoss | None:
    """What the types of K and V cost; None where it was never measured, as for MLA's one row for all heads.

    ``delicate_keys`` and ``rotated`` are ``advisor.recommend.cache_advice``'s findings on the model.
    """
    for row in _cache_losses():
        conditions = (row["delicate_keys"] in (None, delicate_keys), row["rotated"] in (None, rotated))
        types = type_k in cast(Sequence[str], row["k"]) and type_v in cast(Sequence[str], row["v"])
        if types and all(conditions):
            points = cast(float, row["points"])
            return None if is_mla and points else QualityLoss(points, str(row["basis"]))
    return None


@cache
def _cache_losses() -> tuple[loader.Row, ...]:
    return tuple(cast(Sequence[loader.Row], loader.bundled_document("cache_losses.json")["rows"]))


@cache
def _all_sources() -> tuple[Mapping[str, str], ...]:
    document = loader.bundled_document("ability_sources.json")
    return tuple(cast(Sequence[Mapping[str, str]], document["sources"]))


def _sources(places: Sequence[Sequence[int]]) -> tuple[QualitySource, ...]:
    known = _all_sources()
    return tuple(QualitySource(known[place]["text"], known[place]["kind"], n) for place, n in places)
