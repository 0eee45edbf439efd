"""Compute buffers: what llama.cpp's scheduler allocates beside weights and cache, on each GPU and in RAM.

Not a formula: the graph of the worst batch is built (compute/graph.py), scheduled (compute/scheduler.py) and
laid out (compute/allocator.py) as llama.cpp b11434 does when it measures: ``llama_context::sched_reserve``
(src/llama-context.cpp) with ``ggml_backend_sched_reserve_size`` (ggml/src/ggml-backend.cpp).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace

from llmfit.advisor.errors import NotModelledError
from llmfit.advisor.memory.assignment import HOST_DEVICE, Assignment
from llmfit.advisor.memory.compute.allocator import Event
from llmfit.advisor.memory.compute.builder import Batch, CacheView, GraphBuilder, Layout, PlacedWeight
from llmfit.advisor.memory.compute.families import CHECKED
from llmfit.advisor.memory.compute.folding import representative_layers
from llmfit.advisor.memory.compute.graph import ModelGraph
from llmfit.advisor.memory.compute.program import MemoryProgram
from llmfit.advisor.memory.compute.scheduler import Scheduler
from llmfit.advisor.memory.compute.skeleton import skeleton
from llmfit.advisor.memory.kv_cache import CacheGeometry
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.memory.weight_placement import tensor_device, tied_output_device
from llmfit.advisor.memory.weights import PlacedTensor, WeightTable
from llmfit.advisor.model.shape import ModelShape
from llmfit.advisor.units import MIB

UNCHECKED_FLOOR_BYTES = 32 * MIB
UNCHECKED_PERCENT = 20
"""Doubt of architectures not in CHECKED: the worst replay before a graph was corrected was 16 % off."""
_MAX_PROGRAMS = 512


@dataclass(frozen=True, slots=True)
class ComputeBuffers:
    """Bytes of the scheduler's buffers; ``margin_bytes`` is our doubt of each GPU's, 0 where it is exact."""

    gpu_bytes: tuple[int, ...]
    host_bytes: int
    margin_bytes: tuple[int, ...]


class _Programs:
    """The last used programs by structure. A program is a pure function of its key."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, MemoryProgram] = OrderedDict()

    def get(self, key: Hashable) -> MemoryProgram | None:
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def put(self, key: Hashable, program: MemoryProgram) -> None:
        self._kept[key] = program
        if len(self._kept) > _MAX_PROGRAMS:
            self._kept.popitem(last=False)


_PROGRAMS = _Programs()


def compute_buffers(
    shape: ModelShape,
    weights: WeightTable,
    settings: LaunchSettings,
    assignment: Assignment,
    cache: CacheGeometry,
) -> ComputeBuffers:
    """The compute buffers of one launch; NotModelledError where the architecture's graph is not known."""
    launch = _Launch(shape, weights, settings, assignment, cache)
    program = _PROGRAMS.get(launch.key)
    if program is None:
        program = MemoryProgram(assignment.n_devices, launch.trace)
        _PROGRAMS.put(launch.key, program)
    sizes = program.buffer_bytes(cache.n_ctx_seq)
    doubts = tuple(_doubt_bytes(shape, size) for size in sizes[:-1])
    return ComputeBuffers(sizes[:-1], sizes[-1], doubts)


def _doubt_bytes(shape: ModelShape, n_bytes: int) -> int:
    """Nothing where the replay was checked against llama.cpp, else what a wrongly read graph may cost."""
    if shape.architecture in CHECKED:
        return 0
    return UNCHECKED_FLOOR_BYTES + n_bytes * UNCHECKED_PERCENT // 100


