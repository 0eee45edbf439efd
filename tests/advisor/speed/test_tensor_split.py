"""Tensor split: what equal cards gain by working on every layer at once, and where nobody knows."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from statistics import median

import pytest

from llmfit.advisor.hardware.machine import Gpu
from llmfit.advisor.hardware.simulate import simulate_machine
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.memory.weights import weight_table
from llmfit.advisor.model.model import Model
from llmfit.advisor.speed.further.tensor_split import (
    TensorSplitSpeed,
    tensor_split_refusal,
    tensor_split_speed,
)
from llmfit.catalog.build import build_model
from llmfit.catalog.gpus import lookup_gpu
from llmfit.catalog.models import find_model
from tests.bench.tensor_split_accuracy import rows

SETTINGS = LaunchSettings(context_tokens=32768, devices=(0, 1), split_mode="tensor")
LARGE, SMALL, MOE = "Llama-3.3-70B-Instruct", "Llama-3.2-1B-Instruct", "Qwen3-30B-A3B"


@cache
def model(name: str) -> Model:
    return build_model(find_model(name), "Q4_K_M")


def cards(n: int, name: str = "RTX 3090") -> tuple[Gpu, ...]:
    return simulate_machine([name] * n, None, None, None, lookup_gpu).gpus


def speed(name: str, n: int, depth_tokens: int = 0) -> TensorSplitSpeed:
    found = model(name)
    split = tensor_split_speed(
        found, weight_table(found.shape, found.tensors), cards(n), SETTINGS, depth_tokens
    )
    assert split is not None
    return split


def test_a_large_dense_model_gains_a_small_one_hardly() -> None:
    large, small = speed(LARGE, 2), speed(SMALL, 2)
    assert 1.5 < large.speedup_factor < 2
    assert small.speedup_factor < large.speedup_factor
    assert speed(MOE, 2).speedup_factor < 1.2
    assert large.basis == "what if"


@pytest.mark.parametrize("name", [LARGE, SMALL, MOE])
@pytest.mark.parametrize("depth_tokens", [0, 30_000])
def test_nothing_beats_all_cards_together(name: str, depth_tokens: int) -> None:
    for n in (2, 3, 4, 8):
        split = speed(name, n, depth_tokens)
        assert split.speedup_factor < n
        assert split.tok_s.low < split.tok_s.expected <= split.tok_s.high <= split.bound_tok_s
        assert split.step.total_s == pytest.approx(sum(term.time_s for term in split.step.terms))


def test_deeper_is_slower_and_heads_are_not_cut() -> None:
    assert speed(LARGE, 2, 60_000).tok_s.expected < speed(LARGE, 2).tok_s.expected
    cache_s = [
        next(term.time_s for term in speed(MOE, n, 30_000).step.terms if term.what == "KV cache")
        for n in (2, 3, 4, 8)
    ]
    assert (
        cache_s[0] == cache_s[1] == pytest.approx(2 * cache_s[2])
    )  # 4 heads: 2, then 2 + 1 + 1, then 1 each
    assert cache_s[2] == cache_s[3]


def test_where_there_is_no_figure() -> None:
    shape = model(LARGE).shape
    pair = cards(2)
    refusals = [
        tensor_split_refusal(shape, cards(1), SETTINGS),
        tensor_split_refusal(replace(shape, architecture="deepseek2"), pair, SETTINGS),
        tensor_split_refusal(shape, pair, replace(SETTINGS, flash_attn=False)),
        tensor_split_refusal(shape, (*cards(1), *cards(1, "RTX 4090")), SETTINGS),
        tensor_split_refusal(shape, tuple(replace(gpu, backend="vulkan") for gpu in pair), SETTINGS),
        tensor_split_refusal(shape, pair, replace(SETTINGS, n_cpu_moe=3)),
        tensor_split_refusal(shape, pair, replace(SETTINGS, gpu_layers=20)),
    ]
    assert all(refusals)
    assert len(set(refusals)) == len(refusals) - 1  # both placements in RAM have the same reason
    assert tensor_split_refusal(shape, pair, SETTINGS) is None
    assert tensor_split_refusal(shape, pair, replace(SETTINGS, gpu_layers=-1)) is None
    assert tensor_split_refusal(shape, pair, replace(SETTINGS, kv_offload=False)) is not None
    found = model(LARGE)
    table = weight_table(found.shape, found.tensors)
    assert tensor_split_speed(found, table, cards(1), SETTINGS) is None
    unknown = tuple(replace(gpu, bandwidth_bytes_per_s=None) for gpu in pair)
    assert tensor_split_speed(found, table, unknown, SETTINGS) is None


def test_near_what_was_measured() -> None:
    found = list(rows())
    errors = [abs(split.tok_s.expected / float(row["tensor_tok_s"]) - 1) for row, split in found]
    assert len(errors) > 15
    assert median(errors) < 0.12
    inside = sum(split.tok_s.low <= float(row["tensor_tok_s"]) <= split.tok_s.high for row, split in found)
    assert inside / len(found) > 0.8
