"""Gated delta net: qwen3next, qwen35, qwen35moe (src/models/delta-net-base.cpp)."""

from __future__ import annotations

from llmfit.advisor.memory.compute import ops
from llmfit.advisor.memory.compute.attention import Attention
from llmfit.advisor.memory.compute.builder import GraphBuilder
from llmfit.advisor.memory.compute.recurrent import Recurrence
from llmfit.advisor.memory.compute.tensor import Tensor
from llmfit.advisor.memory.compute.transformer import Inputs, project_qkv


def gated_attention(b: GraphBuilder, caches: Attention, inputs: Inputs, layer: int, x: Tensor) -> Tensor:
    """Full attention whose query projection also makes a gate for the output."""
    shape, n = b.shape, b.n_tokens
    width, heads = shape.head_dim_k[layer], shape.n_head[layer]
    both, k, v = project_qkv(b, layer, x, q_heads=2)
    q, gate = (ops.view(both, (width, heads, n), *both.nb[1:3]) for _ in range(2))
    q = b.norm(q, b.of(layer, "attn_q_norm"))
    k = b.norm(k, b.of(layer, "attn_k_norm"))
    gate = ops.cont(gate, width * heads, n)
    q, k = b.rope(q, inputs.positions), b.rope(k, inputs.positions)
    cur = caches.attend(layer, q, k, v, project=False)
    return b.linear(layer, "attn_output", ops.mul(cur, ops.unary(gate)))


def _l2_norm(x: Tensor) -> Tensor:
    return ops.scale(ops.same("rms_norm", x))


def _gated_delta_net(
    r: Recurrence,
    layer: int,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gate: Tensor,
    beta: Tensor,
    state: Tensor,
    store: Tensor,
) -> Tensor:
    """The fused operation, and its new state (with rollback snapshots: several) written back."""
    size, heads, n, seqs = v.ne
    n_snap = r.snapshots
    fused = Tensor(
        "F32", (size * heads, n * seqs + n_snap * size * seqs, 1, 1), "gdn", (q, k, v, gate, beta, state)
    )
    row = 4 * size * heads
    out = ops.view(fused, (size, heads, n, seqs), 4 * size, row, row * n)
    elements = size * size * heads
    new = ops.view(fused, (elements, seqs, min(n, n_snap)), 4 * elements, 4 * elements * seqs)
    if r.b.shape.architecture == "kimi-linear":
        r.b.expand(ops.copy_to(new, ops.view(store, (elements * seqs,))))
    else:
        r.save(new, store, *new.ne[:3])
    return out


def _projections(r: Recurrence, layer: int, x: Tensor) -> tuple[Tensor, Tensor]:
    b = r.b
    mixed = b.of(layer, "attn_qkv")
    if mixed is not None:
        qkv = r.sequences(ops.mul_mat(mixed, x))
        return qkv, ops.mul_mat(b.need(f"blk.{layer}.attn_gate.weight"), x)
    return _interleaved(r, layer, x)


def _interleaved(r: Recurrence, layer: int, x: Tensor) -> tuple[Tensor, Tensor]:
    """qwen3next files whose q, k, v and z are interleaved by head (``ssm_in``)."""
    s, n, seqs = r.state, r.n_seq_tokens, r.n_seqs
    heads_k, key = s.group_count, s.state_size
    value = s.inner_size // heads_k
    joined = ops.mul_mat(r.b.need(f"blk.{layer}.ssm_in.weight"), x)
    joined = ops.reshape(joined, 2 * key + 2 * value, heads_k, n, seqs)
    parts = [
        ops.view(joined, (width, heads_k, n, seqs), *joined.nb[1:4]) for width in (key, key, value, value)
    ]
    z = ops.cont(parts[3])
    q, k, v = (ops.cont(part, part.ne[0] * heads_k, n, seqs) for part in parts[:3])
    return ops.concat(ops.concat(q, k, 0), v, 0), z


def _beta_and_decay(r: Recurrence, layer: int, x: Tensor) -> tuple[Tensor, Tensor]:
    b, n, seqs, heads = r.b, r.n_seq_tokens, r.n_seqs, r.state.time_step_rank
    joined = b.of(layer, "ssm_ba")
    if joined is None:
        beta = ops.reshape(ops.mul_mat(b.need(f"blk.{layer}.ssm_beta.weight"), x), 1, heads, n, seqs)
        beta = ops.unary(beta)
        alpha = ops.reshape(ops.mul_mat(b.need(f"blk.{layer}.ssm_alpha.weight"), x), heads, n, seqs)
    else:
        groups = r.state.group_count
        both = ops.reshape(ops.mul_mat(joined, x), 2 * heads // groups, groups, n, seqs)
        parts = [ops.view(both, (heads // groups, groups, n, seqs), *both.nb[1:4]) for _ in range(2)]
        beta = ops.reshape(ops.unary(ops.cont(parts[0])), 1, heads, n, seqs)
        alpha = ops.cont(parts[1], heads, n, seqs)
    bias = b.of(layer, "ssm_dt", "bias")
    if bias is None:
        raise KeyError(f"blk.{layer}.ssm_dt.bias")
    decay = ops.mul(ops.unary(ops.add(alpha, bias)), b.need(f"blk.{layer}.ssm_a"))
    return beta, ops.reshape(decay, 1, heads, n, seqs)


def delta_net(r: Recurrence, layer: int, x: Tensor) -> Tensor:
    """build_layer_attn_linear of qwen35 and qwen3next."""
    b, s, n, seqs = r.b, r.state, r.n_seq_tokens, r.n_seqs
    heads_k, heads_v, key = s.group_count, s.time_step_rank, s.state_size
    value = s.inner_size // heads_v
    mixed, z = _projections(r, layer, x)
    beta, decay = _beta_and_decay(r, layer, x)
    kernel = b.need(f"blk.{layer}.ssm_conv1d.weight")
    channels = s.inner_size + 2 * heads_k * key
    conv_store, store = r.conv_store(layer), r.scan_store(layer)
    loaded = ops.reshape(r.load(conv_store), kernel.ne[0] - 1, channels, seqs)
    joined = ops.concat(loaded, ops.transpose(mixed), 0)
    r.save_window(joined, conv_store, kernel.ne[0], channels)
    state = ops.reshape(r.load(store), value, value, heads_v, seqs)
    conv = ops.unary(ops.ssm_conv(joined, kernel))
    q, k = (ops.view(conv, (key, heads_k, n, seqs), 4 * key, *conv.nb[1:3]) for _ in range(2))
    v = ops.view(conv, (value, heads_v, n, seqs), 4 * value, *conv.nb[1:3])
    q, k = _l2_norm(q), _l2_norm(k)
    if heads_k != heads_v and b.shape.architecture == "qwen3next":
        q, k = (_repeat_heads(one, heads_v) for one in (q, k))
    out = _gated_delta_net(r, layer, q, k, v, decay, beta, state, store)
    gate = ops.unary(ops.reshape(z, value, heads_v, n, seqs))
    cur = ops.mul(b.norm(out, b.of(layer, "ssm_norm")), gate)
    cur = b.linear(layer, "ssm_out", ops.reshape(cur, value * heads_v, n, seqs))
    return ops.reshape(cur, b.shape.n_embd, n * seqs)


def _repeat_heads(x: Tensor, heads: int) -> Tensor:
    size, before, n, seqs = x.ne
    repeated = ops.repeat(ops.reshape(x, size, 1, before, n * seqs), size, heads // before, before, n * seqs)
    return ops.reshape(repeated, size, heads, n, seqs)
