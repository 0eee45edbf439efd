"""Tensor types and file types: what a block of weights weighs, and which names llama-quantize knows.

A *tensor type* (``Q4_K``) packs a fixed number of elements into a fixed number of bytes. A *file type*
(``Q4_K_M``) says how the tensors of one file are mixed from tensor types; ``mixing`` holds those rules.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType

from llmfit.advisor.errors import UsageError


@dataclass(frozen=True, slots=True)
class TensorType:
    """A storage format of ggml: ``block_elements`` elements of a row take ``block_bytes`` bytes."""

    name: str
    ggml_id: int
    block_elements: int
    block_bytes: int

    @property
    def bits_per_weight(self) -> float:
        return self.block_bytes * 8 / self.block_elements

    @property
    def is_quantized(self) -> bool:
        """Blocks of several elements share a scale (ggml_is_quantized)."""
        return self.block_elements > 1


# llama.cpp b11434: enum ggml_type (ggml/include/ggml.h), blck_size and type_size of type_traits
# (ggml/src/ggml.c) with the block structs of ggml/src/ggml-common.h; the ids left out were removed from ggml.
_TENSOR_TYPES = (
    TensorType("F32", 0, 1, 4),
    TensorType("F16", 1, 1, 2),
    TensorType("Q4_0", 2, 32, 18),
    TensorType("Q4_1", 3, 32, 20),
    TensorType("Q5_0", 6, 32, 22),
    TensorType("Q5_1", 7, 32, 24),
    TensorType("Q8_0", 8, 32, 34),
    TensorType("Q8_1", 9, 32, 36),
    TensorType("Q2_K", 10, 256, 84),
    TensorType("Q3_K", 11, 256, 110),
    TensorType("Q4_K", 12, 256, 144),
    TensorType("Q5_K", 13, 256, 176),
    TensorType("Q6_K", 14, 256, 210),
    TensorType("Q8_K", 15, 256, 292),
    TensorType("IQ2_XXS", 16, 256, 66),
    TensorType("IQ2_XS", 17, 256, 74),
    TensorType("IQ3_XXS", 18, 256, 98),
    TensorType("IQ1_S", 19, 256, 50),
    TensorType("IQ4_NL", 20, 32, 18),
    TensorType("IQ3_S", 21, 256, 110),
    TensorType("IQ2_S", 22, 256, 82),
    TensorType("IQ4_XS", 23, 256, 136),
    TensorType("I8", 24, 1, 1),
    TensorType("I16", 25, 1, 2),
    TensorType("I32", 26, 1, 4),
    TensorType("I64", 27, 1, 8),
    TensorType("F64", 28, 1, 8),
    TensorType("IQ1_M", 29, 256, 56),
    TensorType("BF16", 30, 1, 2),
    TensorType("TQ1_0", 34, 256, 54),
    TensorType("TQ2_0", 35, 256, 66),
    TensorType("MXFP4", 39, 32, 17),
    TensorType("NVFP4", 40, 64, 36),
    TensorType("Q1_0", 41, 128, 18),
    TensorType("Q2_0", 42, 64, 18),
)

TENSOR_TYPES: Mapping[str, TensorType] = MappingProxyType({kind.name: kind for kind in _TENSOR_TYPES})
"""Every tensor type of ggml by its upper-case name."""
TENSOR_TYPE_BY_ID: Mapping[int, TensorType] = MappingProxyType({kind.ggml_id: kind for kind in _TENSOR_TYPES})
"""The same by the number that a GGUF header holds."""

DEFAULT_FILE_TYPE = "Q4_K_M"
"""What most people run, and what every publisher has: taken where nobody names a file type."""
CACHE_TYPES: Mapping[str, TensorType] = MappingProxyType(
    {
        value: TENSOR_TYPES[value.upper()]
        for value in ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")
    }
)
"""Values of ``--cache-type-k`` and ``--cache-type-v`` (kv_cache_types, common/arg.cpp)."""


def tensor_bytes(type_name: str, dims: tuple[int, ...]) -> int:
    """Bytes of a tensor of ``dims`` (contiguous dimension first) in a type of TENSOR_TYPES.

    ggml_nrows × ggml_row_size (ggml/src/ggml.c), without the alignment between tensors of a file.
    Raises ValueError where a row is no whole number of blocks: ggml has no such tensor.
    """
    kind = TENSOR_TYPES[type_name]
    row_elements = dims[0] if dims else 1
    if row_elements % kind.block_elements:
        raise ValueError(
            f"a row of {row_elements} elements is no multiple of {type_name}'s {kind.block_elements}"
        )
    return row_elements // kind.block_elements * kind.block_bytes * prod(dims[1:])


@dataclass(frozen=True, slots=True)
class FileType:
    """A kind of model file that llama-quantize writes.

    ``base_type`` is the tensor type that tensors get without a rule of their own.
    ``needs_imatrix``: llama-quantize refuses to write it without an importance matrix.
    """

    name: str
    llama_ftype: int
    base_type: str
    needs_imatrix: bool = False


# llama.cpp b11434: QUANT_OPTIONS (tools/quantize/quantize.cpp), enum llama_ftype (include/llama.h),
# llama_ftype_get_default_type and tensor_requires_imatrix (src/llama-quant.cpp).
_FILE_TYPES = (
    FileType("F32", 0, "F32"),
    FileType("F16", 1, "F16"),
    FileType("Q4_0", 2, "Q4_0"),
    FileType("Q4_1", 3, "Q4_1"),
    FileType("Q8_0", 7, "Q8_0"),
    FileType("Q5_0", 8, "Q5_0"),
    FileType("Q5_1", 9, "Q5_1"),
    FileType("Q2_K", 10, "Q2_K"),
    FileType("Q3_K_S", 11, "Q3_K"),
    FileType("Q3_K_M", 12, "Q3_K"),
    FileType("Q3_K_L", 13, "Q3_K"),
    FileType("Q4_K_S", 14, "Q4_K"),
    FileType("Q4_K_M", 15, "Q4_K"),
    FileType("Q5_K_S", 16, "Q5_K"),
    FileType("Q5_K_M", 17, "Q5_K"),
    FileType("Q6_K", 18, "Q6_K"),
    FileType("IQ2_XXS", 19, "IQ2_XXS", needs_imatrix=True),
    FileType("IQ2_XS", 20, "IQ2_XS", needs_imatrix=True),
    FileType("Q2_K_S", 21, "Q2_K", needs_imatrix=True),
    FileType("IQ3_XS", 22, "IQ3_S", needs_imatrix=True),
    FileType("IQ3_XXS", 23, "IQ3_XXS", needs_imatrix=True),
    FileType("IQ1_S", 24, "IQ1_S", needs_imatrix=True),
    FileType("IQ4_NL", 25, "IQ4_NL"),
    FileType("IQ3_S", 26, "IQ3_S"),
    FileType("IQ3_M", 27, "IQ3_S"),
    FileType("IQ2_S", 28, "IQ2_XS", needs_imatrix=True),
    FileType("IQ2_M", 29, "IQ2_S", needs_imatrix=True),
    FileType("IQ4_XS", 30, "IQ4_XS"),
    FileType("IQ1_M", 31, "IQ1_M", needs_imatrix=True),
    FileType("BF16", 32, "BF16"),
    FileType("TQ1_0", 36, "TQ1_0"),
    FileType("TQ2_0", 37, "TQ2_0"),
    FileType("MXFP4_MOE", 38, "MXFP4"),
    FileType("Q1_0", 40, "Q1_0"),
    FileType("Q2_0", 41, "Q2_0"),
)

FILE_TYPES: Mapping[str, FileType] = MappingProxyType({kind.name: kind for kind in _FILE_TYPES})
"""Every file type llama-quantize writes, by name, in the order of llama_ftype."""
FILE_TYPE_BY_ID: Mapping[int, FileType] = MappingProxyType({kind.llama_ftype: kind for kind in _FILE_TYPES})
"""The same by GGUF ``general.file_type``. Files of other tools may carry a number that is not here."""

_ALIASES: Mapping[str, str] = MappingProxyType(
    {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M", "MXFP4": "MXFP4_MOE"}
)


def file_type(name: str) -> FileType:
    """The file type people mean by ``q4_k_m``, ``Q4-K-M``, ``Q4_K`` or ``MXFP4``.

    Raises UsageError with the nearest names for anything else.
    """
    key = name.strip().upper().replace("-", "_")
    found = FILE_TYPES.get(_ALIASES.get(key, key))
    if found is None:
        nearest = difflib.get_close_matches(key, FILE_TYPES, n=3, cutoff=0.5)
        meant = f"Did you mean {' or '.join(nearest)}?" if nearest else ""
        raise UsageError(
            f"quantization {name!r}", "llama-quantize writes no such file type", meant or "Try Q4_K_M."
        )
    return found
