"""Cache types to avoid: never chosen unasked, never proposed, warned of where asked for."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.model.model import Model
from llmfit.advisor.model.quantization import CACHE_TYPES
from llmfit.advisor.recommend.cache_advice import (
    CACHE_TYPE_HURTS,
    CACHE_TYPE_NOT_MEASURED,
    CACHE_TYPE_SAVES_LITTLE,
    TINY_CACHE_BYTES,
    cache_types_worth_trying,
    f16_cache_bytes,
    has_delicate_keys,
    rotates_quantised_cache,
)
from llmfit.advisor.recommend.judgement import Judgement
from llmfit.advisor.recommend.ladders import DEFAULTS
from llmfit.advisor.recommend.request import Request
from llmfit.advisor.recommend.search import judge
from llmfit.catalog.build import build_model
from llmfit.catalog.models import find_model
from llmfit.tui.session import machine_from

CODES = {CACHE_TYPE_HURTS, CACHE_TYPE_NOT_MEASURED, CACHE_TYPE_SAVES_LITTLE}


@cache
def model(name: str) -> Model:
    return build_model(find_model(name), "Q4_K_M")


@cache
def card(gpu: str, ram: str = "64GiB") -> Machine:
    return machine_from({"gpu": gpu, "ram": ram, "ram_bandwidth": "50"})


def asked(name: str, gpu: str, **fixed: object) -> Judgement:
    return judge(model(name), card(gpu), Request(**fixed))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "types", "code"),
    [
        ("gpt-oss-20b", ("f16",), CACHE_TYPE_HURTS),
        ("gemma-2-9b", ("f16",), CACHE_TYPE_HURTS),
        ("gemma-3-27b", ("f16",), CACHE_TYPE_HURTS),
        ("gemma-4-31B", ("f16", "q8_0"), CACHE_TYPE_NOT_MEASURED),
        ("Qwen2.5-7B-Instruct", ("f16", "q8_0"), CACHE_TYPE_HURTS),
        ("Qwen2.5-14B-Instruct", ("f16", "q8_0", "q4_0"), ""),
        ("Llama-3.2-3B", ("f16", "q8_0"), CACHE_TYPE_HURTS),
        ("Llama-3.1-8B", ("f16", "q8_0", "q4_0"), ""),
        ("GLM-4.7-Flash", ("f16",), CACHE_TYPE_NOT_MEASURED),
        ("DeepSeek-R1-0528", ("f16",), CACHE_TYPE_NOT_MEASURED),
        ("Qwen3.6-27B", ("f16", "q8_0", "q4_0"), ""),
        ("AI21-Jamba2-3B", ("f16",), CACHE_TYPE_SAVES_LITTLE),
    ],
)
def test_what_each_kind_of_model_bears(name: str, types: tuple[str, ...], code: str) -> None:
    advice = cache_types_worth_trying(model(name), DEFAULTS)
    assert (advice.types, advice.code) == (types, code)
    assert bool(advice.reason) == bool(advice.source) == bool(code)
    assert advice.allows("f16", "f16") and advice.allows("bf16", "f32")
    assert advice.allows("q4_0", "q4_0") == ("q4_0" in types)


def test_it_holds_for_a_file_that_no_catalogue_knows() -> None:
    """Names do not count, the architecture and the sizes do."""
    for name in ("gpt-oss-20b", "Qwen2.5-7B-Instruct", "GLM-4.7-Flash", "Llama-3.1-8B"):
        stranger = replace(model(name), id="someone/Finetune", source="gguf")
        assert cache_types_worth_trying(stranger) == cache_types_worth_trying(model(name))


def test_v_of_a_small_model_may_be_smaller_than_its_k() -> None:
    advice = cache_types_worth_trying(model("Qwen2.5-7B-Instruct"), DEFAULTS)
    assert advice.allows("q8_0", "q4_0") and not advice.allows("q4_0", "q8_0")
    assert not advice.allows("q5_1", "f16")


def test_a_cache_is_tiny_up_to_a_context() -> None:
    """Qwen3.5-9B keeps 32 KiB a token: 100 MiB are 3200 tokens."""
    qwen = model("Qwen3.5-9B")
    assert f16_cache_bytes(qwen.shape, replace(DEFAULTS, context_tokens=32768)) == 32768 * 32 * 1024
    short, longer = (replace(DEFAULTS, context_tokens=tokens) for tokens in (3072, 3328))
    assert f16_cache_bytes(qwen.shape, short) < TINY_CACHE_BYTES < f16_cache_bytes(qwen.shape, longer)
    assert cache_types_worth_trying(qwen, short).code == CACHE_TYPE_SAVES_LITTLE
    assert cache_types_worth_trying(qwen, longer).types == ("f16", "q8_0", "q4_0")
    quantised = replace(longer, cache_type_k="q4_0", cache_type_v="q4_0")
    assert f16_cache_bytes(qwen.shape, quantised) == f16_cache_bytes(qwen.shape, longer)


def test_types_are_those_that_llama_cpp_takes() -> None:
    """Without flash attention V stays in f16, and Phi-3.5's heads of 96 divide by 32."""
    without = replace(DEFAULTS, flash_attn=False)
    assert cache_types_worth_trying(model("Llama-3.1-8B"), without).types == ("f16",)
    assert "q8_0" in cache_types_worth_trying(model("Phi-3.5-mini"), DEFAULTS).types


