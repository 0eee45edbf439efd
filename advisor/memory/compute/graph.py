"""The whole graph of a model: embedding, layers, head (llama_model::build_graph)."""

from __future__ import annotations

from llmfit.advisor.memory.compute import ops
from llmfit.advisor.memory.compute.attention import Attention
from llmfit.advisor.memory.compute.builder import GraphBuilder
from llmfit.advisor.memory.compute.delta_net import delta_net, gated_attention
from llmfit.advisor.memory.compute.families import Family, family_of
from llmfit.advisor.memory.compute.kimi import kimi_delta_attention
from llmfit.advisor.memory.compute.latent import SparseIndex, latent_attention
from llmfit.advisor.memory.compute.mamba import mamba, mamba2
from llmfit.advisor.memory.compute.recurrent import Recurrence, short_convolution
from llmfit.advisor.memory.compute.tensor import Tensor
from llmfit.advisor.memory.compute.transformer import Inputs, attention, feed_forward, layer_norm
from llmfit.advisor.model.shape import LayerKind

_RECURRENT = {
    "mamba": mamba,
    "mamba2": mamba2,
    "delta net": delta_net,
    "kda": kimi_delta_attention,
    "shortconv": short_convolution,
}


class ModelGraph:
    """Builds one model's graph into ``builder``, layer by layer."""

    def __init__(self, builder: GraphBuilder) -> None:
        self.b = builder
        self.family: Family = family_of(builder.shape.architecture)
        builder.alibi = self.family.alibi
        builder.score_passes = self.family.score_passes
        self.inputs = Inputs(builder, self.family)
        shape = builder.shape
        self.states = Recurrence(builder) if shape.state is not None else None
        self.caches = Attention(builder, latent=shape.mla is not None)
        self.sparse = SparseIndex(builder, shape.indexer) if shape.indexer and shape.mla else None

    def build(self) -> None:
        family = self.family
        cur = self.b.embedding(
            scaled=family.embedding == "scaled",
            scale_after=family.embedding == "scale",
            mixed=family.mixed_input,
        )
        last = self.b.shape.n_layer - 1
        for layer in range(self.b.shape.n_layer):
            cur = self.layer(layer, cur, crop=layer == last and family.crop == "layer")
        self.head(cur)

    def crop(self, x: Tensor) -> Tensor:
        return ops.get_rows(x, self.inputs.out_rows)

    def layer(self, layer: int, x: Tensor, *, crop: bool) -> Tensor:
        b, family = self.b, self.family
        normed = layer_norm(b, family, layer, "attn_norm", x)
        cur = self.mix(layer, normed)
        if crop:
            cur, x = self.crop(cur), self.crop(x)
        if b.shape.traits.parallel_residual:
            side = self.crop(normed) if crop else normed
            cur_ff = feed_forward(b, family, layer, side)
            return ops.add(ops.add(cur_ff, x), cur)
        post = b.of(layer, "post_ffw_norm") is not None or b.of(layer, "ffn_norm") is not None
        if post:
            cur = layer_norm(b, family, layer, "post_attention_norm", cur)
        mixed = ops.add(x, cur) if family.residual_first else ops.add(cur, x)
        if b.of(layer, "ffn_norm") is None and not post:
            ff_in = layer_norm(b, family, layer, "post_attention_norm", mixed)
        else:
            ff_in = layer_norm(b, family, layer, "ffn_norm", mixed)
        cur = feed_forward(b, family, layer, ff_in)
        cur = layer_norm(b, family, layer, "post_ffw_norm", cur)
        out = ops.add(mixed, cur) if family.residual_first else ops.add(cur, mixed)
        if layer < b.shape.n_deepstack:
            n = b.n_tokens
            out = ops.add(out, ops.view(b.embedded, (b.shape.n_embd, n), b.embedded.nb[1]))
        return out

    def mix(self, layer: int, x: Tensor) -> Tensor:
        b, shape = self.b, self.b.shape
        if self.states is not None and shape.kinds[layer] is LayerKind.RECURRENT:
            b.expand(x)
            return _RECURRENT[self.states.state.kind](self.states, layer, x)
        if shape.mla is not None:
            return latent_attention(b, self.family, self.caches, self.inputs, layer, x, self.sparse)
        if self.states is not None and self.states.state.kind == "delta net":
            b.expand(x)
            return gated_attention(b, self.caches, self.inputs, layer, x)
        return attention(b, self.family, self.caches, self.inputs, layer, x)

    def head(self, x: Tensor) -> None:
        b, family = self.b, self.family
        if family.crop == "before norm":
            x = self.crop(x)
        kind = "norm" if family.layer_norm else "rms_norm"
        cur = b.norm(x, b.weight("output_norm.weight"), bias=b.weight("output_norm.bias"), kind=kind)
        if family.crop == "after norm":
            cur = self.crop(cur)
        output = b.weight("output.weight") or b.need("token_embd.weight#head")
        b.expand(ops.mul_mat(output, cur))
