"""What a user may fix, and what follows from leaving it open."""

from __future__ import annotations

import pytest

from llmfit.advisor.errors import UsageError
from llmfit.advisor.recommend.request import Request


def test_nothing_is_fixed_at_first() -> None:
    assert Request().fixed == frozenset()
    settings = Request().base_settings(8192)
    assert (settings.context_tokens, settings.parallel, settings.flash_attn) == (8192, 1, True)
    assert (settings.cache_type_k, settings.cache_type_v) == ("f16", "f16")


def test_what_is_given_is_fixed_and_kept() -> None:
    request = Request(ubatch=256, tensor_split=(2.0, 1.0), kv_offload=False, depth_tokens=100)
    assert request.fixed == {"ubatch", "tensor_split", "kv_offload"}
    settings = request.base_settings(4096)
    assert settings.ubatch == 256 and settings.tensor_split == (2.0, 1.0) and not settings.kv_offload


def test_one_cache_type_stands_for_both() -> None:
    settings = Request(cache_type_k="q8_0").base_settings(4096)
    assert (settings.cache_type_k, settings.cache_type_v) == ("q8_0", "q8_0")
    assert "cache_type_v" in Request(cache_type_k="q8_0").fixed
    mixed = Request(cache_type_k="q8_0", cache_type_v="f16").base_settings(4096)
    assert (mixed.cache_type_k, mixed.cache_type_v) == ("q8_0", "f16")


def test_auto_slots_are_the_servers_own_default() -> None:
    settings = Request(parallel=0).base_settings(4096)
    assert (settings.parallel, settings.kv_unified) == (4, True)
    assert Request(parallel=0, kv_unified=False).base_settings(4096).kv_unified is False


def test_mtp_is_loaded_only_where_asked() -> None:
    assert Request(spec_type="draft-mtp").loads_mtp and not Request().loads_mtp


@pytest.mark.parametrize(
    "values",
    [
        {"context_tokens": 0},
        {"context_tokens": 2**28},
        {"batch": 0},
        {"ubatch": 2**21},
        {"parallel": 257},
        {"gpu_layers": -1},
        {"n_cpu_moe": 10**6},
        {"depth_tokens": -1},
        {"context_tokens": 4096, "depth_tokens": 4097},
        {"tensor_split": ()},
        {"tensor_split": (0.0, 0.0)},
        {"tensor_split": (-1.0, 2.0)},
    ],
)
def test_what_llama_cpp_would_not_take(values: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Request(**values)  # type: ignore[arg-type]
