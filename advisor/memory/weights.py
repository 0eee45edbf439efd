"""Where the bytes of a model's tensors go: computed once a model, then every placement is a sum.

Sources (llama.cpp b11434): ``llama_model_loader::create_tensor`` in src/llama-model-loader.cpp (layer of a
tensor, duplicated token embedding, skipped tensors), ``ggml_backend_cuda_buffer_type_get_alloc_size`` in
ggml/src/ggml-cuda/ggml-cuda.cu (row padding), ``load_arch_tensors`` in src/models/*.cpp (MTP flags).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from types import MappingProxyType

from llmfit.advisor.model.quantization import TENSOR_TYPES
from llmfit.advisor.model.shape import ModelShape
from llmfit.advisor.model.tensor_names import BLOCK, INPUT_EMBEDDING, LOOKED_UP, ROUTED_EXPERTS
from llmfit.advisor.model.tensors import Tensor
from llmfit.advisor.units import pad

GPU_ALIGNMENT_BYTES = 128
"""ggml_backend_cuda_buffer_type_get_alignment."""
REPACKED_ROWS = 8
"""The CPU backend interleaves the rows of a matrix in groups of this many (ggml/src/ggml-cpu/repack.cpp)."""
HOST_ALIGNMENT_BYTES = 32
"""TENSOR_ALIGNMENT of the CPU buffer type (ggml/src/ggml-backend.cpp)."""
CUDA_ROW_PADDING = 512
"""MATRIX_ROW_PADDING (ggml/src/ggml-cuda/common.cuh): elements."""

CPU_MOE_PATTERN = ROUTED_EXPERTS
"""What ``--cpu-moe`` and ``--n-cpu-moe`` move to RAM."""
INPUT_LAYER, OUTPUT_LAYER, EVERY_LAYER = -1, -2, -3
"""Pseudo-layers of ``PlacedTensor``: in RAM; with the output; once on each device that holds a layer."""

_EVERY_LAYER = re.compile(r"(rope_freqs|rope_factors_long|rope_factors_short)\.")
_FIRST_LAYER = re.compile(r"(token_embd_norm|per_layer_model_proj|per_layer_proj_norm)\.")
_NOT_ON_GPU = frozenset({"TQ1_0", "TQ2_0", "Q8_1"})
"""Types without a CUDA matrix product stay in RAM (ggml_backend_cuda_device_supports_op)."""

_OUTPUT_FIRST = ("gemma3n", "gemma4")
"""These create the tied copy before the embedding, so the host does not share it (src/models/*.cpp)."""
_NO_TIED_COPY = ("bitnet",)
"""bitnet multiplies with the embedding where it lies, in RAM (src/models/bitnet.cpp)."""
_MTP_FFN = r"ffn_(gate|up|gate_up|down)(_exps|_shexp)?\.|ffn_gate_inp\.|exp_probs_b"
_MTP_HEADS = r"nextn\.(embed_tokens|shared_head_head|shared_head_norm)\."
_NEVER_MTP = ("bailingmoe2", "exaone-moe", "exaone4", "glm4")
"""These skip their MTP blocks whatever was asked (src/models/*.cpp): they cannot draft with them."""
_MTP_KEPT: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        "step35": re.compile(rf"{_MTP_FFN}|attn_gate\.|attn_[qk]_norm\.|{_MTP_HEADS}"),
        "hy_v3": re.compile(rf"{_MTP_FFN}|{_MTP_HEADS}"),
        "cohere2moe": re.compile(_MTP_HEADS),
        "deepseek32": re.compile("exp_probs_b"),
        "glm-dsa": re.compile("exp_probs_b"),
    }
)
"""Tensors of MTP blocks that load even without drafting: NOT_REQUIRED but not SKIP in src/models/*.cpp."""


@dataclass(frozen=True, slots=True)
class MatrixBytes:
    """Bytes (unpadded) of the stacked expert matrices of one layer; 0 where it has none."""

    up: int = 0
    gate: int = 0
    down: int = 0
    gate_up: int = 0


@dataclass(frozen=True, slots=True)
class PlacedTensor:
    """A tensor that llama.cpp loads: its layer (or a pseudo-layer) and its bytes on either side."""

    name: str
    layer: int
    gpu_bytes: int
    host_bytes: int
    type_name: str
    dims: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class WeightTable:
    """Bytes by layer; tuples over layers have ``n_layer_all`` entries (MTP blocks last, 0 where skipped).

    ``gpu`` bytes are padded as CUDA pads them, ``host`` bytes as the CPU buffer does. ``expert_*`` is the
    part of a layer that ``--cpu-moe`` moves; ``pinned_host_bytes`` the part that no GPU can hold (ternary
    types). ``input_host_bytes`` never leaves RAM. ``output_*`` is the output layer with an ``output.weight``
    of its own; ``tied_copy_gpu_bytes`` is the second copy of a tied token embedding that an output on a GPU
    needs, ``tied_copy_host_bytes`` what the host holds twice when the output stays there.
    ``repackable_bytes``: matrices by type that the CPU backend can copy into its own layout.
    """

    layer_gpu_bytes: tuple[int, ...]
    layer_host_bytes: tuple[int, ...]
    pinned_host_bytes: tuple[int, ...]
    expert_gpu_bytes: tuple[int, ...]
    expert_host_bytes: tuple[int, ...]
    experts: tuple[MatrixBytes, ...]
    largest_tensor_bytes: tuple[int, ...]
    """Largest matrix of each layer, unpadded: what a scheduler may stage."""
    every_layer_gpu_bytes: int
    every_layer_host_bytes: int
    input_host_bytes: int
    output_gpu_bytes: int
    output_host_bytes: int
    tied_copy_gpu_bytes: int
    tied_copy_host_bytes: int
    output_matrix_bytes: int
    """The output matrix (or the tied embedding), unpadded."""
    repackable_bytes: Mapping[str, int]
    tied_type: str
    tied_rows_fit: bool
    """The tied embedding's rows come in the groups that the CPU backend repacks."""
    """Tensor type of a tied embedding, empty without one."""
    tensors: tuple[PlacedTensor, ...]
    """Every loaded tensor, for ``-ot``; the tied copy is not among them."""


def gpu_tensor_bytes(type_name: str, row_elements: int, n_bytes: int) -> int:
    """Bytes of a tensor in a CUDA buffer: the last row of a quantised one is padded to 512 elements."""
    kind = TENSOR_TYPES[type_name]
    rest = row_elements % CUDA_ROW_PADDING
    if kind.is_quantized and rest:
        n_bytes += (CUDA_ROW_PADDING - rest) // kind.block_elements * kind.block_bytes
    return pad(n_bytes, GPU_ALIGNMENT_BYTES)


def weight_table(shape: ModelShape, tensors: Sequence[Tensor], load_mtp: bool = False) -> WeightTable:
    """The table of a model; ``load_mtp`` as ``LaunchSettings.load_mtp``."""
    placed, sizes = [], {}
    for tensor in tensors:
        layer = _layer_of(tensor, shape, load_mtp)
        if layer is None:
            continue
        host = pad(tensor.n_bytes, HOST_ALIGNMENT_BYTES)
        on_gpu = not (tensor.type_name in _NOT_ON_GPU and len(tensor.dims) > 1)
        gpu = gpu_tensor_bytes(tensor.type_name, tensor.dims[0], tensor.n_bytes) if on_gpu else 0
        placed.append(PlacedTensor(tensor.name, layer, gpu, host, tensor.type_name, tensor.dims))
        sizes[tensor.name] = tensor.n_bytes
    embedding = next((t for t in placed if t.name == INPUT_EMBEDDING), None)
    copied = shape.traits.tied_embeddings and shape.architecture not in _NO_TIED_COPY
    tied = embedding if copied else None
    embedding_tensor = next((t for t in tensors if t.name == INPUT_EMBEDDING), None)
    layers = [[t for t in placed if t.layer == il] for il in range(shape.n_layer_all)]
    expert_layers = [[t for t in layer if CPU_MOE_PATTERN.search(t.name)] for layer in layers]
    return WeightTable(
        layer_gpu_bytes=tuple(_gpu(layer) for layer in layers),
        layer_host_bytes=tuple(_host(layer) for layer in layers),
        pinned_host_bytes=tuple(_host(t for t in layer if t.gpu_bytes == 0) for layer in layers),
        expert_gpu_bytes=tuple(_gpu(layer) for layer in expert_layers),
        expert_host_bytes=tuple(_host(layer) for layer in expert_layers),
        experts=tuple(_expert_bytes(layer, sizes) for layer in expert_layers),
        largest_tensor_bytes=tuple(max((sizes[t.name] for t in layer), default=0) for layer in layers),
        every_layer_gpu_bytes=_gpu(t for t in placed if t.layer == EVERY_LAYER),
        every_layer_host_bytes=_host(t for t in placed if t.layer == EVERY_LAYER),
        input_host_bytes=_host(t for t in placed if t.layer == INPUT_LAYER),
        output_gpu_bytes=_gpu(t for t in placed if t.layer == OUTPUT_LAYER),
        output_host_bytes=_host(t for t in placed if t.layer == OUTPUT_LAYER),
        tied_copy_gpu_bytes=_tied_gpu_bytes(embedding_tensor) if tied else 0,
        tied_copy_host_bytes=tied.host_bytes if tied and shape.architecture in _OUTPUT_FIRST else 0,
        output_matrix_bytes=sizes.get("output.weight", sizes.get(INPUT_EMBEDDING, 0)),
        repackable_bytes=_repackable(tensors, {t.name for t in placed}),
        tied_type=embedding_tensor.type_name if tied and embedding_tensor else "",
        tied_rows_fit=embedding_tensor is not None and embedding_tensor.dims[1] % REPACKED_ROWS == 0,
        tensors=tuple(placed),
    )


def _repackable(tensors: Sequence[Tensor], loaded: AbstractSet[str]) -> Mapping[str, int]:
    """Bytes by type of what ``ggml::cpu::repack`` may take: 2-D matrices, 3-D experts, rows in groups of 8.

    Which types it does take depends on the CPU: host.py. (ggml/src/ggml-cpu/repack.cpp)
    """
    found: dict[str, int] = {}
    for tensor in tensors:
        expert = CPU_MOE_PATTERN.search(tensor.name) is not None
        fits = len(tensor.dims) == (3 if expert else 2) and tensor.dims[1] % REPACKED_ROWS == 0
        if fits and tensor.name in loaded and not LOOKED_UP.match(tensor.name):
            size = pad(tensor.n_bytes, HOST_ALIGNMENT_BYTES)
            found[tensor.type_name] = found.get(tensor.type_name, 0) + size
    return MappingProxyType(found)


def _tied_gpu_bytes(embedding: Tensor | None) -> int:
    return gpu_tensor_bytes(embedding.type_name, embedding.dims[0], embedding.n_bytes) if embedding else 0


def _gpu(tensors: Iterable[PlacedTensor]) -> int:
    return sum(tensor.gpu_bytes for tensor in tensors)


def _host(tensors: Iterable[PlacedTensor]) -> int:
    return sum(tensor.host_bytes for tensor in tensors)


def _layer_of(tensor: Tensor, shape: ModelShape, load_mtp: bool) -> int | None:
    """The layer (or pseudo-layer) whose device holds the tensor; ``None``: llama.cpp skips it."""
    match = BLOCK.fullmatch(tensor.name)
    if match is None:
        if LOOKED_UP.match(tensor.name):
            return INPUT_LAYER
        if _EVERY_LAYER.match(tensor.name):
            return EVERY_LAYER
        if shape.architecture in ("lfm2", "lfm2moe") and tensor.name.startswith("token_embd_norm"):
            return OUTPUT_LAYER  # LLM_TENSOR_OUTPUT_NORM_LFM2: the output norm under a wrong name
        return 0 if _FIRST_LAYER.match(tensor.name) else OUTPUT_LAYER
    layer = int(match[1])
    if layer < shape.n_layer or (load_mtp and shape.architecture not in _NEVER_MTP):
        return layer
    kept = _MTP_KEPT.get(shape.architecture)
    return layer if kept is not None and kept.match(match[2]) else None


def _expert_bytes(experts: Iterable[PlacedTensor], sizes: Mapping[str, int]) -> MatrixBytes:
    """The largest of each kind (grovemoe has two expert sets)."""
    found = {"up": 0, "gate": 0, "down": 0, "gate_up": 0}
    for tensor in experts:
        match = ROUTED_EXPERTS.search(tensor.name)
        if match and tensor.name.endswith(".weight"):
            found[match[1]] = max(found[match[1]], sizes[tensor.name])
    return MatrixBytes(**found)
