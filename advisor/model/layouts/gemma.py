"""The parts that only Gemma 3n and Gemma 4 have (src/models/gemma3n.cpp, gemma4.cpp)."""

from __future__ import annotations

from llmfit.advisor.model.layouts.block import Block, is_windowed
from llmfit.advisor.model.layouts.feed_forward import experts, gated

_ALTUP = 4
_LAUREL_RANK = 64
_ALTUP_WIDTH = 256
"""n_altup, laurel_rank and n_embd_altup of llama-hparams.h."""


def per_layer_tables(block: Block) -> None:
    """The embedding that every block reads a slice of, and its projection."""
    numbers = block.numbers
    width = _per_layer_width(block) * numbers.n_layer
    if width:
        block.weight("per_layer_token_embd", width, numbers.n_vocab)
        block.weight("per_layer_model_proj", numbers.n_embd, width)
        block.weight("per_layer_proj_norm", _per_layer_width(block))


def per_layer_input(block: Block) -> None:
    width, n_embd = _per_layer_width(block), block.numbers.n_embd
    if width:
        block.weight("inp_gate", n_embd, width)
        block.weight("proj", width, n_embd)
        block.norms("post_norm")


def _per_layer_width(block: Block) -> int:
    header = block.numbers.header
    default = _ALTUP_WIDTH if header.architecture == "gemma3n" else 0
    return header.integer("embedding_length_per_layer_input", default)


def altup_tables(block: Block) -> None:
    n_embd = block.numbers.n_embd
    block.weight("altup_proj", n_embd, n_embd, _ALTUP - 1)
    block.weight("altup_unembd_proj", n_embd, n_embd, _ALTUP - 1)


def altup_and_laurel(block: Block) -> None:
    n_embd = block.numbers.n_embd
    block.weight("altup_correct_coef", _ALTUP, _ALTUP)
    block.weight("altup_predict_coef", _ALTUP, _ALTUP * _ALTUP)
    block.weight("altup_router", n_embd, _ALTUP)
    block.norms("altup_correct_scale", "altup_router_norm", "laurel_post_norm")
    block.weight("laurel_l", n_embd, _LAUREL_RANK)
    block.weight("laurel_r", _LAUREL_RANK, n_embd)


def two_width_attention(block: Block) -> None:
    """Gemma 4: windowed blocks have narrower heads; full ones may use K as V."""
    numbers, header, n_embd = block.numbers, block.numbers.header, block.numbers.n_embd
    windowed = is_windowed(block)
    head = header.integer("attention.key_length_swa") if windowed else numbers.head_dim("key")
    block.weight("attn_q", n_embd, head * block.n_head)
    block.weight("attn_k", n_embd, head * block.n_head_kv)
    if windowed or not numbers.options.value_is_key:
        block.weight("attn_v", n_embd, head * block.n_head_kv)
    block.weight("attn_output", head * block.n_head, n_embd)
    block.weight("attn_q_norm", head)
    block.weight("attn_k_norm", head)


_routed = experts()


def dense_beside_experts(block: Block) -> None:
    """Gemma 4: a dense part in every block, in mixtures beside the routed experts."""
    numbers = block.numbers
    gated(block)
    if numbers.options.layer_scales:
        block.weight("layer_output_scale", 1)
    count = numbers.header.integer("expert_count", 0)
    if count:
        _routed(block)
        block.raw("ffn_gate_inp.scale", numbers.n_embd)
        block.norms("pre_ffw_norm_2", "post_ffw_norm_1", "post_ffw_norm_2")
        if numbers.options.layer_scales:
            block.raw("ffn_down_exps.scale", count)
