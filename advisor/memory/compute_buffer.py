"""Compute buffers: what llama.cpp's scheduler allocates beside weights and cache, on each GPU and in RAM.

Not a formula: the graph of the worst batch is built (compute/graph.py), scheduled (compute/scheduler.py) and
laid out (compute/allocator.py) as llama.cpp b11434 does when it measures: ``llama_context::sched_reserve``
(src/llama-context.cpp) with ``ggml_backend_sched_reserve_size`` (ggml/src/ggml-backend.cpp).
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from llmfit.advisor.errors import NotModelledError
from llmfit.advisor.memory.assignment import Assignment
from llmfit.advisor.memory.compute.builder import Batch, CacheView
from llmfit.advisor.memory.compute.devices import LONG_CACHE_CELLS, cache_kind_class
from llmfit.advisor.memory.compute.families import CHECKED
from llmfit.advisor.memory.compute.program import ANY_CELLS, MemoryProgram
from llmfit.advisor.memory.kv_cache import CacheGeometry
from llmfit.advisor.memory.placed_graph import PlacedGraph, Trace
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.memory.weights import WeightTable
from llmfit.advisor.model.shape import ModelShape
from llmfit.advisor.units import MIB

UNCHECKED_FLOOR_BYTES = 32 * MIB
UNCHECKED_PERCENT = 20
"""Doubt of architectures not in CHECKED: the worst replay before a graph was corrected was 16 % off."""


@dataclass(frozen=True, slots=True)
class ComputeBuffers:
    """Bytes of the scheduler's buffers; ``margin_bytes`` is our doubt of each GPU's, 0 where it is exact."""

    gpu_bytes: tuple[int, ...]
    host_bytes: int
    margin_bytes: tuple[int, ...]


def compute_buffers(
    shape: ModelShape,
    weights: WeightTable,
    settings: LaunchSettings,
    assignment: Assignment,
    cache: CacheGeometry,
) -> ComputeBuffers:
    """The compute buffers of one launch; NotModelledError where the architecture's graph is not known."""
    programs = graph_programs(shape, weights, settings, assignment)
    sizes = programs.buffer_bytes(settings.cache_type_k, settings.cache_type_v, cache)
    doubts = tuple([replay_doubt_bytes(shape, size) for size in sizes[:-1]])
    return ComputeBuffers(sizes[:-1], sizes[-1], doubts)


def replay_doubt_bytes(shape: ModelShape, n_bytes: int) -> int:
    """Nothing where the replay was checked against llama.cpp, else what a wrongly read graph may cost."""
    if shape.architecture in CHECKED:
        return 0
    return UNCHECKED_FLOOR_BYTES + n_bytes * UNCHECKED_PERCENT // 100


def graph_programs(
    shape: ModelShape,
    weights: WeightTable,
    settings: LaunchSettings,
    assignment: Assignment,
    *,
    sketch: bool = False,
) -> GraphPrograms:
    """What computes the buffers of one placement for any context and cache types: the same object for all
    placements with equal graphs. Those of a ``sketch`` are about right. NotModelledError where the
    architecture's graph is not known."""
    try:
        return _programs(PlacedGraph(shape, weights, settings, assignment, sketch=sketch))
    except KeyError as missing:
        raise _unknown_graph(shape, missing) from None


def _unknown_graph(shape: ModelShape, missing: KeyError) -> NotModelledError:
    what = f"architecture {shape.architecture!r}"
    return NotModelledError(what, f"not modelled: its compute graph is not known ({missing})")


@lru_cache(maxsize=1024)
def _programs(graph: PlacedGraph) -> GraphPrograms:
    return GraphPrograms(graph)


class _Context(NamedTuple):
    """What decides a graph besides where its parts lie, the cache types and, mostly, the cells."""

    n_tokens: int
    n_seqs: int
    n_outputs: int
    window_cells: int
    """-1: as long as the context, with which it grows."""
    fixed_cells: int
    """0: the graph does not change with the cells."""
    n_streams: int
    n_rs_seq: int
    flash_attn: bool


class GraphPrograms:
    """The programs of one placed graph, by cache types and by what a context changes besides the cells."""

    __slots__ = ("_graph", "_index_cells", "_kept")

    def __init__(self, graph: PlacedGraph) -> None:
        self._graph = graph
        indexer = graph.shape.indexer
        self._index_cells = indexer.top_k if indexer else 0
        self._kept: dict[Hashable, tuple[MemoryProgram, bool]] = {}

    def buffer_bytes(self, type_k: str, type_v: str, cache: CacheGeometry) -> tuple[int, ...]:
        """Bytes of each GPU's buffer and of the host's. NotModelledError for a graph that is not known."""
        cells = cache.n_ctx_seq
        n_tokens = min(cache.n_ctx, cache.n_ubatch)
        # The sparse index takes all of a short cache, and one row a slot is attended to by other kernels.
        short = self._index_cells if n_tokens > cache.n_seq_max else max(self._index_cells, LONG_CACHE_CELLS)
        context = _Context(
            n_tokens,
            cache.n_seq_max,
            cache.n_outputs,
            -1 if cache.swa_cells == cells else cache.swa_cells,
            cells if cells < short else 0,
            cache.n_stream,
            cache.n_rs_seq,
            cache.flash_attn,
        )
        kept = self._kept.get((type_k, type_v, context))
        if kept is None:
            kept = self._kept[type_k, type_v, context] = self._find(type_k.upper(), type_v.upper(), context)
        return kept[0].buffer_bytes(cells)

    def _find(self, type_k: str, type_v: str, context: _Context) -> tuple[MemoryProgram, bool]:
        """The program of cache types that differ in bytes only is the same, unless these are in it."""
        alike = (cache_kind_class(type_k), cache_kind_class(type_v), type_k == type_v, context)
        kept = self._kept.get(alike)
        if kept is None or kept[1]:
            trace = self._trace(type_k, type_v, context)
            program = MemoryProgram(self._graph.cpu, trace.events, context.fixed_cells)
            kept = self._kept[alike] = program, trace.weighs_cache
        return kept

    def _trace(self, type_k: str, type_v: str, context: _Context) -> Trace:
        cells = context.fixed_cells or ANY_CELLS
        view = CacheView(
            type_k=type_k,
            type_v=type_v,
            cells=cells,
            window_cells=cells if context.window_cells < 0 else context.window_cells,
            n_streams=context.n_streams,
            state_copies=1 + context.n_rs_seq,
            flash_attn=context.flash_attn,
            offload=self._graph.kv_offload,
        )
        try:
            return self._graph.trace(_batch(context.n_tokens, context.n_seqs, context.n_outputs), view)
        except KeyError as missing:
            raise _unknown_graph(self._graph.shape, missing) from None


def _batch(n_tokens: int, n_seqs: int, n_outputs: int) -> Batch:
    """The worst batch: a multiple of the slots, with as many logits as the context promised."""
    return Batch(-(-n_tokens // n_seqs) * n_seqs, n_seqs, min(n_tokens, n_outputs))
