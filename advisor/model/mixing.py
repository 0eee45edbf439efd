"""What llama-quantize makes of a model: the type and bytes of every tensor for every file type.

Source: llama.cpp b11434, src/llama-quant.cpp (llama_model_quantize_impl, init_quantize_state_counters); the
types of the file it reads are those of convert_hf_to_gguf.py (conversion/base.py, prepare_tensors).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

from llmfit.advisor.errors import GgufError
from llmfit.advisor.model import mixing_rules
from llmfit.advisor.model import quantization as types
from llmfit.advisor.model.mixing_rules import Mixer, Role
from llmfit.advisor.model.tensors import Tensor, TensorShape
from llmfit.advisor.same import Same

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
    plan = _plan(Same(shapes if isinstance(shapes, tuple) else tuple(shapes)), _architecture(metadata))
    mixer = _mixer(metadata, plan, file, imatrix)
    mixes = types.TENSOR_TYPES[file.base_type].is_quantized
    chosen: list[Tensor | None] = [None] * len(shapes)
    for layer, kind, index, dims, kept_type in plan.rows:
        if kept_type:
            known = source_types.get(shapes[index].name) if source_types else None
            type_name = known or ("F32" if file.name == "F32" and kept_type == "F16" else kept_type)
        elif mixes:
            type_name = mixing_rules.fallback(mixer.type_for(kind, layer, dims), dims[0])
        else:
            type_name = file.base_type
        chosen[index] = plan.tensor(index, type_name)
    return tuple([tensor for tensor in chosen if tensor is not None])


@dataclass(frozen=True, slots=True)
class _Plan:
    """What the file types of one model have in common."""

    shapes: tuple[TensorShape, ...]
    architecture: str
    rows: tuple[tuple[int, str, int, tuple[int, ...], str], ...]
    """In llama-quantize's order: block, kind, position, dims, and the type of what is never quantised."""
    n_value: int
    has_output: bool
    tensors: dict[tuple[int, str], Tensor]
    """Made so far, by position and type: file types share most of them."""

    def tensor(self, index: int, type_name: str) -> Tensor:
        found = self.tensors.get((index, type_name))
        if found is None:
            shape = self.shapes[index]
            n_bytes = types.tensor_bytes(type_name, shape.dims)
            found = self.tensors[index, type_name] = Tensor(shape.name, shape.dims, type_name, n_bytes)
        return found


@lru_cache(maxsize=16)
def _plan(same_shapes: Same[tuple[TensorShape, ...]], architecture: str) -> _Plan:
    shapes = same_shapes.it
    # llama-quantize goes by block, then by name (weight_name_comparer, llama-model-loader.h), and counts.
    ordered = sorted((*_split(shape.name), index) for index, shape in enumerate(shapes))
    may_quantize, kept_type = cache(_may_quantize), cache(_source_type)
    rows = []
    for layer, kind, index in ordered:
        dims = shapes[index].dims
        kept = "" if may_quantize(kind, dims, architecture) else kept_type(kind, len(dims), architecture)
        rows.append((layer, kind, index, dims, kept))
    kinds = [kind for _, kind, _ in ordered]
    n_value = sum(mixing_rules.role(kind) is Role.VALUE for kind in kinds)
    return _Plan(shapes, architecture, tuple(rows), n_value, "output.weight" in kinds, {})


def layout_needs_imatrix(tensors: Sequence[Tensor], file_type: str) -> bool:
    """Does llama-quantize refuse to write this layout without an importance matrix?"""
    name = types.file_type(file_type).name
    return any(mixing_rules.requires_imatrix(tensor.name, tensor.type_name, name) for tensor in tensors)


def source_type(name: str, dims: tuple[int, ...], architecture: str) -> str:
    """The type a tensor has after convert_hf_to_gguf.py --outtype f16."""
    return _source_type(_split(name)[1], len(dims), architecture)


def _source_type(kind: str, n_dims: int, architecture: str) -> str:
    if kind.endswith("ffn_gate_tid2eid.weight"):
        return "I32"
    if n_dims <= 1 or kind.endswith("_norm.weight") or not kind.endswith(".weight") or kind in _F32_KINDS:
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


def _architecture(metadata: Mapping[str, object]) -> str:
    architecture = metadata.get("general.architecture")
    if not isinstance(architecture, str):
        raise GgufError("model header", "it names no architecture")
    return architecture


def _mixer(metadata: Mapping[str, object], plan: _Plan, file: types.FileType, imatrix: bool) -> Mixer:
    architecture = plan.architecture
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
        tied_embeddings=not plan.has_output,
        imatrix=imatrix,
        n_value=plan.n_value,
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
