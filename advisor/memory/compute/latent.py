"""Multi-head latent attention, plain or with a sparse index (src/models/deepseek2.cpp, deepseek32.cpp)."""

from __future__ import annotations

from llmfit.advisor.memory.compute import ops
from llmfit.advisor.memory.compute.attention import Attention, _merge_streams, _rows_of
from llmfit.advisor.memory.compute.builder import GraphBuilder
from llmfit.advisor.memory.compute.families import Family
from llmfit.advisor.memory.compute.tensor import Tensor, dims, row_bytes
from llmfit.advisor.memory.compute.transformer import Inputs
from llmfit.advisor.model.shape import IndexerShape, MlaShape


def _latents(b: GraphBuilder, mla: MlaShape, layer: int, x: Tensor) -> tuple[Tensor, Tensor]:
    """The compressed key-value row and the rotated part of the key, before norm and rope."""
    joined = ops.mul_mat(b.need(f"blk.{layer}.attn_kv_a_mqa.weight"), x)
    n, row = b.n_tokens, joined.nb[1]
    return ops.view(joined, (mla.kv_lora_rank, n), row), ops.view(joined, (mla.rope_dims, 1, n), row, row)


def latent_attention(
    b: GraphBuilder,
    family: Family,
    caches: Attention,
    inputs: Inputs,
    layer: int,
    x: Tensor,
    sparse: SparseIndex | None,
) -> Tensor:
    """Attention over latent rows: queries are absorbed into the latent space, one head of keys serves all."""
    mla = b.shape.mla
    if mla is None:
        raise ValueError("no latent attention without its ranks")
    n, heads, rotates = b.n_tokens, b.shape.n_head[layer], b.shape.has_rope[layer]
    if b.of(layer, "attn_q_a") is not None:
        low = ops.mul_mat(b.need(f"blk.{layer}.attn_q_a.weight"), x)
        low = b.norm(low, b.of(layer, "attn_q_a_norm"))
    else:
        low = x
    chosen = sparse.select(layer, x, low, inputs) if sparse is not None else None
    name = "attn_q" if low is x else "attn_q_b"
    q = ops.reshape(ops.mul_mat(b.need(f"blk.{layer}.{name}.weight"), low), mla.key_length, heads, n)
    latent, k_rope = _latents(b, mla, layer, x)
    q_nope = ops.view(q, (mla.key_length - mla.rope_dims, heads, n), *q.nb[1:3])
    q_rope = ops.view(q, (mla.rope_dims, heads, n), *q.nb[1:3])
    if rotates:
        q_rope, k_rope = b.rope(q_rope, inputs.positions), b.rope(k_rope, inputs.positions)
    latent = b.norm(latent, b.of(layer, "attn_kv_a_norm"))
    absorbed = ops.mul_mat(b.need(f"blk.{layer}.attn_k_b.weight"), ops.permute(q_nope, 0, 2, 1, 3))
    query = ops.concat(ops.permute(absorbed, 0, 2, 1, 3), q_rope, 0)
    value = ops.reshape(latent, mla.kv_lora_rank, 1, n)
    key = ops.concat(value, k_rope, 0)
    if inputs.temperature is not None:
        query = ops.mul(query, inputs.temperature)
    decompress = b.need(f"blk.{layer}.attn_v_b.weight")
    return caches.attend(layer, query, key, value, decompress=decompress, chosen=chosen)


class SparseIndex:
    """The lightning indexer: scores all cells with small heads and keeps the best (DSA)."""

    def __init__(self, b: GraphBuilder, index: IndexerShape) -> None:
        self.b = b
        self.index = index
        cache = b.cache
        self.rows = b.input("I64", b.n_tokens)
        self.mask = b.input("F16", cache.cells, b.n_tokens // cache.n_streams, 1, cache.n_streams)
        width = 64
        while index.key_length % (2 * width) == 0:
            width *= 2
        self.rotation = b.input("F32", width, width)
        self._last: Tensor | None = None

    def select(self, layer: int, x: Tensor, low: Tensor, inputs: Inputs) -> Tensor:
        """The chosen cells of each token; layers without an index of their own reuse the last one's."""
        if not self.index.layers[layer] and self._last is not None:
            return self._last
        b, index, n = self.b, self.index, self.b.n_tokens
        q = ops.mul_mat(b.need(f"blk.{layer}.indexer.attn_q_b.weight"), low)
        q = b.rope(ops.reshape(q, index.key_length, index.n_head, n), inputs.positions)
        k = ops.mul_mat(b.need(f"blk.{layer}.indexer.attn_k.weight"), x)
        k = b.norm(k, b.of(layer, "indexer.k_norm"), bias=b.of(layer, "indexer.k_norm", "bias"), kind="norm")
        k = b.rope(ops.reshape(k, index.key_length, 1, n), inputs.positions)
        q, k = ops.mul_mat(self.rotation, q), ops.mul_mat(self.rotation, k)
        keys = self._store(layer, k)
        weights = ops.mul_mat(b.need(f"blk.{layer}.indexer.proj.weight"), x)
        streams = b.cache.n_streams
        q = ops.view(q, (*q.ne[:2], n // streams, streams), q.nb[1], q.nb[2], q.nb[2] * (n // streams))
        row = weights.nb[1]
        weights = ops.view(
            weights, (weights.ne[0], n // streams, 1, streams), row, weights.nb[2], row * (n // streams)
        )
        score = Tensor(
            "F32",
            (keys.ne[2], q.ne[2], 1, q.ne[3]),
            "lightning_indexer",
            (q, keys, ops.scale(weights), self.mask),
        )
        self._last = ops.cont(ops.top_k(score, min(score.ne[0], index.top_k)))
        return self._last

    def _store(self, layer: int, k: Tensor) -> Tensor:
        b, cache, width = self.b, self.b.cache, self.index.key_length
        store = Tensor(cache.type_k, dims(width, cache.cells, cache.n_streams))
        store.home = b.layout.cache_backend(layer, cache.offload)
        b.expand(ops.set_rows(_merge_streams(store), _rows_of(k), self.rows))
        return ops.view(
            store, (width, 1, cache.cells, cache.n_streams), row_bytes(store.kind, width), *store.nb[1:3]
        )
