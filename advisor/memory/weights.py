"""Where the bytes of a model's tensors go: computed once a model, then every placement is a sum.

Sources (llama.cpp b11434): ``llama_model_loader::create_tensor`` in src/llama-model-loader.cpp (layer of a
tensor, duplicated token embedding, skipped tensors), ``ggml_backend_cuda_buffer_type_get_alloc_size`` in
ggml/src/ggml-cuda/ggml-cuda.cu (row padding), ``load_arch_tensors`` in src/models/*.cpp (MTP flags).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

from llmfit.advisor.model.quantization import TENSOR_TYPES
from llmfit.advisor.model.shape import ModelShape
from llmfit.advisor.model.tensor_names import BLOCK, INPUT_EMBEDDING, LOOKED_UP, ROUTED_EXPERTS
from llmfit.advisor.model.tensors import Tensor
from llmfit.advisor.same import Same
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


_NO_EXPERTS = MatrixBytes()


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


class _Loaded(NamedTuple):
    """A tensor that llama.cpp loads, with what its table asks of it."""

    tensor: PlacedTensor
    n_bytes: int
    """Unpadded."""
    is_expert: bool
    expert_part: str
    """``up``, ``gate``, ``down`` or ``gate_up`` of stacked expert matrices, else empty."""
    is_repackable: bool


class _Layer:
    """Running sums of one block."""

    __slots__ = ("expert_gpu", "expert_host", "gpu", "host", "largest", "parts", "pinned")

    def __init__(self) -> None:
        self.gpu = self.host = self.pinned = self.expert_gpu = self.expert_host = self.largest = 0
        self.parts: dict[str, int] = {}
        """The largest of each kind of expert matrix (grovemoe has two expert sets)."""

    def add(self, one: _Loaded) -> None:
        tensor, n_bytes = one.tensor, one.n_bytes
        self.gpu += tensor.gpu_bytes
        self.host += tensor.host_bytes
        if not tensor.gpu_bytes:
            self.pinned += tensor.host_bytes
        if n_bytes > self.largest:
            self.largest = n_bytes
        if one.is_expert:
            self.expert_gpu += tensor.gpu_bytes
            self.expert_host += tensor.host_bytes
            if one.expert_part:
                self.parts[one.expert_part] = max(self.parts.get(one.expert_part, 0), n_bytes)


def weight_table(shape: ModelShape, tensors: Sequence[Tensor], load_mtp: bool = False) -> WeightTable:
    """The table of a model, the same object when asked again; ``load_mtp`` as ``LaunchSettings.load_mtp``."""
    if isinstance(tensors, tuple):
        return _kept_table(Same(shape), Same(tensors), load_mtp)
    return _table(shape, tensors, load_mtp)


@lru_cache(maxsize=64)
def _kept_table(shape: Same[ModelShape], tensors: Same[tuple[Tensor, ...]], load_mtp: bool) -> WeightTable:
    return _table(shape.it, tensors.it, load_mtp)


def _table(shape: ModelShape, tensors: Sequence[Tensor], load_mtp: bool) -> WeightTable:
    layers, outside, loaded = _by_layer(shape, tensors, load_mtp)
    repackable: dict[str, int] = {}
    for one in loaded:
        if one.is_repackable:
            kind = one.tensor.type_name
            repackable[kind] = repackable.get(kind, 0) + one.tensor.host_bytes
    embedding = next((one for one in outside[INPUT_LAYER] if one.tensor.name == INPUT_EMBEDDING), None)
    output = next((one for one in outside[OUTPUT_LAYER] if one.tensor.name == "output.weight"), embedding)
    copied = shape.traits.tied_embeddings and shape.architecture not in _NO_TIED_COPY
    tied = embedding if copied else None
    return WeightTable(
        layer_gpu_bytes=tuple([layer.gpu for layer in layers]),
        layer_host_bytes=tuple([layer.host for layer in layers]),
        pinned_host_bytes=tuple([layer.pinned for layer in layers]),
        expert_gpu_bytes=tuple([layer.expert_gpu for layer in layers]),
        expert_host_bytes=tuple([layer.expert_host for layer in layers]),
        experts=tuple([MatrixBytes(**layer.parts) if layer.parts else _NO_EXPERTS for layer in layers]),
        largest_tensor_bytes=tuple([layer.largest for layer in layers]),
        every_layer_gpu_bytes=_gpu(outside[EVERY_LAYER]),
        every_layer_host_bytes=_host(outside[EVERY_LAYER]),
        input_host_bytes=_host(outside[INPUT_LAYER]),
        output_gpu_bytes=_gpu(outside[OUTPUT_LAYER]),
        output_host_bytes=_host(outside[OUTPUT_LAYER]),
        tied_copy_gpu_bytes=_tied_gpu_bytes(tied),
        tied_copy_host_bytes=tied.tensor.host_bytes if tied and shape.architecture in _OUTPUT_FIRST else 0,
        output_matrix_bytes=output.n_bytes if output else 0,
        repackable_bytes=MappingProxyType(repackable),
        tied_type=tied.tensor.type_name if tied else "",
        tied_rows_fit=embedding is not None and embedding.tensor.dims[1] % REPACKED_ROWS == 0,
        tensors=tuple([one.tensor for one in loaded]),
    )


def _by_layer(
    shape: ModelShape, tensors: Sequence[Tensor], load_mtp: bool
) -> tuple[list[_Layer], Mapping[int, list[_Loaded]], list[_Loaded]]:
    """The sums of each block, the tensors of each pseudo-layer, and all of them in the order of the file."""
    where = (shape.architecture, shape.n_layer, load_mtp)
    layers = [_Layer() for _ in range(shape.n_layer_all)]
    outside: dict[int, list[_Loaded]] = {INPUT_LAYER: [], OUTPUT_LAYER: [], EVERY_LAYER: []}
    loaded = []
    for tensor in tensors:
        one = _loaded(tensor.name, tensor.dims, tensor.type_name, tensor.n_bytes, *where)
        if one is None:
            continue
        loaded.append(one)
        layer = one.tensor.layer
        if layer < 0:
            outside[layer].append(one)
        elif layer < len(layers):
            layers[layer].add(one)
    return layers, outside, loaded


@lru_cache(maxsize=16384)
def _loaded(
    name: str,
    dims: tuple[int, ...],
    type_name: str,
    n_bytes: int,
    architecture: str,
    n_layer: int,
    load_mtp: bool,
) -> _Loaded | None:
    """The tensor as it is loaded, None where it is not; the file types of a model share most of them.

    Which types the CPU backend does repack depends on the CPU: host.py. It takes 2-D matrices and 3-D
    experts with rows in groups of 8 (``ggml::cpu::repack``, ggml/src/ggml-cpu/repack.cpp).
    """
    layer = _layer_of(name, architecture, n_layer, load_mtp)
    if layer is None:
        return None
    on_gpu = not (type_name in _NOT_ON_GPU and len(dims) > 1)
    gpu_bytes = gpu_tensor_bytes(type_name, dims[0], n_bytes) if on_gpu else 0
    host_bytes = pad(n_bytes, HOST_ALIGNMENT_BYTES)
    expert = ROUTED_EXPERTS.search(name)
    fits = len(dims) == (3 if expert else 2) and dims[1] % REPACKED_ROWS == 0
    return _Loaded(
        PlacedTensor(name, layer, gpu_bytes, host_bytes, type_name, dims),
        n_bytes,
        expert is not None,
        expert[1] if expert and name.endswith(".weight") else "",
        fits and not LOOKED_UP.match(name),
    )


def _tied_gpu_bytes(tied: _Loaded | None) -> int:
    return gpu_tensor_bytes(tied.tensor.type_name, tied.tensor.dims[0], tied.n_bytes) if tied else 0


def _gpu(tensors: Iterable[_Loaded]) -> int:
    return sum(one.tensor.gpu_bytes for one in tensors)


def _host(tensors: Iterable[_Loaded]) -> int:
    return sum(one.tensor.host_bytes for one in tensors)


def _layer_of(name: str, architecture: str, n_layer: int, load_mtp: bool) -> int | None:
    """The layer (or pseudo-layer) whose device holds the tensor; ``None``: llama.cpp skips it."""
    match = BLOCK.fullmatch(name)
    if match is None:
        if LOOKED_UP.match(name):
            return INPUT_LAYER
        if _EVERY_LAYER.match(name):
            return EVERY_LAYER
        if architecture in ("lfm2", "lfm2moe") and name.startswith("token_embd_norm"):
            return OUTPUT_LAYER  # LLM_TENSOR_OUTPUT_NORM_LFM2: the output norm under a wrong name
        return 0 if _FIRST_LAYER.match(name) else OUTPUT_LAYER
    layer = int(match[1])
    if layer < n_layer or (load_mtp and architecture not in _NEVER_MTP):
        return layer
    kept = _MTP_KEPT.get(architecture)
    return layer if kept is not None and kept.match(match[2]) else None
