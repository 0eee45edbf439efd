"""What the catalogue knows of a model's quality, as the values that the advisor takes."""

from __future__ import annotations

from llmfit.advisor.model.model import Model
from llmfit.advisor.recommend.cache_advice import has_delicate_keys, rotates_quantised_cache
from llmfit.advisor.recommend.quality import NO_LOSS, Loss, Quality, QualityFacts
from llmfit.catalog import quality as catalog_quality
from llmfit.catalog.build import native_quantization


def known_quality(model_id: str, use_case: str) -> Quality | None:
    """The catalogue's figures for a model as the advisor ranks and shows them; None where it has none."""
    found = catalog_quality.quality_of(model_id, use_case)
    if found is None:
        return None
    sources = tuple(
        f"{source.text} ({source.kind}, {source.n_scores} {'score' if source.n_scores == 1 else 'scores'})"
        for source in found.sources
    )
    return Quality(
        found.score, found.lo80, found.hi80, found.grade, found.is_tested, found.basis, sources,
        thinks=found.mode == "thinking",
    )  # fmt: skip


def quality_facts(model: Model, use_case: str = "general") -> QualityFacts:
    """Ability and losses of a model, also of one that only its header describes: its losses go by size.

    The file type in whose precision it was trained, if that is a small one, loses nothing; that of the only
    file there is of it does.
    """
    native_quant = native_quantization(model.shape.architecture)
    n_parameters, is_moe = model.n_parameters, model.shape.n_expert > 0

    def file_type_loss(quant: str) -> Loss | None:
        found = catalog_quality.quality_loss(
            quant, n_parameters, is_moe=is_moe, trained_in_it=quant == native_quant
        )
        return None if found is None else Loss(found.points, found.low, found.high, found.basis)

    shape = model.shape
    is_mla = shape.mla is not None
    delicate_keys, rotated = has_delicate_keys(model), rotates_quantised_cache(shape)

    def cache_loss(type_k: str, type_v: str) -> Loss | None:
        found = catalog_quality.cache_loss(
            type_k, type_v, is_mla=is_mla, delicate_keys=delicate_keys, rotated=rotated
        )
        if found is None:
            return None
        return Loss(found.points, found.low, found.high, found.basis) if found.points else NO_LOSS

    return QualityFacts(known_quality(model.id, use_case), file_type_loss, cache_loss)
