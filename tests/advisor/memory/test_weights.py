"""Weight tables: padding, tied embeddings, MTP blocks, repacking."""

from __future__ import annotations

import pytest

from llmfit.advisor.memory.assignment import assign_layers
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.memory.weight_placement import weight_bytes
from llmfit.advisor.memory.weights import WeightTable, gpu_tensor_bytes, weight_table
from llmfit.advisor.model.shape import shape_from_header
from llmfit.advisor.model.tensors import Tensor
from tests.advisor.memory.memory_models import (
    header_of,
    shape_of,
    table_of,
    tensor,
    tiny_metadata,
    tiny_tensors,
)

EMBEDDING = 1024 * 5120 // 256 * 144


def table(architecture: str, tensors: tuple[Tensor, ...], **values: object) -> WeightTable:
    metadata = tiny_metadata(architecture, **values)
    return weight_table(shape_from_header(metadata, tensors), tensors)


def placed(architecture: str, tensors: tuple[Tensor, ...], n_gpus: int, **values: object) -> tuple[int, int]:
    """Bytes on the card(s) and on the host."""
    shape = shape_from_header(tiny_metadata(architecture, **values), tensors)
    weights = weight_table(shape, tensors)
    settings = LaunchSettings(4096, devices=tuple(range(n_gpus)))
    found = weight_bytes(weights, assign_layers(shape, settings, [None] * n_gpus))
    return sum(found.gpu_bytes), found.host_bytes


def test_cuda_pads_the_last_row_of_quantised_tensors() -> None:
    assert gpu_tensor_bytes("Q4_K", 1024, 1440) == 1536
    assert gpu_tensor_bytes("Q4_0", 96, 540) == 896  # 540 + 416 / 32 * 18 = 774, aligned to 128
    assert gpu_tensor_bytes("F16", 96, 1920) == 1920


def test_embedding_stays_in_ram_and_a_tied_one_is_copied() -> None:
    gpu, host = placed("llama", tiny_tensors(), 1)
    assert host == EMBEDDING
    gpu_tied, host_tied = placed("llama", tiny_tensors(tied=True), 1)
    assert host_tied == EMBEDDING
    assert gpu_tied == gpu - 1024 * 5120 // 256 * 210 + EMBEDDING
    in_ram = placed("llama", tiny_tensors(tied=True), 0)[1]
    assert in_ram == sum(one.n_bytes for one in tiny_tensors(tied=True))


def test_gemma_holds_a_tied_embedding_twice_in_ram_and_bitnet_never() -> None:
    window = {"attention__sliding_window": 64, "attention__sliding_window_pattern": (1, 0) * 4}
    shared = placed("llama", tiny_tensors(tied=True), 0)[1]
    assert placed("gemma4", tiny_tensors(tied=True), 0, **window)[1] == shared + EMBEDDING
    assert (
        placed("bitnet", tiny_tensors(tied=True), 1)[0]
        == placed("llama", tiny_tensors(tied=True), 1)[0] - EMBEDDING
    )


def test_mtp_blocks_load_only_for_drafting() -> None:
    shape, tensors = shape_of("glm-4.7-flash"), header_of("glm-4.7-flash").tensors
    without, with_mtp = weight_table(shape, tensors), weight_table(shape, tensors, load_mtp=True)
    assert without.layer_gpu_bytes[-1] == 0
    assert with_mtp.layer_gpu_bytes[-1] > 0
    assert with_mtp.layer_gpu_bytes[:-1] == without.layer_gpu_bytes[:-1]


def test_step35_loads_feed_forward_parts_of_its_mtp_blocks_anyway() -> None:
    """src/models/step35.cpp creates them without TENSOR_SKIP: 1107 MiB that nothing uses."""
    waste = sum(table_of("step-3.5-flash").layer_gpu_bytes[45:])
    assert round(waste / 2**20) == 1107
    assert waste < sum(table_of("step-3.5-flash", load_mtp=True).layer_gpu_bytes[45:])


def test_ternary_matrices_stay_in_ram() -> None:
    ternary = tensor("blk.0.ffn_sub.weight", 1024, 1024, kind="TQ2_0")
    plain = placed("llama", tiny_tensors(), 1)
    with_ternary = placed("llama", tiny_tensors(extra=(ternary,)), 1)
    assert with_ternary[0] == plain[0]
    assert with_ternary[1] == plain[1] + ternary.n_bytes


def test_repacking_is_private_and_doubles_a_tied_embedding() -> None:
    tensors = tiny_tensors(tied=True)
    shape = shape_from_header(tiny_metadata("llama"), tensors)
    weights = weight_table(shape, tensors)
    nowhere = assign_layers(shape, LaunchSettings(4096), [])
    plain = weight_bytes(weights, nowhere)
    repacked = weight_bytes(weights, nowhere, frozenset({"Q4_K"}))
    assert plain.repacked_bytes == 0
    assert repacked.host_bytes == plain.host_bytes + EMBEDDING
    assert repacked.repacked_bytes == weights.repackable_bytes["Q4_K"] + EMBEDDING


@pytest.mark.parametrize(
    "model", ["llama3.1-8b", "gemma3n-e4b", "mimo-v2-flash", "gpt-oss-20b", "qwen3-next-80b-a3b"]
)
def test_layers_add_up_to_the_file(model: str) -> None:
    """Every tensor of the file is counted once, less skipped MTP blocks and plus alignment."""
    shape, weights = shape_of(model), table_of(model, load_mtp=True)
    counted = (
        sum(weights.layer_host_bytes)
        + weights.every_layer_host_bytes
        + weights.input_host_bytes
        + weights.output_host_bytes
    )
    in_file = sum(one.n_bytes for one in header_of(model).tensors)
    assert in_file <= counted <= in_file + 32 * len(header_of(model).tensors)
    assert len(weights.layer_gpu_bytes) == shape.n_layer_all
    assert all(gpu >= 0 for gpu in weights.layer_gpu_bytes)
