"""Model: one model in one quantisation, whatever it was read from."""

from __future__ import annotations

from dataclasses import dataclass

from llmfit.advisor.model.shape import ModelShape
from llmfit.advisor.model.tensors import Tensor


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
