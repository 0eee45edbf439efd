"""Attention: grouped queries, latent attention (MLA) with or without an index, and their norms."""

from __future__ import annotations

from llmfit.advisor.model.layouts.block import Block, Part


def attention(
    *,
    qk_norm: str | None = None,
    fused: bool = False,
    query_gate: bool = False,
    gate: str | None = None,
    sinks: bool = False,
    biases: bool = False,
) -> Part:
    """Q, K, V and output matrices with what an architecture adds.

    ``qk_norm``: norms of Q and K over each ``head`` or over the ``full`` width. ``query_gate``: Q is twice as
    wide, the second half gates the output (qwen3next). ``gate``: an own matrix with one gate a ``head`` or an
    ``element``. ``biases``: on Q, K, V and output whatever the options say.
    """

    def draw(block: Block) -> None:
        numbers = block.numbers
        n_embd, options = numbers.n_embd, numbers.options
        key, value = numbers.head_dim("key"), numbers.head_dim("value")
        q, k, v = key * block.n_head, key * block.n_head_kv, value * block.n_head_kv
        if fused or options.fused_qkv:
            block.weight("attn_qkv", n_embd, q + k + v)
        else:
            block.weight("attn_q", n_embd, q * (2 if query_gate else 1))
            block.weight("attn_k", n_embd, k)
            block.weight("attn_v", n_embd, v)
        block.weight("attn_output", value * block.n_head, n_embd)
        if biases or options.qkv_bias:
            block.bias("attn_q", q)
            block.bias("attn_k", k)
            block.bias("attn_v", v)
        if biases:
            block.bias("attn_output", n_embd)
        _query_key_norms(block, qk_norm, (key, key), (q, k))
        if gate:
            block.weight("attn_gate", n_embd, block.n_head if gate == "head" else q)
        if sinks:
            block.weight("attn_sinks", block.n_head)

    return draw


def _query_key_norms(block: Block, kind: str | None, head: tuple[int, int], full: tuple[int, int]) -> None:
    if kind is None:
        return
    query, key = head if kind == "head" else full
    block.weight("attn_q_norm", query)
    block.weight("attn_k_norm", key)


def optional_head_norms(block: Block) -> None:
    """glm4moe: the larger models have head norms."""
    head = block.numbers.head_dim("key")
    _query_key_norms(block, block.numbers.options.qk_norm, (head, head), (0, 0))


def deep_head_norms(block: Block) -> None:
    """command-r: models of 64 layers and more norm each head with weights of its own (command-r.cpp)."""
    if block.numbers.n_layer >= 64:
        head = block.numbers.head_dim("key")
        block.weight("attn_q_norm", head, block.n_head)
        block.weight("attn_k_norm", head, block.n_head_kv)


def latent_attention(block: Block) -> None:
    """MLA as the converters split it: ``attn_kv_b`` becomes ``attn_k_b`` and ``attn_v_b`` (deepseek.py)."""
    numbers, header, n_embd = block.numbers, block.numbers.header, block.numbers.n_embd
    q_rank, kv_rank = header.integer("attention.q_lora_rank", 0), header.integer("attention.kv_lora_rank")
    key, value = header.integer("attention.key_length_mla"), header.integer("attention.value_length_mla")
    rope = header.integer("rope.dimension_count")
    if q_rank:
        block.weight("attn_q_a", n_embd, q_rank)
        block.weight("attn_q_a_norm", q_rank)
        block.weight("attn_q_b", q_rank, block.n_head * key)
    else:
        block.weight("attn_q", n_embd, block.n_head * key)
    block.weight("attn_kv_a_mqa", n_embd, kv_rank + rope)
    block.weight("attn_kv_a_norm", kv_rank)
    block.weight("attn_k_b", key - rope, kv_rank, block.n_head)
    block.weight("attn_v_b", kv_rank, value, block.n_head)
    block.weight("attn_output", block.n_head * value, numbers.n_embd)


def indexer(block: Block) -> None:
    """The index of DeepSeek sparse attention (deepseek32.cpp, glm-dsa.cpp)."""
    header, n_embd = block.numbers.header, block.numbers.n_embd
    heads = header.integer("attention.indexer.head_count")
    width = header.integer("attention.indexer.key_length")
    block.weight("indexer.k_norm", width)
    block.bias("indexer.k_norm", width)
    block.weight("indexer.proj", n_embd, heads)
    block.weight("indexer.attn_k", n_embd, width)
    block.weight("indexer.attn_q_b", header.integer("attention.q_lora_rank"), heads * width)
