"""What one decode step reads, and from where.

Not read: the input embedding table (one row is looked up), MTP blocks, experts that the router did not
choose. Read whole: everything else of the weights, the output head (or the tied embedding in its place), the
KV cache up to the depth (sliding-window layers up to their window) and the recurrent state.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from llmfit.advisor.memory.assignment import Assignment
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.model.quantization import TENSOR_TYPES
from llmfit.advisor.model.shape import LayerKind, ModelShape
from llmfit.advisor.model.tensors import Tensor

_BLOCK = re.compile(r"blk\.(\d+)\.(.*)")
_LOOKED_UP = ("token_embd.", "per_layer_token_embd.", "position_embd.", "token_types.")
F32_BYTES = 4


@dataclass(frozen=True, slots=True)
class DecodeReads:
    """Bytes of weights one decode step reads: dense parts and chosen experts a layer, and the output head."""

    dense_bytes: tuple[int, ...]
    expert_bytes: tuple[int, ...]
    output_bytes: int

    @property
    def weights_bytes(self) -> int:
        return sum(self.dense_bytes) + sum(self.expert_bytes) + self.output_bytes


@dataclass(frozen=True, slots=True)
class PlaceReads:
    """The same summed for one device or the host, with the cache; bytes a token."""

    dense_bytes: float
    expert_bytes: float
    cache_bytes: float
    n_layers: int
    """Layers of which at least a part is read here."""

    @property
    def total_bytes(self) -> float:
        return self.dense_bytes + self.expert_bytes + self.cache_bytes


def decode_reads(shape: ModelShape, tensors: Sequence[Tensor]) -> DecodeReads:
    """What each layer contributes; k of n routed experts by their share of the stacked tensor."""
    dense = [0] * shape.n_layer
    experts = [0] * shape.n_layer
    output_bytes = tied_bytes = 0
    for tensor in tensors:
        match = _BLOCK.match(tensor.name)
        if match is None:
            if tensor.name == "token_embd.weight":
                tied_bytes = tensor.n_bytes
            elif not tensor.name.startswith(_LOOKED_UP):
                output_bytes += tensor.n_bytes
            continue
        layer = int(match[1])
        if layer >= shape.n_layer:
            continue
        if "_exps" in match[2] and shape.n_expert:
            experts[layer] += tensor.n_bytes * shape.n_expert_used // shape.n_expert
        else:
            dense[layer] += tensor.n_bytes
    if shape.traits.tied_embeddings:
        output_bytes += tied_bytes
    return DecodeReads(tuple(dense), tuple(experts), output_bytes)


def cache_bytes_read(shape: ModelShape, layer: int, settings: LaunchSettings, depth_tokens: int) -> float:
    """Bytes of cache and state that one layer reads at a depth, for one stream."""
    total = 0.0
    if shape.has_attention(layer):
        tokens = depth_tokens
        if shape.kinds[layer] is LayerKind.SWA and shape.window_tokens:
            tokens = min(tokens, shape.window_tokens)
        row = shape.key_width(layer) * _bytes_per_element(settings.cache_type_k)
        if shape.mla is None:
            row += shape.value_width(layer) * _bytes_per_element(settings.cache_type_v)
        total += tokens * row
    if shape.has_state(layer):
        total += F32_BYTES * shape.recurrent_elements
    return total


def reads_by_place(
    shape: ModelShape, reads: DecodeReads, settings: LaunchSettings, assignment: Assignment, depth_tokens: int
) -> tuple[tuple[PlaceReads, ...], PlaceReads]:
    """(one PlaceReads a GPU in the order of ``settings.devices``, that of the host)."""
    n_places = len(settings.devices) + 1
    host = n_places - 1
    dense, experts, cache = [0.0] * n_places, [0.0] * n_places, [0.0] * n_places
    touched: list[set[int]] = [set() for _ in range(n_places)]
    for layer in range(shape.n_layer):
        place = assignment.layer_device[layer] if assignment.layer_device[layer] >= 0 else host
        expert_place = host if assignment.experts_on_host[layer] else place
        cache_place = assignment.cache_device[layer] if assignment.cache_device[layer] >= 0 else host
        dense[place] += reads.dense_bytes[layer]
        experts[expert_place] += reads.expert_bytes[layer]
        cache[cache_place] += cache_bytes_read(shape, layer, settings, depth_tokens)
        touched[place].add(layer)
        if reads.expert_bytes[layer]:
            touched[expert_place].add(layer)
    output_place = assignment.output_device if assignment.output_device >= 0 else host
    dense[output_place] += reads.output_bytes
    places = tuple(PlaceReads(dense[i], experts[i], cache[i], len(touched[i])) for i in range(n_places))
    return places[:-1], places[-1]


def _bytes_per_element(cache_type: str) -> float:
    return TENSOR_TYPES[cache_type.upper()].bits_per_weight / 8
