"""One layer of a transformer, from its tensors: attention or another token mixer, then the feed-forward."""

from __future__ import annotations

from llmfit.advisor.memory.compute import ops
from llmfit.advisor.memory.compute.attention import Attention
from llmfit.advisor.memory.compute.builder import GraphBuilder
from llmfit.advisor.memory.compute.families import Family
from llmfit.advisor.memory.compute.feed_forward import dense, experts
from llmfit.advisor.memory.compute.tensor import Tensor


class Inputs:
    """Tensors that all layers share."""

    def __init__(self, b: GraphBuilder, family: Family) -> None:
        n = b.n_tokens
        self.positions = b.input("I32", n * family.positions)
        self.temperature = (
            b.input("F32", 1, 1, n) if family.temperature or b.shape.attention_temperature else None
        )
        self.out_rows = b.input("I32", b.batch.n_outputs)


def layer_norm(b: GraphBuilder, family: Family, layer: int, x: Tensor, *names: str) -> Tensor:
    """The norm that goes by the first of these names the layer has; ``x`` itself where it has none."""
    kind = "norm" if family.layer_norm else "rms_norm"
    for name in names:
        weight = b.of(layer, name) or b.of(layer, name, "")
        bias = b.of(layer, name, "bias")
        if weight is not None:
            return b.norm(x, weight, bias=bias, kind=kind)
    return ops.same(kind, x) if family.bare_norms and names[0] in ("attn_norm", "ffn_norm") else x


