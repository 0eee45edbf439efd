"""quantizations.json says what the rules compute, and its losses follow from its own evidence."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from llmfit.advisor.errors import UsageError
from llmfit.advisor.model.gguf import read_header
from llmfit.advisor.model.mixing import quantize_layout
from llmfit.advisor.model.quantization import FILE_TYPES
from llmfit.advisor.model.tensors import TensorShape
from tests.advisor.model.gguf_builder import head_file

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT: dict[str, Any] = json.loads((ROOT / "catalog" / "data" / "quantizations.json").read_text("utf-8"))
ROWS: dict[str, dict[str, Any]] = {row["name"]: row for row in DOCUMENT["rows"]}
REFERENCE = ("F32", "F16", "BF16")


@cache
def models() -> tuple[tuple[dict[str, object], tuple[TensorShape, ...]], ...]:
    found = []
    for path in sorted((ROOT / "tests" / "data" / "headers").glob("*.gguf.head")):
        header = read_header(head_file(path.name.removesuffix(".gguf.head")), path.name, require_data=False)
        found.append((dict(header.metadata), tuple(TensorShape(t.name, t.dims) for t in header.tensors)))
    return tuple(found)


def computed_bits_per_weight(name: str) -> list[float]:
    bits = []
    for metadata, shapes in models():
        if name == "MXFP4_MOE" and not metadata.get(f"{metadata['general.architecture']}.expert_count"):
            continue
        try:
            layout = quantize_layout(metadata, shapes, name, True)
        except UsageError:
            continue
        bits.append(8 * sum(t.n_bytes for t in layout) / sum(t.n_elements for t in layout))
    return bits


def test_every_file_type_has_a_row() -> None:
    assert list(ROWS) == list(FILE_TYPES)
    for name, kind in FILE_TYPES.items():
        row = ROWS[name]
        assert row["llama_ftype"] == kind.llama_ftype
        assert row["base_tensor_type"] == kind.base_type
        assert row["needs_imatrix"] == kind.needs_imatrix


@pytest.mark.parametrize("name", list(FILE_TYPES))
def test_bits_per_weight_are_what_the_rules_compute(name: str) -> None:
    bits = computed_bits_per_weight(name)
    expected = {"n": len(bits), "min": min(bits), "median": median(bits), "max": max(bits)}
    assert ROWS[name]["bits_per_weight"]["computed"] == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize(
    "name", [name for name, row in ROWS.items() if "llama3.1_8b" in row["bits_per_weight"]]
)
def test_the_readme_of_llama_quantize_agrees(name: str) -> None:
    """Its table is of Llama-3.1-8B files, some made with an importance matrix; it counts the header in."""
    (model,) = (m for m in models() if m[0].get("general.name") == "llama3.1-8b")
    ours = []
    for imatrix in (False, True):
        layout = quantize_layout(*model, name, imatrix)
        ours.append(8 * sum(t.n_bytes for t in layout) / sum(t.n_elements for t in layout))
    assert min(abs(bits / ROWS[name]["bits_per_weight"]["llama3.1_8b"] - 1) for bits in ours) < 0.002


def test_every_source_is_named_and_used() -> None:
    used = {source for row in ROWS.values() for source in row["sources"]}
    assert used == set(DOCUMENT["sources"])
    for row in ROWS.values():
        assert {entry["source"] for entry in row["evidence"]} <= set(row["sources"])


@pytest.mark.parametrize("name", list(FILE_TYPES))
def test_losses_follow_from_the_evidence(name: str) -> None:
    row = ROWS[name]
    if name in REFERENCE:
        assert set(row["loss_points"].values()) == {0.0}
        return
    klds = [e["value"] for e in row["evidence"] if e["metric"] == "mean KLD" and e["model"] == "Llama-3-8B"]
    if not klds:
        assert row["loss_points"] is None or name == "MXFP4_MOE"
        return
    for kind, points in row["loss_points"].items():
        factors = DOCUMENT["loss_classes"][kind]
        exact = factors["points_per_kld"] * (min(klds) * factors["kld_factor"]) ** 0.75
        assert points == pytest.approx(min(45, exact), abs=0.006)
