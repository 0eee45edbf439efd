"""What the name of a tensor says: its block, and how much of it one decoded token reads.

Names: llama.cpp b11434, src/llama-arch.cpp (LLM_TENSOR_NAMES); what a graph looks up a row in is
``LLM_TENSOR_LAYER_INPUT`` there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from llmfit.advisor.model.shape import ModelShape
from llmfit.advisor.model.tensors import Tensor

INPUT_EMBEDDING = "token_embd.weight"
BLOCK = re.compile(r"blk\.(\d+)\.(.+)")
"""Block number, and the name within the block."""
ROUTED_EXPERTS = re.compile(r"\.ffn_(up|down|gate|gate_up)_(ch|)exps")
"""LLM_FFN_EXPS_REGEX (common/common.h): stacked experts, of which a router chooses some for each token."""
LOOKED_UP = re.compile(r"(token_embd|position_embd|token_types|per_layer_token_embd)\.")
"""Tables outside the blocks of which a token reads one row; llama.cpp keeps them in RAM."""


def block_of(name: str) -> int | None:
    """The block that a tensor belongs to; ``None`` outside the blocks."""
    match = BLOCK.match(name)
    return int(match[1]) if match else None


def decode_share(tensor: Tensor, shape: ModelShape) -> tuple[int, int]:
    """The share of a tensor that one decoded token reads, as numerator and denominator.

    Of stacked experts the chosen ones, of which a stack may have fewer than the model has experts (grovemoe
    chooses as many of its smaller second stack: src/models/grovemoe.cpp). Nothing of blocks that only draft
    (MTP) nor of tables of which a row is looked up, except a token embedding that is the output matrix, too.
    """
    layer = block_of(tensor.name)
    if layer is not None and layer >= shape.n_layer:
        return 0, 1
    if LOOKED_UP.match(tensor.name):
        return int(tensor.name == INPUT_EMBEDDING and shape.traits.tied_embeddings), 1
    if ROUTED_EXPERTS.search(tensor.name) and shape.n_expert:
        n_stacked = tensor.dims[-1]
        return min(shape.n_expert_used, n_stacked), n_stacked
    return 1, 1


def active_parameters(shape: ModelShape, tensors: Sequence[Tensor]) -> int:
    """Parameters that one decoded token reads: see ``decode_share``."""
    active = 0
    for tensor in tensors:
        read, of = decode_share(tensor, shape)
        active += tensor.n_elements * read // of
    return active
