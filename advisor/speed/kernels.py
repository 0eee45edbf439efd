"""How many kernels one decoded token starts: counted in the graph that llama.cpp builds for it.

Starting a kernel, and waiting for the one before, takes microseconds whatever it computes. The number a
layer is what tells the families of models apart: a hybrid of Qwen starts about twice as many as a plain
transformer, Gemma half again as many. Counted, not fitted: with the counts, factors for families come out
as 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, replace
from functools import lru_cache

from llmfit.advisor.memory.compute.builder import (
    Batch,
    CacheView,
    GraphBuilder,
    Layout,
    PlacedWeight,
)
from llmfit.advisor.memory.compute.graph import ModelGraph
from llmfit.advisor.memory.compute.skeleton import Skeleton, skeleton
from llmfit.advisor.memory.compute.tensor import VIEW_OPS
from llmfit.advisor.memory.weights import WeightTable
from llmfit.advisor.model.shape import ModelShape
from llmfit.advisor.same import Same

_NORMS = ("rms_norm", "norm")
_CELLS = 4096
"""The number of kernels does not depend on the depth."""


@dataclass(frozen=True, slots=True)
class KernelCounts:
    """Kernels a token: ``by_layer`` of each layer of the trunk, ``outside`` of embedding and head."""

    outside: int
    by_layer: tuple[int, ...]

    @property
    def total(self) -> int:
        return self.outside + sum(self.by_layer)


def kernel_counts(shape: ModelShape, weights: WeightTable) -> KernelCounts:
    """Nodes of the decode graph that compute: views are free, a norm is fused with its weight's product.

    Layers of equal structure are counted once, where the graph allows it. Raises KeyError where the graph of
    the architecture is not known, as the compute buffers do.
    """
    return _counts(Same(shape), Same(weights))


@lru_cache(maxsize=256)
def _counts(shape: Same[ModelShape], weights: Same[WeightTable]) -> KernelCounts:
    bones = skeleton(shape.it, weights.it)
    key = (bones.whole, bones.plain, tuple((tensor.name, tensor.dims) for tensor in bones.outside))
    return _counts_of(key, _Graph(shape.it, bones))


class _Graph:
    """Builds the decode graph of some layers. Equal to all others: the key beside it tells them apart."""

    def __init__(self, shape: ModelShape, bones: Skeleton) -> None:
        self.shape = shape
        self.bones = bones

    def __hash__(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Graph)

    def n_kernels(self, layers: tuple[int, ...]) -> int:
        n_layer = self.shape.n_layer
        weights = self._weights(layers)
        view = CacheView("F16", "F16", _CELLS, _window_cells(self.shape), 1, 1, True, True)
        builder = GraphBuilder(self.shape, weights, Batch(1, 1, 1), view, Layout(1, (0,) * n_layer))
        ModelGraph(builder).build(layers)
        ops = Counter(node.op for node in builder.nodes if node.op not in VIEW_OPS)
        n_norms = sum(ops[name] for name in _NORMS)
        return ops.total() - min(ops["mul"], n_norms)

    def _weights(self, layers: tuple[int, ...]) -> dict[str, PlacedWeight]:
        groups = [self.bones.outside, *(self.bones.by_layer[layer] for layer in layers)]
        found = {one.name: PlacedWeight(one.type_name, one.dims, 0) for group in groups for one in group}
        if "output.weight" not in found and "token_embd.weight" in found:
            found["output.weight"] = replace(found["token_embd.weight"])
        return found


def _window_cells(shape: ModelShape) -> int:
    return min(_CELLS, shape.window_tokens)


@lru_cache(maxsize=512)
def _counts_of(key: tuple[int, tuple[int, ...], Hashable], graph: _Graph) -> KernelCounts:
    plain = key[1]
    try:
        found = _by_kind(plain, graph)
    except KeyError:
        found = None  # a layer that shares the cache of an earlier one cannot be built without it
    return found or _evenly(plain, graph)


def _by_kind(plain: tuple[int, ...], graph: _Graph) -> KernelCounts | None:
    """What each kind of layer adds to a graph of one; ``None`` where no two layers are alike."""
    common = next((number for number in plain if plain.count(number) > 1), None)
    if common is None:
        return None
    base = plain.index(common)
    alone = graph.n_kernels((base,))
    own = {common: graph.n_kernels((base, plain.index(common, base + 1))) - alone}
    for number in plain:
        if number not in own:
            own[number] = graph.n_kernels((base, plain.index(number))) - alone
    return KernelCounts(alone - own[common], tuple(own[number] for number in plain))


def _evenly(plain: tuple[int, ...], graph: _Graph) -> KernelCounts:
    """The whole graph, shared out to all layers alike."""
    each, rest = divmod(graph.n_kernels(tuple(range(len(plain)))), len(plain))
    return KernelCounts(rest, (each,) * len(plain))