@pytest.mark.parametrize(
    ("name", "rotated"),
    [("Llama-3.1-8B", True), ("Phi-3.5-mini", False), ("gemma-4-31B", True), ("gpt-oss-20b", True)],
)
def test_heads_of_multiples_of_64_are_rotated(name: str, rotated: bool) -> None:
    """Gemma 4 has heads of 256 and 512, in a cache each."""
    assert rotates_quantised_cache(model(name).shape) is rotated


def test_uneven_heads_in_one_cache_are_not_rotated() -> None:
    shape = model("Llama-3.1-8B").shape
    uneven = replace(shape, head_dim_k=(64, *shape.head_dim_k[1:]))
    assert rotates_quantised_cache(shape) and not rotates_quantised_cache(uneven)


def test_gemma_3_4b_was_measured_and_smaller_ones_were_not() -> None:
    assert not has_delicate_keys(model("gemma-3-4b"))
    assert has_delicate_keys(model("gemma-3-1b"))


@pytest.mark.parametrize(
    ("name", "gpu", "context"),
    [
        ("gemma-3-27b", "RTX 3090", 131072),
        ("gpt-oss-20b", "RTX 4070", 131072),
        ("GLM-4.7-Flash", "RTX 3090", 131072),
    ],
)
def test_what_hurts_is_neither_chosen_nor_proposed(name: str, gpu: str, context: int) -> None:
    found = asked(name, gpu, context_tokens=context)
    assert found.verdict != "fits_gpu", "the case must be one where a smaller cache would be tempting"
    assert found.settings.cache_type_k == found.settings.cache_type_v == "f16"
    for remedy in found.remedies:
        assert "cache_type_k" not in dict(remedy.change)
    assert not CODES & {warning.code for warning in found.warnings}


def test_the_same_case_takes_it_where_it_does_not_hurt() -> None:
    found = asked("Llama-3.3-70B", "2x RTX 3090", context_tokens=32768)
    assert found.settings.cache_type_k == "q8_0"
    assert not CODES & {warning.code for warning in found.warnings}


def test_who_asks_for_it_gets_it_with_the_reason_and_its_source() -> None:
    found = asked("gpt-oss-20b", "RTX 3090", cache_type_k="q8_0")
    assert (found.settings.cache_type_k, found.settings.cache_type_v) == ("q8_0", "q8_0")
    (warning,) = (warning for warning in found.warnings if warning.code == CACHE_TYPE_HURTS)
    assert "much slower" in warning.text and "15766" in warning.text
    flash = asked("GLM-4.7-Flash", "RTX 3090", cache_type_k="q8_0")
    assert CACHE_TYPE_NOT_MEASURED in {warning.code for warning in flash.warnings}
    half = asked("Qwen2.5-7B-Instruct", "RTX 3090", cache_type_k="q8_0", cache_type_v="q4_0")
    assert not CODES & {warning.code for warning in half.warnings}


def test_every_cache_type_can_be_judged() -> None:
    advice = cache_types_worth_trying(model("gemma-4-31B"))
    allowed = {k for k in CACHE_TYPES if advice.allows(k, k)}
    assert allowed == {"f32", "f16", "bf16", "q8_0"}
