"""Architectures without a header in tests/data: every byte of a small model of each, asked of llama.cpp."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from llmfit.advisor.memory.compute.families import CHECKED
from llmfit.advisor.memory.estimate import estimate_memory
from llmfit.advisor.memory.settings import ALL_LAYERS, LaunchSettings
from llmfit.advisor.memory.weights import weight_table
from llmfit.advisor.model.shape import shape_from_header
from llmfit.catalog.sources import read_model_files
from tests.llama_cpp.llama_cpp_build import Card
from tests.llama_cpp.memoracle import Memoracle
from tests.llama_cpp.placement_models import machine_with
from tests.llama_cpp.small_graphs import SMALL_GRAPHS, write_small_graph

pytestmark = pytest.mark.llama_cpp

ONE, TWO = (Card(65536, 65000),), (Card(24576, 24000), Card(12288, 9000))
SETTINGS: tuple[tuple[tuple[Card, ...], str, dict[str, object]], ...] = (
    (ONE, "-fa on", {}),
    (ONE, "-fa on -ctk q8_0 -ctv q8_0", {"cache_type_k": "q8_0", "cache_type_v": "q8_0"}),
    (ONE, "-fa off", {"flash_attn": False}),
    (ONE, "-fa on -ub 2048", {"ubatch": 2048}),
    (ONE, "-fa on -np 4", {"parallel": 4}),
    (ONE, "-fa on -ngl 2", {"gpu_layers": 2}),
    (TWO, "-fa on", {}),
    (TWO, "-fa on -np 4 --kv-unified", {"parallel": 4, "kv_unified": True}),
)
CPU_MOE: tuple[tuple[Card, ...], str, dict[str, object]] = (
    ONE,
    "-fa on --cpu-moe",
    {"n_cpu_moe": ALL_LAYERS},
)


@pytest.mark.parametrize("architecture", sorted(SMALL_GRAPHS))
def test_a_small_model_agrees_to_the_byte(
    architecture: str, memoracle: Callable[..., Memoracle], tmp_path: Path
) -> None:
    assert architecture in CHECKED
    path = write_small_graph(architecture, tmp_path)
    header = read_model_files(path).header
    shape = shape_from_header(header.metadata, header.tensors)
    weights = weight_table(shape, header.tensors)
    for cards, flags, changes in (*SETTINGS, *((CPU_MOE,) if shape.n_expert else ())):
        launch = replace(LaunchSettings(8192, devices=tuple(range(len(cards)))), **changes)  # type: ignore[arg-type]
        ours = estimate_memory(shape, weights, launch, machine_with(*cards))
        extra = "" if "-np" in flags else " -np 1"
        extra += "" if "-ngl" in flags else " -ngl 999"
        theirs = memoracle(*cards).ask(("-m", str(path), "-c", "8192", *(flags + extra).split()))
        for device, buffers in zip(ours.devices, (*theirs.gpus, theirs.host), strict=True):
            found = (device.weights_bytes, device.kv_cache_bytes, device.compute_bytes)
            wanted = (buffers.model_bytes, buffers.context_bytes, buffers.compute_bytes)
            assert found == wanted, f"{device.name} of {len(cards)} cards with {flags}"
