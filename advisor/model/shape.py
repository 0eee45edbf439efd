"""ModelShape: the numbers of an architecture that decide memory and speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from llmfit.advisor.model.tensors import Tensor


class LayerKind(Enum):
    """What a layer keeps between tokens."""

    FULL = "full attention"
    SWA = "sliding window"
    RECURRENT = "recurrent state"
    HYBRID = "full attention and recurrent state"
    NONE = "neither"


@dataclass(frozen=True, slots=True)
class ModelShape:
    """Per-layer tuples have ``n_layer`` entries (the trunk, without MTP/NextN blocks).

    Dimensions are elements. ``n_layer_all`` is GGUF ``block_count`` and includes MTP/NextN blocks.
    """

    architecture: str
    n_layer_all: int
    n_layer: int
    n_embd: int
    n_vocab: int
    context_train_tokens: int
    kinds: tuple[LayerKind, ...]
    n_head: tuple[int, ...]
    n_head_kv: tuple[int, ...]
    head_dim_k: tuple[int, ...]
    head_dim_v: tuple[int, ...]
    n_ff: tuple[int, ...]
    """Dense feed-forward width of each layer; 0 where the layer has none."""
    n_layer_kv: int
    """Layers below this own a KV cache; later ones reuse an earlier layer's (gemma3n, gemma4)."""
    window_tokens: int = 0
    n_expert: int = 0
    n_expert_used: int = 0
    n_ff_expert: int = 0
    recurrent_elements: int = 0
    """F32 elements of state a recurrent layer keeps for one sequence."""
    # … the memory rules add what they need below


def shape_from_header(metadata: Mapping[str, object], tensors: Sequence[Tensor]) -> ModelShape:
    """The shape that a GGUF header (or a catalogue row laid out like one) describes."""
    raise NotImplementedError
