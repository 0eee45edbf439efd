"""Feed-forward: dense (build_ffn) and mixture of experts (build_moe_ffn, llama-graph.cpp)."""

from __future__ import annotations

from dataclasses import dataclass

from llmfit.advisor.memory.compute import ops
from llmfit.advisor.memory.compute.builder import GraphBuilder
from llmfit.advisor.memory.compute.tensor import Tensor


def dense(
    b: GraphBuilder,
    layer: int,
    x: Tensor,
    *,
    part: str = "",
    halves: bool = False,
    steps: int = 1,
    clamp: bool = False,
) -> Tensor:
    """build_ffn. ``part`` is the tensor suffix (``_shexp``); ``halves``: gate and up are one tensor.

    ``steps`` are the element-wise operations of an activation without a gate; ``clamp`` limits a gated one.
    """
    up = b.linear(layer, f"ffn_up{part}", x)
    if b.of(layer, f"ffn_gate{part}") is not None:
        gate = b.linear(layer, f"ffn_gate{part}", x)
        if clamp:
            up = ops.same("clamp", up)
            cur = ops.mul(ops.same("clamp", ops.unary(gate)), up)
        else:
            cur = ops.glu(gate, up)
    elif halves:
        cur = ops.glu_halves(up)
    else:
        cur = up
        for _ in range(steps):
            cur = ops.unary(cur)
    return b.linear(layer, f"ffn_down{part}", cur)


@dataclass(frozen=True, slots=True)
class Routing:
    """How experts are picked and weighed. ``gating``: ``softmax``, ``sigmoid``, ``softmax of the chosen``."""

    gating: str = "softmax"
    normalised: bool | None = True
    """None: as the header says."""
    weight_before: bool = False
    """Tokens are weighted before the experts, so each expert has its own copy (llama4)."""
    strict_down: bool = False
    """The down projection asks for F32 input, which CUDA refuses (mistral4)."""
    steps: int = 1
    clamp: bool = False


def _probabilities(logits: Tensor, routing: Routing) -> Tensor:
    if routing.gating == "softmax":
        return ops.soft_max(logits)
    return ops.unary(logits) if routing.gating == "sigmoid" else logits


def _grouped(probs: Tensor, groups: int, used: int) -> Tensor:
    """Only the best groups of experts stay in the race (DeepSeek-V3)."""
    n_expert, n_tokens = probs.ne[0], probs.ne[1]
    grouped = ops.reshape(probs, n_expert // groups, groups, n_tokens)
    best = ops.argsort_top_k(grouped, 2)
    score = ops.get_rows(ops.reshape(grouped, 1, *grouped.ne[:3]), best)
    score = ops.sum_rows(ops.reshape(score, *score.ne[1:4]))
    chosen = ops.argsort_top_k(ops.reshape(score, score.ne[1], score.ne[2]), used)
    kept = ops.get_rows(grouped, chosen)
    masked = ops.set_rows(ops.same("fill", grouped), kept, chosen)
    return ops.reshape(masked, n_expert, n_tokens)


def _weights(b: GraphBuilder, probs: Tensor, chosen: Tensor, routing: Routing) -> Tensor:
    n_expert, n_tokens = probs.ne[0], probs.ne[1]
    used = chosen.ne[0]
    weights = ops.get_rows(ops.reshape(probs, 1, n_expert, n_tokens), chosen)
    if routing.gating == "softmax of the chosen":
        weights = ops.soft_max(ops.reshape(weights, used, n_tokens))
        weights = ops.reshape(weights, 1, used, n_tokens)
    if b.shape.expert_weights_norm if routing.normalised is None else routing.normalised:
        weights = ops.reshape(weights, used, n_tokens)
        total = ops.same("clamp", ops.sum_rows(weights))
        weights = ops.reshape(ops.same("div", weights, total), 1, used, n_tokens)
    return b.expand(weights)


def _expert(b: GraphBuilder, layer: int, name: str, x: Tensor, chosen: Tensor) -> Tensor | None:
    weight = b.of(layer, name)
    if weight is None:
        return None
    cur = ops.mul_mat_id(weight, x, chosen)
    bias = b.of(layer, name, "bias")
    return cur if bias is None else ops.same("add_id", cur, bias, chosen)


def _hidden(b: GraphBuilder, layer: int, x: Tensor, chosen: Tensor, routing: Routing) -> Tensor:
    both = _expert(b, layer, "ffn_gate_up_exps", x, chosen)
    if both is not None:
        half = (both.ne[0] // 2, both.ne[1], both.ne[2])
        gate = ops.view(both, half, both.nb[1], both.nb[2])
        return ops.glu(gate, ops.view(both, half, both.nb[1], both.nb[2]))
    up = _expert(b, layer, "ffn_up_exps", x, chosen)
    if up is None:
        raise KeyError(f"blk.{layer}.ffn_up_exps.weight")
    gated = _expert(b, layer, "ffn_gate_exps", x, chosen)
    if gated is None:
        for _ in range(routing.steps):
            up = ops.unary(up)
        return up
    if routing.clamp:
        up = ops.same("clamp", up)
        return ops.mul(ops.same("clamp", ops.unary(gated)), up)
    return ops.glu(gated, up)


def experts(
    b: GraphBuilder, layer: int, x: Tensor, routing: Routing, *, logits: Tensor | None = None
) -> Tensor:
    """build_moe_ffn: routing, the chosen experts, and their weighted sum."""
    n_embd, n_tokens, used = x.ne[0], x.ne[1], b.shape.n_expert_used
    if logits is None:
        logits = ops.mul_mat(b.need(f"blk.{layer}.ffn_gate_inp.weight"), x)
    bias = b.of(layer, "ffn_gate_inp", "bias")
    if bias is not None:
        logits = ops.add(logits, bias)
    probs = _probabilities(logits, routing)
    select = logits if routing.weight_before else probs
    correction = b.of(layer, "exp_probs_b", "bias") or b.of(layer, "exp_probs_b", "")
    if correction is not None:
        select = ops.add(select, correction)
    if b.shape.n_expert_groups > 1:
        select = _grouped(select, b.shape.n_expert_groups, b.shape.n_expert_groups_used)
    chosen = ops.argsort_top_k(select, used)
    weights = _weights(b, probs, chosen, routing)
    cur = ops.reshape(x, n_embd, 1, n_tokens)
    if routing.weight_before:
        cur = ops.mul(ops.repeat(cur, n_embd, used, n_tokens), weights)
    down = _expert(b, layer, "ffn_down_exps", _hidden(b, layer, cur, chosen, routing), chosen)
    if down is None:
        raise KeyError(f"blk.{layer}.ffn_down_exps.weight")
    if routing.strict_down:
        down.strict = True
    if not routing.weight_before:
        down = ops.mul(down, weights)
    return _sum(b, b.expand(down), used)


def _sum(b: GraphBuilder, outs: Tensor, used: int) -> Tensor:
    n_embd, n_tokens = outs.ne[0], outs.ne[2]
    parts = [b.expand(ops.view(outs, (n_embd, n_tokens), outs.nb[2])) for _ in range(used)]
    total = parts[0]
    for part in parts[1:]:
        total = b.expand(ops.add(total, part))
    return ops.cont(total) if used == 1 else total
