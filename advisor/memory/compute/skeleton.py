"""The structure of a model's layers as small numbers: equal numbers build equal graphs.

Two quantisations of a model have the same structure; the types of weights matter only where the scheduler
copies them. Numbers are given out once a process, so that they can be part of a cache key.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache

from llmfit.advisor.memory.weights import PlacedTensor, WeightTable
from llmfit.advisor.model.shape import ModelShape
from llmfit.advisor.same import Same

_NUMBERS: dict[Hashable, int] = {}


def number_of(structure: Hashable) -> int:
    """The same small number for equal structures."""
    return _NUMBERS.setdefault(structure, len(_NUMBERS))


@dataclass(frozen=True, slots=True)
class Skeleton:
    """``plain[il]`` numbers a layer's structure without the types of its weights."""

    plain: tuple[int, ...]
    outside: tuple[PlacedTensor, ...]
    """Tensors of no block."""
    by_layer: tuple[tuple[PlacedTensor, ...], ...]
    all_on_gpu: tuple[bool, ...]
    """Of each layer: a GPU can hold all of it."""
    whole: int
    """Numbers what concerns the model as a whole."""


@lru_cache(maxsize=256)
def _skeleton(shape: Same[ModelShape], weights: Same[WeightTable]) -> Skeleton:
    one = shape.it
    by_layer: list[list[PlacedTensor]] = [[] for _ in range(one.n_layer_all)]
    outside: list[PlacedTensor] = []
    for tensor in weights.it.tensors:
        (by_layer[tensor.layer] if tensor.name.startswith("blk.") else outside).append(tensor)
    facts, whole = _facts(shape)
    names = [tuple([(_name_in_block(t.name), t.dims) for t in tensors]) for tensors in by_layer]
    return Skeleton(
        tuple([number_of((facts[layer], names[layer])) for layer in range(one.n_layer)]),
        tuple(outside),
        tuple(map(tuple, by_layer)),
        tuple([all(t.gpu_bytes for t in layer) for layer in by_layer]),
        whole,
    )


@lru_cache(maxsize=64)
def _facts(shape: Same[ModelShape]) -> tuple[tuple[int, ...], int]:
    """Numbers of each layer's facts and of the whole model's."""
    one = shape.it
    return tuple([number_of(_layer_facts(one, layer)) for layer in range(one.n_layer)]), number_of(
        _whole(one)
    )


@lru_cache(maxsize=16384)
def _name_in_block(name: str) -> str:
    return name.split(".", 2)[2]


def skeleton(shape: ModelShape, weights: WeightTable) -> Skeleton:
    return _skeleton(Same(shape), Same(weights))


def _layer_facts(shape: ModelShape, layer: int) -> Hashable:
    """What a layer's graph takes from the shape and not from its tensors."""
    return (
        shape.kinds[layer],
        shape.has_rope[layer],
        shape.n_head[layer],
        shape.n_head_kv[layer],
        shape.head_dim_k[layer],
        shape.head_dim_v[layer],
        layer < shape.n_deepstack,
        layer < shape.n_layer_kv,
        shape.indexer is not None and shape.indexer.layers[layer],
        shape.architecture == "gemma3n" and layer < 10,
    )


def _whole(shape: ModelShape) -> Hashable:
    return (
        (shape.architecture, shape.architecture == "baichuan" and shape.n_layer != 32),
        shape.n_embd,
        shape.traits,
        shape.n_expert_used,
        shape.n_expert_groups,
        shape.n_expert_groups_used,
        shape.expert_weights_norm,
        shape.attention_temperature,
        shape.value_width_max,
        shape.mla,
        shape.indexer and (shape.indexer.n_head, shape.indexer.key_length, shape.indexer.top_k),
        shape.state,
        shape.n_deepstack,
        shape.n_embd_per_layer,
        shape.n_layer if shape.n_embd_per_layer else 0,
    )
