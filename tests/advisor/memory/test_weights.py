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
    for architecture in ("gemma3n", "gemma4"):
        assert placed(architecture, tiny_tensors(tied=True), 0, **window)[1] == shared + EMBEDDING
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


@pytest.mark.parametrize("architecture", ["bailingmoe2", "exaone-moe", "exaone4", "glm4"])
def test_what_skips_its_mtp_blocks_does_so_while_drafting(architecture: str) -> None:
    """TENSOR_SKIP whatever was asked, in src/models/*.cpp."""
    tensors = tiny_tensors()
    shape = shape_from_header(tiny_metadata(architecture, nextn_predict_layers=1), tensors)
    assert weight_table(shape, tensors, load_mtp=True).layer_gpu_bytes[-1] == 0


@pytest.mark.parametrize(
    ("architecture", "name", "loads"),
    [
        ("cohere2moe", "nextn.shared_head_head.weight", True),
        ("cohere2moe", "nextn.eh_proj.weight", False),
        ("hy_v3", "ffn_up_exps.weight", True),
        ("deepseek32", "exp_probs_b.bias", True),
        ("deepseek32", "ffn_up_exps.weight", False),
        ("llama", "nextn.shared_head_head.weight", False),
    ],
)
def test_tensors_of_mtp_blocks_that_load_without_drafting(architecture: str, name: str, loads: bool) -> None:
    draft = tensor(f"blk.7.{name}", 1024, 1024)
    keys = {"attention__sliding_window": 64} if architecture == "cohere2moe" else {}
    if architecture == "deepseek32":
        keys = {f"attention__indexer__{key}": 64 for key in ("head_count", "key_length", "top_k")}
    weights = table(architecture, tiny_tensors(7, extra=(draft,)), nextn_predict_layers=1, **keys)
    assert weights.layer_host_bytes[-1] == (draft.n_bytes if loads else 0)


@pytest.mark.parametrize("architecture", ["lfm2", "lfm2moe"])
def test_lfm2_calls_its_output_norm_an_embedding_norm(architecture: str) -> None:
    norm = tensor("token_embd_norm.weight", 1024, kind="F32")
    keys = {"shortconv__l_cache": 3, "attention__head_count_kv": (0, 4) * 4}
    plain, named = (table(architecture, tiny_tensors(extra=extra), **keys) for extra in ((), (norm,)))
    assert named.output_gpu_bytes == plain.output_gpu_bytes + norm.n_bytes
    assert named.layer_gpu_bytes == plain.layer_gpu_bytes


def test_only_rows_in_groups_of_eight_are_repacked() -> None:
    plain = table("llama", tiny_tensors()).repackable_bytes
    extra = tensor("blk.0.odd.weight", 1024, 12), tensor("blk.0.even.weight", 1024, 16)
    assert (
        table("llama", tiny_tensors(extra=extra)).repackable_bytes["Q4_K"] == plain["Q4_K"] + extra[1].n_bytes
    )


def test_two_copies_of_a_tied_embedding_stay_in_ram_with_the_output() -> None:
    window = {"attention__sliding_window": 64, "attention__sliding_window_pattern": (1, 0) * 4}
    tensors = tiny_tensors(tied=True)
    shape = shape_from_header(tiny_metadata("gemma4", **window), tensors)
    weights = weight_table(shape, tensors)

    def host_bytes(gpu_layers: int) -> int:
        settings = LaunchSettings(4096, devices=(0,), gpu_layers=gpu_layers)
        return weight_bytes(weights, assign_layers(shape, settings, [None])).host_bytes

    assert host_bytes(9) == EMBEDDING
    assert host_bytes(0) == sum(one.n_bytes for one in tensors) + EMBEDDING


def test_an_ot_rule_for_a_tied_embedding_leaves_one_copy_where_it_says() -> None:
    tensors = tiny_tensors(tied=True)
    shape = shape_from_header(tiny_metadata("llama"), tensors)
    weights = weight_table(shape, tensors)

    def card_and_host(*rules: str) -> tuple[int, int]:
        settings = LaunchSettings(4096, devices=(0,), override_tensor=rules)
        found = weight_bytes(weights, assign_layers(shape, settings, [None], weights))
        return found.gpu_bytes[0], found.host_bytes

    card, host = card_and_host()
    assert card_and_host("token_embd=CPU") == (card - EMBEDDING, host)
    assert card_and_host("token_embd=CUDA0") == (card, host - EMBEDDING)
    norm = next(one for one in weights.tensors if one.name == "output_norm.weight")
    assert card_and_host("output_norm=CPU") == (card - norm.gpu_bytes, host + norm.host_bytes)


def test_a_tied_embedding_of_odd_rows_is_not_repacked() -> None:
    def host_bytes(rows_more: int) -> tuple[int, int]:
        tensors = []
        for one in tiny_tensors(tied=True):
            if one.name == "token_embd.weight":
                one = tensor(one.name, one.dims[0], one.dims[1] + rows_more)
            tensors.append(one)
        shape = shape_from_header(tiny_metadata("llama"), tensors)
        weights = weight_table(shape, tensors)
        on_cpu = assign_layers(shape, LaunchSettings(4096, gpu_layers=0), [])
        embedding = next(one for one in tensors if one.name == "token_embd.weight")
        found = weight_bytes(weights, on_cpu, frozenset({embedding.type_name}))
        return found.host_bytes - sum(one.n_bytes for one in tensors), embedding.n_bytes

    assert host_bytes(0)[0] == host_bytes(0)[1], "the repacked output is a second copy"
    assert host_bytes(4)[0] == 0
