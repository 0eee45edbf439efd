"""What one decode step reads, and from where.

Not read: the input embedding table (one row is looked up), MTP blocks, experts that the router did not
choose. Read whole: everything else of the weights, the output head (or the tied embedding in its place), the
KV cache up to the depth (sliding-window layers up to their window) and the recurrent state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llmfit.advisor.memory.assignment import Assignment
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.memory.weight_placement import tensor_device, tied_output_device
from llmfit.advisor.memory.weights import INPUT_LAYER, PlacedTensor, WeightTable
from llmfit.advisor.model.quantization import CACHE_TYPES
from llmfit.advisor.model.shape import LayerKind, ModelShape
from llmfit.advisor.model.tensor_names import ROUTED_EXPERTS, block_of, decode_share
from llmfit.advisor.model.tensors import Tensor

F32_BYTES = 4


@dataclass(frozen=True, slots=True)
class TensorRead:
    """What one decode step reads of one tensor; ``layer`` is ``None`` outside the blocks."""

    name: str
    layer: int | None
    is_expert: bool
    n_bytes: int
    n_parameters: int


@dataclass(frozen=True, slots=True)
class PlaceReads:
    """What is read on one device or the host; bytes a token."""

    dense_bytes: float
    expert_bytes: float
    cache_bytes: float
    n_parameters: float
    """Elements of the weights that are read here."""
    n_layers: int
    """Layers of which at least a part is read here."""

    @property
    def total_bytes(self) -> float:
        return self.dense_bytes + self.expert_bytes + self.cache_bytes


def decode_reads(shape: ModelShape, tensors: Sequence[Tensor]) -> tuple[TensorRead, ...]:
    """Every tensor that a step reads a part of: see ``decode_share``."""
    reads = []
    for tensor in tensors:
        read, of = decode_share(tensor, shape)
        if read:
            is_expert = shape.n_expert > 0 and ROUTED_EXPERTS.search(tensor.name) is not None
            n_bytes, n_parameters = tensor.n_bytes * read // of, tensor.n_elements * read // of
            reads.append(TensorRead(tensor.name, block_of(tensor.name), is_expert, n_bytes, n_parameters))
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
    weights: WeightTable,
    settings: LaunchSettings,
    assignment: Assignment,
    depth_tokens: int,
) -> tuple[tuple[PlaceReads, ...], PlaceReads]:
    """(one PlaceReads a GPU in the order of ``settings.devices``, that of the host)."""
    n_places = assignment.n_devices + 1
    # The host is device -1: the last place.
    dense, experts, cache, parameters = ([0.0] * n_places for _ in range(4))
    touched: list[set[int]] = [set() for _ in range(n_places)]
    placed = {tensor.name: tensor for tensor in weights.tensors}
    for read in reads:
        place = _place(placed[read.name], weights, assignment)
        (experts if read.is_expert else dense)[place] += read.n_bytes
        parameters[place] += read.n_parameters
        if read.layer is not None:
            touched[place].add(read.layer)
    for layer in range(shape.n_layer):
        cache[assignment.cache_device[layer]] += cache_bytes_read(shape, layer, settings, depth_tokens)
    places = tuple(
        PlaceReads(dense[i], experts[i], cache[i], parameters[i], len(touched[i])) for i in range(n_places)
    )
    return places[:-1], places[-1]


def _place(tensor: PlacedTensor, weights: WeightTable, assignment: Assignment) -> int:
    """Of tables that rows are looked up in only a tied embedding is read: as the output matrix."""
    if tensor.layer == INPUT_LAYER:
        return tied_output_device(weights, assignment)
    return tensor_device(tensor, assignment)


def _bytes_per_element(cache_type: str) -> float:
    return CACHE_TYPES[cache_type].bits_per_weight / 8
