"""Kernels of a token: counted layer by layer, the same as in the whole graph."""

from __future__ import annotations

import pytest

from llmfit.advisor.memory.assignment import assign_layers
from llmfit.advisor.memory.compute.skeleton import skeleton
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.memory.weights import weight_table
from llmfit.advisor.speed.kernels import _Graph, kernel_counts
from llmfit.advisor.speed.reads import decode_reads
from llmfit.catalog.build import build_model
from llmfit.catalog.models import find_model


@pytest.mark.parametrize(
    "name",
    [
        "Llama-3.1-8B-Instruct", "Qwen3-30B-A3B", "gemma-3-4b-it", "gemma-4-E4B-it", "Qwen3.5-35B-A3B",
        "gpt-oss-20b", "GLM-4.5-Air", "GLM-4.7-Flash", "LFM2-2.6B", "NVIDIA-Nemotron-3-Nano-30B-A3B-BF16",
        "Falcon-H1-0.5B-Instruct", "Kimi-Linear-48B-A3B-Instruct",
    ],
)  # fmt: skip
def test_counting_each_kind_of_layer_once_is_counting_the_whole_graph(name: str) -> None:
    model = build_model(find_model(name), "Q4_K_M")
    weights = weight_table(model.shape, model.tensors)
    counts = kernel_counts(model.shape, weights)
    whole = _Graph(model.shape, skeleton(model.shape, weights)).n_kernels(tuple(range(model.shape.n_layer)))
    assert counts.total == whole
    assert len(counts.by_layer) == model.shape.n_layer and min(counts.by_layer) > 0


def test_hybrids_and_experts_start_more_of_them_than_plain_layers() -> None:
    each = {}
    for name in ("Qwen3-8B", "Qwen3.5-9B", "Qwen3-30B-A3B"):
        model = build_model(find_model(name), "Q4_K_M")
        counts = kernel_counts(model.shape, weight_table(model.shape, model.tensors))
        each[name] = counts.total / model.shape.n_layer
    assert each["Qwen3.5-9B"] > 1.5 * each["Qwen3-8B"]
    assert each["Qwen3-30B-A3B"] > 1.5 * each["Qwen3-8B"]


def test_kernels_are_started_where_the_layers_lie() -> None:
    model = build_model(find_model("Llama-3.1-8B-Instruct"), "Q4_K_M")
    weights = weight_table(model.shape, model.tensors)
    counts = kernel_counts(model.shape, weights)
    asked = LaunchSettings(4096, devices=(0, 1), gpu_layers=21, tensor_split=(3.0, 1.0))
    assignment = assign_layers(model.shape, asked, [1, 1], weights)
    reads = decode_reads(model.shape, model.tensors, weights, assignment)
    assert sum(place.n_kernels for place in reads.places) == counts.total
    each = counts.by_layer[0]
    on_host = assignment.layer_device.count(-1)
    assert reads.host.n_kernels == on_host * each > 0
    assert reads.gpus[1].n_kernels == assignment.layer_device.count(1) * each + counts.outside
