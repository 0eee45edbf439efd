"""``--spec``: a model out of the numbers of an architecture."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmfit.advisor.errors import LlmfitError, NotModelledError, UsageError
from llmfit.catalog.models import find_model
from llmfit.catalog.spec import MAX_SPEC_BYTES, model_from_spec

LLAMA_8B = {
    "architecture": "llama",
    "n_layer": 32,
    "n_embd": 4096,
    "n_head": 32,
    "n_head_kv": 8,
    "n_ff": 14336,
    "n_vocab": 128256,
    "context_length": 131072,
}


def test_plain_numbers_give_the_model_they_describe() -> None:
    known = find_model("Llama-3.1-8B").parameters
    model = model_from_spec(LLAMA_8B)
    assert (model.n_parameters, model.n_active_parameters) == (known.text, known.active)
    assert (model.id, model.source, model.quantization) == ("spec", "spec", "Q4_K_M")
    assert model.file_bytes == sum(tensor.n_bytes for tensor in model.tensors)
    assert model.launch_args == ("-m", "spec-Q4_K_M.gguf")
    assert model.shape.n_head_kv == (8,) * 32


def test_gguf_keys_and_plain_names_say_the_same(tmp_path: Path) -> None:
    metadata = {
        "general.architecture": "llama",
        "llama.block_count": 32,
        "llama.embedding_length": 4096,
        "llama.attention.head_count": 32,
        "llama.attention.head_count_kv": 8,
        "llama.feed_forward_length": 14336,
        "llama.context_length": 131072,
    }
    path = tmp_path / "spec.json"
    path.write_text(json.dumps({"metadata": metadata, "options": {"vocab_size": 128256}}))
    assert model_from_spec(path, "Q8_0") == model_from_spec(LLAMA_8B, "Q8_0")


def test_tied_embeddings_and_heads_by_layer() -> None:
    tied = model_from_spec(LLAMA_8B | {"tied_embeddings": True, "name": "mine"})
    assert tied.n_parameters == model_from_spec(LLAMA_8B).n_parameters - 128256 * 4096
    assert tied.id == "mine"
    uneven = model_from_spec(LLAMA_8B | {"n_head_kv": [8] * 16 + [4] * 16})
    assert uneven.shape.n_head_kv == (8,) * 16 + (4,) * 16


WRONG = {
    "n_embd": ({"n_embd": 0}, "n_embd"),
    "text": ({"n_layer": "32"}, "n_layer"),
    "a billion layers": ({"n_layer": 10**9}, "n_layer"),
    "unknown field": ({"n_layers": 32}, "n_layers"),
    "no vocabulary": ({"n_vocab": None}, "n_vocab"),
    "no context": ({"context_length": None}, "context_length"),
    "no architecture": ({"architecture": None}, "architecture"),
    "option of a wrong type": ({"options": {"rope_factors": "x"}}, "options.rope_factors"),
    "unknown option": ({"options": {"colour": 1}}, "colour"),
    "heads for two layers": ({"n_head_kv": [1, 2]}, "head_count_kv"),
    "a key of a wrong type": (
        {"metadata": {"llama.attention.head_count": "x"}, "n_head": None},
        "head_count",
    ),
    "escape sequences": ({"name": "\x1b[2J"}, "name"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named_in_one_line(case: str) -> None:
    change, field = WRONG[case]
    spec = {key: value for key, value in (LLAMA_8B | change).items() if value is not None}
    with pytest.raises(LlmfitError) as caught:
        model_from_spec(spec)
    assert field in str(caught.value)
    assert str(caught.value).isprintable()
    assert caught.value.exit_code == 2


def test_an_architecture_without_layout_is_not_modelled() -> None:
    with pytest.raises(NotModelledError):
        model_from_spec(LLAMA_8B | {"architecture": "nobody-knows"})


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xfe", b"GGUF" + bytes(100), b"{" * 100_000])
def test_files_that_are_no_spec(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        model_from_spec(path)
    assert str(caught.value).isprintable()


def test_a_missing_a_huge_and_an_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        model_from_spec(tmp_path / "missing.json")
    with pytest.raises(UsageError, match="not readable"):
        model_from_spec(tmp_path)
    huge = tmp_path / "huge.json"
    huge.write_bytes(b" " * (MAX_SPEC_BYTES + 1))
    with pytest.raises(UsageError, match="larger than 1 MiB"):
        model_from_spec(huge)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            ["n_layer", "n_embd", "n_head", "n_head_kv", "n_ff", "n_vocab", "n_expert", "head_dim"]
        ),
        st.integers(-1, 40) | st.sampled_from([2**20, 2**33, True, 1.5, "8", None]),
        max_size=4,
    )
)
def test_any_numbers_give_a_model_or_one_error(change: dict[str, object]) -> None:
    try:
        model = model_from_spec(LLAMA_8B | change)
    except LlmfitError as error:
        assert str(error).isprintable()
        return
    assert model.n_parameters > 0
    assert model.file_bytes > 0
