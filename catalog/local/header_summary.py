"""The little that a list of models needs of a GGUF header, and what is wrong with the file.

Pure: headers in, a summary out. Reading is done by ``header_reader``, remembering by ``header_cache``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from llmfit.advisor.model.architectures import ARCHITECTURES, NOT_MODELLED
from llmfit.advisor.model.gguf import GgufHeader
from llmfit.advisor.model.gguf_split import split_count
from llmfit.advisor.model.tensor_names import INPUT_EMBEDDING, block_of
from llmfit.advisor.model.tensors import Tensor
from llmfit.advisor.text import clean_text
from llmfit.advisor.units import MIB, format_gib, pad
from llmfit.catalog.local.local_model import ADAPTER, MODEL, OTHER, PROJECTOR

Number = int | tuple[int, ...]
"""One value, or one a layer where the layers differ."""

SHAPE_KEYS = (
    "embedding_length",
    "feed_forward_length",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.kv_lora_rank",
    "attention.q_lora_rank",
    "expert_count",
    "expert_used_count",
    "expert_feed_forward_length",
    "expert_shared_count",
    "ssm.inner_size",
    "ssm.state_size",
    "ssm.group_count",
    "shortconv.l_cache",
)
"""Metadata, without the architecture's prefix, that two files of one model have in common."""
NAME_KEYS = (
    "general.name",
    "general.basename",
    "general.finetune",
    "general.version",
    "general.size_label",
    "general.repo_url",
    "general.source.repo_url",
    "general.source.url",
    "general.source.huggingface.repository",
    "general.base_model.0.name",
    "general.base_model.0.repo_url",
)
"""What a header says about where its model comes from (gguf-py/gguf/constants.py, Keys.General)."""

_KIND_OF_TYPE = {"adapter": ADAPTER, "imatrix": OTHER, "mmproj": PROJECTOR}
"""general.type (gguf-py/gguf/constants.py, GGUFType)."""
_UNSERVED = frozenset({"dream", "llada", "llada-moe", "rnd1", "eagle3", "dflash", "gemma4-assistant"}) | {
    "wavtokenizer-dec", "qwen3tts", "pockettts", "t5encoder",
}  # fmt: skip
"""Diffusion language models (llm_arch_is_diffusion, src/llama-arch.cpp), drafts, and parts of others."""
_UNKNOWN = "unknown"
"""What ``quantization_name`` says of a file without blocks."""
_ENCODER_PARTS = ("v.", "mm.", "a.")
"""Tensor names of vision and audio encoders (tools/mtmd/clip-impl.h)."""


HALF_DOWNLOADED = "half downloaded"


@dataclass(frozen=True, slots=True)
class HeaderSummary:
    """What one model's header says. Texts are clean; ``problem`` says why the file cannot be used."""

    kind: str = MODEL
    architecture: str | None = None
    quantization: str | None = None
    n_parameters: int | None = None
    n_body_parameters: int = 0
    """Of the blocks that answer and all else that is no vocabulary table: the same in every conversion."""
    n_vocab: int = 0
    n_layer: int = 0
    """Without the blocks that only draft (MTP)."""
    context_train_tokens: int | None = None
    numbers: Mapping[str, Number] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    n_parts: int = 0
    """Files that the header says the model has, 1 where it is whole; 0 where no header could be read."""
    problem: str | None = None


def summarize(header: GgufHeader, problem: str | None = None) -> HeaderSummary:
    """The summary of a whole model (of a split one: of the merged header)."""
    metadata = header.metadata
    architecture = _text(metadata, "general.architecture")
    n_layer = _integer(metadata, f"{architecture}.block_count") or 0
    n_layer -= min(n_layer, _integer(metadata, f"{architecture}.nextn_predict_layers") or 0)
    kind = _kind(metadata, architecture, header.tensors)
    names = {key: text for key in NAME_KEYS if (text := _text(metadata, key))}
    return HeaderSummary(
        kind=kind,
        architecture=architecture,
        quantization=_quantization(metadata, header.tensors),
        n_parameters=sum(tensor.n_elements for tensor in header.tensors) or None,
        n_body_parameters=body_parameters(header.tensors, n_layer),
        n_vocab=vocabulary_size(header.tensors),
        n_layer=n_layer,
        context_train_tokens=_integer(metadata, f"{architecture}.context_length"),
        numbers=shape_numbers(metadata, architecture or ""),
        names=names,
        n_parts=split_count(header),
        problem=problem or _unloadable(kind, header.tensors),
    )


