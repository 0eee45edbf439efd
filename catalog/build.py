"""From a row, a GGUF header or a spec to the Model that every judgement takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import cast

from llmfit.advisor.errors import NotModelledError
from llmfit.advisor.model.gguf import GgufHeader
from llmfit.advisor.model.layout import LayoutOptions, lay_out
from llmfit.advisor.model.mixing import quantize_layout
from llmfit.advisor.model.model import Model, pooling_of
from llmfit.advisor.model.quantization import (
    DEFAULT_FILE_TYPE,
    FILE_TYPE_BY_ID,
    FILE_TYPES,
    TENSOR_TYPES,
    file_type,
)
from llmfit.advisor.model.shape import ModelShape, shape_from_header
from llmfit.advisor.model.tensor_names import active_parameters, block_of
from llmfit.advisor.model.tensors import Tensor, TensorShape
from llmfit.advisor.same import Same
from llmfit.advisor.units import GB
from llmfit.catalog import loader
from llmfit.catalog.models import (
    CatalogModel,
    PublishedFile,
    exact_file,
    gguf_repo,
    model_row,
    published_file,
)
from llmfit.catalog.tensor_rows import unfold

HEADER_SHARE = 0.015
"""A header with its vocabulary takes up to 1 % of a small file."""
COMPUTED = "computed: the tensors, without the file's header"
_SIZE_SOURCE = {"gguf": "measured: the size of the file", "hf": "published: the hub's listing"}
_FILE_TYPE_LIKE = frozenset(FILE_TYPES) | {"Q3_K", "Q4_K", "Q5_K", "MXFP4"}


def build_model(entry: CatalogModel, quant: str) -> Model:
    """The model of a row in one quantisation, mixed as llama-quantize does with an importance matrix.

    A published size that is known to the byte wins for ``file_bytes``. Asked again it is the same object,
    so that what is remembered by its identity serves again. Raises UsageError for an unknown quantisation,
    NotModelledError for a model whose tensors or memory rules are not known.
    """
    header = _own_header(entry)
    return _built(Same(entry), quant if header and quant == header["quantization"] else file_type(quant).name)


@lru_cache(maxsize=64)
def _built(same_entry: Same[CatalogModel], quantization: str) -> Model:
    entry = same_entry.it
    header = _own_header(entry)
    if header is not None:
        metadata = cast(Mapping[str, object], header["metadata"])
        tensors = unfold(cast(Sequence[Mapping[str, object]], header["tensors"]))
        shapes = tuple([TensorShape(tensor.name, tensor.dims) for tensor in tensors])
        shape = shape_from_header(metadata, tensors)
    else:
        metadata, shapes, shape = _bundled(entry.id)
    if header is None or header["quantization"] != quantization:
        header = None
        tensors = quantize_layout(metadata, shapes, quantization, imatrix=True)
    computed_bytes = sum(tensor.n_bytes for tensor in tensors)
    # without a repository the command names a file that people replace by their own
    repo = gguf_repo(entry, quantization, computed_bytes)
    size_bytes, size_source = _file_size(entry, quantization, repo, header, computed_bytes)
    return Model(
        id=entry.id,
        shape=shape,
        tensors=tensors,
        quantization=quantization,
        source="catalog",
        launch_args=("-hf", f"{repo}:{quantization}")
        if repo
        else ("-m", f"{entry.name}-{quantization}.gguf"),
        n_parameters=entry.parameters.text,
        n_active_parameters=entry.parameters.active,
        file_bytes=size_bytes,
        file_bytes_source=size_source,
        pooling=pooling_of(metadata),
    )


def default_quantization(entry: CatalogModel) -> str:
    """What to take where nobody asked: the file's own, the format it was trained in, else the usual one."""
    return only_quantization(entry) or DEFAULT_FILE_TYPE


def only_quantization(entry: CatalogModel) -> str | None:
    """The one file type worth taking: that of the file a row was made from, or the one it was trained in."""
    return _own_quantization(entry) or native_quantization(entry.architecture)


def native_quantization(architecture: str) -> str | None:
    """The file type in whose precision models of an architecture were trained, if that is a small one."""
    return "MXFP4_MOE" if architecture == "gpt-oss" else None


