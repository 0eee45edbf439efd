"""What one decode step reads, and from where.

Not read: the input embedding table (one row is looked up), MTP blocks, experts that the router did not
choose. Read whole: everything else of the weights, the output head (or the tied embedding in its place), the
KV cache up to the depth (sliding-window layers up to their window) and the recurrent state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from llmfit.advisor.memory.assignment import Assignment
from llmfit.advisor.memory.weight_placement import tensor_device, tied_output_device
from llmfit.advisor.memory.weights import INPUT_LAYER, OUTPUT_LAYER, PlacedTensor, WeightTable
from llmfit.advisor.model.quantization import CACHE_TYPES
from llmfit.advisor.model.shape import LayerKind, ModelShape
from llmfit.advisor.model.tensor_names import ROUTED_EXPERTS, decode_share
from llmfit.advisor.model.tensors import Tensor
from llmfit.advisor.same import Same
from llmfit.advisor.speed.kernels import kernel_counts

F32_BYTES = 4


class Role(Enum):
    """What a matrix does, as far as its speed depends on it."""

    DENSE = "dense weights"
    EXPERT = "experts"
    OUTPUT = "output head"


@dataclass(frozen=True, slots=True)
class WeightReads:
    """What one token reads of the tensors of one type and role in one place."""

    type_name: str
    role: Role
    n_bytes: float
    n_parameters: float
    """Elements read: each is one multiplication and one addition a token."""


@dataclass(frozen=True, slots=True)
class CacheReads:
    """What one token reads of the cache in one place: elements of K and V a cached token, and the state.

    ``full_*`` are read for every cached token, ``window_*`` for those in the window. The state of recurrent
    layers is read whatever the depth.
    """

    full_k_elements: int = 0
    full_v_elements: int = 0
    window_k_elements: int = 0
    window_v_elements: int = 0
    window_tokens: int = 0
    state_bytes: int = 0
    is_latent: bool = False
    """Latent attention (MLA): one row for all heads."""

    def n_bytes(self, depth_tokens: int, cache_type_k: str, cache_type_v: str) -> float:
        """Bytes read at a depth."""
        k, v = _bytes_per_element(cache_type_k), _bytes_per_element(cache_type_v)
        full = self.full_k_elements * k + self.full_v_elements * v
        window = self.window_k_elements * k + self.window_v_elements * v
        return (
            depth_tokens * full
            + min(depth_tokens, self.window_tokens or depth_tokens) * window
            + self.state_bytes
        )


@dataclass(frozen=True, slots=True)
class PlaceReads:
    """What is read on one GPU or by the CPU."""

    weights: tuple[WeightReads, ...]
    cache: CacheReads
    n_layers: int
    """Layers of which at least a part is read here."""
    n_expert_layers: int
    """Layers of which the routed experts are read here."""
    n_expert_only_layers: int
    """Layers of which nothing but routed experts is read here."""
    n_cache_only_layers: int = 0
    """Layers of which nothing but the KV cache lies here."""
    n_kernels: int = 0
    """Kernels that a token starts here: those of the layers that lie here, and of the head."""

    def weight_bytes(self, *roles: Role) -> float:
        """Bytes of weights of these roles; of all without any."""
        return sum(read.n_bytes for read in self.weights if not roles or read.role in roles)

    def n_parameters(self, *roles: Role) -> float:
        """Elements of weights of these roles; of all without any."""
        return sum(read.n_parameters for read in self.weights if not roles or read.role in roles)

    @property
    def is_used(self) -> bool:
        return bool(self.weights) or self.cache != _NO_CACHE


@dataclass(frozen=True, slots=True)
class DecodeReads:
    """One PlaceReads a GPU in the order of ``settings.devices``, and that of the host."""

    gpus: tuple[PlaceReads, ...]
    host: PlaceReads

    @property
    def places(self) -> tuple[PlaceReads, ...]:
        return (*self.gpus, self.host)


_NO_CACHE = CacheReads()


def decode_reads(
    shape: ModelShape, tensors: Sequence[Tensor], weights: WeightTable, assignment: Assignment
) -> DecodeReads:
    """What a step reads on each device: the tensors of ``decode_share`` where ``assignment`` puts them."""
    n_places = assignment.n_devices + 1  # the host is device -1: the last place
    sums: list[dict[tuple[str, Role], list[float]]] = [{} for _ in range(n_places)]
    dense: list[set[int]] = [set() for _ in range(n_places)]
    expert: list[set[int]] = [set() for _ in range(n_places)]
    for read in _tensor_reads(Same(shape), Same(weights), Same(tensors)):
        place = _place(read.tensor, weights, assignment)
        both = sums[place].setdefault((read.type_name, read.role), [0.0, 0.0])
        both[0] += read.n_bytes
        both[1] += read.n_parameters
        if read.tensor.layer >= 0:
            (expert if read.role is Role.EXPERT else dense)[place].add(read.tensor.layer)
    caches = _cache_reads(shape, assignment)
    cached: list[set[int]] = [set() for _ in range(n_places)]
    for layer in range(shape.n_layer):
        if shape.has_attention(layer):
            cached[assignment.cache_device[layer]].add(layer)
    kernels = _kernels(shape, weights, assignment)
    places = [
        PlaceReads(
            weights=tuple(WeightReads(*key, *both) for key, both in sums[i].items()),
            cache=caches[i],
            n_layers=len(dense[i] | expert[i]),
            n_expert_layers=len(expert[i]),
            n_expert_only_layers=len(expert[i] - dense[i]),
            n_cache_only_layers=len(cached[i] - dense[i] - expert[i]),
            n_kernels=kernels[i],
        )
        for i in range(n_places)
    ]
    return DecodeReads(tuple(places[:-1]), places[-1])


@dataclass(frozen=True, slots=True)
class _TensorRead:
    tensor: PlacedTensor
    type_name: str
    role: Role
    n_bytes: int
    n_parameters: int


@lru_cache(maxsize=64)
def _tensor_reads(
    shape: Same[ModelShape], weights: Same[WeightTable], tensors: Same[Sequence[Tensor]]
) -> tuple[_TensorRead, ...]:
    """Every tensor that a step reads a part of, wherever it lies."""
    placed = {tensor.name: tensor for tensor in weights.it.tensors}
    found = []
    for tensor in tensors.it:
        read, of = decode_share(tensor, shape.it)
        if read:
            where = placed[tensor.name]
            role = _role(tensor.name, where, shape.it)
            n_bytes, n_parameters = tensor.n_bytes * read // of, tensor.n_elements * read // of
            found.append(_TensorRead(where, tensor.type_name, role, n_bytes, n_parameters))
    return tuple(found)


def _kernels(shape: ModelShape, weights: WeightTable, assignment: Assignment) -> list[int]:
    """Kernels of each place, the host last: those of a layer where the layer lies, the head's at the head."""
    counts = kernel_counts(shape, weights)
    sums = [0] * (assignment.n_devices + 1)
    for n_kernels, device in zip(counts.by_layer, assignment.layer_device, strict=False):
        sums[device] += n_kernels
    sums[assignment.output_device] += counts.outside
    return sums


