"""Whole estimates: parts, totals, overhead, margins, host RAM."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llmfit.advisor.errors import UsageError
from llmfit.advisor.memory.estimate import estimate_memory, estimate_model_memory
from llmfit.advisor.memory.host import PROCESS_BYTES, repack_types
from llmfit.advisor.memory.overhead import driver_overhead
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.model.model import Model
from llmfit.advisor.units import MIB
from tests.advisor.memory.memory_models import cards, header_of, shape_of, table_of

LLAMA = "llama3.1-8b"


def test_published_figures_of_a_real_card() -> None:
    """Logs of other people's cards: 4403.49 MiB of weights, 281.81 MiB in RAM, 1024 MiB of cache at 8192."""
    memory = estimate_memory(shape_of(LLAMA), table_of(LLAMA), LaunchSettings(8192, devices=(0,)), cards(24))
    gpu = memory.gpus[0]
    assert round(gpu.weights_bytes / MIB, 2) == 4403.49
    assert round(memory.host.weights_bytes / MIB, 2) == 281.81
    assert gpu.kv_cache_bytes == 1024 * MIB


def test_totals_are_sums_and_fits_counts_the_margin() -> None:
    shape, table = shape_of(LLAMA), table_of(LLAMA)
    settings = LaunchSettings(8192, devices=(0,))
    gpu = estimate_memory(shape, table, settings, cards(24)).gpus[0]
    overhead = driver_overhead("cuda")
    assert gpu.overhead_bytes == overhead.expected_bytes
    assert gpu.margin_bytes > overhead.doubt_bytes
    assert gpu.total_bytes == gpu.weights_bytes + gpu.kv_cache_bytes + gpu.compute_bytes + gpu.overhead_bytes
    required_bytes = gpu.total_bytes + gpu.margin_bytes
    exactly = estimate_memory(shape, table, settings, cards(required_bytes / 2**30))
    assert exactly.fits
    short = estimate_memory(shape, table, settings, cards((required_bytes - MIB) / 2**30))
    assert not short.fits
    assert short.shortfall_bytes == pytest.approx(MIB, abs=16)


def test_devices_are_the_machines_cards() -> None:
    shape, table = shape_of(LLAMA), table_of(LLAMA)
    memory = estimate_memory(shape, table, LaunchSettings(4096, devices=(1,)), cards(24, 12))
    assert [device.gpu_index for device in memory.gpus] == [1]
    assert memory.gpus[0].capacity_bytes == 12 * 2**30
    with pytest.raises(UsageError, match="2 GPUs"):
        estimate_memory(shape, table, LaunchSettings(4096, devices=(2,)), cards(24, 12))


def test_without_a_card_everything_is_in_ram_and_repacked_copies_are_private() -> None:
    shape, table = shape_of(LLAMA), table_of(LLAMA)
    memory = estimate_memory(shape, table, LaunchSettings(4096), cards())
    details = memory.host_details
    assert memory.gpus == ()
    assert details is not None
    assert details.private_bytes > 3 * 2**30
    assert details.mapped_bytes + details.private_bytes == memory.host.weights_bytes
    plain = estimate_memory(shape, table, LaunchSettings(4096, repack=False), cards()).host_details
    assert plain is not None
    assert plain.private_bytes == 0
    loaded = estimate_memory(shape, table, LaunchSettings(4096, mmap=False), cards()).host_details
    assert loaded is not None
    assert loaded.mapped_bytes == 0


def test_host_overhead_is_the_process_and_the_logits() -> None:
    settings = LaunchSettings(4096, devices=(0,), parallel=4, kv_unified=True)
    memory = estimate_memory(shape_of(LLAMA), table_of(LLAMA), settings, cards(24))
    assert memory.host.overhead_bytes == PROCESS_BYTES + 4 * 128256 * 4
    assert memory.host_details is not None
    assert memory.host_details.prompt_cache_limit_bytes == settings.cache_ram_bytes