class _Launch:
    """Everything but the context length that decides the graph; ``key`` is equal for equal graphs."""

    def __init__(
        self,
        shape: ModelShape,
        weights: WeightTable,
        settings: LaunchSettings,
        assignment: Assignment,
        cache: CacheGeometry,
    ) -> None:
        self.shape = shape
        self.bones = skeleton(shape, weights)
        self.assignment = assignment
        self.cpu = assignment.n_devices
        self.tied_device = tied_output_device(weights, assignment)
        self.op_offload = settings.op_offload
        self.pipeline = _is_pipelined(settings, assignment)
        self.batch = _batch(cache)
        self.view = _cache_view(settings, cache)
        signatures = [self._signature(layer) for layer in range(shape.n_layer)]
        self.layers = representative_layers(signatures) if self._repeats() else tuple(range(shape.n_layer))
        top_k = shape.indexer.top_k if shape.indexer else 0
        self.key = (
            self.bones.whole,
            tuple(signatures if self.pipeline else (signatures[layer] for layer in self.layers)),
            tuple((t.name, t.dims, self._backend(t), self._type_if_copied(t)) for t in self.bones.outside),
            self.batch,
            replace(self.view, cells=min(self.view.cells, top_k)),
            (self.cpu, self.op_offload, self.pipeline, assignment.output_device),
        )

    def _repeats(self) -> bool:
        """Equal layers do equal things: not where each needs memory of its own until the end of the graph.

        Sparse attention allocates a leaf of every layer before the graph starts; layers that share the cache
        of an earlier one copy it where it lies on another device.
        """
        shares = self.shape.n_layer_kv < self.shape.n_layer
        return self.shape.indexer is None and not (shares and HOST_DEVICE in self.assignment.cache_device)

    def _signature(self, layer: int) -> Hashable:
        """Equal for layers whose tensors are alike and lie alike."""
        assignment = self.assignment
        device, cache = assignment.layer_device[layer], assignment.cache_device[layer]
        tensors = self.bones.by_layer[layer]
        experts = assignment.experts_on_host[layer] or layer < assignment.n_cpu_moe
        if device >= 0 and not experts and not assignment.overrides and all(t.gpu_bytes for t in tensors):
            owner = layer
            if self.pipeline and layer >= self.shape.n_layer_kv:
                owner = -1 - layer  # what it shares across GPUs is copied once a layer
            return self.bones.plain[layer], device, cache, min(owner, 0)
        places = tuple(self._backend(tensor) for tensor in tensors)
        return self.bones.typed[layer], device, cache, places

    def _backend_of(self, device: int) -> int:
        return self.cpu if device == HOST_DEVICE else device

    def _backend(self, tensor: PlacedTensor) -> int:
        return self._backend_of(tensor_device(tensor, self.assignment))

    def _type_if_copied(self, tensor: PlacedTensor) -> str:
        return tensor.type_name if self._backend(tensor) == self.cpu else ""

    def trace(self, cells: int) -> list[Event]:
        """The memory events of the graph with this many cells in the full cache."""
        events, scheduler = self._run(cells, self.layers)
        if self.pipeline and scheduler.returns_to_cpu and len(self.layers) < self.shape.n_layer:
            events, _ = self._run(cells, tuple(range(self.shape.n_layer)))
        return events

    def _run(self, cells: int, layers: tuple[int, ...]) -> tuple[list[Event], Scheduler]:
        devices = self.assignment.layer_device[: self.shape.n_layer]
        layout = Layout(self.cpu, tuple(self._backend_of(device) for device in devices))
        view = replace(self.view, cells=cells)
        builder = GraphBuilder(self.shape, self._placed(), self.batch, view, layout)
        try:
            ModelGraph(builder).build(layers)
        except KeyError as missing:
            raise NotModelledError(
                f"the compute buffers of {self.shape.architecture}",
                f"not modelled: its layers are built otherwise (no {missing.args[0]})",
            ) from None
        scheduler = Scheduler(self.cpu, op_offload=self.op_offload, pipeline=self.pipeline)
        return scheduler.run(builder.nodes, builder.leafs), scheduler

    def _placed(self) -> Mapping[str, PlacedWeight]:
        """Every weight with the backend whose buffer holds it; a tied embedding is the output, too."""
        groups = [self.bones.outside, *(self.bones.by_layer[layer] for layer in range(self.shape.n_layer))]
        found = {
            t.name: PlacedWeight(t.type_name, t.dims, self._backend(t)) for group in groups for t in group
        }
        if "output.weight" not in found and "token_embd.weight" in found:
            tied = found["token_embd.weight"]
            found["output.weight"] = replace(tied, backend=self._backend_of(self.tied_device))
        return found


def _is_pipelined(settings: LaunchSettings, assignment: Assignment) -> bool:
    """Several GPUs work on successive batches (llama_context::llama_context, src/llama-context.cpp)."""
    return (
        assignment.n_devices > 1
        and assignment.fully_offloaded
        and settings.kv_offload
        and not assignment.has_overrides
    )


def _batch(cache: CacheGeometry) -> Batch:
    """The worst batch: a multiple of the slots, with as many logits as the context promised."""
    n_tokens = min(cache.n_ctx, cache.n_ubatch)
    rounded = -(-n_tokens // cache.n_seq_max) * cache.n_seq_max
    return Batch(rounded, cache.n_seq_max, min(n_tokens, cache.n_outputs))


def _cache_view(settings: LaunchSettings, cache: CacheGeometry) -> CacheView:
    return CacheView(
        type_k=settings.cache_type_k.upper(),
        type_v=settings.cache_type_v.upper(),
        cells=cache.n_ctx_seq,
        window_cells=cache.swa_cells,
        n_streams=cache.n_stream,
        state_copies=1 + cache.n_rs_seq,
        flash_attn=cache.flash_attn,
        offload=settings.kv_offload,
    )
