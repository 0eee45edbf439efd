"""ModelShape: the numbers of an architecture that decide memory and speed.

Read from a GGUF header by ``shape_rules.shape_from_header`` (re-exported here); nothing else makes one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from llmfit.advisor.model.tensors import Tensor, TensorShape


class LayerKind(Enum):
    """What a layer keeps between tokens."""

    FULL = "full attention"
    SWA = "sliding window"
    RECURRENT = "recurrent state"
    HYBRID = "full attention and recurrent state"
    NONE = "neither"


@dataclass(frozen=True, slots=True)
class MlaShape:
    """Multi-head latent attention: the cache holds one latent row for all heads, V is a view of K.

    ``key_length`` and ``value_length`` are the head widths after decompression (GGUF ``*_mla``).
    """

    kv_lora_rank: int
    key_length: int
    value_length: int
    rope_dims: int


@dataclass(frozen=True, slots=True)
class IndexerShape:
    """Sparse attention's index (DSA): one more key row a token in the layers that own an indexer."""

    n_head: int
    key_length: int
    top_k: int
    layers: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class StateShape:
    """What a recurrent layer keeps for one sequence, in F32 elements (llama-hparams.cpp n_embd_r, n_embd_s).

    ``kind`` is ``mamba``, ``mamba2``, ``plamo2``, ``delta net``, ``kda``, ``shortconv``, ``rwkv`` or
    ``lightning``.
    """

    kind: str
    conv_elements: int
    state_elements: int
    inner_size: int = 0
    state_size: int = 0
    group_count: int = 0
    time_step_rank: int = 0
    head_size: int = 0

    @property
    def elements(self) -> int:
        return self.conv_elements + self.state_elements


@dataclass(frozen=True, slots=True)
class MtpCacheLayer:
    """The cache row of an MTP block: K and V elements a token."""

    layer: int
    k_elements: int
    v_elements: int
    windowed: bool


@dataclass(frozen=True, slots=True)
class GraphTraits:
    """What the graph depends on and neither the numbers nor the name of one tensor tell."""

    parallel_residual: bool
    """Attention and feed-forward both start from the block's input."""
    tied_embeddings: bool
    """There is no ``output.weight``: the input embedding is the output matrix, too."""


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
    traits: GraphTraits
    has_rope: tuple[bool, ...]
    is_moe: tuple[bool, ...]
    window_tokens: int = 0
    """Of a sliding window, or of llama4's fixed chunks, whose cache has the same size; 0: no window."""
    n_expert: int = 0
    n_expert_used: int = 0
    n_ff_expert: int = 0
    """Widest routed expert of any layer."""
    value_width_max: int = 0
    """Widest V row of any block: V without flash attention is padded to it (TAG_V_CACHE_VARIABLE)."""
    mla: MlaShape | None = None
    indexer: IndexerShape | None = None
    state: StateShape | None = None
    mtp_cache: tuple[MtpCacheLayer, ...] = ()
    """MTP blocks with attention: the draft context of ``--spec-type draft-mtp`` caches these."""
    mtp_in_main_cache: bool = False
    """The main context allocates a cache for them too, although its graph never reads it (some hybrids)."""
    n_deepstack: int = 0
    n_expert_groups: int = 0
    """Experts compete in groups, of which ``n_expert_groups_used`` stay (DeepSeek-V3); 0 or 1 without."""
    n_expert_groups_used: int = 0
    expert_weights_norm: bool = False
    """The header says that the weights of the chosen experts are normalised; some architectures always do."""
    attention_temperature: bool = False
    """Queries are scaled by position (mistral3, mistral4, large deepseek2 models of Mistral)."""
    n_embd_per_layer: int = 0
    """Width of per-layer embeddings (gemma3n, gemma4); 0 without."""

    @property
    def recurrent_elements(self) -> int:
        """F32 elements of state a recurrent layer keeps for one sequence."""
        return self.state.elements if self.state else 0

    def has_attention(self, layer: int) -> bool:
        return self.kinds[layer] in (LayerKind.FULL, LayerKind.SWA, LayerKind.HYBRID)

    def has_state(self, layer: int) -> bool:
        return self.kinds[layer] in (LayerKind.RECURRENT, LayerKind.HYBRID)

    def key_width(self, layer: int) -> int:
        """K elements a token of this layer's cache (n_embd_k_gqa)."""
        return self.head_dim_k[layer] * self.n_head_kv[layer]

    def value_width(self, layer: int) -> int:
        """V elements a token (n_embd_v_gqa); MLA stores none whatever this says."""
        return self.head_dim_v[layer] * self.n_head_kv[layer]


def shape_from_header(metadata: Mapping[str, object], tensors: Sequence[Tensor | TensorShape]) -> ModelShape:
    """The shape that a GGUF header (or a catalogue row laid out like one) describes, for any file type.

    Raises NotModelledError for an architecture whose memory rules are not known, GgufError for a header that
    lacks or contradicts what the architecture needs.
    """
    from llmfit.advisor.model.shape_rules import build_shape

    return build_shape(metadata, tensors)
