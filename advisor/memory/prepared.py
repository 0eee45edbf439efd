"""PreparedMemory: the memory of one placement, ready for any context and any cache types.

Weights, devices and overhead do not depend on the context; cache and compute buffers are sums and products
over its cells (kv_cache.py, compute/program.py). So what is prepared once answers in microseconds for another
context, where a first estimate takes milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from llmfit.advisor.errors import UsageError
from llmfit.advisor.hardware.machine import Gpu, Machine
from llmfit.advisor.memory.assignment import Assignment, assign_layers
from llmfit.advisor.memory.breakdown import DeviceMemory, MemoryEstimate
from llmfit.advisor.memory.compute_buffer import GraphPrograms, graph_programs, replay_doubt_bytes
from llmfit.advisor.memory.draft import draft_bytes
from llmfit.advisor.memory.host import HostMemory, host_memory, output_bytes, repack_types
from llmfit.advisor.memory.kv_cache import (
    CacheGeometry,
    CachePlane,
    cache_plane,
    cache_rows,
    check_cache_types,
    context_rule,
)
from llmfit.advisor.memory.margin import gpu_margin_bytes, host_margin_bytes
from llmfit.advisor.memory.overhead import PROJECTOR_DOUBT_BYTES, driver_overhead
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.memory.weight_placement import everything_on_gpus, weight_bytes
from llmfit.advisor.memory.weights import WeightTable
from llmfit.advisor.model.shape import ModelShape


@dataclass(frozen=True, slots=True)
class _Place:
    """A device and what of its bytes does not depend on the context."""

    name: str
    kind: str
    gpu_index: int | None
    weights_bytes: int
    overhead_bytes: int
    margin_bytes: int
    capacity_bytes: int | None
    free_bytes: int | None


class _Changing(NamedTuple):
    """What the context decides, by device: the GPUs in order, the host last."""

    cache_bytes: Sequence[int]
    compute_bytes: Sequence[int]
    draft_bytes: Sequence[int]
    extra_bytes: Sequence[int]
    """Overhead on top of the place's own."""
    output_bytes: int
    """The host's rows of logits, a part of its extra."""


class PreparedMemory:
    """The launch ``settings`` of one model in one file type, with context and cache types left open.

    Made by ``prepare_memory``. It holds no tensors; placements of other file types with the same compute
    graph share its larger parts.
    """

    __slots__ = (
        "_drafts",
        "_host",
        "_places",
        "_planes",
        "_programs",
        "_rule",
        "assignment",
        "everything_on_gpus",
        "settings",
        "shape",
    )

    def __init__(
        self,
        shape: ModelShape,
        settings: LaunchSettings,
        assignment: Assignment,
        programs: GraphPrograms,
        places: tuple[_Place, ...],
        host: HostMemory,
        all_on_gpus: bool,
    ) -> None:
        self.shape = shape
        self.settings = settings
        self.assignment = assignment
        self.everything_on_gpus = all_on_gpus
        self._rule = context_rule(shape, settings)
        self._programs = programs
        self._places = places
        self._host = host
        self._drafts = settings.load_mtp and bool(shape.mtp_cache)
        self._planes: dict[tuple[str, str], CachePlane] = {}

    def estimate(self, context_tokens: int, cache_type_k: str, cache_type_v: str) -> MemoryEstimate:
        """``estimate_memory`` of the settings with this ``-c`` and these cache types.

        Raises UsageError for a context or cache types that llama.cpp refuses with this model,
        NotModelledError where the compute graph is not known.
        """
        changing = self._changing(context_tokens, cache_type_k, cache_type_v)
        devices = [
            DeviceMemory(
                place.name,
                place.kind,
                place.gpu_index,
                place.weights_bytes,
                cached,
                computed,
                place.overhead_bytes + extra,
                place.margin_bytes + margin,
                place.capacity_bytes,
                place.free_bytes,
                drafted,
            )
            for place, cached, computed, drafted, extra, margin in zip(
                self._places, *changing[:4], self._margins_bytes(changing.compute_bytes), strict=True
            )
        ]
        host = self._host
        if host.output_bytes != changing.output_bytes:
            host = replace(host, output_bytes=changing.output_bytes)
        return MemoryEstimate(tuple(devices), host, self.everything_on_gpus)

    def totals_bytes(self, context_tokens: int, cache_type_k: str, cache_type_v: str) -> tuple[int, ...]:
        """``total_bytes`` of each GPU and, last, of the host, many times faster; raises as ``estimate``."""
        cached, computed, _, extra, _ = self._changing(context_tokens, cache_type_k, cache_type_v)
        return tuple(
            [
                place.weights_bytes + place.overhead_bytes + a + b + c
                for place, a, b, c in zip(self._places, cached, computed, extra, strict=True)
            ]
        )

    def required_bytes(self, context_tokens: int, cache_type_k: str, cache_type_v: str) -> tuple[int, ...]:
        """``required_bytes`` by device, as ``totals_bytes``: what must be free for the verdict "fits"."""
        cached, computed, _, extra, _ = self._changing(context_tokens, cache_type_k, cache_type_v)
        return tuple(
            [
                place.weights_bytes + place.overhead_bytes + place.margin_bytes + a + b + c + margin
                for place, a, b, c, margin in zip(
                    self._places, cached, computed, extra, self._margins_bytes(computed), strict=True
                )
            ]
        )

    def geometry(self, context_tokens: int) -> CacheGeometry:
        """llama.cpp's rounding of this ``-c``; UsageError where it refuses it."""
        return self._rule.geometry(context_tokens)

    def _changing(self, context_tokens: int, type_k: str, type_v: str) -> _Changing:
        plane = self._planes.get((type_k, type_v)) or self._plane(type_k, type_v)
        geometry = self._rule.geometry(context_tokens)
        n_gpus = len(self._places) - 1
        cached = plane.device_bytes(geometry.n_ctx_seq, geometry.swa_cells, n_gpus)
        computed = self._programs.buffer_bytes(type_k, type_v, geometry)
        drafted: Sequence[int] = [0] * len(cached)
        if self._drafts:
            rows = cache_rows(type_k, type_v, geometry)
            drafted = draft_bytes(self.shape, rows, self.assignment, computed)
        logits = output_bytes(self.shape, geometry)
        return _Changing(cached, computed, drafted, [*drafted[:-1], drafted[-1] + logits], logits)

    def _plane(self, type_k: str, type_v: str) -> CachePlane:
        check_cache_types(self.shape, self.settings, type_k, type_v)
        rows = cache_rows(type_k, type_v, self._rule.geometry(self.settings.context_tokens))
        plane = cache_plane(self.shape, rows, self.assignment.cache_device)
        self._planes[type_k, type_v] = plane
        return plane

    def _margins_bytes(self, compute_bytes: Sequence[int]) -> list[int]:
        margins = [
            gpu_margin_bytes(size, replay_doubt_bytes(self.shape, size)) for size in compute_bytes[:-1]
        ]
        return [*margins, host_margin_bytes(compute_bytes[-1])]