def model_from_header(
    header: GgufHeader, model_id: str, launch_args: tuple[str, ...], source: str = "gguf"
) -> Model:
    """The model that a file's header describes; ``source`` is ``gguf`` or ``hf``.

    Raises NotModelledError for an architecture whose memory rules are not known.
    """
    shape = shape_from_header(header.metadata, header.tensors)
    return Model(
        id=model_id,
        shape=shape,
        tensors=header.tensors,
        quantization=quantization_name(header.metadata, header.tensors),
        source=source,
        launch_args=launch_args,
        n_parameters=sum(tensor.n_elements for tensor in header.tensors),
        n_active_parameters=active_parameters(shape, header.tensors),
        file_bytes=header.file_bytes,
        file_bytes_source=_SIZE_SOURCE[source],
        pooling=pooling_of(header.metadata),
    )


def quantization_name(metadata: Mapping[str, object], tensors: Sequence[Tensor]) -> str:
    """``general.file_type``, or the file type that the tensors suggest where it is missing or left over.

    A number of F16 in a file of quantised blocks is left over from the conversion. llama.cpp guesses from the
    type of most tensors (llama_model_loader); here it is the type of most block weights, which is right for
    experts in MXFP4 and beside large embedding tables, too.
    """
    number = metadata.get("general.file_type")
    types: Counter[str] = Counter()
    for tensor in tensors:
        if block_of(tensor.name) is not None:
            types[tensor.type_name] += tensor.n_elements
    usual = types.most_common(1)[0][0] if types else "unknown"
    stated = FILE_TYPE_BY_ID.get(number) if isinstance(number, int) else None
    if stated is not None and _is_quantized(stated.base_type) == _is_quantized(usual):
        return stated.name
    return file_type(usual).name if usual in _FILE_TYPE_LIKE else usual


def _is_quantized(type_name: str) -> bool:
    return type_name in TENSOR_TYPES and TENSOR_TYPES[type_name].is_quantized


@lru_cache(maxsize=32)
def _bundled(model_id: str) -> tuple[Mapping[str, object], tuple[TensorShape, ...], ModelShape]:
    """Metadata, tensors and shape of a bundled row: what all file types of a model share."""
    architecture = loader.bundled_row(loader.ARCHITECTURES, model_id)
    if architecture is None:
        why = "the catalogue does not know its tensors"
        raise NotModelledError(f"model {model_id}", why, "Name a GGUF file of it, or hf:OWNER/REPO.")
    metadata = cast(Mapping[str, object], architecture["metadata"])
    options = cast(Mapping[str, object], architecture.get("options") or {})
    shapes = lay_out(metadata, LayoutOptions.from_row(options))
    return metadata, shapes, shape_from_header(metadata, shapes)


def _file_size(
    entry: CatalogModel,
    quantization: str,
    repo: str | None,
    header: Mapping[str, object] | None,
    computed_bytes: int,
) -> tuple[int, str]:
    """Bytes of the file and where the figure comes from: a file or a publisher beats arithmetic."""
    if header is not None:
        return cast(int, header["file_bytes"]), "measured: the file that the row was made from"
    published = exact_file(entry, quantization)
    if published is not None:
        return published.bytes, f"published: {published.source}"
    rounded = published_file(entry, repo, quantization)
    if rounded is not None and _contradicts(rounded, computed_bytes):
        return (
            rounded.bytes,
            f"published, rounded to {rounded.rounded_to_bytes / GB:.1f} GB: {rounded.source}",
        )
    return computed_bytes, COMPUTED


def _contradicts(file: PublishedFile, computed_bytes: int) -> bool:
    """The file cannot be llama-quantize's mix: neither its rounding nor a header explains the difference."""
    return abs(file.bytes - computed_bytes) > file.rounded_to_bytes + computed_bytes * HEADER_SHARE


def _own_header(entry: CatalogModel) -> Mapping[str, object] | None:
    """What the file said that a row of the user's own was made from."""
    return cast("Mapping[str, object] | None", model_row(entry.id).get("header"))


def _own_quantization(entry: CatalogModel) -> str | None:
    header = _own_header(entry)
    return None if header is None else str(header["quantization"])
