"""Every model the catalogue knows, and how to name one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import cast

from llmfit.advisor.errors import UsageError
from llmfit.advisor.text import printable
from llmfit.catalog import loader
from llmfit.catalog.overlay import Overlay, overlay
from llmfit.catalog.search import best_matches, contains_words, name_key, nearest, one_of, tail

USUAL_PUBLISHERS = ("unsloth", "bartowski", "mradermacher")
"""Of two unknown files the one of the publisher who keeps closer to llama-quantize's own mixes (see
tests/catalog/test_published_sizes.py)."""
_LIST_COMMAND = "List the known ones with: llmfit catalog list"


@dataclass(frozen=True, slots=True)
class Parameters:
    """Parameter counts. ``text`` is what a GGUF holds; ``total`` counts vision towers and FP8 scales, too.

    ``active`` is what one decoded token reads: the input embedding is a lookup and is not in it unless it is
    the output matrix as well.
    """

    text: int
    total: int | None = None
    active: int | None = None
    embedding: int | None = None
    experts: int | None = None
    mtp: int | None = None


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """A file somebody published. ``rounded_to_bytes`` is 0 where ``bytes`` is exact.

    ``quant`` is a file type of llama-quantize; a name with ``UD-`` or ``QAT-`` is a publisher's own mix.
    """

    file: str
    kind: str
    quant: str | None
    bytes: int
    rounded_to_bytes: int
    source: str
    repo: str | None = None


@dataclass(frozen=True, slots=True)
class CatalogModel:
    """One row. Unknown is None; ``overlay`` is ``file:line`` of a row of the user's own, else empty."""

    id: str
    name: str
    architecture: str
    parameters: Parameters
    sources: tuple[str, ...]
    family: str | None = None
    generation: str | None = None
    release_date: str | None = None
    license: str | None = None
    context_length: int | None = None
    modalities: tuple[str, ...] = ("text",)
    tool_use: str | None = None
    """``native``, ``prompt`` or ``none``."""
    reasoning: str | None = None
    """``always``, ``hybrid`` (can be switched off), ``effort`` (low to high) or ``never``."""
    use_cases: tuple[str, ...] = ()
    kind: str = "instruct"
    """``instruct``, ``base`` or ``embedding``."""
    llama_cpp_supported: bool = True
    gguf_repos: tuple[str, ...] = ()
    files: tuple[PublishedFile, ...] = ()
    notes: tuple[str, ...] = ()
    confidence: str | None = None
    overlay: str = ""

    @property
    def is_moe(self) -> bool:
        return self.parameters.experts is not None

    @property
    def projector_bytes(self) -> int | None:
        """Size of the largest published vision projector; None where none is known."""
        return max((file.bytes for file in self.files if file.kind == "mmproj"), default=None)


def list_models() -> tuple[CatalogModel, ...]:
    """Every model: the bundled ones in the order of the file, replaced and followed by the user's own."""
    return tuple(_entry(row) for row in _all_rows().values())


def find_model(query: str) -> CatalogModel:
    """The model that an id or an unambiguous part of it names; see ``search.best_matches``.

    A query that fits a tuned model and its base means the tuned one. Raises UsageError that lists the
    candidates of an ambiguous query, or the nearest names of an unknown one.
    """
    ids = _ids()
    found = best_matches(query, ids)
    if len(found) > 1:
        tuned = tuple(model_id for model_id in found if model_row(model_id).get("kind") != "base")
        found = tuned or found
    if len(found) == 1:
        return _entry(model_row(found[0]))
    what = f"model {printable(query, 80)!r}"
    if found:
        meant = one_of([tail(model_id) for model_id in found])
        raise UsageError(what, f"could mean {meant}", "Write more of its name.")
    close = nearest(query, {name_key(tail(model_id)): tail(model_id) for model_id in ids})
    hint = f"Did you mean {one_of(close)}?" if close else _LIST_COMMAND
    raise UsageError(what, "not in the catalogue", hint)


def search_models(text: str) -> tuple[CatalogModel, ...]:
    """The models whose id, family or uses contain every word of ``text``."""
    return tuple(
        entry
        for entry in list_models()
        if contains_words(text, [entry.id, entry.family or "", *entry.use_cases])
    )


def model_row(model_id: str) -> loader.Row:
    """The row of one id, the user's own first. Raises UsageError for an unknown id."""
    own = overlay().models.get(model_id)
    row = own if own is not None else loader.bundled_row(loader.MODELS, model_id)
    if row is None:
        raise UsageError(f"model {printable(model_id, 80)!r}", "not in the catalogue", _LIST_COMMAND)
    return row


def exact_file(entry: CatalogModel, quant: str) -> PublishedFile | None:
    """The published file of that quantisation whose size is known to the byte."""
    exact = (file for file in entry.files if file.quant == quant and not file.rounded_to_bytes)
    return next((file for file in exact if file.kind == "model"), None)


def published_file(entry: CatalogModel, repo: str | None, quant: str) -> PublishedFile | None:
    """The file of that quantisation in that repository, exact size or rounded; None where it is not known."""
    found = (file for file in entry.files if file.repo == repo and file.quant == quant)
    return next((file for file in found if file.kind == "model"), None)


def gguf_repo(entry: CatalogModel, quant: str, computed_bytes: int) -> str | None:
    """The repository to download from: the one whose file is nearest to ``computed_bytes``.

    Publishers mix a file type in their own ways, so the nearest file is the one that the estimate is true of.
    Repositories of which the file is not known come next, those known not to have it last.
    """
    listed = {file.repo for file in entry.files if file.repo}

    def rank(repo: str) -> tuple[int, float, int]:
        owner = repo.split("/", 1)[0]
        habit = USUAL_PUBLISHERS.index(owner) if owner in USUAL_PUBLISHERS else len(USUAL_PUBLISHERS)
        file = published_file(entry, repo, quant)
        if file is not None:
            return 0, max(0, abs(file.bytes - computed_bytes) - file.rounded_to_bytes), habit
        return (2 if repo in listed else 1), 0.0, habit

    return min(entry.gguf_repos, key=rank, default=None)


def _ids() -> tuple[str, ...]:
    return tuple(dict.fromkeys((*loader.bundled_lines(loader.MODELS), *overlay().models)))


def _all_rows() -> Mapping[str, loader.Row]:
    return {model_id: model_row(model_id) for model_id in _ids()}


def _entry(row: loader.Row) -> CatalogModel:
    return _cached_entry(str(row["id"]), overlay())


@cache
def _cached_entry(model_id: str, _own: Overlay) -> CatalogModel:
    row = dict(model_row(model_id))
    row.pop("header", None)
    row["name"] = row.get("name") or tail(model_id)
    row["parameters"] = Parameters(**cast(Mapping[str, int], row["parameters"]))
    files = cast(Sequence[Mapping[str, object]], row.get("files") or ())
    row["files"] = tuple(PublishedFile(**file) for file in files)  # type: ignore[arg-type]
    lists = ("sources", "modalities", "use_cases", "gguf_repos", "notes")
    row.update((key, tuple(cast(Sequence[str], row[key]))) for key in lists if key in row)
    return CatalogModel(**row)  # type: ignore[arg-type]
