"""Model: one model in one quantisation, whatever it was read from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llmfit.advisor.model.shape import ModelShape
from llmfit.advisor.model.tensors import Tensor

NO_POOLING = "none"
POOLINGS = (NO_POOLING, "mean", "cls", "last", "rank")
"""The names of ``--pooling``, by their numbers in a file (enum llama_pooling_type in llama.cpp's llama.h)."""


@dataclass(frozen=True, slots=True)
class Model:
    """What every judgement needs to know of a model.

    ``launch_args`` names the file for llama-server: ``("-m", path)`` or ``("-hf", "owner/repo:Q4_K_M")``.
    ``file_bytes`` is the size of the file(s) where it is known: measured, published or computed.
    """

    id: str
    shape: ModelShape
    tensors: tuple[Tensor, ...]
    quantization: str
    source: str
    """``gguf``, ``catalog``, ``hf`` or ``spec``."""
    launch_args: tuple[str, ...]
    n_parameters: int
    n_active_parameters: int | None
    file_bytes: int
    file_bytes_source: str
    pooling: str = NO_POOLING
    """``none`` writes text; anything else makes one vector (``rank``: one score) of all that it reads."""

    @property
    def is_embedding(self) -> bool:
        return self.pooling != NO_POOLING


def pooling_of(metadata: Mapping[str, object]) -> str:
    """``ARCHITECTURE.pooling_type`` by its name (LLM_KV_POOLING_TYPE in llama.cpp's llama-arch.cpp)."""
    number = metadata.get(f"{metadata.get('general.architecture')}.pooling_type")
    if not isinstance(number, int) or not 0 <= number < len(POOLINGS):
        return NO_POOLING
    return POOLINGS[number]
