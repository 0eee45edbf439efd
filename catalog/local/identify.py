"""Which catalogue row a file is, by its header alone: never by the name of the file.

First the shape: architecture, hyperparameters and the parameters of the body must be those of a row. Then,
because a tuned model has the shape of what it was tuned from, what the header says of its origin: the
repository that it was converted from, or its name. A shape that is known under a name that is not is a
fine-tune: no row, only candidates. The context it was trained for decides between rows of one name; where it
is that of another row and not of the named one, nothing is decided.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import cast

from llmfit.catalog import loader
from llmfit.catalog.local.header_summary import (
    HeaderSummary,
    Number,
    body_parameters,
    shape_numbers,
    vocabulary_size,
)
from llmfit.catalog.models import CatalogModel, list_models, model_row
from llmfit.catalog.overlay import Overlay, overlay
from llmfit.catalog.search import name_key, tail, words
from llmfit.catalog.tensor_rows import unfold

BODY_TOLERANCE = 0.005
"""Converters of different age add RoPE factors or leave out biases; real sizes differ by far more."""

_FORMAT = re.compile(
    r"(?:[\W_]+(?:gguf|ggml|hf|fp8|fp16|f16|bf16|nvfp4|qat|unquantized|imatrix|mxfp4(?:[ _]moe)?"
    r"|i?q\d(?:[ _](?:[01]|k|xxs|xs|s|m|l|xl|nl))*))+\s*$",
    re.IGNORECASE,
)
"""The end of a name that says how the weights are stored, not what they are."""
_NO_NAME = re.compile(
    r"[0-9a-f]{32,64}|models?|hf|output|outputs|merged|snapshots?|workspace|tmp|checkpoint|"
)
"""What a converter takes for a name where it is run in a folder of that name."""
_REPOSITORY = re.compile(r"(?:https?://[^/]+/)?([\w.-]+/[\w.-]+?)/?(?:\.git)?")
_SOURCE_KEYS = (
    "general.source.huggingface.repository",
    "general.source.repo_url",
    "general.source.url",
    "general.repo_url",
)
_LATENT = "attention.kv_lora_rank"
_HEAD_KEYS = frozenset({"attention.head_count_kv", "attention.key_length", "attention.value_length"})
"""Files from before llama.cpp cached latent rows (MLA) count the decompressed heads here."""
_DENSE_KEYS = frozenset({"feed_forward_length"})
"""A model of experts alone has no dense layer; some files state the width that its configuration names."""


@dataclass(frozen=True, slots=True)
class Identity:
    """``model_id``, or all rows of the same shape where the header does not decide between them."""

    model_id: str | None = None
    candidates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RowShape:
    """What a catalogue row says that a header says as well."""

    model_id: str
    numbers: Mapping[str, Number]
    n_layer: int
    n_vocab: int
    n_body_parameters: int
    context_train_tokens: int
    """0 where it is not known."""
    names: frozenset[str]
    """Keys of everything that it is called."""
    owners: frozenset[str]
    """What may stand before its name: ``Meta`` Llama 3.1."""


def identify(summary: HeaderSummary) -> Identity:
    """The row that ``summary`` is of. An architecture that the catalogue does not know gives nothing."""
    same = [row for row in _rows(overlay()).get(summary.architecture or "", ()) if _same_shape(summary, row)]
    if not same:
        return Identity()
    repositories = {
        match[1].lower() for key in _SOURCE_KEYS if (match := _repository(summary.names.get(key)))
    }
    by_source = [row for row in same if row.model_id.lower() in repositories]
    if len(by_source) == 1:
        return Identity(by_source[0].model_id)
    keys = own_names(summary.names)
    by_name = [row for row in same if any(_is_called(row, key) for key in keys)]
    by_context = [row for row in same if row.context_train_tokens == summary.context_train_tokens]
    by_both = [row for row in by_name if row in by_context]
    if len(by_both) == 1:
        return Identity(by_both[0].model_id)
    if len(by_name) == 1 and not by_context:  # stretched, or cut: no other row says so either
        return Identity(by_name[0].model_id)
    named = by_both or [*by_name, *by_context] if by_name else same
    return Identity(candidates=_candidates(summary, named))


def own_names(names: Mapping[str, str]) -> tuple[str, ...]:
    """Keys of what the header calls the model: its name, or where it has none, the parts of one.

    The parts say less: who tunes a model often leaves those of the base model in place.
    """
    name = names.get("general.name", "")
    if not _NO_NAME.fullmatch(name.strip().lower()):
        return (_key(name),)
    base = names.get("general.basename")
    if not base:
        return ()
    finetune, version, size = (
        names.get(f"general.{part}", "") for part in ("finetune", "version", "size_label")
    )
    orders = (
        (base, size, finetune),
        (base, finetune),
        (base, version, size, finetune),
        (base, size, finetune, version),
    )
    return tuple(dict.fromkeys(_key(" ".join(filter(None, order))) for order in orders))


def _candidates(summary: HeaderSummary, rows: Sequence[RowShape]) -> tuple[str, ...]:
    """Those with the same vocabulary if there are any, the base model that the header names first.

    Then those that were trained for the same context.
    """
    exact = [row for row in rows if row.n_vocab == summary.n_vocab]
    base_name = _key(summary.names.get("general.base_model.0.name", ""))
    base = _repository(summary.names.get("general.base_model.0.repo_url"))

    def is_not_base(row: RowShape) -> bool:
        by_repository = base is not None and row.model_id.lower() == base[1].lower()
        return not (by_repository or (base_name and _is_called(row, base_name)))

    def rank(row: RowShape) -> tuple[bool, bool]:
        return is_not_base(row), row.context_train_tokens != summary.context_train_tokens

    return tuple(row.model_id for row in sorted(exact or rows, key=rank))


def _same_shape(summary: HeaderSummary, row: RowShape) -> bool:
    if summary.n_layer != row.n_layer:
        return False
    if abs(summary.n_body_parameters - row.n_body_parameters) > BODY_TOLERANCE * row.n_body_parameters:
        return False
    unsure = _unsure_keys(summary.numbers) | _unsure_keys(row.numbers)
    return all(
        _same_number(number, summary.numbers[key], row.n_layer)
        for key, number in row.numbers.items()
        if key in summary.numbers and key not in unsure
    )


def _unsure_keys(numbers: Mapping[str, Number]) -> frozenset[str]:
    """What converters of different age count in different ways; the parameters decide there."""
    latent = _HEAD_KEYS if _LATENT in numbers else frozenset()
    return latent | (_DENSE_KEYS if "expert_count" in numbers else frozenset())


def _same_number(one: Number, other: Number, n_layer: int) -> bool:
    """Whether two values agree on the layers of the trunk; a single value holds for all that are not 0."""
    if isinstance(one, int) and isinstance(other, int):
        return one == other
    first, second = _layers(one, n_layer), _layers(other, n_layer)
    return len(first) == len(second) and all(
        a == b or (b == 0 and isinstance(one, int)) or (a == 0 and isinstance(other, int))
        for a, b in zip(first, second, strict=True)
    )


def _layers(number: Number, n_layer: int) -> tuple[int, ...]:
    return (number,) * n_layer if isinstance(number, int) else number[:n_layer]


def _is_called(row: RowShape, key: str) -> bool:
    if key in row.names:
        return True
    return any(key.startswith(owner) and key[len(owner) :] in row.names for owner in row.owners)


def _key(name: str) -> str:
    """A name without case, separators and what says how the weights are stored."""
    return name_key(_FORMAT.sub("", name))


def _repository(text: str | None) -> re.Match[str] | None:
    return _REPOSITORY.fullmatch(text) if text else None


@cache
def _rows(_own: Overlay) -> Mapping[str, tuple[RowShape, ...]]:
    """Architecture → its rows, read once a process."""
    found: dict[str, list[RowShape]] = {}
    for entry in list_models():
        shape = _row_shape(entry)
        if shape is not None:
            found.setdefault(entry.architecture, []).append(shape)
    return {architecture: tuple(rows) for architecture, rows in found.items()}


def _row_shape(entry: CatalogModel) -> RowShape | None:
    header = cast("Mapping[str, object] | None", model_row(entry.id).get("header"))
    row = header or loader.bundled_rows(loader.ARCHITECTURES).get(entry.id)
    if row is None:
        return None
    metadata = cast(Mapping[str, object], row["metadata"])
    architecture = str(metadata.get("general.architecture"))

    def integer(key: str) -> int:
        value = metadata.get(f"{architecture}.{key}")
        return value if isinstance(value, int) else 0

    n_layer = integer("block_count") - integer("nextn_predict_layers")
    if header is not None:
        tensors = unfold(cast(Sequence[Mapping[str, object]], header["tensors"]))
        n_vocab, body = vocabulary_size(tensors), body_parameters(tensors, n_layer)
    else:
        options = cast(Mapping[str, object], row.get("options") or {})
        n_vocab = int(cast(int, options.get("vocab_size") or 0))
        tables = 1 if options.get("tied_embeddings") else 2
        body = entry.parameters.text - tables * n_vocab * integer("embedding_length")
    called = (*_row_names(entry), str(metadata.get("general.name") or entry.name))
    return RowShape(
        model_id=entry.id,
        numbers=shape_numbers(metadata, architecture),
        n_layer=n_layer,
        n_vocab=n_vocab,
        n_body_parameters=body,
        context_train_tokens=integer("context_length"),
        names=frozenset(_key(name) for name in called),
        owners=frozenset(_owner_keys(entry.id)),
    )


def _row_names(entry: CatalogModel) -> Iterable[str]:
    yield tail(entry.id)
    yield entry.name
    for repo in entry.gguf_repos:
        yield tail(repo)
    for file in entry.files:
        if file.kind == "model" and file.repo:
            yield tail(file.repo)


def _owner_keys(model_id: str) -> Iterable[str]:
    owner = model_id.partition("/")[0] if "/" in model_id else ""
    if owner:
        yield name_key(owner)
        yield from words(owner)
