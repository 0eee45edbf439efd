"""Our layouts against llama-quantize's own answers (tests/data/quant_sizes.md).

``pytest tests/advisor/model/test_mixing.py -s`` prints the table of docs/quantisation.md.
"""

from __future__ import annotations

import csv
import gzip
import random
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfit.advisor.errors import GgufError, UsageError
from llmfit.advisor.model.gguf import read_header
from llmfit.advisor.model.mixing import layout_needs_imatrix, quantize_layout, source_type
from llmfit.advisor.model.quantization import FILE_TYPES
from llmfit.advisor.model.tensors import Tensor, TensorShape
from tests.advisor.model.gguf_builder import head_file

DATA = Path(__file__).resolve().parents[2] / "data"
ROWS_PER_FILE = 1047
ALTUP_ROUTER_BYTES = 573_440
"""gemma3n: the converter writes altup_router in F16; llama-quantize was shown a file that had it in F32."""


@dataclass(frozen=True, slots=True)
class Source:
    """A model as the GGUF header of one of its files describes it."""

    metadata: dict[str, object]
    shapes: tuple[TensorShape, ...]
    kept_types: dict[str, str]


@cache
def source(model: str) -> Source:
    (path,) = (DATA / "headers").glob(f"{model}.*.gguf.head")
    header = read_header(head_file(path.name.removesuffix(".gguf.head")), path.name, require_data=False)
    kept = {tensor.name: tensor.type_name for tensor in header.tensors if tensor.type_name in ("F32", "F16")}
    shapes = tuple(TensorShape(tensor.name, tensor.dims) for tensor in header.tensors)
    return Source(dict(header.metadata), shapes, kept)