def shape_numbers(metadata: Mapping[str, object], architecture: str) -> dict[str, Number]:
    """The values of SHAPE_KEYS that are there; a list of equal values is one number."""
    numbers: dict[str, Number] = {}
    for key in SHAPE_KEYS:
        value = metadata.get(f"{architecture}.{key}")
        if isinstance(value, int):
            numbers[key] = int(value)
        elif isinstance(value, (tuple, list)) and value and all(isinstance(item, int) for item in value):
            layers = tuple(int(item) for item in value)
            numbers[key] = layers[0] if len(set(layers)) == 1 else layers
    return numbers


def vocabulary_size(tensors: Sequence[Tensor]) -> int:
    """Rows of the input embedding, with what pads it; 0 without one."""
    return next((tensor.dims[-1] for tensor in tensors if tensor.name == INPUT_EMBEDDING), 0)


def data_end_bytes(header: GgufHeader) -> int:
    """Where the last tensor of a file ends: the size that a complete download has at least."""
    if not header.tensors:
        return header.data_offset
    padded = sum(pad(tensor.n_bytes, header.alignment) for tensor in header.tensors[:-1])
    return header.data_offset + padded + header.tensors[-1].n_bytes


def half_downloaded(there_bytes: int, whole_bytes: int) -> str:
    """``half downloaded: 2.9 GiB of 4.6 GiB``."""
    if whole_bytes < MIB:
        return f"{HALF_DOWNLOADED}: {there_bytes:,} of {whole_bytes:,} bytes"
    return f"{HALF_DOWNLOADED}: {format_gib(there_bytes)} of {format_gib(whole_bytes)}"


def _kind(metadata: Mapping[str, object], architecture: str | None, tensors: Sequence[Tensor]) -> str:
    """What the file is good for. Embedding and reranking models count as models: llama-server serves them."""
    stated = _KIND_OF_TYPE.get(_text(metadata, "general.type") or "")
    if stated is not None:
        return stated
    if architecture == "clip":
        return PROJECTOR
    if not tensors or architecture is None or architecture in _UNSERVED:
        return OTHER
    if "adapter.type" in metadata:
        return ADAPTER
    return MODEL if architecture in ARCHITECTURES or architecture in NOT_MODELLED else OTHER


def _quantization(metadata: Mapping[str, object], tensors: Sequence[Tensor]) -> str | None:
    from llmfit.catalog.build import quantization_name  # 28 ms, and not needed for a file that is remembered

    name = quantization_name(metadata, tensors) if tensors else _UNKNOWN
    return None if name == _UNKNOWN else name


def _unloadable(kind: str, tensors: Sequence[Tensor]) -> str | None:
    """Sound files that llama.cpp refuses: it wants to know every tensor (done_getting_tensors)."""
    if kind == MODEL and any(tensor.name.startswith(_ENCODER_PARTS) for tensor in tensors):
        return "its vision part is in the same file, as Ollama keeps it; llama.cpp wants a file of its own"
    return None


def body_parameters(tensors: Sequence[Tensor], n_layer: int) -> int:
    """Elements outside the vocabulary tables and the blocks that only draft."""
    total = 0
    for tensor in tensors:
        layer = block_of(tensor.name)
        if tensor.name not in (INPUT_EMBEDDING, "output.weight") and (layer is None or layer < n_layer):
            total += tensor.n_elements
    return total


def _text(metadata: Mapping[str, object], key: str) -> str | None:
    value = metadata.get(key)
    return (clean_text(value) or None) if isinstance(value, str) else None


def _integer(metadata: Mapping[str, object], key: str) -> int | None:
    value = metadata.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**40 else None