def prepare_memory(
    shape: ModelShape,
    weights: WeightTable,
    settings: LaunchSettings,
    machine: Machine,
    *,
    sketch: bool = False,
) -> PreparedMemory:
    """What ``settings`` place where on this machine, whatever their context and cache types.

    The compute buffers of a ``sketch`` are about right, for a search to begin with. Raises UsageError for
    settings that llama.cpp refuses or devices the machine does not have, NotModelledError where a rule is not
    known.
    """
    gpus = _devices(settings, machine)
    check_cache_types(shape, settings, settings.cache_type_k, settings.cache_type_v)
    context_rule(shape, settings).geometry(settings.context_tokens)
    assignment = assign_layers(shape, settings, [gpu.usable_bytes for gpu in gpus], weights)
    placed = weight_bytes(weights, assignment, repack_types(machine.cpu.features, settings))
    host = host_memory(shape, weights, placed, settings)
    projector_bytes = settings.projector_bytes
    places = [
        _gpu_place(gpu, n_bytes, 0 if position else projector_bytes)
        for position, (gpu, n_bytes) in enumerate(zip(gpus, placed.gpu_bytes, strict=False))
    ]
    if places:
        projector_bytes = 0
    places.append(
        _Place(
            name="host",
            kind="host",
            gpu_index=None,
            weights_bytes=placed.host_bytes,
            overhead_bytes=host.overhead_bytes + projector_bytes,
            margin_bytes=_projector_doubt_bytes(projector_bytes),
            capacity_bytes=machine.memory.capacity_bytes,
            free_bytes=machine.memory.available_bytes,
        )
    )
    programs = graph_programs(shape, weights, settings, assignment, sketch=sketch)
    on_gpus = everything_on_gpus(weights, assignment)
    return PreparedMemory(shape, settings, assignment, programs, tuple(places), host, on_gpus)


def _gpu_place(gpu: Gpu, weights_bytes: int, projector_bytes: int) -> _Place:
    overhead = driver_overhead(gpu.backend)
    return _Place(
        name=gpu.name,
        kind="gpu",
        gpu_index=gpu.index,
        weights_bytes=weights_bytes,
        overhead_bytes=overhead.expected_bytes + projector_bytes,
        margin_bytes=overhead.doubt_bytes + _projector_doubt_bytes(projector_bytes),
        capacity_bytes=gpu.vram_total_bytes,
        free_bytes=gpu.vram_free_bytes,
    )


def _projector_doubt_bytes(projector_bytes: int) -> int:
    return PROJECTOR_DOUBT_BYTES if projector_bytes else 0


def _devices(settings: LaunchSettings, machine: Machine) -> list[Gpu]:
    by_index = {gpu.index: gpu for gpu in machine.gpus}
    unknown = next((index for index in settings.devices if index not in by_index), None)
    if unknown is not None:
        raise UsageError(f"GPU {unknown}", f"this machine has {len(machine.gpus)} GPUs")
    return [by_index[index] for index in settings.devices]
