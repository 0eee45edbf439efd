"""What llama-quantize makes of a model: the type and bytes of every tensor for every file type.

Source: llama.cpp b11434, src/llama-quant.cpp (llama_model_quantize_impl, init_quantize_state_counters); the
types of the file it reads are those of convert_hf_to_gguf.py (conversion/base.py, prepare_tensors).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache

from llmfit.advisor.errors import GgufError
from llmfit.advisor.model import mixing_rules
from llmfit.advisor.model import quantization as types
from llmfit.advisor.model.mixing_rules import Mixer, Role
from llmfit.advisor.model.tensors import Tensor, TensorShape

_BLOCK = re.compile(r"blk\.(\d+)\.")

# conversion/base.py keeps these in F32 although they have two dimensions; minimax.py, glm.py and hy_v4.py add
# the ones by architecture.
_F32_KINDS = frozenset(
    {"position_embd.weight", "token_types.weight"}
    | {f"blk.N.ssm_conv1d{part}.weight" for part in ("", "_q", "_k", "_v")}
    | {f"blk.N.altup_{part}_coef.weight" for part in ("correct", "predict")}
    | {
        f"blk.N.time_mix_{part}.weight"
        for part in ("first", "w1", "w2", "decay_w1", "decay_w2", "lerp_fused")
    }
    | {
        f"blk.N.{part}.weight"
        for part in ("ffn_gate_inp", "ffn_gate_inp_shexp", "shortconv.conv", "indexer.proj")
    }
)
_F32_PARTS_BY_ARCHITECTURE = {
    "minimax-m3": (".indexer.",),
    "glm5-next": ("hc_attn_", "hc_ffn_", "indexer_compressor_"),
    "hy-v4": ("hc_attn_fn", "hc_ffn_fn", "output_hc_fn"),
}
_70B_LAYERS = {"llama": 80, "llama-embed": 80, "qwen2": 80, "deci": 80, "olmo": 80, "jais2": 68}
"""Architectures and layer counts that llama.cpp takes for a 70B model (load_arch_hparams in src/models)."""


def quantize_layout(
    metadata: Mapping[str, object],
    shapes: Sequence[TensorShape],
    file_type: str,
    imatrix: bool,
    *,
    source_types: Mapping[str, str] | None = None,
) -> tuple[Tensor, ...]:
    """The tensors of the file that llama-quantize writes, in the order of ``shapes``.

    ``metadata`` holds the GGUF keys of the header. ``imatrix`` says whether an importance matrix is used, as
    the published quantisations do. ``source_types`` names the types of tensors that are not quantised where
    they are known; otherwise they are those of a conversion to F16.

    Raises UsageError for an unknown file type or one that llama-quantize cannot make of this model, GgufError
    for metadata without an architecture or its number of blocks.
    """
    file = types.file_type(file_type)
    # llama-quantize goes by block, then by name (weight_name_comparer, llama-model-loader.h), and counts.
    ordered = sorted((*_split(shape.name), index) for index, shape in enumerate(shapes))
    mixer = _mixer(metadata, [kind for _, kind, _ in ordered], file, imatrix)
    mixes = types.TENSOR_TYPES[file.base_type].is_quantized
    may_quantize, kept_type, n_bytes = cache(_may_quantize), cache(_kept_type), cache(types.tensor_bytes)
    chosen = [""] * len(shapes)
    for layer, kind, index in ordered:
        dims = shapes[index].dims
        if not may_quantize(kind, dims, mixer.architecture):
            known = source_types.get(shapes[index].name) if source_types else None
            chosen[index] = known or kept_type(kind, dims, mixer.architecture, file)
        elif mixes:
            chosen[index] = mixing_rules.fallback(mixer.type_for(kind, layer, dims), dims[0])
        else:
            chosen[index] = file.base_type
    return tuple(
        Tensor(shape.name, shape.dims, type_name, n_bytes(type_name, shape.dims))
        for shape, type_name in zip(shapes, chosen, strict=True)
    )


def layout_needs_imatrix(tensors: Sequence[Tensor], file_type: str) -> bool:
    """Does llama-quantize refuse to write this layout without an importance matrix?"""
    name = types.file_type(file_type).name
    return any(mixing_rules.requires_imatrix(tensor.name, tensor.type_name, name) for tensor in tensors)


def source_type(name: str, dims: tuple[int, ...], architecture: str) -> str:
    """The type a tensor has after convert_hf_to_gguf.py --outtype f16."""
    kind = _split(name)[1]
    if kind.endswith("ffn_gate_tid2eid.weight"):
        return "I32"
    if len(dims) <= 1 or kind.endswith("_norm.weight") or not kind.endswith(".weight") or kind in _F32_KINDS:
        return "F32"
    parts = _F32_PARTS_BY_ARCHITECTURE.get(architecture, ())
    return "F32" if any(part in kind for part in parts) else "F16"


def _split(name: str) -> tuple[int, str]:
    """``(3, "blk.N.attn_v.weight")`` of ``blk.3.attn_v.weight``; the block is -1 where there is none."""
    match = _BLOCK.match(name)
    return (int(match[1]), f"blk.N.{name[match.end() :]}") if match else (-1, name)


def _may_quantize(kind: str, dims: tuple[int, ...], architecture: str) -> bool:
    """tensor_allows_quantization; ggml does not count trailing dimensions of one element."""
    has_rows = any(size > 1 for size in dims[1:])
    return has_rows and mixing_rules.name_allows_quantization(kind, architecture)


def _kept_type(kind: str, dims: tuple[int, ...], architecture: str, file: types.FileType) -> str:
    kept = source_type(kind, dims, architecture)
    return "F32" if kept == "F16" and file.name == "F32" else kept


def _mixer(
    metadata: Mapping[str, object], kinds: Sequence[str], file: types.FileType, imatrix: bool
) -> Mixer:
    architecture = metadata.get("general.architecture")
    if not isinstance(architecture, str):
        raise GgufError("model header", "it names no architecture")
    n_block = _count(metadata, f"{architecture}.block_count", 0)
    if n_block < 1:
        raise GgufError("model header", f"it has no {architecture}.block_count")
    n_head = _count(metadata, f"{architecture}.attention.head_count", 0)
    n_head_kv = _count(metadata, f"{architecture}.attention.head_count_kv", n_head)
    n_expert = _count(metadata, f"{architecture}.expert_count", 0)
    n_layer = n_block - _count(metadata, f"{architecture}.nextn_predict_layers", 0)
    return Mixer(
        file=file,
        architecture=architecture,
        n_layer=_n_layer_all(metadata, architecture, n_block),
        n_expert=n_expert,
        n_gqa=n_head // n_head_kv if n_head_kv else 0,
        is_70b=_is_70b(architecture, n_layer, n_expert, n_head == n_head_kv),
        tied_embeddings="output.weight" not in kinds,
        imatrix=imatrix,
        n_value=sum(mixing_rules.role(kind) is Role.VALUE for kind in kinds),
    )


def _n_layer_all(metadata: Mapping[str, object], architecture: str, n_block: int) -> int:
    """hparams.n_layer_all, which two architectures change when they load (src/models)."""
    if architecture == "nanbeige":
        return n_block * max(1, _count(metadata, "nanbeige.num_loops", 1))
    return n_block + 1 if architecture == "graniteswitch" else n_block


def _is_70b(architecture: str, n_layer: int, n_expert: int, all_heads_keep_kv: bool) -> bool:
    if _70B_LAYERS.get(architecture) != n_layer:
        return False
    llama = architecture in ("llama", "llama-embed")
    return not (llama and (n_expert == 8 or all_heads_keep_kv))


def _count(metadata: Mapping[str, object], key: str, default: int) -> int:
    """An integer of the header, or the first of an array: the rules ask about block 0."""
    value = metadata.get(key)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        value = value[0] if value else None
    return value if isinstance(value, int) else default
