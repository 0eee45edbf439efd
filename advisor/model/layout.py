"""The tensors that a model of known architecture has in a GGUF file, from its metadata and a few options."""

from __future__ import annotations

from collections.abc import Mapping

from llmfit.advisor.errors import NotModelledError
from llmfit.advisor.model.architectures import NOT_MODELLED
from llmfit.advisor.model.header_values import HeaderValues
from llmfit.advisor.model.layouts.block import Block, LayoutOptions, Numbers
from llmfit.advisor.model.layouts.plans import PLANS, Plan
from llmfit.advisor.model.tensors import TensorShape


def lay_out(metadata: Mapping[str, object], options: LayoutOptions) -> tuple[TensorShape, ...]:
    """Names and dimensions of every tensor, in the order in which llama-quantize writes them.

    ``metadata`` has the keys of the GGUF header. The order is that of ``weight_name_comparer``
    (llama.cpp b11434, src/llama-model-loader.h): by block, then by name, those outside blocks first; it is
    the one every quantised file has. A file straight from a converter has the order of the checkpoint.

    Raises NotModelledError for an architecture without a layout, GgufError for metadata that lack a number.
    """
    plan = plan_of(HeaderValues(metadata).architecture)
    numbers = Numbers(metadata, options)
    tensors = _outside_blocks(plan, numbers)
    for layer in range(numbers.n_all):
        block = Block(numbers, layer)
        block.norms(*plan.norms)
        plan.mixer(block)
        plan.feed_forward(block)
        if block.is_nextn:
            _nextn(plan, block)
        tensors += _by_name(block)
    return tuple(tensors)


def plan_of(architecture: str) -> Plan:
    """The layout plan of an architecture, or NotModelledError with the reason."""
    plan = PLANS.get(architecture)
    if plan is None:
        why = NOT_MODELLED.get(architecture, "the tensors of this architecture are not described here")
        hint = "Name a GGUF file of the model instead."
        raise NotModelledError(f"architecture {architecture!r}", f"not modelled: {why}", hint)
    return plan


def _by_name(block: Block) -> list[TensorShape]:
    return sorted(block.tensors, key=lambda tensor: tensor.name)


def _outside_blocks(plan: Plan, numbers: Numbers) -> list[TensorShape]:
    options = numbers.options
    top = Block(numbers, -1)
    top.weight("token_embd", numbers.n_embd, numbers.n_vocab)
    top.norms(plan.output_norm)
    if not options.tied_embeddings:
        top.weight("output", numbers.n_embd, numbers.n_vocab)
    if options.rope_factors and plan.rope_factors:
        top.weight("rope_factors_long", options.rope_factors)
        top.weight("rope_factors_short", options.rope_factors)
    elif options.rope_factors:
        top.weight("rope_freqs", options.rope_factors)
    plan.outside(top)
    return _by_name(top)


def _nextn(plan: Plan, block: Block) -> None:
    """What an MTP block has besides a block of the trunk (NEXTN_* in src/llama-arch.cpp)."""
    numbers = block.numbers
    block.weight("nextn.eh_proj", 2 * numbers.n_embd, numbers.n_embd)
    block.norms("nextn.enorm", "nextn.hnorm")
    if plan.nextn_head_norm:
        block.norms("nextn.shared_head_norm")
    if numbers.options.nextn_embeddings:
        block.weight("nextn.embed_tokens", numbers.n_embd, numbers.n_vocab)
    if numbers.options.nextn_head:
        block.weight("nextn.shared_head_head", numbers.n_embd, numbers.n_vocab)
    plan.nextn(block)


__all__ = ["LayoutOptions", "lay_out", "plan_of"]
