"""Bytes per layer slot, from the tables of weights and cache: what the split search counts with."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations

from llmfit.advisor.hardware.machine import MAX_GPUS
from llmfit.advisor.memory.assignment import HOST_DEVICE, tensor_overrides
from llmfit.advisor.memory.fitting_split import PartialBlock, SlotCosts
from llmfit.advisor.memory.kv_cache import cache_geometry, cache_plane, cache_rows
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.memory.weights import MatrixBytes, WeightTable
from llmfit.advisor.model.shape import ModelShape
from llmfit.advisor.same import Same


def slot_costs(shape: ModelShape, weights: WeightTable, settings: LaunchSettings) -> SlotCosts:
    """What each block and the output take on a card, with the tensors that ``-ot`` moves to RAM left out.

    A search aid: overhead, compute buffers and what depends on neighbouring layers come from the estimate.
    """
    cache = _layer_cache_bytes(shape, settings)
    blocks = list(map(sum, zip(weights.layer_gpu_bytes, cache, strict=True)))
    if settings.override_tensor:
        blocks = [size - moved for size, moved in zip(blocks, _moved_to_ram(weights, settings), strict=True)]
    output = weights.output_gpu_bytes + weights.tied_copy_gpu_bytes
    return SlotCosts(
        slot_bytes=(*blocks, output),
        expert_bytes=(*weights.expert_gpu_bytes, 0),
        partials=_all_partials(Same(weights)),
    )


def _layer_cache_bytes(shape: ModelShape, settings: LaunchSettings) -> Sequence[int]:
    """KV cache and state of each block on a card: the cache rule, asked with each block on its own device."""
    n_blocks = shape.n_layer_all
    if not settings.kv_offload:
        return [0] * n_blocks
    geometry = cache_geometry(shape, settings)
    rows = cache_rows(settings.cache_type_k, settings.cache_type_v, geometry)
    plane = cache_plane(shape, rows, tuple(range(n_blocks)))
    return plane.device_bytes(geometry.n_ctx_seq, geometry.swa_cells, n_blocks)[:-1]


@lru_cache(maxsize=64)
def _all_partials(weights: Same[WeightTable]) -> tuple[tuple[PartialBlock, ...], ...]:
    return (*(_partials(il, experts) for il, experts in enumerate(weights.it.experts)), ())


def _partials(block: int, experts: MatrixBytes) -> tuple[PartialBlock, ...]:
    """Ways to keep some expert matrices of a block in RAM and at least one on the card, smallest first."""
    sizes = {
        name: size
        for name, size in (
            ("up", experts.up),
            ("gate", experts.gate),
            ("gate_up", experts.gate_up),
            ("down", experts.down),
        )
        if size
    }
    ways = [
        PartialBlock(block, sum(sizes[name] for name in names), _override(block, names))
        for n_names in range(1, len(sizes))
        for names in combinations(sizes, n_names)
    ]
    return tuple(sorted(ways, key=lambda way: way.ram_bytes))


def _override(block: int, names: tuple[str, ...]) -> str:
    which = names[0] if len(names) == 1 else f"({'|'.join(names)})"
    return rf"blk\.{block}\.ffn_{which}_exps=CPU"


def _moved_to_ram(weights: WeightTable, settings: LaunchSettings) -> list[int]:
    """Bytes of each block that the user's own ``-ot`` rules keep in RAM (first match wins)."""
    moved = [0] * len(weights.layer_gpu_bytes)
    # The search is still to find the cards; a placement that does not have the one a rule names is refused.
    overrides = tensor_overrides(settings, weights, MAX_GPUS)
    for tensor in weights.tensors:
        if tensor.layer >= 0 and overrides.get(tensor.name) == HOST_DEVICE:
            moved[tensor.layer] += tensor.gpu_bytes
    return moved
