"""The whole graph of a model: embedding, layers, head (llama_model::build_graph)."""

from __future__ import annotations

from collections.abc import Sequence

from llmfit.advisor.memory.compute import ops
from llmfit.advisor.memory.compute.attention import Attention
from llmfit.advisor.memory.compute.builder import GraphBuilder
from llmfit.advisor.memory.compute.delta_net import delta_net, gated_attention
from llmfit.advisor.memory.compute.families import Family, family_of
from llmfit.advisor.memory.compute.gemma import AltUp, PerLayerInput, gemma3n_layer, gemma4_layer
from llmfit.advisor.memory.compute.kimi import kimi_delta_attention
from llmfit.advisor.memory.compute.latent import SparseIndex, latent_attention
from llmfit.advisor.memory.compute.mamba import mamba, mamba2, plamo2_mamba
from llmfit.advisor.memory.compute.recurrent import Recurrence, short_convolution
from llmfit.advisor.memory.compute.rwkv import RwkvLayers
from llmfit.advisor.memory.compute.tensor import Tensor
from llmfit.advisor.memory.compute.transformer import Inputs, attention, feed_forward, layer_norm
from llmfit.advisor.model.shape import LayerKind

_RECURRENT = {
    "mamba": mamba,
    "mamba2": mamba2,
    "plamo2": plamo2_mamba,
    "delta net": delta_net,
    "kda": kimi_delta_attention,
    "shortconv": short_convolution,
}


_AFTER_ATTENTION = ("post_attention_norm", "attn_output_norm")
_SINGLE_STEP = frozenset(("nemotron_h", "nemotron_h_moe"))


