"""Models that turn text into vectors: how llama-server is started for them, and what that takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from llmfit.advisor.model.gguf import read_header
from llmfit.advisor.model.model import Model, pooling_of
from llmfit.advisor.recommend.judgement import Judgement
from llmfit.advisor.recommend.request import Request
from llmfit.advisor.recommend.search import judge
from llmfit.catalog import loader
from llmfit.catalog.build import build_model, model_from_header
from llmfit.catalog.models import find_model, list_models
from llmfit.catalog.sources import LocalFileSource
from llmfit.tui.session import machine_from
from tests.advisor.model.gguf_builder import sparse_file

EMBEDDING = "Qwen3-Embedding-0.6B"


def model() -> Model:
    return build_model(find_model(EMBEDDING), "Q8_0")


def judged(one: Model, gpu: str = "RTX 3090", **asked: object) -> Judgement:
    machine = machine_from({"gpu": gpu, "ram": "64GiB", "ram_bandwidth": "60"})
    return judge(one, machine, Request(**asked), remedies=False)  # type: ignore[arg-type]


def words(judgement: Judgement) -> str:
    return " ".join(judgement.argv or ())


def test_the_catalogue_knows_which_of_its_models_are_embeddings() -> None:
    poolings = {
        entry.id: pooling_of(row["metadata"])  # type: ignore[arg-type]
        for entry in list_models()
        if (row := loader.bundled_row(loader.ARCHITECTURES, entry.id)) is not None
        and entry.architecture != "nomic-bert"  # not modelled: it keeps no KV cache
    }
    named = [entry.id for entry in list_models() if entry.kind == "embedding" and entry.id in poolings]
    assert [one for one, pooling in poolings.items() if pooling != "none"] == named == [f"Qwen/{EMBEDDING}"]
    assert model().is_embedding


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (None, "none"),
        (0, "none"),
        (1, "mean"),
        (2, "cls"),
        (3, "last"),
        (4, "rank"),
        (5, "none"),
        ("3", "none"),
    ],
)
def test_pooling_of_a_file(number: object, name: str) -> None:
    assert pooling_of({"general.architecture": "qwen3", "qwen3.pooling_type": number}) == name


def test_a_file_says_what_it_is(tmp_path: Path) -> None:
    path = sparse_file("qwen3-32b.Q4_K_M", tmp_path)
    with LocalFileSource(path) as source:
        header = read_header(source, path.name)
    plain = model_from_header(header, "a", ("-m", "a"))
    vectors = replace(header, metadata={**header.metadata, "qwen3.pooling_type": 3})
    assert not plain.is_embedding and "--embedding" not in words(judged(plain))
    assert "-m a --embedding --pooling last" in words(judged(model_from_header(vectors, "a", ("-m", "a"))))


def test_llama_server_of_b11434_takes_as_much() -> None:
    """``llama-server -ngl 0 -c 32768 -np 1 -b 512 -ub 512 -fa on`` with and without ``--embedding`` told
    compute buffers of 338.2481 and 60.0176 MiB, and n_outputs_max 512 and 1."""
    on_cpu = judged(model(), "none", context_tokens=32768, cache_type_k="f16")
    writing = judged(replace(model(), pooling="none"), "none", context_tokens=32768, cache_type_k="f16")
    assert on_cpu.memory.compute_bytes / 2**20 == pytest.approx(338.2481, abs=0.0001)
    assert writing.memory.compute_bytes / 2**20 == pytest.approx(60.0176, abs=0.0001)
    assert "-b 512 -ub 512" in words(on_cpu) and on_cpu.settings.outputs == "embedding"
    assert "-b 2048 -ub 512" in words(writing)


def test_an_input_is_whole_in_a_batch_where_it_cannot_be_split() -> None:
    """server_slot::can_split: only the last token's vector and scores can be computed piece by piece."""
    for pooling, ubatch in (("mean", 8192), ("cls", 8192), ("last", 512), ("rank", 512)):
        one = judged(replace(model(), pooling=pooling), context_tokens=8192)
        assert (one.settings.batch, one.settings.ubatch) == (ubatch, ubatch), pooling
    assert judged(replace(model(), pooling="mean"), context_tokens=8192, ubatch=1024).settings.batch == 1024
    assert "--reranking" in words(judged(replace(model(), pooling="rank")))
    assert judged(model(), outputs="server").settings.outputs == "server", "what is asked for is kept"
