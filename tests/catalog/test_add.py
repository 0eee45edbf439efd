"""``catalog add``: a row out of a header gives back the very model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfit.advisor.errors import LlmfitError, NotModelledError, UsageError
from llmfit.advisor.model.gguf import GgufHeader, read_header
from llmfit.advisor.model.quantization import tensor_bytes
from llmfit.advisor.model.tensors import Tensor
from llmfit.catalog import add
from llmfit.catalog.add import add_from_header, suggested_id
from llmfit.catalog.build import build_model, default_quantization, model_from_header
from llmfit.catalog.models import find_model
from llmfit.catalog.overlay import overlay
from llmfit.catalog.sources import LocalFileSource
from llmfit.catalog.tensor_rows import fold, unfold
from tests.advisor.model.gguf_builder import HEADERS, sparse_file

MODELS = sorted(path.name.removesuffix(".gguf.head") for path in HEADERS.glob("*.head"))


def header_of(model: str, folder: Path) -> GgufHeader:
    with LocalFileSource(sparse_file(model, folder)) as source:
        return read_header(source, model)


@pytest.mark.parametrize("name", MODELS)
def test_an_added_model_is_the_model_of_the_file(name: str, tmp_path: Path, own_rows: Path) -> None:
    header = header_of(name, tmp_path)
    path = add_from_header(header, f"test/{name}", "the headers of the tests")
    assert path.parent == own_rows
    assert path.stat().st_size < 10_000
    assert [left.name for left in own_rows.iterdir()] == [path.name], "no temporary file is left"
    entry = find_model(f"test/{name}")
    assert overlay().problems == ()
    added = build_model(entry, default_quantization(entry))
    real = model_from_header(header, f"test/{name}", ("-m", name))
    assert sorted(added.tensors, key=lambda tensor: tensor.name) == sorted(
        real.tensors, key=lambda tensor: tensor.name
    )
    assert added.shape == real.shape
    assert added.quantization == real.quantization
    assert added.n_parameters == real.n_parameters
    assert added.n_active_parameters == real.n_active_parameters
    assert added.file_bytes == header.file_bytes


def test_another_quantisation_of_an_added_model_is_mixed(tmp_path: Path) -> None:
    add_from_header(header_of("qwen3-32b.Q4_K_M", tmp_path), "test/q", "test")
    entry = find_model("test/q")
    smaller, larger = build_model(entry, "Q3_K_M"), build_model(entry, "Q8_0")
    assert smaller.file_bytes < build_model(entry, "Q4_K_M").file_bytes < larger.file_bytes
    assert larger.file_bytes_source.startswith("computed")


def test_a_model_of_the_hub_is_started_from_there(tmp_path: Path) -> None:
    header = header_of("lfm2-1.2b.Q4_K_M", tmp_path)
    add_from_header(header, "test/hub", "hf:LiquidAI/LFM2-1.2B-GGUF:Q4_K_M")
    add_from_header(header, "test/file", "LFM2-1.2B-Q4_K_M.gguf")
    assert build_model(find_model("test/hub"), "Q4_K_M").launch_args == (
        "-hf",
        "LiquidAI/LFM2-1.2B-GGUF:Q4_K_M",
    )
    assert build_model(find_model("test/file"), "Q4_K_M").launch_args == ("-m", "file-Q4_K_M.gguf")


@pytest.mark.parametrize("known", ["test/one", "openai/gpt-oss-20b"])
def test_a_known_id_is_replaced_by_force_only(known: str, tmp_path: Path) -> None:
    header = header_of("lfm2-1.2b.Q4_K_M", tmp_path)
    add_from_header(header, "test/one", "test")
    with pytest.raises(UsageError, match="already in the catalogue"):
        add_from_header(header, known, "again")
    path = add_from_header(header, known, "again", force=True)
    assert json.loads(path.read_text())["sources"] == ["again"]
    assert find_model(known).architecture == "lfm2"


@pytest.mark.parametrize("model_id", ["", "../x", "a b", "\x1b[31m", "x" * 300, "[red]"])
def test_an_id_that_is_none_is_refused_and_nothing_is_written(
    model_id: str, tmp_path: Path, own_rows: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        add_from_header(header_of("lfm2-1.2b.Q4_K_M", tmp_path), model_id, "test")
    assert str(caught.value).isprintable()
    assert not own_rows.exists()


def test_an_interrupted_write_leaves_the_old_row(
    tmp_path: Path, own_rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = header_of("lfm2-1.2b.Q4_K_M", tmp_path)
    path = add_from_header(header, "test/one", "first")

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(add.os, "fsync", full_disk)
    with pytest.raises(LlmfitError, match="No space left on device"):
        add_from_header(header, "test/one", "second", force=True)
    assert json.loads(path.read_text())["sources"] == ["first"]
    assert list(own_rows.iterdir()) == [path]


def test_an_architecture_without_rules_is_not_added(own_rows: Path) -> None:
    tensors = (Tensor("token_embd.weight", (256, 1000), "Q4_K", tensor_bytes("Q4_K", (256, 1000))),)
    header = GgufHeader(3, {"general.architecture": "nobody-knows"}, tensors, 1000, 32, 10_000)
    with pytest.raises(NotModelledError):
        add_from_header(header, "test/new", "test")
    assert not own_rows.exists()


@pytest.mark.parametrize(
    ("file_name", "model_id"),
    [
        ("/models/Qwen3-4B-Q4_K_M.gguf", "Qwen3-4B"),
        ("MiMo-V2-Flash-UD-Q4_K_XL-00001-of-00004.gguf", "MiMo-V2-Flash"),
        ("gpt-oss-20b-mxfp4.gguf", "gpt-oss-20b"),
        ("my model (v2).Q8_0.gguf", "my-model-v2"),
        ("F16.gguf", "F16"),
        ("\x1b[31m.gguf", "31m"),
        (".gguf", "model"),
    ],
)
def test_suggested_id(file_name: str, model_id: str) -> None:
    assert suggested_id(file_name) == model_id


NAMES = st.one_of(
    st.builds(lambda layer, part: f"blk.{layer}.{part}.weight", st.integers(0, 120), st.sampled_from("abc")),
    st.sampled_from(["output.weight", "token_embd.weight", "blk.x.weight"]),
)
TENSORS = st.lists(
    st.builds(
        lambda name, rows, kind: Tensor(name, (256, rows), kind, tensor_bytes(kind, (256, rows))),
        NAMES,
        st.integers(1, 3),
        st.sampled_from(["Q4_K", "F32"]),
    ),
    max_size=60,
    unique_by=lambda tensor: tensor.name,
)


@given(TENSORS)
def test_folding_loses_nothing(tensors: list[Tensor]) -> None:
    rows = json.loads(json.dumps(fold(tensors)))
    assert sorted(unfold(rows), key=lambda tensor: tensor.name) == sorted(
        tensors, key=lambda tensor: tensor.name
    )
