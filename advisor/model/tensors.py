"""The tensors of a model file: names, dimensions, types, bytes."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod


@dataclass(frozen=True, slots=True)
class TensorShape:
    """A tensor before it has a type. ``dims`` in GGUF order: the contiguous dimension first."""

    name: str
    dims: tuple[int, ...]

    @property
    def n_elements(self) -> int:
        return prod(self.dims)


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor as it lies in a file. ``type_name`` is a key of ``quantization.TENSOR_TYPES``."""

    name: str
    dims: tuple[int, ...]
    type_name: str
    n_bytes: int

    @property
    def n_elements(self) -> int:
        return prod(self.dims)
