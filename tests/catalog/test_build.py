"""Catalogue rows and headers → Model."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from llmfit.advisor.errors import NotModelledError, UsageError
from llmfit.advisor.model.gguf import read_header
from llmfit.advisor.model.model import Model
from llmfit.advisor.model.tensor_names import active_parameters
from llmfit.advisor.model.tensors import Tensor
from llmfit.catalog import loader
from llmfit.catalog.build import (
    build_model,
    default_quantization,
    model_from_header,
    quantization_name,
)
from llmfit.catalog.models import CatalogModel, find_model, list_models
from llmfit.catalog.sources import LocalFileSource
from tests.advisor.model.gguf_builder import sparse_file

NOT_MODELLED = {
    "deepseek-ai/DeepSeek-V4-Flash": "its compressed caches were not checked",
    "nomic-ai/nomic-embed-text-v1.5": "keeps no KV cache",
}


def built() -> dict[str, tuple[CatalogModel, Model]]:
    found = {}
    for entry in list_models():
        if entry.id not in NOT_MODELLED:
            found[entry.id] = (entry, build_model(entry, default_quantization(entry)))
    return found


def parameters_in_blocks(model: Model, below: int) -> int:
    """Of the trunk and outside the blocks: without MTP."""
    skipped = tuple(f"blk.{layer}." for layer in range(below, model.shape.n_layer_all))
    return sum(tensor.n_elements for tensor in model.tensors if not tensor.name.startswith(skipped or "\0"))


def test_every_model_is_laid_out_and_has_the_parameters_it_should() -> None:
    """Within 0.05 %: RoPE factors and selection biases are in a file and in no published count.

    Gemma 3n has ``altup_proj`` matrices besides, as llama.cpp stores them.
    """
    models = built()
    assert len(models) == 195
    for entry, model in models.values():
        counted = parameters_in_blocks(model, model.shape.n_layer)
        assert counted == pytest.approx(entry.parameters.text, rel=5e-4), entry.id
        assert model.n_parameters == entry.parameters.text
        assert model.shape.architecture == entry.architecture
        if entry.context_length is not None:
            assert model.shape.context_train_tokens == entry.context_length, entry.id
        embedding = next(tensor for tensor in model.tensors if tensor.name == "token_embd.weight")
        assert embedding.n_elements == entry.parameters.embedding, entry.id


def test_active_parameters_agree_with_the_catalogue() -> None:
    """They are counted from the tensors here and came from the architecture's numbers there."""
    for entry, model in built().values():
        assert active_parameters(model.shape, model.tensors) == pytest.approx(
            entry.parameters.active, rel=5e-5
        ), entry.id


@pytest.mark.parametrize("model_id", NOT_MODELLED)
def test_what_is_not_modelled_says_why(model_id: str) -> None:
    with pytest.raises(NotModelledError, match=NOT_MODELLED[model_id]):
        build_model(find_model(model_id), "Q4_K_M")


def test_every_model_has_an_architecture_row() -> None:
    assert set(loader.bundled_lines(loader.ARCHITECTURES)) == set(loader.bundled_lines(loader.MODELS))


def test_the_model_that_no_card_pair_holds() -> None:
    model = build_model(find_model("mimo-v2-flash"), "q4-k-m")
    assert model.quantization == "Q4_K_M"
    assert model.source == "catalog"
    assert model.n_active_parameters == 14_820_972_992
    assert model.file_bytes == pytest.approx(187.14e9, rel=0.01), "the published 187.14 GB are rounded"


def test_launch_arguments() -> None:
    flag, name = build_model(find_model("llama-3.3-70b"), "Q4_K_M").launch_args
    repo, quantization = name.split(":")
    assert (flag, quantization) == ("-hf", "Q4_K_M")
    assert repo in find_model("llama-3.3-70b").gguf_repos
    assert build_model(find_model("Hunyuan-4B"), "Q6_K").launch_args == (
        "-m",
        "Hunyuan-4B-Instruct-Q6_K.gguf",
    )


def test_gpt_oss_is_in_the_format_it_was_trained_in() -> None:
    entry = find_model("gpt-oss-20b")
    assert default_quantization(entry) == "MXFP4_MOE"
    assert default_quantization(find_model("Qwen3-8B")) == "Q4_K_M"


def test_an_unknown_quantisation_is_refused() -> None:
    with pytest.raises(UsageError):
        build_model(find_model("Qwen3-8B"), "Q9_Z")


def test_a_row_without_layout_is_not_modelled(own_rows: Path) -> None:
    from llmfit.catalog.overlay import overlay

    own_rows.mkdir()
    (own_rows / "models.jsonl").write_text(
        '{"id":"me/New","architecture":"llama","parameters":{"text":7000000000},"sources":["mine"]}'
    )
    overlay.cache_clear()
    with pytest.raises(NotModelledError, match="does not know its tensors"):
        build_model(find_model("me/New"), "Q4_K_M")


def test_a_header_is_the_model_of_the_catalogue(tmp_path: Path) -> None:
    path = sparse_file("mimo-v2-flash.Q4_K_M", tmp_path)
    with LocalFileSource(path) as source:
        header = read_header(source, "mimo")
    real = model_from_header(header, "mimo", ("-m", str(path)))
    catalogue = build_model(find_model("mimo-v2-flash"), "Q4_K_M")
    assert real.quantization == "Q4_K_M"
    assert real.shape == catalogue.shape
    # One norm of the MTP blocks has two names that llama.cpp reads alike (layer_output_norm).
    assert Counter((tensor.dims, tensor.type_name) for tensor in real.tensors) == Counter(
        (tensor.dims, tensor.type_name) for tensor in catalogue.tensors
    )
    assert (real.source, real.file_bytes) == ("gguf", header.file_bytes)


def tensors(*types: str) -> list[Tensor]:
    return [Tensor(f"blk.{layer}.x.weight", (256, 256), name, 1) for layer, name in enumerate(types)]


@pytest.mark.parametrize(
    ("number", "types", "name"),
    [
        (15, ("Q4_K", "Q4_K", "Q6_K"), "Q4_K_M"),
        (15, ("Q5_0", "Q5_0", "Q4_K"), "Q4_K_M"),
        (1, ("Q4_K", "Q4_K", "F16"), "Q4_K_M"),
        (None, ("Q4_K", "Q4_K", "Q6_K"), "Q4_K_M"),
        (None, ("MXFP4", "MXFP4", "Q8_0"), "MXFP4_MOE"),
        (None, ("BF16",), "BF16"),
        (9999, ("Q8_0",), "Q8_0"),
        ("x", ("NVFP4",), "NVFP4"),
        (None, (), "unknown"),
    ],
)
def test_quantization_name(number: object, types: tuple[str, ...], name: str) -> None:
    assert quantization_name({"general.file_type": number}, tensors(*types)) == name
