"""A measurement as JSON: the same back, and nothing else accepted."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfit.advisor.measurements.record import from_document, to_document
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.speed.calibration.measurement import Measurement

COUNTS = st.integers(0, 2**40)
SETTINGS = st.builds(
    LaunchSettings,
    COUNTS,
    devices=st.tuples(st.integers(0, 15)),
    flash_attn=st.booleans(),
    gpu_layers=st.integers(-1, 999),
    tensor_split=st.none() | st.tuples(st.floats(0, 1e9), st.floats(0, 1e9)),
    override_tensor=st.lists(st.text(max_size=50), max_size=3).map(tuple),
)
MEASUREMENTS = st.builds(
    Measurement,
    machine_key=st.text(max_size=200),
    backend=st.sampled_from(["cuda", "cpu"]),
    model_id=st.text(max_size=200),
    quantization=st.text(max_size=20),
    file_bytes=COUNTS,
    family=st.text(max_size=20),
    settings=SETTINGS,
    kind=st.sampled_from(["decode", "prefill"]),
    depth_tokens=COUNTS,
    prompt_tokens=COUNTS,
    tok_s=st.floats(0, 1e9),
    measured_at=st.text(max_size=30),
    source=st.just("llama-bench"),
    spread_share=st.none() | st.floats(0, 10),
    build=st.none() | COUNTS,
    other_load=st.none() | st.booleans(),
    model_path=st.none() | st.text(max_size=100),
)


@given(MEASUREMENTS)
def test_there_and_back(one: Measurement) -> None:
    assert from_document(to_document(one)) == one


GOOD: dict[str, Any] = json.loads(
    to_document(
        Measurement(
            "here", "cuda", "m", "Q4_K_M", 10, "llama", LaunchSettings(1), "decode", 0, 0, 1.5, "", "x"
        )
    )
)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("machine_key", None),
        ("machine_key", 3),
        ("model_id", "x" * 5000),
        ("file_bytes", -5),
        ("file_bytes", 2**70),
        ("file_bytes", True),
        ("file_bytes", 1.5),
        ("kind", "guess"),
        ("tok_s", "fast"),
        ("tok_s", -1.0),
        ("tok_s", 10**400),
        ("settings", {"context_tokens": 1, "tensor_split": [10**400]}),
        ("spread_share", []),
        ("other_load", "yes"),
        ("speculative", 1),
        ("settings", None),
        ("settings", {"devices": 3}),
        ("settings", {"context_tokens": 1, "devices": ["0"]}),
        ("settings", {"context_tokens": 1, "flash_attn": "on"}),
        ("settings", {"context_tokens": 1, "override_tensor": [1]}),
    ],
)
def test_a_field_that_is_not_what_it_should_be(name: str, value: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        from_document(json.dumps({**GOOD, name: value}))


@pytest.mark.parametrize(
    "text",
    ["", "[]", "3", "{", "null", "[" * 100_000, "{}", '"x"', "{" + " " * 70_000],
    ids=["empty", "list", "number", "cut", "null", "brackets", "object", "text", "long"],
)
def test_what_is_no_document(text: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        from_document(text)


def test_infinity_is_no_speed() -> None:
    with pytest.raises(ValueError, match="tok_s"):
        from_document(json.dumps({**GOOD, "tok_s": float("inf")}))


def test_what_a_later_llmfit_adds_is_passed_over() -> None:
    assert from_document(json.dumps({**GOOD, "watts": 300})).tok_s == 1.5
