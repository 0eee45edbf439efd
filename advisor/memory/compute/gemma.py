"""Gemma 3n and 4: per-layer embeddings, shared caches, several streams (gemma3n.cpp, gemma4.cpp)."""

from __future__ import annotations

from llmfit.advisor.memory.compute import ops
from llmfit.advisor.memory.compute.attention import Attention
from llmfit.advisor.memory.compute.builder import GraphBuilder
from llmfit.advisor.memory.compute.feed_forward import Routing, dense, experts
from llmfit.advisor.memory.compute.tensor import Tensor
from llmfit.advisor.memory.compute.transformer import Inputs, project_qkv

_ACTIVE = 0
_SPARSE_LAYERS = 10
"""Layers of Gemma 3n whose gates keep only their largest values (n_layer_sparsity)."""


class PerLayerInput:
    """Embeddings of every layer for every token, made once at the start."""

    def __init__(self, b: GraphBuilder, embedded: Tensor) -> None:
        self.b = b
        width, n_layer, n = b.shape.n_embd_per_layer, b.shape.n_layer, b.n_tokens
        rows = ops.get_rows(b.need("per_layer_token_embd.weight"), b.input("I32", n))
        rows = b.expand(ops.scale(ops.reshape(rows, width, n_layer, n)))
        projected = ops.scale(ops.mul_mat(b.need("per_layer_model_proj.weight"), embedded))
        projected = b.norm(ops.reshape(projected, width, n_layer, n), b.weight("per_layer_proj_norm.weight"))
        both = ops.scale(ops.add(projected, rows))
        self.all = ops.cont(ops.permute(both, 0, 2, 1, 3))

    def of(self, layer: int) -> Tensor:
        return _slice(self.all)

    def apply(self, layer: int, x: Tensor) -> Tensor:
        """Gates the layer's embedding with ``x`` and projects it back to full width."""
        b = self.b
        gated = ops.unary(ops.mul_mat(b.need(f"blk.{layer}.inp_gate.weight"), x))
        gated = ops.mul(gated, self.of(layer))
        out = ops.mul_mat(b.need(f"blk.{layer}.proj.weight"), gated)
        return b.norm(out, b.of(layer, "post_norm"))


def _slice(x: Tensor) -> Tensor:
    """One plane of a stack."""
    return ops.view(x, (x.ne[0], x.ne[1]), x.nb[1])


def _attention(
    b: GraphBuilder, caches: Attention, inputs: Inputs, layer: int, x: Tensor, factors: Tensor | None
) -> Tensor:
    shape, n = b.shape, b.n_tokens
    width = shape.head_dim_k[layer]
    if layer >= shape.n_layer_kv:
        q = ops.reshape(b.linear(layer, "attn_q", x), width, shape.n_head[layer], n)
        q = b.rope(b.norm(q, b.of(layer, "attn_q_norm")), inputs.positions, factors)
        return caches.attend(layer, q, None, None)
    if b.of(layer, "attn_v") is None:
        q = ops.reshape(b.linear(layer, "attn_q", x), width, shape.n_head[layer], n)
        joined = b.linear(layer, "attn_k", x)
        k, v = (ops.reshape(joined, width, shape.n_head_kv[layer], n) for _ in range(2))
    else:
        q, k, v = project_qkv(b, layer, x)
    q = b.rope(b.norm(q, b.of(layer, "attn_q_norm")), inputs.positions, factors)
    k = b.norm(k, b.of(layer, "attn_k_norm"))
    v = ops.same("rms_norm", v)
    return caches.attend(layer, q, b.rope(k, inputs.positions, factors), v)


def gemma4_layer(
    b: GraphBuilder, caches: Attention, inputs: Inputs, layer: int, x: Tensor, per_layer: PerLayerInput | None
) -> Tensor:
    normed = b.norm(x, b.of(layer, "attn_norm"))
    factors = None if b.is_window(layer) else b.weight_at("rope_freqs.weight", layer)
    cur = b.norm(_attention(b, caches, inputs, layer, normed, factors), b.of(layer, "post_attention_norm"))
    mixed = ops.add(cur, x)
    cur = _gemma4_feed_forward(b, layer, mixed)
    cur = ops.add(b.norm(cur, b.of(layer, "post_ffw_norm")), mixed)
    if per_layer is not None:
        cur = ops.add(cur, per_layer.apply(layer, cur))
    factor = b.of(layer, "layer_output_scale")
    return cur if factor is None else ops.mul(cur, factor)


def _gemma4_feed_forward(b: GraphBuilder, layer: int, x: Tensor) -> Tensor:
    """A dense feed-forward, and experts beside it where the layer has them."""
    cur = dense(b, layer, b.norm(x, b.of(layer, "ffn_norm")))
    if b.of(layer, "ffn_gate_inp") is None:
        return cur
    cur = b.norm(cur, b.of(layer, "post_ffw_norm_1"))
    routed_in = b.norm(x, b.of(layer, "pre_ffw_norm_2"))
    router = ops.mul(ops.scale(ops.same("rms_norm", x)), b.need(f"blk.{layer}.ffn_gate_inp.scale"))
    logits = ops.mul_mat(b.need(f"blk.{layer}.ffn_gate_inp.weight"), router)
    routed = experts(b, layer, routed_in, Routing(), logits=logits)
    return ops.add(cur, b.norm(routed, b.of(layer, "post_ffw_norm_2")))


