"""Blocks that keep a state instead of a cache: Mamba, gated delta nets, KDA, short convolutions."""

from __future__ import annotations

from llmfit.advisor.model.layouts.block import Block


def mamba1(block: Block) -> None:
    """src/models/jamba.cpp."""
    header, n_embd = block.numbers.header, block.numbers.n_embd
    inner, state = header.integer("ssm.inner_size"), header.integer("ssm.state_size")
    kernel, rank = header.integer("ssm.conv_kernel"), header.integer("ssm.time_step_rank")
    block.weight("ssm_in", n_embd, 2 * inner)
    block.weight("ssm_conv1d", kernel, inner)
    block.bias("ssm_conv1d", inner)
    block.weight("ssm_x", inner, rank + 2 * state)
    block.weight("ssm_dt_norm", rank)
    block.weight("ssm_dt", rank, inner)
    block.bias("ssm_dt", inner)
    block.weight("ssm_b_norm", state)
    block.weight("ssm_c_norm", state)
    block.raw("ssm_a", state, inner)
    block.raw("ssm_d", inner)
    block.weight("ssm_out", inner, n_embd)


def mamba2(block: Block) -> None:
    """src/models/granite-hybrid.cpp, nemotron-h.cpp, falcon-h1.cpp; ``time_step_rank`` counts the heads."""
    header, n_embd = block.numbers.header, block.numbers.n_embd
    inner, state = header.integer("ssm.inner_size"), header.integer("ssm.state_size")
    kernel, heads = header.integer("ssm.conv_kernel"), header.integer("ssm.time_step_rank")
    groups = header.integer("ssm.group_count")
    convolved = inner + 2 * groups * state
    block.weight("ssm_in", n_embd, inner + convolved + heads)
    block.weight("ssm_conv1d", kernel, convolved)
    block.bias("ssm_conv1d", convolved)
    block.bias("ssm_dt", heads)
    block.raw("ssm_a", 1, heads)
    block.raw("ssm_d", 1, heads)
    if block.numbers.options.state_norm:
        block.weight("ssm_norm", inner // groups, groups)
    block.weight("ssm_out", inner, n_embd)


def delta_net(block: Block) -> None:
    """src/models/qwen3next.cpp and qwen35.cpp: heads of ``state_size``, ``group_count`` of them for keys."""
    header, n_embd = block.numbers.header, block.numbers.n_embd
    state, heads = header.integer("ssm.state_size"), header.integer("ssm.time_step_rank")
    value = state * heads
    convolved = 2 * state * header.integer("ssm.group_count") + value
    block.weight("attn_qkv", n_embd, convolved)
    block.weight("attn_gate", n_embd, value)
    block.weight("ssm_conv1d", header.integer("ssm.conv_kernel"), convolved)
    block.bias("ssm_dt", heads)
    block.raw("ssm_a", heads)
    if header.architecture == "qwen3next":
        block.weight("ssm_ba", n_embd, 2 * heads)
    else:
        block.weight("ssm_beta", n_embd, heads)
        block.weight("ssm_alpha", n_embd, heads)
    block.weight("ssm_norm", state)
    block.weight("ssm_out", value, n_embd)


def kda(block: Block) -> None:
    """Kimi delta attention (src/models/kimi-linear.cpp)."""
    header, n_embd = block.numbers.header, block.numbers.n_embd
    head, heads = header.integer("kda.head_dim"), block.n_head
    width = head * heads
    for which in "qkv":
        block.weight(f"ssm_conv1d_{which}", header.integer("ssm.conv_kernel"), 1, width, 1)
        block.weight(f"attn_{which}", n_embd, width)
    block.weight("ssm_f_a", n_embd, head)
    block.weight("ssm_f_b", head, width)
    block.weight("ssm_beta", n_embd, heads)
    block.raw("ssm_a", 1, heads, 1, 1)
    block.bias("ssm_dt", width)
    block.weight("ssm_g_a", n_embd, head)
    block.weight("ssm_g_b", head, width)
    block.weight("ssm_norm", head)
    block.weight("attn_output", width, n_embd)


def short_convolution(block: Block) -> None:
    """src/models/lfm2.cpp."""
    n_embd = block.numbers.n_embd
    block.weight("shortconv.conv", block.numbers.header.integer("shortconv.l_cache"), n_embd)
    block.weight("shortconv.in_proj", n_embd, 3 * n_embd)
    block.weight("shortconv.out_proj", n_embd, n_embd)


def keeps_delta_state(block: Block) -> bool:
    """Every block but each ``full_attention_interval``-th and the MTP blocks."""
    if block.is_nextn:
        return False
    listed = block.numbers.header.array("attention.recurrent_layers")
    if listed is not None:
        return bool(listed[block.layer])
    return (block.layer + 1) % block.numbers.header.integer("full_attention_interval", 4) != 0
