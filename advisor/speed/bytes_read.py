"""What one decode step reads, and from where.

Not read: the input embedding table (one row is looked up), MTP blocks, experts that the router did not
choose. Read whole: everything else of the weights, the output head (or the tied embedding in its place), the
KV cache up to the depth (sliding-window layers up to their window) and the recurrent state.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from llmfit.advisor.memory.assignment import HOST_DEVICE, Assignment
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.model.quantization import CACHE_TYPES
from llmfit.advisor.model.shape import LayerKind, ModelShape
from llmfit.advisor.model.tensors import Tensor

_BLOCK = re.compile(r"blk\.(\d+)\.(.*)")
_LOOKED_UP = ("token_embd.", "per_layer_token_embd.", "position_embd.", "token_types.")
F32_BYTES = 4


@dataclass(frozen=True, slots=True)
class TensorRead:
    """Bytes of one tensor that one decode step reads; ``layer`` is ``None`` for the output head."""

    name: str
    layer: int | None
    is_expert: bool
    n_bytes: int


@dataclass(frozen=True, slots=True)
class PlaceReads:
    """What is read on one device or the host; bytes a token."""

    dense_bytes: float
    expert_bytes: float
    cache_bytes: float
    n_layers: int
    """Layers of which at least a part is read here."""

    @property
    def total_bytes(self) -> float:
        return self.dense_bytes + self.expert_bytes + self.cache_bytes


def decode_reads(shape: ModelShape, tensors: Sequence[Tensor]) -> tuple[TensorRead, ...]:
    """Every tensor that a step reads; k of n routed experts by their share of the stacked tensor."""
    reads = []
    for tensor in tensors:
        match = _BLOCK.match(tensor.name)
        if match is None:
            tied_head = tensor.name == "token_embd.weight" and shape.traits.tied_embeddings
            if tied_head or not tensor.name.startswith(_LOOKED_UP):
                reads.append(TensorRead(tensor.name, None, False, tensor.n_bytes))
            continue
        layer, is_expert = int(match[1]), "_exps" in match[2] and shape.n_expert > 0
        if layer < shape.n_layer:
            used = tensor.n_bytes * shape.n_expert_used // shape.n_expert if is_expert else tensor.n_bytes
            reads.append(TensorRead(tensor.name, layer, is_expert, used))
    return tuple(reads)


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
    shape: ModelShape,
    reads: Sequence[TensorRead],
    settings: LaunchSettings,
    assignment: Assignment,
    depth_tokens: int,
) -> tuple[tuple[PlaceReads, ...], PlaceReads]:
    """(one PlaceReads a GPU in the order of ``settings.devices``, that of the host)."""
    n_places = assignment.n_devices + 1
    # The host is device -1: the last place.
    dense, experts, cache = [0.0] * n_places, [0.0] * n_places, [0.0] * n_places
    touched: list[set[int]] = [set() for _ in range(n_places)]
    for read in reads:
        place = _place(read, assignment)
        (experts if read.is_expert else dense)[place] += read.n_bytes
        if read.layer is not None:
            touched[place].add(read.layer)
    for layer in range(shape.n_layer):
        cache[assignment.cache_device[layer]] += cache_bytes_read(shape, layer, settings, depth_tokens)
    places = tuple(PlaceReads(dense[i], experts[i], cache[i], len(touched[i])) for i in range(n_places))
    return places[:-1], places[-1]


def _place(read: TensorRead, assignment: Assignment) -> int:
    if read.name in assignment.overrides:
        return assignment.overrides[read.name]
    if read.layer is None:
        return assignment.output_device
    if read.is_expert and read.layer < assignment.n_cpu_moe:
        return HOST_DEVICE
    return assignment.layer_device[read.layer]


def _bytes_per_element(cache_type: str) -> float:
    return CACHE_TYPES[cache_type].bits_per_weight / 8
