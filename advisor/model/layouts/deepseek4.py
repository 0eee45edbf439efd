"""DeepSeek-V4: compressed caches, hyper-connections and hash-routed experts (src/models/deepseek4.cpp)."""

from __future__ import annotations

from llmfit.advisor.model.layouts.block import Block

_OVERLAPPING_RATIO = 4
"""Blocks that compress four tokens into one overlap their windows and own an index."""


def compressed_attention(block: Block) -> None:
    numbers, header, n_embd = block.numbers, block.numbers.header, block.numbers.n_embd
    head, q_rank = numbers.head_dim("key"), header.integer("attention.q_lora_rank")
    groups, out_rank = (
        header.integer("attention.output_group_count"),
        header.integer("attention.output_lora_rank"),
    )
    block.weight("attn_sinks", block.n_head)
    block.weight("attn_q_a", n_embd, q_rank)
    block.weight("attn_q_a_norm", q_rank)
    block.weight("attn_q_b", q_rank, block.n_head * head)
    block.weight("attn_kv", n_embd, head)
    block.weight("attn_kv_a_norm", head)
    block.weight("attn_output_a", block.n_head * head // groups, groups * out_rank)
    block.weight("attn_output_b", groups * out_rank, n_embd)
    ratios = header.array("attention.compress_ratios")
    ratio = ratios[block.layer] if ratios and block.layer < len(ratios) else 0
    if ratio:
        _compressor(block, "attn_compressor", head, ratio)
    if ratio == _OVERLAPPING_RATIO:
        width, heads = (
            header.integer("attention.indexer.key_length"),
            header.integer("attention.indexer.head_count"),
        )
        block.weight("indexer.proj", n_embd, heads)
        block.weight("indexer.attn_q_b", q_rank, heads * width)
        _compressor(block, "indexer_compressor", width, ratio)


def _compressor(block: Block, name: str, width: int, ratio: int) -> None:
    columns = width * (2 if ratio == _OVERLAPPING_RATIO else 1)
    block.weight(f"{name}_kv", block.numbers.n_embd, columns)
    block.weight(f"{name}_gate", block.numbers.n_embd, columns)
    block.weight(f"{name}_ape", columns, ratio)
    block.weight(f"{name}_norm", width)


def hyper_connections(block: Block) -> None:
    streams = block.numbers.header.integer("hyper_connection.count")
    mixes = (2 + streams) * streams
    for part in ("attn", "ffn"):
        block.weight(f"hc_{part}_fn", streams * block.numbers.n_embd, mixes)
        block.weight(f"hc_{part}_base", mixes)
        block.weight(f"hc_{part}_scale", 3)


def hyper_head(block: Block) -> None:
    """Outside the blocks: from the streams to one."""
    streams = block.numbers.header.integer("hyper_connection.count")
    block.weight("output_hc_fn", streams * block.numbers.n_embd, streams)
    block.weight("output_hc_base", streams)
    block.weight("output_hc_scale", 1)


def routing(block: Block) -> None:
    """The first blocks look experts up by token, the others have a selection bias."""
    header = block.numbers.header
    if block.layer < header.integer("hash_layer_count"):
        block.weight("ffn_gate_tid2eid", header.integer("expert_used_count"), block.numbers.n_vocab)
    else:
        block.bias("exp_probs_b", header.integer("expert_count"))
