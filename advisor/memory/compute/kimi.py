"""Kimi Delta Attention: a delta net with its own convolutions for Q, K and V (src/models/kimi-linear.cpp)."""

from __future__ import annotations

from llmfit.advisor.memory.compute import ops
from llmfit.advisor.memory.compute.delta_net import _gated_delta_net, _l2_norm
from llmfit.advisor.memory.compute.recurrent import Recurrence
from llmfit.advisor.memory.compute.tensor import Tensor


def _convolved(r: Recurrence, layer: int, which: str, x: Tensor, store: Tensor, loaded: Tensor) -> Tensor:
    """causal_conv1d: projection, convolution with a third of the state, activation."""
    b, n, seqs = r.b, r.n_seq_tokens, r.n_seqs
    kernel = b.need(f"blk.{layer}.ssm_conv1d_{which}.weight")
    taps, inner = kernel.ne[0], kernel.ne[1] * kernel.ne[2]
    state = ops.view(loaded, (taps - 1, inner, seqs), 4 * (taps - 1), loaded.nb[1])
    proj = ops.mul_mat(b.need(f"blk.{layer}.attn_{which}.weight"), x)
    joined = ops.concat(state, ops.transpose(ops.reshape(proj, inner, n, seqs)), 0)
    last = ops.view(joined, (taps - 1, inner, seqs), joined.nb[1], joined.nb[2])
    target = ops.view(store, (taps - 1, inner, seqs), 4 * (taps - 1), store.nb[1])
    b.expand(ops.copy_to(last, target))
    out = ops.ssm_conv(joined, ops.reshape(kernel, taps, inner))
    out = ops.unary(ops.reshape(out, inner, n * seqs))
    size = r.state.head_size
    return ops.reshape(out, size, inner // size, n, seqs)


def kimi_delta_attention(r: Recurrence, layer: int, x: Tensor) -> Tensor:
    b, n, seqs, size = r.b, r.n_seq_tokens, r.n_seqs, r.state.head_size
    heads = b.shape.n_head[layer]
    conv_store, store = r.conv_store(layer), r.scan_store(layer)
    loaded = r.load(conv_store)
    q, k, v = (_convolved(r, layer, which, x, conv_store, loaded) for which in "qkv")
    forget = ops.mul_mat(
        b.need(f"blk.{layer}.ssm_f_b.weight"), ops.mul_mat(b.need(f"blk.{layer}.ssm_f_a.weight"), x)
    )
    forget = ops.unary(ops.add(forget, b.need(f"blk.{layer}.ssm_dt.bias")))
    decay = ops.reshape(b.need(f"blk.{layer}.ssm_a"), 1, heads, 1)
    forget = ops.reshape(ops.mul(ops.reshape(forget, size, heads, n * seqs), decay), size, heads, n, seqs)
    beta = ops.reshape(ops.mul_mat(b.need(f"blk.{layer}.ssm_beta.weight"), x), 1, heads, n, seqs)
    beta = ops.unary(beta)
    state = ops.reshape(r.load(store), size, size, heads, seqs)
    out = ops.cont(_gated_delta_net(r, layer, _l2_norm(q), _l2_norm(k), v, forget, beta, state, store))
    gate = ops.mul_mat(
        b.need(f"blk.{layer}.ssm_g_b.weight"),
        ops.mul_mat(b.need(f"blk.{layer}.ssm_g_a.weight"), ops.reshape(r.sequences(x), x.ne[0], n * seqs)),
    )
    gate = ops.unary(ops.reshape(gate, size, heads, n * seqs))
    normed = b.norm(ops.reshape(out, size, heads, n * seqs), b.of(layer, "ssm_norm"))
    merged = ops.cont(ops.mul(normed, gate), size * heads, n * seqs)
    return b.linear(layer, "attn_output", merged)
