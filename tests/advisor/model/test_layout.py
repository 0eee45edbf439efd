"""Layouts against real headers, closed formulas and their own promises."""

from __future__ import annotations

import json
from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfit.advisor.errors import GgufError, NotModelledError, UsageError
from llmfit.advisor.model.architectures import ARCHITECTURES
from llmfit.advisor.model.gguf import GgufHeader, read_header
from llmfit.advisor.model.layout import LayoutOptions, lay_out
from llmfit.advisor.model.layouts.plans import PLANS
from tests.advisor.model.gguf_builder import HEADERS, header_bytes
from tests.advisor.model.layout_options import options_shown_by

MODELS = sorted(name.removesuffix(".gguf") for name in json.loads((HEADERS / "sizes.json").read_text()))


class Head:
    """The bytes of a header; behind it the file is zeros."""

    def __init__(self, model: str) -> None:
        self._data, self.size_bytes = header_bytes(model)

    def read(self, offset: int, length: int) -> bytes:
        length = max(0, min(length, self.size_bytes - offset))
        return self._data[offset : offset + length].ljust(length, b"\0")


def header_of(model: str) -> GgufHeader:
    return read_header(Head(model), model, require_data=False)


@pytest.mark.parametrize("model", MODELS)
def test_a_header_is_laid_out_as_it_is(model: str) -> None:
    header = header_of(model)
    laid_out = {
        tensor.name: tensor.dims for tensor in lay_out(header.metadata, options_shown_by(header.tensors))
    }
    real = {tensor.name: tensor.dims for tensor in header.tensors}
    if model.startswith("mimo-v2-flash"):
        # That header gives the last norm of MTP blocks a name that conversion/mimo.py does not write.
        real = {
            name.replace("nextn.shared_head_norm", "layer_output_norm"): dims for name, dims in real.items()
        }
    assert laid_out == real


@pytest.mark.parametrize("model", ["llama3.1-8b.Q4_K_M", "gemma3n-e4b.Q4_K_M", "step-3.5-flash.Q4_K_M"])
def test_the_order_is_by_block_then_by_name(model: str) -> None:
    header = header_of(model)
    names = [tensor.name for tensor in lay_out(header.metadata, options_shown_by(header.tensors))]
    keys = [(int(name.split(".")[1]) if name.startswith("blk.") else -1, name) for name in names]
    assert keys == sorted(keys)
    assert len(set(names)) == len(names)


def test_every_plan_has_memory_rules_but_one() -> None:
    assert set(PLANS) - set(ARCHITECTURES) == {"deepseek4"}


@given(
    heads_per_kv=st.integers(1, 8),
    n_head_kv=st.integers(1, 16),
    head_dim=st.integers(1, 256),
    n_embd=st.integers(1, 8192),
    n_ff=st.integers(1, 30000),
    n_layer=st.integers(1, 12),
    n_vocab=st.integers(1, 300_000),
    tied=st.booleans(),
    bias=st.booleans(),
)
def test_a_dense_model_has_the_parameters_of_the_formula(
    heads_per_kv: int, n_head_kv: int, head_dim: int, n_embd: int, n_ff: int, n_layer: int, n_vocab: int,
    tied: bool, bias: bool,
) -> None:  # fmt: skip
    n_head = heads_per_kv * n_head_kv
    metadata = {
        "general.architecture": "qwen2",
        "qwen2.embedding_length": n_embd,
        "qwen2.block_count": n_layer,
        "qwen2.feed_forward_length": n_ff,
        "qwen2.attention.head_count": n_head,
        "qwen2.attention.head_count_kv": n_head_kv,
        "qwen2.attention.key_length": head_dim,
        "qwen2.attention.value_length": head_dim,
    }
    options = LayoutOptions(vocab_size=n_vocab, tied_embeddings=tied, qkv_bias=bias)
    q, kv = n_head * head_dim, n_head_kv * head_dim
    block = 2 * n_embd + n_embd * (2 * q + 2 * kv + 3 * n_ff) + (q + 2 * kv if bias else 0)
    expected = n_layer * block + n_embd + n_embd * n_vocab * (1 if tied else 2)
    assert sum(prod(tensor.dims) for tensor in lay_out(metadata, options)) == expected


@pytest.mark.parametrize(
    ("architecture", "reason"),
    [
        ("nomic-bert", "keeps no KV cache"),
        ("hrm_text", "looped layer stacks"),
        ("no-such-thing", "not described"),
    ],
)
def test_an_architecture_without_a_plan_is_refused_with_the_reason(architecture: str, reason: str) -> None:
    with pytest.raises(NotModelledError, match=reason):
        lay_out({"general.architecture": architecture}, LayoutOptions(vocab_size=1))


def test_metadata_that_lack_a_number_are_refused() -> None:
    with pytest.raises(GgufError, match=r"qwen2\.embedding_length"):
        lay_out({"general.architecture": "qwen2"}, LayoutOptions(vocab_size=1))


def test_options_that_do_not_exist_are_refused() -> None:
    with pytest.raises(UsageError, match="'tied'"):
        LayoutOptions.from_row({"vocab_size": 1, "tied": True})
    with pytest.raises(UsageError, match="vocab_size is missing"):
        LayoutOptions.from_row({})
