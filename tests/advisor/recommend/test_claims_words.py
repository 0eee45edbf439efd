"""How claims are written: file types of other programs, sentences, electricity and bandwidth."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfit.advisor.errors import UsageError
from llmfit.advisor.model.quantization import FILE_TYPES
from llmfit.advisor.recommend.claims.claim import CONTRADICTED, SUPPORTED, UNKNOWN, Claim
from llmfit.advisor.recommend.claims.formats import as_nvfp4, claimed_cache_type, claimed_format
from llmfit.advisor.recommend.claims.others import cost_reason, ratio_reason
from llmfit.advisor.recommend.claims.sentences import (
    bandwidth_sentence,
    names_a_budget,
    names_speculation,
    names_tensor_parallel,
)
from llmfit.catalog.build import build_model
from llmfit.catalog.gpus import lookup_gpu
from llmfit.catalog.models import find_model


@pytest.mark.parametrize("name", FILE_TYPES)
def test_llama_cpps_own_names_are_taken_as_they_are(name: str) -> None:
    assert claimed_format(name.lower()).quant == name
    assert claimed_format(name).note == ""


@pytest.mark.parametrize(
    ("name", "quant"),
    (
        ("INT8", "Q8_0"),
        ("fp8", "Q8_0"),
        ("INT4", "Q4_0"),
        ("AWQ", "Q4_0"),
        ("4-bit", "Q4_K_M"),
        ("MLX 4bit", "Q4_K_M"),
        ("2-bit", "Q2_K"),
        ("UD-Q4_K_XL", "Q4_K_M"),
        ("UD-IQ2_XXS", "IQ2_XXS"),
        ("Q6_K_L", "Q6_K"),
        ("3.5bpw", "Q3_K_M"),
        ("exl3 5.0 bpw", "Q5_1"),
    ),
)
def test_other_names_are_judged_as_the_nearest_and_say_so(name: str, quant: str) -> None:
    found = claimed_format(name)
    if quant == "Q5_1":  # exactly 5 bits are 5.0, between two file types: either is near
        assert found.quant in ("Q5_0", "Q5_K_M", "Q4_1")
    else:
        assert found.quant == quant
    assert found.quant in found.note and name in found.note


@pytest.mark.parametrize("name", ("FP16", "half"))
def test_the_same_under_another_name_needs_no_note(name: str) -> None:
    assert claimed_format(name).quant == "F16"
    assert claimed_format(name).note == ""


@pytest.mark.parametrize("name", ("", "nope", "Q9_Z", "UD-", "_XL", "🙂", "x" * 5000))
def test_a_name_that_says_nothing_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        claimed_format(name)


@pytest.mark.parametrize(("name", "size_gb"), (("XiaomiMiMo/MiMo-V2.5", 184.4), ("Qwen/Qwen3-32B", 20.7)))
def test_nvfp4_has_the_size_that_such_files_have(name: str, size_gb: float) -> None:
    model = as_nvfp4(build_model(find_model(name), "BF16"))
    assert claimed_format("nvfp4").is_nvfp4
    assert model.file_bytes / 1e9 == pytest.approx(size_gb, rel=0.005)
    assert {tensor.type_name for tensor in model.tensors} == {"NVFP4", "BF16", "F32"}


@pytest.mark.parametrize(
    ("name", "cache_type"), (("int8", "q8_0"), ("FP16", "f16"), ("q8_0", "q8_0"), ("nope", "nope"))
)
def test_cache_types(name: str, cache_type: str) -> None:
    assert claimed_cache_type(name) == cache_type


# ---------------------------------------------------------------- sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    (
        ("The RTX 5090 has 1.78x the bandwidth of an RTX 3090", ("RTX 5090", "RTX 3090", 1.78)),
        ("RTX 4090 has 3.7 times the memory bandwidth of the RTX 4060.", ("RTX 4090", "RTX 4060", 3.7)),
        ("An M4 Max delivers about 2x the bandwidth of an M4 Pro", ("M4 Max", "M4 Pro", 2.0)),
        ("the H100 has twice the bandwidth of the A100", ("H100", "A100", 2.0)),
        ("The RTX 5090 is 1.78x faster than an RTX 3090", None),
        ("Llama 3.1 70B runs on two RTX 3090 at 15-25 tok/s", None),
        ("", None),
    ),
)
def test_a_sentence_about_bandwidth(text: str, expected: tuple[str, str, float] | None) -> None:
    assert bandwidth_sentence(text) == expected


@given(st.text(max_size=300))
def test_no_text_breaks_the_readers(text: str) -> None:
    found = bandwidth_sentence(text)
    assert found is None or found[2] >= 0
    for reads in (names_a_budget, names_speculation, names_tensor_parallel):
        assert reads(text) in (True, False)


def test_a_long_text_is_read_in_no_time() -> None:
    text = "The " + "RTX 5090 has " * 20_000
    assert bandwidth_sentence(text) is None
    assert not names_a_budget("fits " * 20_000)


@pytest.mark.parametrize(
    ("text", "is_budget"),
    (
        ("Q3_K_M might fit in ~32 GB", True),
        ("runs in 24 GB", True),
        ("stays under 16 GB", True),
        ("uses ~22 GB of VRAM on one RTX 4090", False),
        ("loads to ~40 GB", False),
        ("takes 13 GB", False),
    ),
)
def test_what_it_fits_in_is_not_what_it_uses(text: str, is_budget: bool) -> None:
    assert names_a_budget(text) is is_budget


@pytest.mark.parametrize(
    ("text", "speculative", "parallel"),
    (
        ("decodes at 32 tok/s with MTP", True, False),
        ("90 tok/s using speculative decoding", True, False),
        ("90 tok/s without speculative decoding", False, False),
        ("30 tok/s with tensor parallelism over two cards", False, True),
        ("30 tok/s on two cards", False, False),
    ),
)
def test_how_a_speed_is_meant(text: str, speculative: bool, parallel: bool) -> None:
    assert (names_speculation(text), names_tensor_parallel(text)) == (speculative, parallel)


# ---------------------------------------------------------------- electricity and bandwidth


@given(st.floats(1, 5000), st.floats(0.1, 500), st.floats(0.01, 2), st.sampled_from((0.85, 0.95, 1.05, 1.15)))
def test_electricity_is_watts_over_speed(watts: float, speed: float, price: float, factor: float) -> None:
    """kW x hours x price: 1e6 tokens take 1e6 / speed seconds."""
    usd = watts / 1000 * (1e6 / speed / 3600) * price
    claim = Claim(watts=watts, decode_tok_s=speed, usd_per_kwh=price, usd_per_million_tokens=usd * factor)
    found = cost_reason(claim, None)
    assert found.computed == pytest.approx(usd)
    assert found.verdict == (SUPPORTED if abs(factor - 1) <= 0.1 else CONTRADICTED)


@pytest.mark.parametrize("missing", ("watts", "decode_tok_s", "usd_per_kwh"))
def test_electricity_without_one_of_its_figures_is_unknown(missing: str) -> None:
    figures = {"watts": 350.0, "decode_tok_s": 30.0, "usd_per_kwh": 0.3}
    del figures[missing]
    assert cost_reason(Claim(usd_per_million_tokens=1.0, **figures), None).verdict == UNKNOWN


@pytest.mark.parametrize(
    ("claimed", "verdict"),
    ((1.78, CONTRADICTED), (1.9, SUPPORTED), (1.91, SUPPORTED), (2.0, SUPPORTED), (3.0, CONTRADICTED)),
)
def test_a_ratio_holds_as_exactly_as_it_is_said(claimed: float, verdict: str) -> None:
    found = ratio_reason(claimed, lookup_gpu("RTX 5090")[0], lookup_gpu("RTX 3090")[0])
    assert found.verdict == verdict
