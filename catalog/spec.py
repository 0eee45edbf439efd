"""``--spec``: a model that need not exist, out of the numbers of an architecture.

Two ways to write one, which may be mixed:

    {"architecture": "llama", "n_layer": 32, "n_embd": 4096, "n_head": 32, "n_head_kv": 8, "n_ff": 14336,
     "n_vocab": 128256, "context_length": 131072}
    {"metadata": {"general.architecture": "llama", "llama.block_count": 32, …},
     "options": {"vocab_size": 128256}}

``params_total`` is what somebody says that the parameters add up to. Where the layers add up to something
else, every tensor is scaled to it: the numbers contradict each other, and nobody knows where the rest lies.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

from llmfit.advisor.errors import UsageError
from llmfit.advisor.model.layout import LayoutOptions, lay_out
from llmfit.advisor.model.mixing import quantize_layout
from llmfit.advisor.model.model import Model
from llmfit.advisor.model.quantization import DEFAULT_FILE_TYPE, file_type
from llmfit.advisor.model.shape import shape_from_header
from llmfit.advisor.model.shape_rules import MAX_LAYERS
from llmfit.advisor.model.tensor_names import active_parameters
from llmfit.advisor.model.tensors import Tensor
from llmfit.advisor.text import printable
from llmfit.advisor.units import MIB
from llmfit.catalog.build import COMPUTED

MAX_SPEC_BYTES = MIB
SAME_COUNT_SHARE = 0.005
"""29B says 28.9e9 as well as 29.1e9: rounding is no contradiction."""
MOST_SCALED = 2.0
"""Counts that differ by more are those of another model."""
_HINT = "docs/catalogue.md lists the fields."
_KEYS: Mapping[str, tuple[str, ...]] = {
    "n_layer": ("block_count",),
    "n_embd": ("embedding_length",),
    "n_head": ("attention.head_count",),
    "n_head_kv": ("attention.head_count_kv",),
    "head_dim": ("attention.key_length", "attention.value_length"),
    "head_dim_k": ("attention.key_length",),
    "head_dim_v": ("attention.value_length",),
    "n_ff": ("feed_forward_length",),
    "n_expert": ("expert_count",),
    "n_expert_used": ("expert_used_count",),
    "n_expert_shared": ("expert_shared_count",),
    "n_ff_expert": ("expert_feed_forward_length",),
    "n_ff_shared": ("expert_shared_feed_forward_length",),
    "leading_dense_layers": ("leading_dense_block_count",),
    "context_length": ("context_length",),
    "sliding_window": ("attention.sliding_window",),
    "kv_lora_rank": ("attention.kv_lora_rank",),
    "q_lora_rank": ("attention.q_lora_rank",),
    "rope_dimensions": ("rope.dimension_count",),
    "mtp_layers": ("nextn_predict_layers",),
}
"""Plain name → GGUF keys, without the architecture in front."""


def model_from_spec(spec: Path | Mapping[str, object], quant: str = DEFAULT_FILE_TYPE) -> Model:
    """The model of a spec file or object in one quantisation.

    ``mtp_layers`` are counted in ``n_layer``, as in GGUF. Raises UsageError that names the field for anything
    that is no spec, NotModelledError for an architecture without a layout or memory rules.
    """
    what = f"spec {printable(str(spec), 200)}" if isinstance(spec, Path) else "spec"
    row = _validated(_read(spec, what) if isinstance(spec, Path) else json.dumps(spec, default=str), what)
    metadata, options = _header(row, what)
    shapes = lay_out(metadata, options)
    quantization = file_type(quant).name
    tensors = quantize_layout(metadata, shapes, quantization, imatrix=True)
    shape = shape_from_header(metadata, tensors)
    n_active = active_parameters(shape, tensors)
    name = str(row.get("id") or row["name"])
    n_layers = sum(tensor.n_elements for tensor in tensors)
    stated = cast("int | None", row.get("params_total"))
    scale, source = _scale(n_layers, stated, what)
    return Model(
        id=name,
        shape=shape,
        tensors=_scaled(tensors, scale),
        quantization=quantization,
        source="spec",
        launch_args=("-m", f"{name}-{quantization}.gguf"),
        n_parameters=round(n_layers * scale),
        n_active_parameters=None if n_active is None else round(n_active * scale),
        file_bytes=round(sum(tensor.n_bytes for tensor in tensors) * scale),
        file_bytes_source=source,
    )


def _scale(n_layers: int, stated: int | None, what: str) -> tuple[float, str]:
    """(factor of every tensor, where the size comes from). Raises UsageError for a count of another model."""
    if stated is None or abs(stated / n_layers - 1) <= SAME_COUNT_SHARE:
        return 1.0, COMPUTED
    if not 1 / MOST_SCALED <= stated / n_layers <= MOST_SCALED:
        why = f"params_total: {stated / 1e9:.1f}e9, but its layers add up to {n_layers / 1e9:.1f}e9"
        raise UsageError(what, why, _HINT)
    said = f"its layers add up to {n_layers / 1e9:.2f}e9 parameters"
    return stated / n_layers, f"computed: scaled to the stated {stated / 1e9:.2f}e9 parameters; {said}"


def _scaled(tensors: tuple[Tensor, ...], scale: float) -> tuple[Tensor, ...]:
    if scale == 1.0:
        return tensors
    return tuple([replace(tensor, n_bytes=round(tensor.n_bytes * scale)) for tensor in tensors])


def _read(path: Path, what: str) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_SPEC_BYTES + 1)
    except OSError as error:
        raise UsageError(what, f"not readable: {error.strerror or type(error).__name__}") from None
    if len(raw) > MAX_SPEC_BYTES:
        raise UsageError(what, f"larger than {MAX_SPEC_BYTES // MIB} MiB", _HINT)
    return raw.decode("utf-8", errors="replace")


def _validated(text: str, what: str) -> Mapping[str, object]:
    from pydantic import ValidationError

    from llmfit.catalog.schema import SpecRow, first_problem

    try:
        return cast(Mapping[str, object], SpecRow.model_validate_json(text).model_dump(exclude_none=True))
    except ValidationError as error:
        raise UsageError(what, first_problem(error), _HINT) from None


def _header(row: Mapping[str, object], what: str) -> tuple[Mapping[str, object], LayoutOptions]:
    """GGUF metadata and what decides the tensors besides."""
    metadata = dict(cast(Mapping[str, object], row["metadata"]))
    options = dict(cast(Mapping[str, object], row["options"]))
    architecture = row.get("architecture") or metadata.get("general.architecture")
    if not isinstance(architecture, str):
        raise UsageError(what, "architecture: it is missing", _HINT)
    metadata["general.architecture"] = architecture
    for name, keys in _KEYS.items():
        for key in keys:
            if name in row:
                metadata.setdefault(f"{architecture}.{key}", row[name])
    for name in ("n_vocab", "tied_embeddings", "qkv_bias"):
        if name in row:
            options.setdefault("vocab_size" if name == "n_vocab" else name, row[name])
    n_layer = metadata.get(f"{architecture}.block_count")
    if not isinstance(n_layer, int) or not 1 <= n_layer <= MAX_LAYERS:
        raise UsageError(what, f"n_layer: it must be 1 to {MAX_LAYERS}", _HINT)
    if f"{architecture}.context_length" not in metadata:
        raise UsageError(what, "context_length: it is missing", _HINT)
    if not options.get("vocab_size"):
        raise UsageError(what, "n_vocab: it is missing", _HINT)
    return metadata, _options(options, what)


def _options(options: Mapping[str, object], what: str) -> LayoutOptions:
    from pydantic import ValidationError

    from llmfit.catalog.schema import LAYOUT_OPTIONS, first_problem

    LayoutOptions.from_row(options)  # refuses a name that is no option
    try:
        return LAYOUT_OPTIONS.validate_json(json.dumps(options), strict=True)
    except ValidationError as error:
        raise UsageError(what, f"options.{first_problem(error)}", _HINT) from None
