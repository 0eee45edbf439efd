"""Where the bytes of a model's tensors go: computed once a model, then every placement is a sum.

Sources (llama.cpp b11434): ``llama_model_loader::create_tensor`` (src/llama-model-loader.cpp: layer of a tensor,
duplicated token embedding, skipped MTP tensors), ``ggml_backend_cuda_buffer_type_get_alloc_size``
(ggml/src/ggml-cuda/ggml-cuda.cu: row padding), ``load_arch_tensors`` in src/models/*.cpp (MTP flags).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from llmfit.advisor.model.quantization import TENSOR_TYPES
from llmfit.advisor.model.shape import ModelShape
from llmfit.advisor.model.tensors import Tensor
from llmfit.advisor.units import pad

GPU_ALIGNMENT_BYTES = 128
"""ggml_backend_cuda_buffer_type_get_alignment."""
HOST_ALIGNMENT_BYTES = 32
"""TENSOR_ALIGNMENT of the CPU buffer type (ggml/src/ggml-backend.cpp)."""
CUDA_ROW_PADDING = 512
"""MATRIX_ROW_PADDING (ggml/src/ggml-cuda/common.cuh): elements."""

CPU_MOE_PATTERN = re.compile(r"\.ffn_(up|down|gate|gate_up)_(ch|)exps")
"""LLM_FFN_EXPS_REGEX (common/common.h): what ``--cpu-moe`` and ``--n-cpu-moe`` move to RAM."""
HOST, OUTPUT = -1, -2
"""Pseudo-layers of ``PlacedTensor``: always in RAM, and with the output layer."""

_INPUT = re.compile(r"(token_embd|position_embd|token_types|per_layer_token_embd)\.")
_FIRST_LAYER = re.compile(
    r"(rope_freqs|rope_factors_long|rope_factors_short|per_layer_model_proj|per_layer_proj_norm)\."
)
_BLOCK = re.compile(r"blk\.(\d+)\.(.+)")
_EXPERT_KIND = re.compile(r"ffn_(up|down|gate|gate_up)_(ch|)exps\.weight")
_FFN_KIND = re.compile(r"ffn_(up|down|gate)\.weight")


@dataclass(frozen=True, slots=True)
class MatrixBytes:
    """Bytes (unpadded) of the feed-forward matrices of one layer; 0 where it has none."""

    up: int = 0
    gate: int = 0
    down: int = 0
    gate_up: int = 0

    @property
    def largest(self) -> int:
        return max(self.up, self.gate, self.down, self.gate_up)


@dataclass(frozen=True, slots=True)
class PlacedTensor:
    """A tensor that llama.cpp loads: its layer (or HOST, OUTPUT) and its bytes on either side."""

    name: str
    layer: int
    gpu_bytes: int
    host_bytes: int


@dataclass(frozen=True, slots=True)
class WeightTable:
    """Bytes by layer; tuples over layers have ``n_layer_all`` entries (MTP blocks last, 0 where skipped).

    ``gpu`` bytes are padded as CUDA pads them, ``host`` bytes as the CPU buffer does. ``expert_*`` are the part
    of a layer that ``--cpu-moe`` moves. ``input_host_bytes`` never leaves RAM. ``output_*`` is the output layer;
    with tied embeddings ``tied_copy_gpu_bytes`` is the second copy of the token embedding that a GPU output
    needs, ``tied_copy_host_bytes`` what the host holds on top when the output stays there.
    """

    layer_gpu_bytes: tuple[int, ...]
    layer_host_bytes: tuple[int, ...]
    expert_gpu_bytes: tuple[int, ...]
    expert_host_bytes: tuple[int, ...]
    experts: tuple[MatrixBytes, ...]
    ffn: tuple[MatrixBytes, ...]
    largest_tensor_bytes: tuple[int, ...]
    """Largest matrix of each layer that a scheduler could stage, bytes unpadded."""
    input_host_bytes: int
    output_gpu_bytes: int
    output_host_bytes: int
    tied_copy_gpu_bytes: int
    tied_copy_host_bytes: int
    output_matrix_bytes: int
    """The output matrix (or the tied embedding), bytes unpadded."""
    mtp_loaded: bool
    tensors: tuple[PlacedTensor, ...]
    """Every loaded tensor, for ``-ot``."""