@cache
def answers(imatrix: bool) -> tuple[dict[str, str], ...]:
    name = "quant_sizes_imatrix.csv.gz" if imatrix else "quant_sizes.csv.gz"
    with gzip.open(DATA / name, "rt", encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


def n_bytes(layout: tuple[Tensor, ...]) -> int:
    return sum(tensor.n_bytes for tensor in layout)


def type_mix(layout: tuple[Tensor, ...]) -> str:
    return " ".join(f"{name}:{count}" for name, count in sorted(Counter(t.type_name for t in layout).items()))


def test_bytes_and_types_are_llama_quantizes() -> None:
    """Every row to the byte. gemma3n needs to be told that the tool's input had its routers in F32."""
    errors: dict[str, list[float]] = {}
    for imatrix in (False, True):
        assert len(answers(imatrix)) == ROWS_PER_FILE
        for row in answers(imatrix):
            model, expected = source(row["model"]), int(row["bytes"])
            layout = quantize_layout(model.metadata, model.shapes, row["quant"], imatrix)
            errors.setdefault(row["quant"], []).append(abs(n_bytes(layout) / expected - 1))
            if row["model"] == "gemma3n-e4b":
                assert expected - n_bytes(layout) == ALTUP_ROUTER_BYTES
                layout = quantize_layout(
                    model.metadata, model.shapes, row["quant"], imatrix, source_types=model.kept_types
                )
            assert (n_bytes(layout), type_mix(layout)) == (expected, row["type_mix"]), row
            if not imatrix:
                assert layout_needs_imatrix(layout, row["quant"]) == (row["needs_imatrix"] == "True"), row
    print_table(errors)
    assert max(map(max, errors.values())) < 0.005


def print_table(errors: dict[str, list[float]]) -> None:
    print(f"\n{'file type':10} {'rows':>5} {'to the byte':>12} {'largest error':>14}")
    for name, values in errors.items():
        print(f"{name:10} {len(values):5} {sum(e == 0 for e in values):12} {max(values):14.4%}")
    every = [error for values in errors.values() for error in values]
    print(f"{'all':10} {len(every):5} {sum(e == 0 for e in every):12} {max(every):14.4%}")


@pytest.mark.parametrize("file", sorted(FILE_TYPES))
def test_the_order_of_the_file_does_not_matter(file: str) -> None:
    model = source("qwen3-next-80b-a3b" if file == "MXFP4_MOE" else "llama3.2-3b")
    shuffled = list(model.shapes)
    random.Random(7).shuffle(shuffled)
    ours = quantize_layout(model.metadata, shuffled, file, True)
    assert [tensor.name for tensor in ours] == [shape.name for shape in shuffled]
    assert set(ours) == set(quantize_layout(model.metadata, model.shapes, file, True))


def tiny(n_layer: int = 8, n_embd: int = 256, **keys: object) -> tuple[dict[str, object], list[TensorShape]]:
    """A small model of the Llama kind."""
    metadata: dict[str, object] = {
        "general.architecture": "llama",
        "llama.block_count": n_layer,
        "llama.attention.head_count": 8,
        "llama.attention.head_count_kv": 2,
        **keys,
    }
    shapes = [TensorShape("token_embd.weight", (n_embd, 512)), TensorShape("output.weight", (n_embd, 512))]
    for layer in range(n_layer):
        names = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
        shapes += [TensorShape(f"blk.{layer}.{name}.weight", (n_embd, n_embd)) for name in names]
        shapes += [TensorShape(f"blk.{layer}.attn_norm.weight", (n_embd,))]
    return metadata, shapes


def types_of(part: str, layout: tuple[Tensor, ...]) -> list[str]:
    return [tensor.type_name for tensor in layout if part in tensor.name]


def test_use_more_bits_goes_by_number_not_by_text() -> None:
    """blk.10 comes after blk.9: the first and last eighth and every third block between get Q6_K."""
    metadata, shapes = tiny(n_layer=16)
    chosen = types_of("attn_v", quantize_layout(metadata, shapes, "Q4_K_M", False))
    assert [index for index, name in enumerate(chosen) if name == "Q6_K"] == [0, 1, 4, 7, 10, 13, 14, 15]


def test_tied_embeddings_are_quantized_like_an_output() -> None:
    metadata, shapes = tiny()
    tied = [shape for shape in shapes if shape.name != "output.weight"]
    assert types_of("token_embd", quantize_layout(metadata, shapes, "Q4_K_M", False)) == ["Q4_K"]
    assert types_of("token_embd", quantize_layout(metadata, tied, "Q4_K_M", False)) == ["Q6_K"]


def test_the_70b_gets_more_bits_in_attn_v() -> None:
    metadata, shapes = tiny(n_layer=80)
    assert set(types_of("attn_v", quantize_layout(metadata, shapes, "Q4_K_S", False))) == {"Q5_K"}
    metadata, shapes = tiny(n_layer=79)
    assert set(types_of("attn_v", quantize_layout(metadata, shapes, "Q4_K_S", False))) == {"Q4_K", "Q5_K"}


def test_eight_experts_get_q8_in_keys_and_values() -> None:
    metadata, shapes = tiny(**{"llama.expert_count": 8})
    layout = quantize_layout(metadata, shapes, "Q4_K_M", False)
    assert set(types_of("attn_k", layout) + types_of("attn_v", layout)) == {"Q8_0"}
    assert set(types_of("attn_output", layout)) == {"Q5_K"}


@pytest.mark.parametrize(
    ("file", "row_elements", "expected"),
    [
        ("Q4_K_M", 2880, "Q5_0"),
        ("Q6_K", 96, "Q8_0"),
        ("IQ4_XS", 96, "IQ4_NL"),
        ("Q4_K_M", 100, "F16"),
        ("Q8_0", 100, "F16"),
    ],
)
def test_odd_rows_fall_back(file: str, row_elements: int, expected: str) -> None:
    metadata, shapes = tiny(n_embd=row_elements)
    assert types_of("blk.1.attn_q", quantize_layout(metadata, shapes, file, False)) == [expected]


def test_odd_rows_without_a_fallback_are_an_error() -> None:
    metadata, shapes = tiny(n_embd=96)
    with pytest.raises(UsageError, match="rows of 96 elements"):
        quantize_layout(metadata, shapes, "Q1_0", False)


def test_mxfp4_is_for_stacked_experts_only() -> None:
    metadata, shapes = tiny(**{"llama.expert_count": 4})
    shapes.append(TensorShape("blk.0.ffn_up_exps.weight", (256, 64, 4)))
    layout = quantize_layout(metadata, shapes, "MXFP4_MOE", False)
    assert {t.name for t in layout if t.type_name == "MXFP4"} == {"blk.0.ffn_up_exps.weight"}


def test_an_f32_file_holds_nothing_smaller() -> None:
    model = source("gemma3n-e4b")
    assert type_mix(quantize_layout(model.metadata, model.shapes, "F32", False)) == f"F32:{len(model.shapes)}"


@pytest.mark.parametrize(
    ("name", "dims", "expected"),
    [
        ("blk.0.attn_q.weight", (256, 256), "F16"),
        ("blk.0.attn_q.bias", (256,), "F32"),
        ("blk.0.ssm_a", (16, 512), "F32"),
        ("blk.0.ssm_conv1d.weight", (4, 512), "F32"),
        ("blk.0.ffn_gate_inp.weight", (256, 8), "F32"),
        ("blk.0.altup_router.weight", (256, 4), "F16"),
        ("blk.0.ffn_gate_tid2eid.weight", (6, 1000), "I32"),
    ],
)
def test_types_after_conversion(name: str, dims: tuple[int, ...], expected: str) -> None:
    assert source_type(name, dims, "llama") == expected


def test_a_header_without_the_numbers_is_an_error() -> None:
    _, shapes = tiny()
    with pytest.raises(GgufError, match="names no architecture"):
        quantize_layout({}, shapes, "Q4_K_M", False)
    with pytest.raises(GgufError, match=r"has no llama\.block_count"):
        quantize_layout({"general.architecture": "llama"}, shapes, "Q4_K_M", False)
    with pytest.raises(UsageError, match="no such file type"):
        quantize_layout({"general.architecture": "llama", "llama.block_count": 8}, shapes, "Q9", False)


@given(
    n_layer=st.integers(1, 40),
    n_embd=st.sampled_from([32, 64, 96, 256, 288, 512, 2880]),
    n_head_kv=st.integers(0, 8),
    n_expert=st.sampled_from([0, 1, 4, 8, 64]),
    file=st.sampled_from(sorted(set(FILE_TYPES) - {"Q1_0", "Q2_0"})),
    imatrix=st.booleans(),
)
def test_any_model_has_a_layout(
    n_layer: int, n_embd: int, n_head_kv: int, n_expert: int, file: str, imatrix: bool
) -> None:
    keys = {"llama.attention.head_count_kv": [n_head_kv] * n_layer, "llama.expert_count": n_expert}
    metadata, shapes = tiny(n_layer, n_embd, **keys)
    layout = quantize_layout(metadata, shapes, file, imatrix)
    assert [(t.name, t.dims) for t in layout] == [(s.name, s.dims) for s in shapes]
    assert n_bytes(layout) <= n_bytes(quantize_layout(metadata, shapes, "F32", imatrix))
    assert all(t.type_name == "F32" for t in layout if len(t.dims) == 1)
