"""A spec whose stated parameter count contradicts its layers: scaled to it, and said so."""

from __future__ import annotations

import pytest

from llmfit.advisor.errors import UsageError
from llmfit.catalog.build import COMPUTED
from llmfit.catalog.spec import model_from_spec

SPEC: dict[str, object] = {
    "id": "paper-7b",
    "architecture": "llama",
    "n_layer": 32,
    "n_embd": 4096,
    "n_head": 32,
    "n_head_kv": 8,
    "n_ff": 14336,
    "n_vocab": 128256,
    "context_length": 131072,
}
LAYERS = 8_030_261_248
"""Llama 3.1 8B's own count, without its 64 factors of RoPE."""


def test_the_id_names_the_model_and_a_rounded_count_changes_nothing() -> None:
    plain = model_from_spec(SPEC)
    rounded = model_from_spec({**SPEC, "params_total": 8_000_000_000})
    assert plain.id == "paper-7b"
    assert plain.n_parameters == rounded.n_parameters == LAYERS
    assert rounded.tensors == plain.tensors
    assert rounded.file_bytes_source == COMPUTED


@pytest.mark.parametrize("stated", (10_000_000_000, 6_000_000_000))
def test_another_count_scales_every_tensor_and_the_source_says_so(stated: int) -> None:
    plain = model_from_spec(SPEC, "Q4_K_M")
    scaled = model_from_spec({**SPEC, "params_total": stated}, "Q4_K_M")
    factor = stated / LAYERS
    assert scaled.n_parameters == stated
    assert scaled.file_bytes == pytest.approx(plain.file_bytes * factor, rel=1e-9)
    assert sum(t.n_bytes for t in scaled.tensors) == pytest.approx(scaled.file_bytes, abs=len(scaled.tensors))
    assert "8.03e9" in scaled.file_bytes_source and f"{stated / 1e9:.2f}e9" in scaled.file_bytes_source


@pytest.mark.parametrize("stated", (80_000_000_000, 1_000_000_000))
def test_a_count_of_another_model_is_refused(stated: int) -> None:
    with pytest.raises(UsageError, match="params_total"):
        model_from_spec({**SPEC, "params_total": stated})


@pytest.mark.parametrize("stated", (0, -1, 1.5, "29B", 10**30, True))
def test_no_count_is_refused(stated: object) -> None:
    with pytest.raises(UsageError, match="params_total"):
        model_from_spec({**SPEC, "params_total": stated})