class AltUp:
    """Gemma 3n's four streams: three are predicted from the one that is computed."""

    def __init__(self, b: GraphBuilder) -> None:
        self.b = b
        self.n_streams = b.need("altup_proj.weight").ne[2] + 1

    def spread(self, x: Tensor) -> Tensor:
        """From one stream to all."""
        magnitude = _magnitude(x)
        others = ops.repeat(x, x.ne[0], x.ne[1], self.n_streams - 1)
        others = ops.mul_mat(self.b.need("altup_proj.weight"), others)
        return ops.concat(x, ops.same("div", ops.mul(others, magnitude), _magnitude(others)), 2)

    def merge(self, x: Tensor) -> Tensor:
        """From all streams to one."""
        magnitude = _magnitude(_slice(x))
        others = ops.view(x, (x.ne[0], x.ne[1], self.n_streams - 1), *x.nb[1:3])
        others = ops.mul_mat(self.b.need("altup_unembd_proj.weight"), others)
        others = ops.same("div", ops.mul(others, magnitude), _magnitude(others))
        cur = _slice(x)
        for _ in range(self.n_streams - 1):
            cur = ops.add(cur, _slice(others))
        return ops.scale(cur)

    def _modalities(self, x: Tensor, layer: int) -> Tensor:
        b = self.b
        routed = ops.scale(b.norm(x, b.of(layer, "altup_router_norm")))
        return ops.unary(ops.mul_mat(b.need(f"blk.{layer}.altup_router.weight"), routed))

    def predict(self, x: Tensor, layer: int) -> Tensor:
        modalities = self._modalities(_slice(x), layer)
        coefs = ops.mul_mat(self.b.need(f"blk.{layer}.altup_predict_coef.weight"), modalities)
        coefs = ops.reshape(coefs, self.n_streams, self.n_streams, x.ne[1])
        turned = ops.cont(ops.permute(x, 1, 2, 0, 3))
        made = ops.cont(ops.permute(ops.mul_mat(turned, coefs), 0, 2, 1, 3))
        return ops.add(made, x)

    def correct(self, predictions: Tensor, active: Tensor, layer: int) -> Tensor:
        n_embd, n = active.ne[0], active.ne[1]
        modalities = self._modalities(active, layer)
        change = ops.same("sub", active, _slice(predictions))
        coefs = ops.scale(ops.mul_mat(self.b.need(f"blk.{layer}.altup_correct_coef.weight"), modalities))
        coefs = ops.cont(ops.transpose(coefs), 1, n, self.n_streams)
        changes = ops.mul(ops.repeat(change, n_embd, n, self.n_streams), coefs)
        return ops.add(changes, predictions)


def _magnitude(x: Tensor) -> Tensor:
    return ops.same("sqrt", ops.sum_rows(ops.same("sqr", x)))


def gemma3n_layer(
    b: GraphBuilder,
    caches: Attention,
    inputs: Inputs,
    layer: int,
    x: Tensor,
    per_layer: PerLayerInput,
    altup: AltUp,
) -> Tensor:
    predictions = altup.predict(x, layer)
    active = _slice(predictions)
    cur = b.norm(active, b.of(layer, "attn_norm"))
    low = ops.mul_mat(b.need(f"blk.{layer}.laurel_l.weight"), cur)
    low = ops.mul_mat(b.need(f"blk.{layer}.laurel_r.weight"), low)
    laurel = ops.add(b.norm(low, b.of(layer, "laurel_post_norm")), cur)
    cur = _attention(b, caches, inputs, layer, cur, None)
    cur = ops.add(b.norm(cur, b.of(layer, "post_attention_norm")), active)
    mixed = ops.scale(ops.add(cur, laurel))
    cur = _gemma3n_feed_forward(b, layer, b.norm(mixed, b.of(layer, "ffn_norm")))
    cur = ops.add(b.norm(cur, b.of(layer, "post_ffw_norm")), mixed)
    corrected = altup.correct(predictions, cur, layer)
    first = ops.mul(_slice(corrected), b.need(f"blk.{layer}.altup_correct_scale.weight"))
    first = per_layer.apply(layer, first)
    rest = ops.view(corrected, (x.ne[0], x.ne[1], altup.n_streams - 1), *corrected.nb[1:3])
    return ops.concat(_slice(corrected), ops.add(rest, first), 2)


def _gemma3n_feed_forward(b: GraphBuilder, layer: int, x: Tensor) -> Tensor:
    up, gate = b.linear(layer, "ffn_up", x), b.linear(layer, "ffn_gate", x)
    if layer < _SPARSE_LAYERS:
        mean = Tensor("F32", (1, *gate.ne[1:]), "mean", (gate,))
        spread = ops.sum_rows(ops.same("sqr", ops.same("sub", gate, mean)))
        cutoff = ops.add(mean, ops.scale(ops.same("sqrt", ops.scale(spread))))
        gate = ops.unary(ops.same("sub", gate, cutoff))
    return b.linear(layer, "ffn_down", ops.mul(up, ops.unary(gate)))
