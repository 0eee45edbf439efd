"""Feed-forward parts: dense, and mixtures of experts."""

from __future__ import annotations

from llmfit.advisor.model.layouts.block import Block, Part, either


def gated(block: Block) -> None:
    n_embd, width = block.numbers.n_embd, block.n_ff
    block.weight("ffn_gate", n_embd, width)
    block.weight("ffn_up", n_embd, width)
    block.weight("ffn_down", width, n_embd)


def fused_gated(block: Block) -> None:
    """Gate and up lie in one matrix (phi3, glm4)."""
    n_embd, width = block.numbers.n_embd, block.n_ff
    block.weight("ffn_up", n_embd, 2 * width)
    block.weight("ffn_down", width, n_embd)


def plain(block: Block) -> None:
    """Two matrices without a gate."""
    n_embd, width = block.numbers.n_embd, block.n_ff
    block.weight("ffn_up", n_embd, width)
    block.weight("ffn_down", width, n_embd)


def experts(
    *,
    router_bias: str | None = None,
    shared_gate: bool = False,
    biases: bool = False,
    gate: bool = True,
) -> Part:
    """Router, routed experts and the shared expert that the header declares.

    ``router_bias``: ``always``, ``optional`` (the options say it), or ``bare`` for the tensor without a
    suffix. ``shared_gate``: the shared expert has its own gate (qwen2moe). ``biases``: router and experts
    have biases (gpt-oss). ``gate``: experts have a gate matrix.
    """

    def draw(block: Block) -> None:
        numbers = block.numbers
        options = numbers.options
        n_embd, width, count = numbers.n_embd, numbers.n_ff_expert, numbers.header.integer("expert_count")
        latent = numbers.header.integer("moe_latent_size", 0) or n_embd
        block.weight("ffn_gate_inp", n_embd, count)
        if latent != n_embd:
            block.weight("ffn_latent_down", n_embd, latent)
            block.weight("ffn_latent_up", latent, n_embd)
        if options.fused_experts:
            block.weight("ffn_gate_up_exps", latent, 2 * width, count)
        else:
            if gate:
                block.weight("ffn_gate_exps", latent, width, count)
            block.weight("ffn_up_exps", latent, width, count)
        block.weight("ffn_down_exps", width, latent, count)
        if router_bias == "bare":
            block.raw("exp_probs_b", count)
        elif router_bias == "always" or (router_bias and options.expert_bias):
            block.bias("exp_probs_b", count)
        if biases:
            _expert_biases(block, n_embd, width, count)
        _shared_expert(block, gate, shared_gate)

    return draw


def _expert_biases(block: Block, n_embd: int, width: int, count: int) -> None:
    block.bias("ffn_gate_inp", count)
    block.bias("ffn_gate_exps", width, count)
    block.bias("ffn_up_exps", width, count)
    block.bias("ffn_down_exps", n_embd, count)


def _shared_expert(block: Block, gate: bool, shared_gate: bool) -> None:
    width, n_embd = shared_width(block), block.numbers.n_embd
    if not width:
        return
    if gate:
        block.weight("ffn_gate_shexp", n_embd, width)
    block.weight("ffn_up_shexp", n_embd, width)
    block.weight("ffn_down_shexp", width, n_embd)
    if shared_gate:
        block.weight("ffn_gate_inp_shexp", n_embd)


def shared_width(block: Block) -> int:
    """Width of the shared expert: its own key, or as many routed experts as the header counts as shared.

    bailingmoe2 multiplies its own key by the count; llama4 always has one (src/models).
    """
    numbers = block.numbers
    header = numbers.header
    count = header.integer("expert_shared_count", 0)
    if header.architecture == "llama4":
        return numbers.n_ff_expert
    own = header.integer("expert_shared_feed_forward_length", 0)
    if header.architecture == "bailingmoe2":
        return (own or numbers.n_ff_expert) * count
    return own or count * numbers.n_ff_expert


def after_dense_lead(sparse: Part) -> Part:
    """Dense in the first ``leading_dense_block_count`` blocks, then experts."""

    def is_dense(block: Block) -> bool:
        return block.layer < block.numbers.header.integer("leading_dense_block_count", 0)

    return either(is_dense, gated, sparse)


def where_experts(sparse: Part, dense: Part = gated) -> Part:
    """Experts where the header counts any, else dense."""

    def has_experts(block: Block) -> bool:
        return block.numbers.header.integer("expert_count", 0) > 0

    return either(has_experts, sparse, dense)


def every_nth(sparse: Part) -> Part:
    """llama4: block ``il`` has experts where ``(il + 1)`` is a multiple of the step."""

    def is_sparse(block: Block) -> bool:
        step = block.numbers.header.integer("interleave_moe_layer_step")
        return step > 0 and (block.layer + 1) % step == 0

    return either(is_sparse, sparse, gated)
