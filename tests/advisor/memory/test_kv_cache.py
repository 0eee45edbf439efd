"""Cache sizes: llama.cpp's rounding, windows, slots, types and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfit.advisor.errors import UsageError
from llmfit.advisor.memory.assignment import assign_layers
from llmfit.advisor.memory.kv_cache import cache_bytes, cache_geometry, layer_cache_bytes
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.units import MIB
from tests.advisor.memory.memory_models import shape_of

SERVER = {"parallel": 4, "kv_unified": True}
MODELS = [
    "llama3.1-8b",
    "gemma3-27b",
    "deepseek-v3.2",
    "qwen3.5-27b",
    "falcon-h1-7b",
    "gemma4-e4b",
    "mimo-v2-flash",
]


def total(model: str, context: int, **values: object) -> int:
    shape, settings = shape_of(model), LaunchSettings(context, devices=(0,), **values)  # type: ignore[arg-type]
    assignment = assign_layers(shape, settings, [None])
    found = cache_bytes(shape, settings, cache_geometry(shape, settings), assignment)
    return sum(found.gpu_bytes) + found.host_bytes


@pytest.mark.parametrize(
    ("context", "slots", "unified", "n_ctx", "n_ctx_seq", "streams"),
    [
        (1000, 3, False, 1536, 512, 3),
        (4096, 4, True, 4096, 4096, 1),
        (100, 1, False, 256, 256, 1),
        (0, 1, False, 131072, 131072, 1),
        (8192, 2, False, 8192, 4096, 2),
    ],
)
def test_context_is_rounded_as_llama_cpp_rounds(
    context: int, slots: int, unified: bool, n_ctx: int, n_ctx_seq: int, streams: int
) -> None:
    settings = LaunchSettings(context, parallel=slots, kv_unified=unified)
    found = cache_geometry(shape_of("llama3.1-8b"), settings)
    assert (found.n_ctx, found.n_ctx_seq, found.n_stream) == (n_ctx, n_ctx_seq, streams)


def test_the_batch_is_limited_by_the_context_before_padding() -> None:
    found = cache_geometry(shape_of("llama3.1-8b"), LaunchSettings(100, ubatch=512))
    assert (found.n_ctx, found.n_batch, found.n_ubatch) == (256, 100, 100)


def test_gemma3_window_grows_with_slots_and_batch() -> None:
    """The figures of docs/memory.md: gemma3-27b at 32k."""
    assert total("gemma3-27b", 32768) == 3184 * MIB
    assert total("gemma3-27b", 32768, **SERVER) == 4432 * MIB
    assert total("gemma3-27b", 32768, ubatch=2048) == 3808 * MIB
    assert total("gemma3-27b", 32768, swa_full=True) == 15872 * MIB
    assert total("gemma3-27b", 131072) / 2**30 == pytest.approx(10.6, abs=0.05)
    assert total("gemma3-27b", 131072, cache_type_k="q8_0", cache_type_v="q8_0") / 2**30 == pytest.approx(
        5.6, abs=0.05
    )


def test_mla_stores_k_only() -> None:
    assert total("deepseek-v2-lite", 32768) == 27 * 576 * 2 * 32768


def test_v_without_flash_attention_is_padded_to_the_widest_layer() -> None:
    assert round(total("mimo-v2-flash", 32768) / MIB) == 866
    assert round(total("mimo-v2-flash", 32768, flash_attn=False) / MIB) == 1154


def test_state_is_f32_for_every_slot_and_snapshot() -> None:
    one = total("qwen3.5-27b", 4096)
    four = total("qwen3.5-27b", 4096, **SERVER)
    state = round(149.625 * MIB)
    assert four - one == 3 * state
    drafting = total("qwen3.5-27b", 4096, spec_type="draft-mtp")
    assert drafting - one == 3 * state
    assert total("granite4-h-tiny", 4096, spec_type="draft-mtp") == total("granite4-h-tiny", 4096)


@pytest.mark.parametrize(
    ("model", "values", "reason"),
    [
        ("deepseek-v2-lite", {"cache_type_k": "q8_0"}, "same type for both"),
        ("kimi-linear-48b-a3b", {"cache_type_k": "q8_0", "cache_type_v": "q8_0"}, "does not divide"),
        ("llama3.1-8b", {"cache_type_v": "q8_0", "flash_attn": False}, "flash attention"),
        ("llama3.1-8b", {"cache_type_k": "q3_0"}, "unknown"),
        ("llama3.1-8b", {"parallel": 0}, "1 to 256"),
        ("llama3.1-8b", {"parallel": 300}, "1 to 256"),
        ("kimi-linear-48b-a3b", {"parallel": 3}, "aborts"),
        ("llama3.1-8b", {"ubatch": -1}, "at least one"),
    ],
)
def test_what_llama_cpp_refuses_is_refused_with_the_reason(
    model: str, values: dict[str, object], reason: str
) -> None:
    with pytest.raises(UsageError, match=reason):
        cache_geometry(shape_of(model), LaunchSettings(4096, **values))  # type: ignore[arg-type]


@given(
    model=st.sampled_from(MODELS),
    context=st.integers(1, 200_000),
    more=st.integers(0, 100_000),
    slots=st.integers(1, 8),
    ubatch=st.integers(1, 4096),
    unified=st.booleans(),
)
def test_more_context_slots_or_batch_never_take_less(
    model: str, context: int, more: int, slots: int, ubatch: int, unified: bool
) -> None:
    settings = {"parallel": slots, "kv_unified": unified, "ubatch": ubatch, "batch": 4096}
    base = total(model, context, **settings)
    assert base > 0
    assert total(model, context + more, **settings) >= base
    assert total(model, context, **settings | {"ubatch": ubatch + 512}) >= base
    # one more slot may shorten each slot's share, but never below the context rounded up for all
    if unified:
        assert total(model, context, **settings | {"parallel": slots + 1}) >= base


@given(model=st.sampled_from(MODELS), context=st.integers(256, 100_000), layers=st.integers(0, 70))
def test_layers_add_up_wherever_they_lie(model: str, context: int, layers: int) -> None:
    shape = shape_of(model)
    settings = LaunchSettings(context, devices=(0, 1), gpu_layers=layers)
    geometry = cache_geometry(shape, settings)
    found = cache_bytes(shape, settings, geometry, assign_layers(shape, settings, [1, 2]))
    assert sum(found.gpu_bytes) + found.host_bytes == sum(layer_cache_bytes(shape, settings))
    in_ram = replace(settings, kv_offload=False)
    host = cache_bytes(shape, in_ram, geometry, assign_layers(shape, in_ram, [1, 2]))
    assert host.gpu_bytes == (0, 0)
    assert host.host_bytes == sum(layer_cache_bytes(shape, in_ram, geometry, on_gpu=False))
