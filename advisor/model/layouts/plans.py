"""One plan an architecture: which parts a block has, and which tensors lie outside the blocks.

Sources (llama.cpp b11434): ``load_arch_tensors`` in src/models/*.cpp says what llama.cpp expects,
conversion/*.py what the converters write, MTP (NextN) blocks included.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from llmfit.advisor.model.layouts import deepseek4, gemma
from llmfit.advisor.model.layouts.attention import (
    attention,
    deep_head_norms,
    indexer,
    latent_attention,
    optional_head_norms,
)
from llmfit.advisor.model.layouts.block import (
    Block,
    Part,
    either,
    has_kv_heads,
    is_nextn,
    is_windowed,
    nothing,
    together,
)
from llmfit.advisor.model.layouts.feed_forward import (
    after_dense_lead,
    every_nth,
    experts,
    fused_gated,
    gated,
    plain,
    where_experts,
)
from llmfit.advisor.model.layouts.recurrent import (
    delta_net,
    kda,
    keeps_delta_state,
    mamba1,
    mamba2,
    short_convolution,
)


@dataclass(frozen=True, slots=True)
class Plan:
    """``mixer`` and ``feed_forward`` of each block between its ``norms``.

    ``outside``: besides embedding, output norm and output. ``nextn``: besides the four tensors of every MTP
    block. ``rope_factors``: long and short factors (phi3) instead of one tensor of frequencies.
    """

    mixer: Part
    feed_forward: Part = gated
    norms: tuple[str, ...] = ("attn_norm", "ffn_norm")
    outside: Part = nothing
    nextn: Part = nothing
    nextn_head_norm: bool = True
    output_norm: str = "output_norm"
    rope_factors: bool = False


_GQA = attention()
_HEAD_NORM = attention(qk_norm="head")
_FULL_NORM = attention(qk_norm="full")
_AROUND = ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm")
_BEHIND = ("post_attention_norm", "post_ffw_norm")
_BETWEEN = ("attn_norm", "post_attention_norm")
"""The norm before the feed-forward part has the name of the one after attention."""


def _own_final_norm(block: Block) -> None:
    block.norms("layer_output_norm")


def _starcoder_biases(block: Block) -> None:
    n_embd = block.numbers.n_embd
    block.bias("attn_norm", n_embd)
    block.bias("ffn_norm", n_embd)
    block.bias("ffn_up", block.n_ff)
    block.bias("ffn_down", n_embd)


def _output_norm_bias(block: Block) -> None:
    block.bias("output_norm", block.numbers.n_embd)


def _bare_ffn_norm(block: Block) -> None:
    """falcon-h1 names the norm without ``.weight``."""
    block.raw("ffn_norm", block.numbers.n_embd)


def _has_feed_forward(block: Block) -> bool:
    return block.n_ff > 0


def _post_attention_norm(block: Block) -> None:
    block.norms("post_attention_norm")


_MAMBA2_OR_GQA = either(has_kv_heads, _GQA, mamba2)
_SHORT_CONVOLUTION_OR_GQA = either(has_kv_heads, _HEAD_NORM, short_convolution)
_DELTA_NET_OR_GQA = either(keeps_delta_state, delta_net, attention(qk_norm="head", query_gate=True))
_NEMOTRON_EXPERTS = experts(router_bias="always", gate=False)
_MLA = Plan(latent_attention, after_dense_lead(experts(router_bias="optional")))
_DSA = Plan(together(latent_attention, indexer), after_dense_lead(experts(router_bias="always")))
_LLAMA = Plan(_GQA, where_experts(experts()))
_QWEN3 = Plan(_HEAD_NORM)
_QWEN3_MOE = Plan(_HEAD_NORM, experts())
_LFM2 = Plan(_SHORT_CONVOLUTION_OR_GQA, output_norm="token_embd_norm")
_NEMOTRON_H = Plan(
    either(
        is_nextn,
        together(_GQA, _post_attention_norm, _NEMOTRON_EXPERTS),
        either(_has_feed_forward, where_experts(_NEMOTRON_EXPERTS, plain), _MAMBA2_OR_GQA),
    ),
    feed_forward=nothing,
    norms=("attn_norm",),
)

_PLANS: dict[str, Plan] = {
    "llama": _LLAMA,
    "mistral3": _LLAMA,
    "granite": _LLAMA,
    "granitemoe": _LLAMA,
    "qwen2": Plan(_GQA),
    "smollm3": Plan(_GQA),
    "ernie4_5": Plan(_GQA),
    "qwen2moe": Plan(_GQA, experts(shared_gate=True)),
    "qwen3": _QWEN3,
    "qwen3vl": _QWEN3,
    "hunyuan-dense": _QWEN3,
    "qwen3moe": _QWEN3_MOE,
    "qwen3vlmoe": _QWEN3_MOE,
    "hunyuan-moe": _QWEN3_MOE,
    "mellum": _QWEN3_MOE,
    "gemma2": Plan(_GQA, norms=_AROUND),
    "gemma3": Plan(_HEAD_NORM, norms=_AROUND),
    "gemma3n": Plan(
        _HEAD_NORM,
        together(gated, gemma.per_layer_input, gemma.altup_and_laurel),
        norms=_AROUND,
        outside=together(gemma.per_layer_tables, gemma.altup_tables),
    ),
    "gemma4": Plan(
        gemma.two_width_attention,
        together(gemma.dense_beside_experts, gemma.per_layer_input),
        norms=_AROUND,
        outside=gemma.per_layer_tables,
    ),
    "cohere2": Plan(_GQA, norms=("attn_norm",)),
    "command-r": Plan(together(_GQA, deep_head_norms), norms=("attn_norm",)),
    "olmo2": Plan(_FULL_NORM, norms=_BEHIND),
    "exaone4": Plan(_HEAD_NORM, norms=_BEHIND),
    "olmoe": Plan(_FULL_NORM, experts()),
    "minimax-m2": Plan(_FULL_NORM, experts(router_bias="always")),
    "glm4": Plan(_GQA, fused_gated, norms=_AROUND),
    "phi3": Plan(attention(fused=True), fused_gated, rope_factors=True),
    "seed_oss": Plan(_GQA, norms=_BETWEEN),
    "arcee": Plan(_GQA, plain),
    "apertus": Plan(_HEAD_NORM, plain),
    "starcoder2": Plan(attention(biases=True), together(plain, _starcoder_biases), outside=_output_norm_bias),
    "ernie4_5-moe": Plan(_GQA, after_dense_lead(experts(router_bias="optional"))),
    "bailingmoe2": Plan(
        attention(qk_norm="head", fused=True),
        after_dense_lead(experts(router_bias="always")),
        nextn=_own_final_norm,
    ),
    "llama4": Plan(_GQA, every_nth(experts())),
    "afmoe": Plan(
        attention(qk_norm="head", gate="element"),
        after_dense_lead(experts(router_bias="always")),
        norms=_AROUND,
    ),
    "laguna": Plan(attention(qk_norm="head", gate="head"), after_dense_lead(experts(router_bias="always"))),
    "step35": Plan(
        attention(qk_norm="head", gate="head"),
        either(is_nextn, gated, after_dense_lead(experts(router_bias="always"))),
    ),
    "hy_v3": Plan(_HEAD_NORM, after_dense_lead(experts(router_bias="bare"))),
    "gpt-oss": Plan(attention(biases=True, sinks=True), experts(biases=True), norms=_BETWEEN),
    "glm4moe": Plan(
        together(_GQA, optional_head_norms),
        after_dense_lead(experts(router_bias="always")),
        norms=_BETWEEN,
    ),
    "mimo2": Plan(
        either(is_windowed, attention(sinks=True), _GQA),
        either(is_nextn, gated, after_dense_lead(experts(router_bias="always"))),
        nextn=_own_final_norm,
        nextn_head_norm=False,
    ),
    "deepseek2": _MLA,
    "mistral4": _MLA,
    "deepseek32": _DSA,
    "glm-dsa": _DSA,
    "deepseek4": Plan(
        together(deepseek4.compressed_attention, deepseek4.hyper_connections),
        together(experts(), deepseek4.routing),
        outside=deepseek4.hyper_head,
    ),
    "lfm2": _LFM2,
    "lfm2moe": Plan(
        _SHORT_CONVOLUTION_OR_GQA,
        after_dense_lead(experts(router_bias="always")),
        output_norm="token_embd_norm",
    ),
    "qwen3next": Plan(_DELTA_NET_OR_GQA, experts(shared_gate=True), norms=_BETWEEN),
    "qwen35": Plan(_DELTA_NET_OR_GQA, norms=_BETWEEN),
    "qwen35moe": Plan(_DELTA_NET_OR_GQA, experts(shared_gate=True), norms=_BETWEEN),
    "granitehybrid": Plan(_MAMBA2_OR_GQA, where_experts(experts())),
    "nemotron_h": _NEMOTRON_H,
    "nemotron_h_moe": _NEMOTRON_H,
    "falcon-h1": Plan(together(_GQA, mamba2), together(gated, _bare_ffn_norm), norms=("attn_norm",)),
    "jamba": Plan(either(has_kv_heads, _GQA, mamba1)),
    "kimi-linear": Plan(
        either(has_kv_heads, latent_attention, kda), after_dense_lead(experts(router_bias="always"))
    ),
}
PLANS: Mapping[str, Plan] = MappingProxyType(_PLANS)