class ModelGraph:
    """Builds one model's graph into ``builder``, layer by layer."""

    def __init__(self, builder: GraphBuilder) -> None:
        self.b = builder
        self.family: Family = family_of(builder.shape.architecture)
        builder.alibi = self.family.alibi
        builder.score_passes = self.family.score_passes
        self.inputs = Inputs(builder, self.family)
        shape = builder.shape
        self.per_layer: PerLayerInput | None = None
        self.altup: AltUp | None = None
        self.states = Recurrence(builder) if shape.state is not None else None
        is_rwkv = shape.state is not None and shape.state.kind == "rwkv"
        self.rwkv = RwkvLayers(self.states) if is_rwkv and self.states is not None else None
        self.caches = Attention(builder, latent=shape.mla is not None)
        self.sparse = SparseIndex(builder, shape.indexer) if shape.indexer and shape.mla else None

    def build(self, layers: Sequence[int]) -> None:
        """Builds the graph with these layers only."""
        family = self.family
        cur = self.b.embedding(
            scaled=family.embedding == "scaled",
            scale_after=family.embedding == "scale",
            mixed=family.mixed_input,
        )
        self._prepare(cur)
        if self.rwkv is not None:
            norm = self.b.need("token_embd_norm.weight")
            cur = self.b.norm(cur, norm, bias=self.b.weight("token_embd_norm.bias"), kind="norm")
        if self.altup is not None:
            cur = self.altup.spread(cur)
        last = layers[-1]
        for layer in layers:
            cur = self.layer(layer, cur, crop=layer == last and family.crop == "layer")
        if self.altup is not None:
            cur = self.crop(self.altup.merge(cur))
        self.head(cur)

    def _prepare(self, embedded: Tensor) -> None:
        """Gemma's inputs beside the embedding itself."""
        architecture = self.b.shape.architecture
        if architecture in ("gemma3n", "gemma4") and self.b.weight("per_layer_token_embd.weight") is not None:
            self.per_layer = PerLayerInput(self.b, embedded)
        if architecture == "gemma3n":
            self.altup = AltUp(self.b)

    def crop(self, x: Tensor) -> Tensor:
        return ops.get_rows(x, self.inputs.out_rows)

    def layer(self, layer: int, x: Tensor, *, crop: bool) -> Tensor:
        b, family = self.b, self.family
        if self.rwkv is not None:
            return self.rwkv.layer(layer, x, self.inputs.out_rows if crop else None)
        if self.altup is not None and self.per_layer is not None:
            return gemma3n_layer(b, self.caches, self.inputs, layer, x, self.per_layer, self.altup)
        if b.shape.architecture == "gemma4":
            return gemma4_layer(b, self.caches, self.inputs, layer, x, self.per_layer)
        if b.shape.architecture in _SINGLE_STEP:
            return self._single_step(layer, x)
        if b.shape.kinds[layer] is LayerKind.HYBRID:
            return self._both_mixers(layer, x, crop=crop)
        normed = layer_norm(b, family, layer, x, "attn_norm")
        second = layer_norm(b, family, layer, x, "attn_norm_2")
        cur = self.mix(layer, normed if second is x else second)
        if crop:
            cur, x = self.crop(cur), self.crop(x)
        if b.of(layer, "ffn_up") is None and b.of(layer, "ffn_gate_inp") is None:
            return ops.add(cur, x)
        if b.shape.traits.parallel_residual:
            return self._parallel(layer, self.crop(normed) if crop else normed, cur, x)
        out = self._second_half(layer, cur, x)
        if layer < b.shape.n_deepstack:
            n = b.n_tokens
            out = ops.add(out, ops.view(b.embedded, (b.shape.n_embd, n), b.embedded.nb[1]))
        return out

    def _parallel(self, layer: int, normed: Tensor, attended: Tensor, x: Tensor) -> Tensor:
        """Feed-forward beside attention, both from the layer's input."""
        b, family = self.b, self.family
        own = layer_norm(b, family, layer, x, "ffn_norm")
        parts = {
            "ffn": feed_forward(b, family, layer, normed if own is x else own),
            "residual": x,
            "attention": attended,
        }
        first, then, last = (parts[name] for name in family.parallel_order.split())
        return ops.add(ops.add(first, then), last)

    def _second_half(self, layer: int, cur: Tensor, x: Tensor) -> Tensor:
        """Residual, feed-forward, residual; ``post_attention_norm`` is a norm after or the one before."""
        b, family = self.b, self.family
        after = any(b.of(layer, name) is not None for name in ("post_ffw_norm", "ffn_norm"))
        if after:
            cur = layer_norm(b, family, layer, cur, *_AFTER_ATTENTION)
        mixed = ops.add(x, cur) if family.residual_first == "both" else ops.add(cur, x)
        after = after or b.of(layer, "ffn_norm", "") is not None or family.bare_norms
        cur = layer_norm(b, family, layer, mixed, *(("ffn_norm",) if after else _AFTER_ATTENTION))
        cur = feed_forward(b, family, layer, cur)
        cur = layer_norm(b, family, layer, cur, "post_ffw_norm", "layer_output_norm")
        return ops.add(mixed, cur) if family.residual_first else ops.add(cur, mixed)

    def _both_mixers(self, layer: int, x: Tensor, *, crop: bool) -> Tensor:
        """falcon-h1: attention and a recurrent mixer side by side, each behind its own norm."""
        b, family = self.b, self.family
        attended = attention(
            b, family, self.caches, self.inputs, layer, layer_norm(b, family, layer, x, "attn_norm")
        )
        if self.states is None:
            raise ValueError("a layer with state needs its sizes")
        scanned = mamba2(self.states, layer, layer_norm(b, family, layer, x, "attn_norm"))
        x = ops.add(ops.add(attended, scanned), x)
        x = self.crop(x) if crop else x
        return ops.add(feed_forward(b, family, layer, layer_norm(b, family, layer, x, "ffn_norm")), x)

    def _single_step(self, layer: int, x: Tensor) -> Tensor:
        """nemotron_h: a layer is a mixer or a feed-forward."""
        b, family = self.b, self.family
        normed = layer_norm(b, family, layer, x, "attn_norm")
        if b.shape.kinds[layer] is LayerKind.NONE:
            return ops.add(feed_forward(b, family, layer, normed), x)
        return ops.add(self.mix(layer, normed), x)

    def mix(self, layer: int, x: Tensor) -> Tensor:
        b, shape = self.b, self.b.shape
        if self.states is not None and self.states.state.kind in ("delta net", "kda"):
            b.expand(x)
        if self.states is not None and shape.kinds[layer] is LayerKind.RECURRENT:
            return _RECURRENT[self.states.state.kind](self.states, layer, x)
        if shape.mla is not None:
            return latent_attention(b, self.family, self.caches, self.inputs, layer, x, self.sparse)
        if self.states is not None and self.states.state.kind == "delta net":
            return gated_attention(b, self.caches, self.inputs, layer, x)
        return attention(b, self.family, self.caches, self.inputs, layer, x)

    def head(self, x: Tensor) -> None:
        """Norm and logits. What a caller may read is never overwritten (llm_graph_result::set_outputs)."""
        b, family = self.b, self.family
        if family.crop == "before norm":
            x.is_output = True
            x = self.crop(x)
        kind = "norm" if family.layer_norm else "rms_norm"
        cur = b.norm(x, b.weight("output_norm.weight"), bias=b.weight("output_norm.bias"), kind=kind)
        if family.crop == "after norm":
            cur.is_output = True
        if family.crop == "after norm":
            cur = self.crop(cur)
        cur.is_output = True
        logits = ops.mul_mat(b.need("output.weight"), cur)
        bias = b.weight("output.bias")
        if bias is not None:
            logits = ops.add(logits, bias)
        logits.is_output = True
        b.expand(logits)