def test_repack_types_by_cpu() -> None:
    on_cpu, on_gpu = LaunchSettings(4096), LaunchSettings(4096, devices=(0,))
    assert repack_types(["AVX2"], on_cpu) == {"Q4_0", "Q4_K", "IQ4_NL", "MXFP4"}
    assert "Q2_K" in repack_types(["avx2", "avx512f"], on_cpu)
    assert "Q8_0" in repack_types(["asimddp"], on_cpu)
    assert repack_types([], on_cpu) == frozenset()
    assert repack_types(["avx2"], on_gpu) == frozenset()


def test_drafting_counts_its_second_context_apart() -> None:
    shape = shape_of("glm-4.7-flash")
    plain = LaunchSettings(8192, devices=(0,))
    drafting = LaunchSettings(8192, devices=(0,), spec_type="draft-mtp")
    without = estimate_memory(shape, table_of("glm-4.7-flash"), plain, cards(80)).gpus[0]
    memory = estimate_memory(shape, table_of("glm-4.7-flash", load_mtp=True), drafting, cards(80)).gpus[0]
    assert without.draft_bytes == 0
    assert memory.draft_bytes == 576 * 2 * 8192 + memory.compute_bytes
    assert memory.overhead_bytes == without.overhead_bytes + memory.draft_bytes
    assert memory.kv_cache_bytes == without.kv_cache_bytes


def test_the_draft_context_of_windowed_blocks_caches_their_window() -> None:
    shape, table = shape_of("mimo-v2-flash"), table_of("mimo-v2-flash", load_mtp=True)
    assert all(block.windowed for block in shape.mtp_cache)
    rows = sum(block.k_elements + block.v_elements for block in shape.mtp_cache)

    def draft_cache(context_tokens: int) -> int:
        settings = LaunchSettings(context_tokens, devices=(0,), spec_type="draft-mtp")
        card = estimate_memory(shape, table, settings, cards(400)).gpus[0]
        return card.draft_bytes - card.compute_bytes

    cells = -(-(shape.window_tokens + 512) // 256) * 256
    assert draft_cache(8192) == draft_cache(32768) == 2 * rows * cells


def test_drafting_without_a_card_is_counted_in_ram() -> None:
    shape, table = shape_of("glm-4.7-flash"), table_of("glm-4.7-flash", load_mtp=True)
    host = estimate_memory(shape, table, LaunchSettings(8192, spec_type="draft-mtp"), cards()).host
    logits = 4 * shape.n_vocab * 4  # one row of the slot and three drafted ones
    assert host.draft_bytes == 576 * 2 * 8192 + host.compute_bytes
    assert host.overhead_bytes == PROCESS_BYTES + logits + host.draft_bytes


def test_a_large_per_layer_embedding_is_read_from_disk() -> None:
    """--lazy-mode auto: above 4 GiB, and only gemma4 has one."""
    shape, table = shape_of("gemma4-e4b"), table_of("gemma4-e4b")
    (embedding,) = (one for one in table.tensors if one.name == "per_layer_token_embd.weight")

    def lazy_bytes(n_bytes: int) -> int:
        tensors = tuple(
            replace(one, host_bytes=n_bytes) if one is embedding else one for one in table.tensors
        )
        changed = replace(table, tensors=tensors)
        details = estimate_memory(shape, changed, LaunchSettings(4096), cards()).host_details
        assert details is not None
        return details.lazy_bytes

    assert lazy_bytes(4 * 2**30) == 0
    assert lazy_bytes(4 * 2**30 + 32) == 4 * 2**30 + 32


def test_a_model_is_estimated_with_its_own_table() -> None:
    header = header_of(LLAMA)
    model = Model(
        "llama", shape_of(LLAMA), header.tensors, "Q4_K_M", "gguf", (), 8_030_261_312, None, 1, "measured"
    )
    settings = LaunchSettings(4096, devices=(0,))
    assert estimate_model_memory(model, settings, cards(24)) == estimate_memory(
        shape_of(LLAMA), table_of(LLAMA), settings, cards(24)
    )
