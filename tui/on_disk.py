"""Which picks are already on this disk, and their commands with the file's path."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmfit.advisor.recommend.judgement import Judgement
    from llmfit.catalog.local.local_model import LocalModel, LocalModels
    from llmfit.tui.messages import Pick

HERE, OTHER_TYPE = "●", "○"
HERE_WORDS, OTHER_TYPE_WORDS = "on this disk", "other file type on this disk"
SAME_FILE_SHARE = 0.015
"""A file of this type that is larger or smaller than that is mixed in another way: the figures of the row
are not true of it. A header with its vocabulary, which the catalogue may not count, takes up to 1 %."""


def mark_of(pick: Pick) -> str:
    """The glyph of a row; empty for a model that would have to be fetched."""
    if pick.local is not None:
        return HERE
    return OTHER_TYPE if pick.local_others else ""


def marked(pick: Pick, found: LocalModels | None) -> Pick:
    """``pick`` with what lies on this disk of its model; its command then names the file that is there."""
    from llmfit.catalog.local.local_model import MODEL

    if found is None or pick.file:
        return pick
    model = pick.judgement.model
    ours = [
        local
        for local in found.models
        if local.model_id == model.id and local.kind == MODEL and local.problem is None
    ]
    same = next((local for local in ours if _is_that_file(local, pick.judgement)), None)
    others = tuple(local for local in ours if local is not same)
    if (same, others) == (pick.local, pick.local_others):
        return pick
    judgement = pick.judgement if same is None else _with_file(pick.judgement, same, found)
    return replace(pick, judgement=judgement, local=same, local_others=others)


def here_first(picks: Iterable[Pick]) -> tuple[Pick, ...]:
    """Models on this disk before the others, each part in its order."""
    return tuple(sorted(picks, key=lambda pick: (HERE, OTHER_TYPE, "").index(mark_of(pick))))


def _is_that_file(local: LocalModel, judgement: Judgement) -> bool:
    model = judgement.model
    near = abs(local.file_bytes - model.file_bytes) <= SAME_FILE_SHARE * model.file_bytes
    return local.quantization == model.quantization and near


def _with_file(judgement: Judgement, local: LocalModel, found: LocalModels) -> Judgement:
    """The same configuration, started from the file. What needs a projector takes the one of its repository.

    Without one the command stays: with ``-m`` llama-server would start without its projector.
    """
    from llmfit.advisor.recommend.command import server_argv

    settings = judgement.settings
    if settings.projector_bytes and settings.mmproj_path is None:
        projector = _projector_of(local, found, settings.projector_bytes)
        if projector is None:
            return judgement
        settings = replace(settings, mmproj_path=str(projector.path))
    model = replace(judgement.model, launch_args=("-m", str(local.path)))
    argv = None
    if judgement.argv is not None:
        argv = server_argv(settings, model.launch_args, judgement.machine, model.pooling)
    return replace(judgement, model=model, settings=settings, argv=argv)


def _projector_of(local: LocalModel, found: LocalModels, most_bytes: int) -> LocalModel | None:
    """The projector that surely belongs to a model: of the same repository, in its folder or one above it.

    So llama-server chooses with ``-hf`` (llama.cpp, common/download.cpp, find_best_sibling). A folder without
    repositories, or all of Ollama's blobs, may hold those of other models, and sizes do not tell them apart;
    nor does a repository of several models, where its projectors differ in more than their type.
    """
    from llmfit.catalog.local.local_model import HUGGING_FACE, LLAMA_CPP, LM_STUDIO, PROJECTOR

    # "OWNER/REPO"; a file that lies in no repository has its own name, without a folder.
    if local.store not in (HUGGING_FACE, LLAMA_CPP, LM_STUDIO) or "/" not in local.name:
        return None
    ours = [
        one
        for one in found.models
        if (one.kind, one.problem, one.store, one.name) == (PROJECTOR, None, local.store, local.name)
        and one.path.parent in local.path.parents
    ]
    if len({one.n_parameters for one in ours}) > 1:
        return None
    small_enough = (one for one in ours if one.file_bytes <= most_bytes)
    return max(small_enough, key=lambda one: (len(one.path.parts), one.file_bytes), default=None)
