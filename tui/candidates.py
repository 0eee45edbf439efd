"""The catalogue's models as candidates of a recommendation: what they are, how good, in which file types."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from llmfit.advisor.errors import UsageError
from llmfit.advisor.recommend.quality import Loss, Quality
from llmfit.advisor.recommend.ranking import Candidate
from llmfit.advisor.units import GIB
from llmfit.catalog.build import build_model, native_quantization, only_quantization
from llmfit.catalog.models import CatalogModel, list_models
from llmfit.catalog.quality import quality_loss
from llmfit.tui.model_facts import known_quality, quality_facts

PERMISSIVE_LICENSES = ("apache-2.0", "mit")
"""Commercial use, changes and redistribution without conditions on the use."""
UNMEASURED_LOSS_POINTS = 45.0
"""A loss that nobody measured counts as the worst one known, so that it never lifts a model."""
USUAL_PROJECTOR_BYTES = GIB
"""A vision projector whose size nobody published: the largest known one takes 0.84 GiB."""
UNKNOWN_QUALITY = Quality(0.0, 0.0, 0.0, "E", is_tested=False, basis="nobody has published a score")


@dataclass(frozen=True, slots=True)
class Narrowing:
    """What the user wants of all proposals, as typed; ``None`` and empty text narrow nothing."""

    license: str | None = None
    family: str | None = None


ANY = Narrowing()


def candidates_for(use_case: str, narrowed: Narrowing = ANY) -> Iterator[Candidate]:
    """Every model of the catalogue that may be proposed for a use.

    Raises UsageError for a licence or a family that no model of the catalogue has.
    """
    entries = [entry for entry in list_models() if entry.kind == "instruct" and entry.llama_cpp_supported]
    for entry in _of_family(_under_license(entries, narrowed.license), entries, narrowed.family):
        if use_case == "vision" and "image" not in entry.modalities:
            continue
        yield Candidate(
            model_id=entry.id,
            # Who asks for one family wants to see its sizes and generations side by side.
            family=entry.id if narrowed.family else _line_of(entry.family or entry.id),
            n_parameters=entry.parameters.text,
            n_active_parameters=entry.parameters.active,
            context_train_tokens=entry.context_length or 0,
            quality=known_quality(entry.id, use_case) or UNKNOWN_QUALITY,
            released=entry.release_date or "",
            is_moe=entry.is_moe,
            native_quant=native_quantization(entry.architecture),
            only_quant=only_quantization(entry),
            build=partial(build_model, entry),
            facts=partial(quality_facts, use_case=use_case),
            projector_bytes=(entry.projector_bytes or USUAL_PROJECTOR_BYTES)
            if use_case == "vision"
            else None,
        )


def _under_license(entries: list[CatalogModel], wanted: str | None) -> list[CatalogModel]:
    """``apache`` means apache-2.0, ``llama`` all of llama3.1 to llama4, ``permissive`` what binds least."""
    if not wanted:
        return entries
    name = wanted.strip().lower()
    if name == "permissive":
        return [entry for entry in entries if entry.license in PERMISSIVE_LICENSES]
    found = [entry for entry in entries if (entry.license or "").startswith(name)]
    if not found:
        known = sorted({entry.license for entry in entries if entry.license})
        raise UsageError(
            f"--license {wanted!r}", "no model is under it", f"Known: permissive, {', '.join(known)}."
        )
    return found


def _of_family(
    entries: list[CatalogModel], all_entries: list[CatalogModel], wanted: str | None
) -> list[CatalogModel]:
    if not wanted:
        return entries
    name = _plain(wanted)
    if not any(name in _plain(entry.family) for entry in all_entries):
        known = sorted({entry.family for entry in all_entries if entry.family})
        raise UsageError(f"--family {wanted!r}", "no model is of it", f"Known: {', '.join(known)}.")
    return [entry for entry in entries if name in _plain(entry.family)]


def _plain(name: str | None) -> str:
    return re.sub(r"[\s_-]", "", name or "").lower()


def _line_of(family: str) -> str:
    """``Qwen`` for Qwen3.5, Qwen3-Next and Qwen2.5: a newer generation stands for the older ones."""
    return re.split(r"[\s-]?\d", family, maxsplit=1)[0] or family


def file_type_loss(quant: str, candidate: Candidate) -> Loss:
    """What the file type costs on the ability scale; a loss nobody measured counts as a large one."""
    trained_in_it = candidate.native_quant == quant
    loss = quality_loss(quant, candidate.n_parameters, is_moe=candidate.is_moe, trained_in_it=trained_in_it)
    if loss is None:
        return Loss(UNMEASURED_LOSS_POINTS, UNMEASURED_LOSS_POINTS, UNMEASURED_LOSS_POINTS, "never measured")
    return Loss(loss.points, loss.low, loss.high, loss.basis)
