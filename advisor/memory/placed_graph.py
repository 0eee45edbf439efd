"""What decides a compute graph besides the context: a model's structure, and where its parts lie.

Equal numbers build equal graphs (compute/skeleton.py), so a graph compares by them: quantisations of a model
on the same devices share one, and so do most values of ``-ngl``.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from llmfit.advisor.errors import NotModelledError
from llmfit.advisor.memory.assignment import HOST_DEVICE, Assignment
from llmfit.advisor.memory.compute.allocator import Event
from llmfit.advisor.memory.compute.builder import Batch, CacheView, GraphBuilder, Layout, PlacedWeight
from llmfit.advisor.memory.compute.folding import representative_layers
from llmfit.advisor.memory.compute.graph import ModelGraph
from llmfit.advisor.memory.compute.scheduler import Scheduler
from llmfit.advisor.memory.compute.skeleton import Skeleton, skeleton
from llmfit.advisor.memory.compute.tensor import is_quantized
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.memory.weight_placement import tensor_device, tied_output_device
from llmfit.advisor.memory.weights import INPUT_LAYER, PlacedTensor, WeightTable
from llmfit.advisor.model.shape import ModelShape
from llmfit.advisor.model.tensor_names import INPUT_EMBEDDING

OUTPUT_MATRIX = "output.weight"

_representative_layers = lru_cache(maxsize=1024)(representative_layers)


@dataclass(frozen=True, slots=True)
class Trace:
    """The memory events of one graph. ``weighs_cache``: the bytes of cache types are in them."""

    events: list[Event]
    weighs_cache: bool


class PlacedGraph:
    """Everything but batch and cache that decides the graph; equal where the graphs are.

    A ``sketch`` is a graph of a few layers, the first and the last of each kind: its buffers are about those
    of all layers, for a fraction of the time. Raises KeyError for a model without the tensors that every
    graph has.
    """

    __slots__ = (
        "_hash",
        "_sketch",
        "_tensors",
        "_tied_device",
        "assignment",
        "cpu",
        "key",
        "kv_offload",
        "layers",
        "op_offload",
        "pipeline",
        "shape",
    )

    def __init__(
        self,
        shape: ModelShape,
        weights: WeightTable,
        settings: LaunchSettings,
        assignment: Assignment,
        *,
        sketch: bool = False,
    ) -> None:
        self.shape = shape
        bones = skeleton(shape, weights)
        self.assignment = assignment
        self.cpu = assignment.n_devices
        self.op_offload = settings.op_offload
        self.pipeline = _is_pipelined(settings, assignment)
        self._sketch = sketch
        self.kv_offload = settings.kv_offload
        self._tied_device = tied_output_device(weights, assignment)
        signatures = tuple([self._signature(bones, layer) for layer in range(shape.n_layer)])
        if sketch:
            self.layers = _ends_of_each_kind(signatures)
        else:
            self.layers = (
                _representative_layers(signatures) if self._repeats() else tuple(range(shape.n_layer))
            )
        # With pipeline parallelism all layers may be needed: see trace().
        used = range(shape.n_layer) if self.pipeline and not sketch else self.layers
        self._tensors = (*bones.outside, *(tensor for layer in used for tensor in bones.by_layer[layer]))
        self.key = (
            bones.whole,
            signatures
            if self.pipeline and not sketch
            else tuple([signatures[layer] for layer in self.layers]),
            self._outside(bones.outside),
            (self.cpu, self.op_offload, self.pipeline, self.kv_offload, sketch),
            (assignment.output_device, self._tied_device),
        )
        self._hash = hash(self.key)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlacedGraph) and other.key == self.key

    def _repeats(self) -> bool:
        """Equal layers do equal things: not where each needs memory of its own until the end of the graph.

        Sparse attention allocates a leaf of every layer before the graph starts; layers that share the cache
        of an earlier one copy it where it lies on another device.
        """
        shares = self.shape.n_layer_kv < self.shape.n_layer
        return self.shape.indexer is None and not (shares and HOST_DEVICE in self.assignment.cache_device)

    def _signature(self, bones: Skeleton, layer: int) -> Hashable:
        """Equal for layers whose tensors are alike and lie alike."""
        assignment = self.assignment
        device, cache = assignment.layer_device[layer], assignment.cache_device[layer]
        if not self.cpu:
            return bones.plain[layer], device, cache
        moves = layer < assignment.n_cpu_moe or assignment.overrides
        tensors = bones.by_layer[layer]
        places: tuple[int, ...] = ()
        if device < 0 or moves or not bones.all_on_gpu[layer]:
            places = tuple([self._backend(tensor) for tensor in tensors])
        if device >= 0 and all(place == device for place in places):
            owner = layer
            if self.pipeline and layer >= self.shape.n_layer_kv:
                owner = -1 - layer  # what it shares across GPUs is copied once a layer
            return bones.plain[layer], device, cache, min(owner, 0)
        # What lies in RAM is staged on a card as it is; of what lies there no type matters.
        staged = [t.type_name for t, place in zip(tensors, places, strict=True) if place == self.cpu]
        return bones.plain[layer], device, cache, places, tuple(staged)

    def _outside(self, outside: tuple[PlacedTensor, ...]) -> Hashable:
        """The tensors of no block; their types only where they decide anything."""
        names = {tensor.name for tensor in outside}
        is_output = OUTPUT_MATRIX not in names and self._tied_device == HOST_DEVICE
        facts = []
        for tensor in outside:
            backend = self._backend(tensor)
            # The CPU looks rows up in any type and copies only the rows; CUDA refuses some types. What is
            # multiplied with is staged as it is.
            looked_up = tensor.layer == INPUT_LAYER and not (is_output and tensor.name == INPUT_EMBEDDING)
            matters = self.cpu > 0 and (backend == self.cpu) != looked_up
            facts.append((tensor.name, tensor.dims, backend, tensor.type_name if matters else ""))
        return tuple(facts)

    def _backend_of(self, device: int) -> int:
        return self.cpu if device == HOST_DEVICE else device

    def _backend(self, tensor: PlacedTensor) -> int:
        return self._backend_of(tensor_device(tensor, self.assignment))

    def trace(self, batch: Batch, view: CacheView) -> Trace:
        """The memory events of the graph for this batch over this cache; NotModelledError where it is
        built otherwise than its tensors say."""
        scheduler, trace = self._run(batch, view, self.layers)
        if (
            self.pipeline
            and not self._sketch
            and scheduler.returns_to_cpu
            and len(self.layers) < self.shape.n_layer
        ):
            _, trace = self._run(batch, view, tuple(range(self.shape.n_layer)))
        return trace

    def _run(self, batch: Batch, view: CacheView, layers: tuple[int, ...]) -> tuple[Scheduler, Trace]:
        devices = self.assignment.layer_device[: self.shape.n_layer]
        layout = Layout(self.cpu, tuple(self._backend_of(device) for device in devices))
        builder = GraphBuilder(self.shape, self._placed(), batch, view, layout)
        try:
            ModelGraph(builder).build(layers)
        except KeyError as missing:
            raise NotModelledError(
                f"the compute buffers of {self.shape.architecture}",
                f"not modelled: its layers are built otherwise (no {missing.args[0]})",
            ) from None
        scheduler = Scheduler(self.cpu, op_offload=self.op_offload, pipeline=self.pipeline)
        events = scheduler.run(builder.nodes, builder.leafs)
        typed = any(node.view is None and is_quantized(node.kind) for node in builder.nodes)
        return scheduler, Trace(events, typed or scheduler.copies_stored)

    def _placed(self) -> Mapping[str, PlacedWeight]:
        """Every weight with the backend whose buffer holds it; a tied embedding is the output, too."""
        found = {t.name: PlacedWeight(t.type_name, t.dims, self._backend(t)) for t in self._tensors}
        if OUTPUT_MATRIX not in found and INPUT_EMBEDDING in found:
            tied = found[INPUT_EMBEDDING]
            found[OUTPUT_MATRIX] = replace(tied, backend=self._backend_of(self._tied_device))
        return found


def _ends_of_each_kind(signatures: tuple[Hashable, ...]) -> tuple[int, ...]:
    first = {one: at for at, one in reversed(list(enumerate(signatures)))}
    last = {one: at for at, one in enumerate(signatures)}
    return tuple(sorted({*first.values(), *last.values()}))


def _is_pipelined(settings: LaunchSettings, assignment: Assignment) -> bool:
    """Several GPUs work on successive batches (llama_context::llama_context, src/llama-context.cpp)."""
    return (
        assignment.n_devices > 1
        and assignment.fully_offloaded
        and settings.kv_offload
        and not assignment.has_overrides
    )