def _cache_reads(shape: ModelShape, assignment: Assignment) -> list[CacheReads]:
    """The cache of each place, the host last. MLA keeps one latent row a token: V is a view of K."""
    sums = [[0, 0, 0, 0, 0] for _ in range(assignment.n_devices + 1)]
    for layer in range(shape.n_layer):
        mine = sums[assignment.cache_device[layer]]
        if shape.has_attention(layer):
            first = 2 if shape.kinds[layer] is LayerKind.SWA and shape.window_tokens else 0
            mine[first] += shape.key_width(layer)
            mine[first + 1] += 0 if shape.mla is not None else shape.value_width(layer)
        if shape.has_state(layer):
            mine[4] += F32_BYTES * shape.recurrent_elements
    return [
        CacheReads(
            full_k,
            full_v,
            window_k,
            window_v,
            shape.window_tokens if window_k else 0,
            state,
            is_latent=shape.mla is not None and bool(full_k or window_k),
        )
        for full_k, full_v, window_k, window_v, state in sums
    ]


def _place(tensor: PlacedTensor, weights: WeightTable, assignment: Assignment) -> int:
    """Of tables that rows are looked up in only a tied embedding is read: as the output matrix."""
    if tensor.layer == INPUT_LAYER:
        return tied_output_device(weights, assignment)
    return tensor_device(tensor, assignment)


def _role(name: str, tensor: PlacedTensor, shape: ModelShape) -> Role:
    if tensor.layer in (INPUT_LAYER, OUTPUT_LAYER):
        return Role.OUTPUT
    return Role.EXPERT if shape.n_expert and _is_routed(name) else Role.DENSE


@lru_cache(maxsize=65536)
def _is_routed(name: str) -> bool:
    return ROUTED_EXPERTS.search(name) is not None


def _bytes_per_element(cache_type: str) -> float:
    return CACHE_TYPES[cache_type].bits_per_weight / 8
