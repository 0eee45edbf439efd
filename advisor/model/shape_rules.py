"""From GGUF metadata and tensor names to a ModelShape, by the rules of llama.cpp's ``load_hparams``.

Sources (b11434): ``llama_model_base::load_hparams`` and ``create_memory`` in src/llama-model.cpp,
``load_arch_hparams`` in src/models/*.cpp, ``n_embd_r`` and ``n_embd_s`` in src/llama-hparams.cpp.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llmfit.advisor.errors import GgufError, NotModelledError
from llmfit.advisor.model.architectures import ARCHITECTURES, NOT_MODELLED, ArchitectureRule
from llmfit.advisor.model.header_values import HeaderValues
from llmfit.advisor.model.shape import (
    GraphTraits,
    IndexerShape,
    LayerKind,
    MlaShape,
    ModelShape,
    MtpCacheLayer,
    StateShape,
)
from llmfit.advisor.model.tensor_names import BLOCK, INPUT_EMBEDDING, ROUTED_EXPERTS, block_of
from llmfit.advisor.model.tensors import Tensor, TensorShape

MAX_LAYERS = 512
"""LLAMA_MAX_LAYERS (src/llama-hparams.h)."""
_DENSE_FFN = re.compile(r"ffn_(up|down|gate)\.weight")
_UNFILTERED_HYBRIDS = ("no kv heads", "no kv heads, no ffn", "every layer too")
"""Hybrid caches that create_memory gives to every block that is not recurrent, MTP blocks included."""
_GLM_5_2_CONTEXT = 1048576
"""From this trained context on, glm-dsa shares indexers between layers (src/models/glm-dsa.cpp)."""


def architecture_rule(architecture: str) -> ArchitectureRule:
    """The rule row, or NotModelledError with the reason."""
    rule = ARCHITECTURES.get(architecture)
    if rule is None:
        why = NOT_MODELLED.get(architecture, "llama.cpp b11434 does not know this architecture")
        raise NotModelledError(f"architecture {architecture!r}", f"not modelled: {why}")
    return rule


@dataclass(frozen=True, slots=True)
class _Blocks:
    """Tensor names by block, and the names outside blocks."""

    by_layer: Mapping[int, frozenset[str]]
    outside: frozenset[str]

    def any(self, prefix: str, below: int) -> bool:
        return any(
            name.startswith(prefix) for il, names in self.by_layer.items() if il < below for name in names
        )


def _blocks(tensors: Sequence[Tensor | TensorShape]) -> _Blocks:
    by_layer: dict[int, set[str]] = {}
    outside = set()
    for tensor in tensors:
        match = BLOCK.fullmatch(tensor.name)
        if match:
            by_layer.setdefault(int(match[1]), set()).add(match[2])
        else:
            outside.add(tensor.name)
    return _Blocks({il: frozenset(names) for il, names in by_layer.items()}, frozenset(outside))


def build_shape(metadata: Mapping[str, object], tensors: Sequence[Tensor | TensorShape]) -> ModelShape:
    """See ``shape.shape_from_header``."""
    header = HeaderValues(metadata)
    rule = architecture_rule(header.architecture)
    n_all = header.integer("block_count")
    if not 0 < n_all <= MAX_LAYERS:
        raise GgufError(f"{header.architecture}.block_count", f"{n_all} is not 1 to {MAX_LAYERS}")
    n_nextn = header.integer("nextn_predict_layers", 0)
    if n_nextn >= n_all:
        raise NotModelledError("this file", "not modelled: it holds only draft (MTP) blocks")
    n_layer = n_all - n_nextn
    blocks = _blocks(tensors)
    n_head = header.per_layer("attention.head_count", n_all, 0)
    n_head_kv = _kv_heads(header, n_head, n_all)
    windowed, window_tokens = _windowed_layers(header, rule, n_all, n_layer, n_head_kv)
    dims = _head_dims(header, n_head[0], windowed)
    recurrent = _recurrent_layers(header, rule, n_all, n_layer, n_head_kv)
    kinds = _kinds(header, rule, n_layer, windowed, recurrent, n_head_kv)
    embedding = next((tensor for tensor in tensors if tensor.name == INPUT_EMBEDDING), None)
    widest = max(v * kv for (_, v), kv in zip(dims, n_head_kv, strict=True))
    feed_forward = header.per_layer("feed_forward_length", n_all, 0)
    dense = [any(_DENSE_FFN.match(name) for name in blocks.by_layer.get(il, ())) for il in range(n_layer)]
    moe = {block_of(tensor.name) for tensor in tensors if ROUTED_EXPERTS.search(tensor.name)}
    return ModelShape(
        architecture=header.architecture,
        n_layer_all=n_all,
        n_layer=n_layer,
        n_embd=header.integer("embedding_length"),
        n_vocab=embedding.dims[-1] if embedding else header.integer("vocab_size", 0),
        context_train_tokens=header.integer("context_length"),
        kinds=kinds,
        n_head=n_head[:n_layer],
        n_head_kv=n_head_kv[:n_layer],
        head_dim_k=tuple(k for k, _ in dims[:n_layer]),
        head_dim_v=tuple(v for _, v in dims[:n_layer]),
        n_ff=tuple(feed_forward[il] if dense[il] else 0 for il in range(n_layer)),
        n_layer_kv=_cache_owners(header, rule, n_layer, n_all),
        traits=GraphTraits(
            parallel_residual=_parallel_residual(header, rule, blocks, n_layer),
            tied_embeddings="output.weight" not in blocks.outside,
        ),
        has_rope=_rope_layers(header, rule, n_layer, kinds, window_tokens),
        is_moe=tuple(il in moe for il in range(n_layer)),
        window_tokens=window_tokens,
        n_expert=header.integer("expert_count", 0),
        n_expert_used=max(header.per_layer("expert_used_count", n_all, 0)),
        n_ff_expert=_expert_width(header, tensors, n_all),
        value_width_max=widest,
        mla=_mla(header),
        indexer=_indexer(header, rule, n_layer),
        state=_state(header, rule, n_head),
        mtp_cache=_mtp_cache(n_layer, n_head_kv, dims, windowed, feed_forward, rule),
        mtp_in_main_cache=rule.recurrent in _UNFILTERED_HYBRIDS,
        n_deepstack=_deepstack(header),
        n_embd_per_layer=_per_layer_embedding(header),
        n_expert_groups=header.integer("expert_group_count", 0),
        n_expert_groups_used=header.integer("expert_group_used_count", 0),
        expert_weights_norm=header.flag("expert_weights_norm", False),
        attention_temperature=bool(header.raw("attention.temperature_scale")),
    )


def _kv_heads(header: HeaderValues, n_head: tuple[int, ...], n_all: int) -> tuple[int, ...]:
    if not header.has("attention.head_count_kv"):
        return n_head
    return header.per_layer("attention.head_count_kv", n_all)


def _windowed_layers(
    header: HeaderValues, rule: ArchitectureRule, n_all: int, n_layer: int, n_head_kv: tuple[int, ...]
) -> tuple[tuple[bool, ...], int]:
    """Which blocks are windowed, and the window in tokens (0: none)."""
    window = rule.window
    nowhere = (False,) * n_all
    if window is None or window.only_n_layer not in (None, n_layer):
        return nowhere, 0
    tokens = header.integer("attention.sliding_window", window.default_tokens)
    if tokens == 0:
        return nowhere, 0
    tokens = window.fixed_tokens or tokens
    if window.all_attention_layers:
        return tuple(il < n_layer and n_head_kv[il] > 0 for il in range(n_all)), tokens
    pattern = header.array("attention.sliding_window_pattern")
    if pattern is not None:
        padded = (pattern + (0,) * n_all)[:n_all]
        return tuple(bool(value) for value in padded), tokens
    period = header.integer("attention.sliding_window_pattern", window.period)
    if window.period == 0:
        raise GgufError(f"{header.architecture}.attention.sliding_window_pattern", "the header lacks it")
    if period == 0:
        return tuple(il < n_layer for il in range(n_all)), tokens
    phases = range(1, period) if window.dense_first else range(period - 1)
    return tuple(il < n_layer and il % period in phases for il in range(n_all)), tokens


def _head_dims(header: HeaderValues, n_head0: int, windowed: tuple[bool, ...]) -> tuple[tuple[int, int], ...]:
    """(K, V) head width of each block; 0 without attention heads."""
    if n_head0 == 0:
        # llama.cpp derives head widths from block 0 only, and leaves them 0 if that block has no heads
        return ((0, 0),) * len(windowed)
    default = header.integer("embedding_length") // n_head0
    k_full = header.integer("attention.key_length", default)
    v_full = header.integer("attention.value_length", default)
    k_swa = header.integer("attention.key_length_swa", k_full)
    v_swa = header.integer("attention.value_length_swa", v_full)
    return tuple((k_swa, v_swa) if swa else (k_full, v_full) for swa in windowed)


def _recurrent_layers(
    header: HeaderValues, rule: ArchitectureRule, n_all: int, n_layer: int, n_head_kv: tuple[int, ...]
) -> tuple[bool, ...]:
    """is_recr_impl: MTP blocks are never recurrent."""
    trunk = [il < n_layer for il in range(n_all)]
    if rule.recurrent in ("all", "every layer too"):
        return tuple(trunk)
    if rule.recurrent == "no kv heads":
        return tuple(inside and n_head_kv[il] == 0 for il, inside in enumerate(trunk))
    if rule.recurrent == "no kv heads, no ffn":
        feed_forward = header.per_layer("feed_forward_length", n_all, 0)
        return tuple(inside and n_head_kv[il] == 0 == feed_forward[il] for il, inside in enumerate(trunk))
    if rule.recurrent == "interval":
        marked = header.array("attention.recurrent_layers")
        if marked is not None:
            return tuple(bool(value) for value in (marked + (0,) * n_all)[:n_all])
        interval = header.integer("full_attention_interval", 8 if rule.state == "lightning" else 4)
        return tuple(inside and (il + 1) % max(interval, 1) != 0 for il, inside in enumerate(trunk))
    return (False,) * n_all


def _kinds(
    header: HeaderValues,
    rule: ArchitectureRule,
    n_layer: int,
    windowed: tuple[bool, ...],
    recurrent: tuple[bool, ...],
    n_head_kv: tuple[int, ...],
) -> tuple[LayerKind, ...]:
    feed_forward = header.per_layer("feed_forward_length", n_layer, 0)
    kinds = []
    for il in range(n_layer):
        if rule.recurrent == "every layer too":
            kinds.append(LayerKind.HYBRID)
        elif recurrent[il]:
            kinds.append(LayerKind.RECURRENT)
        elif n_head_kv[il] == 0 or (rule.recurrent == "no kv heads, no ffn" and feed_forward[il] > 0):
            kinds.append(LayerKind.NONE)
        else:
            kinds.append(LayerKind.SWA if windowed[il] else LayerKind.FULL)
    return tuple(kinds)


def _rope_layers(
    header: HeaderValues,
    rule: ArchitectureRule,
    n_layer: int,
    kinds: tuple[LayerKind, ...],
    window_tokens: int,
) -> tuple[bool, ...]:
    """Which attention layers rotate Q and K (src/models/*.cpp, ``use_rope`` and ``has_rope``)."""
    if rule.rope == "windowed" and window_tokens:
        return tuple(kind is LayerKind.SWA for kind in kinds)
    if rule.rope == "not every 4th" and (window_tokens or header.architecture == "smollm3"):
        return tuple((il + 1) % 4 != 0 for il in range(n_layer))
    if rule.rope == "not first of 4" and window_tokens:
        return tuple(il % 4 != 0 for il in range(n_layer))
    if rule.rope == "if finetuned":
        return (header.flag("rope.scaling.finetuned", True),) * n_layer
    return (rule.rope != "none",) * n_layer


def _cache_owners(header: HeaderValues, rule: ArchitectureRule, n_layer: int, n_all: int) -> int:
    if header.architecture == "gemma4":
        return n_all - header.integer("attention.shared_kv_layers", 0)
    return min(rule.n_layer_kv or n_layer, n_layer)


def _mla(header: HeaderValues) -> MlaShape | None:
    key_length = header.integer("attention.key_length_mla", 0)
    value_length = header.integer("attention.value_length_mla", 0)
    if not key_length or not value_length:
        return None
    return MlaShape(
        kv_lora_rank=header.integer("attention.kv_lora_rank"),
        key_length=key_length,
        value_length=value_length,
        rope_dims=header.integer("rope.dimension_count", header.integer("attention.key_length", 0)),
    )


def _indexer(header: HeaderValues, rule: ArchitectureRule, n_layer: int) -> IndexerShape | None:
    """deepseek32: every layer; glm-dsa: the layers with an index of their own."""
    if not rule.indexer:
        return None
    layers = (True,) * n_layer
    if header.architecture == "glm-dsa":
        if header.has("attention.indexer.types"):
            layers = tuple(bool(v) for v in header.per_layer("attention.indexer.types", n_layer))
        elif header.integer("context_length") >= _GLM_5_2_CONTEXT:
            layers = tuple(il < 2 or (il - 2) % 4 == 0 for il in range(n_layer))
    return IndexerShape(
        n_head=header.integer("attention.indexer.head_count"),
        key_length=header.integer("attention.indexer.key_length"),
        top_k=header.integer("attention.indexer.top_k"),
        layers=layers,
    )


def _state(header: HeaderValues, rule: ArchitectureRule, n_head: tuple[int, ...]) -> StateShape | None:
    """llama_hparams::n_embd_r and n_embd_s: F32 elements a layer and sequence (src/llama-hparams.cpp:185)."""
    if rule.recurrent == "none":
        return None
    n_embd = header.integer("embedding_length")
    if rule.state == "rwkv":
        head = header.integer("wkv.head_size")
        shift = header.integer("token_shift_count", 2)
        return StateShape("rwkv", shift * n_embd, n_embd * head, head_size=head)
    if rule.state == "shortconv":
        cache = header.integer("shortconv.l_cache")
        return StateShape("shortconv", n_embd * (cache - 1), 0)
    kernel = header.integer("ssm.conv_kernel", 0)
    if rule.state == "kda":
        head = header.integer("kda.head_dim")
        conv = 3 * (kernel - 1 if kernel else 3) * n_head[0] * head
        return StateShape("kda", conv, head * head * n_head[0], head_size=head)
    if rule.state == "lightning":
        head = header.integer("attention.key_length", n_embd // max(n_head[0], 1))
        return StateShape("lightning", 0, head * head * n_head[0], head_size=head)
    inner, size = header.integer("ssm.inner_size"), header.integer("ssm.state_size")
    groups = header.integer("ssm.group_count", 0)
    conv = (kernel - 1 if kernel else 0) * (inner + 2 * groups * size)
    rank = header.integer("ssm.time_step_rank", 0)
    return StateShape(rule.state, conv, size * inner, inner, size, groups, rank)


def _mtp_cache(
    n_layer: int,
    n_head_kv: tuple[int, ...],
    dims: tuple[tuple[int, int], ...],
    windowed: tuple[bool, ...],
    feed_forward: tuple[int, ...],
    rule: ArchitectureRule,
) -> tuple[MtpCacheLayer, ...]:
    """MTP blocks that attend; nemotron_h marks blocks without attention by a feed-forward width."""
    return tuple(
        MtpCacheLayer(il, dims[il][0] * n_head_kv[il], dims[il][1] * n_head_kv[il], windowed[il])
        for il in range(n_layer, len(n_head_kv))
        if n_head_kv[il] > 0 and not (rule.recurrent == "no kv heads, no ffn" and feed_forward[il] > 0)
    )


def _deepstack(header: HeaderValues) -> int:
    mapping = header.array("deepstack_mapping")
    if mapping is not None and header.architecture in ("granite", "granite_swa"):
        return len({index for index in mapping if 0 <= index < MAX_LAYERS})
    if header.architecture in ("qwen3vl", "qwen3vlmoe"):
        return header.integer("n_deepstack_layers", 0)
    return 0


def _per_layer_embedding(header: HeaderValues) -> int:
    if header.architecture == "gemma3n":
        return header.integer("embedding_length_per_layer_input", 256)
    if header.architecture == "gemma4":
        return header.integer("embedding_length_per_layer_input", 0)
    return 0


def _expert_width(header: HeaderValues, tensors: Sequence[Tensor | TensorShape], n_all: int) -> int:
    """The key, or the widest ``ffn_down_exps`` where the file has no key (mixtral, dbrx, grok)."""
    declared = max(header.per_layer("expert_feed_forward_length", n_all, 0))
    if declared:
        return declared
    return max((t.dims[0] for t in tensors if ".ffn_down_exps." in t.name), default=0)


def _parallel_residual(header: HeaderValues, rule: ArchitectureRule, blocks: _Blocks, n_layer: int) -> bool:
    if header.architecture == "gptneox":
        return header.flag("use_parallel_residual", True)
    if header.architecture == "stablelm":
        return not blocks.any("ffn_norm.", n_layer)
    return rule.parallel_residual