def project_qkv(b: GraphBuilder, layer: int, x: Tensor, q_heads: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """build_qkv: three tensors of heads. ``q_heads`` 2 leaves room for a gate beside every query."""
    shape, n = b.shape, b.n_tokens
    sizes = (
        (shape.head_dim_k[layer] * q_heads, shape.n_head[layer]),
        (shape.head_dim_k[layer], shape.n_head_kv[layer]),
        (shape.head_dim_v[layer], shape.n_head_kv[layer]),
    )
    if b.of(layer, "attn_qkv") is not None:
        joined = b.linear(layer, "attn_qkv", x)
        q, k, v = (ops.view(joined, (d, h, n), 4 * d, joined.nb[1]) for d, h in sizes)
        return q, k, v
    made = (b.linear(layer, f"attn_{part}", x) for part in "qkv")
    q, k, v = (ops.reshape(one, d, h, n) for one, (d, h) in zip(made, sizes, strict=True))
    return q, k, v


def head_norm(b: GraphBuilder, family: Family, layer: int, which: str, x: Tensor) -> Tensor:
    """The norm of Q or K: over each head, or over all heads at once where the weight is that long."""
    weight = b.of(layer, f"attn_{which}_norm")
    if weight is None:
        return ops.same("rms_norm", x) if family.norm_without_weight else x
    kind = "norm" if family.layer_norm else "rms_norm"
    if weight.ne[0] == x.ne[0]:
        return b.norm(x, weight, kind=kind)
    whole = x.src[0] if x.op == "reshape" else ops.cont(x, x.ne[0] * x.ne[1], x.ne[2])
    return ops.reshape(b.norm(whole, weight, kind=kind), *x.ne)


def rope_factors(b: GraphBuilder, layer: int) -> Tensor | None:
    """The layer's own copy of the rope factors (llama_model::get_rope_factors)."""
    for name in ("rope_freqs", "rope_factors_long"):
        found = b.weight(f"blk.{layer}.{name}.weight") or b.weight_at(f"{name}.weight", layer)
        if found is not None:
            return found
    return None


def _unrotated(b: GraphBuilder) -> bool:
    """Baichuan rotates in its 7B size only; the 13B uses ALiBi (src/models/baichuan.cpp)."""
    return b.shape.architecture == "baichuan" and b.shape.n_layer != 32


def attention(
    b: GraphBuilder, family: Family, caches: Attention, inputs: Inputs, layer: int, x: Tensor
) -> Tensor:
    """Self-attention with grouped heads, up to and including the output projection."""
    gate = b.of(layer, "attn_gate") if family.gate else None
    q, k, v = project_qkv(b, layer, x)
    rotates = b.shape.has_rope[layer] and not _unrotated(b)
    q, k = _normed(b, family, layer, q, k, before=True)
    if rotates:
        factors = rope_factors(b, layer)
        q, k = b.rope(q, inputs.positions, factors), b.rope(k, inputs.positions, factors)
    elif inputs.temperature is not None:
        q = ops.mul(q, inputs.temperature)
    if inputs.temperature is not None and rotates and not family.norm_without_weight:
        q = ops.mul(q, inputs.temperature)
    q, k = _normed(b, family, layer, q, k, before=False) if rotates or family.norm_after_rope else (q, k)
    if family.q_scale:
        q = ops.scale(q)
    sinks = b.of(layer, "attn_sinks")
    if gate is None:
        return caches.attend(layer, q, k, v, sinks=sinks)
    cur = caches.attend(layer, q, k, v, sinks=sinks, project=False)
    return b.linear(layer, "attn_output", _gated(b, family, layer, cur, ops.unary(ops.mul_mat(gate, x))))


def _normed(
    b: GraphBuilder, family: Family, layer: int, q: Tensor, k: Tensor, *, before: bool
) -> tuple[Tensor, Tensor]:
    late = family.norm_after_rope or family.norm_without_weight
    if before == late:
        return q, k
    return head_norm(b, family, layer, "q", q), head_norm(b, family, layer, "k", k)


def _gated(b: GraphBuilder, family: Family, layer: int, cur: Tensor, gate: Tensor) -> Tensor:
    if family.gate == "width" or gate.ne[0] == cur.ne[0]:
        return ops.mul(cur, gate)
    heads = b.shape.n_head[layer]
    parts = ops.reshape(cur, cur.ne[0] // heads, heads, cur.ne[1])
    parts = ops.mul(parts, ops.reshape(gate, 1, heads, cur.ne[1]))
    return ops.reshape(parts, cur.ne[0], cur.ne[1])


def feed_forward(b: GraphBuilder, family: Family, layer: int, x: Tensor) -> Tensor:
    """Dense, or experts with what shares the layer with them."""
    if b.of(layer, "ffn_gate_inp") is None:
        return _dense(b, family, layer, x)
    routed = _routed(b, family, layer, x)
    if b.of(layer, "ffn_up_shexp") is None:
        return ops.add(routed, _dense(b, family, layer, x)) if family.dense_beside_experts else routed
    shared = dense(b, layer, x, part="_shexp", steps=family.activation_steps)
    gate = b.of(layer, "ffn_gate_inp_shexp")
    if gate is not None:
        shared = ops.mul(shared, ops.unary(ops.mul_mat(gate, x)))
    return ops.add(routed, shared)


def _routed(b: GraphBuilder, family: Family, layer: int, x: Tensor) -> Tensor:
    """The experts, in a narrower space of their own where the model has one (nemotron_h_moe)."""
    if not family.activation_steps > 1:
        return experts(b, layer, x, family.routing)
    down, up = b.of(layer, "ffn_latent_down"), b.of(layer, "ffn_latent_up")
    narrow = x if down is None else ops.mul_mat(down, x)
    logits = ops.mul_mat(b.need(f"blk.{layer}.ffn_gate_inp.weight"), x)
    routed = experts(b, layer, narrow, family.routing, logits=logits)
    return routed if up is None else ops.mul_mat(up, routed)


def _dense(b: GraphBuilder, family: Family, layer: int, x: Tensor) -> Tensor:
    up, down = b.of(layer, "ffn_up"), b.of(layer, "ffn_down")
    halves = up is not None and down is not None and up.ne[1] == 2 * down.ne[0]
    return dense(b, layer, x, halves=halves, steps=family.activation_steps)
