"""Every row of the catalogue is known again by its header, and nothing is taken for what it is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmfit.advisor.errors import NotModelledError
from llmfit.advisor.model.gguf import GgufHeader, read_header
from llmfit.advisor.model.layout import LayoutOptions, lay_out
from llmfit.advisor.model.quantization import tensor_bytes
from llmfit.advisor.model.tensors import Tensor, TensorShape
from llmfit.catalog import loader
from llmfit.catalog.add import add_from_header
from llmfit.catalog.local import identify as identify_module
from llmfit.catalog.local.header_summary import HeaderSummary, summarize
from llmfit.catalog.local.identify import Identity, identify
from llmfit.catalog.overlay import overlay
from llmfit.catalog.search import tail
from tests.advisor.model.gguf_builder import HEADERS, head_file, sparse_file
from tests.catalog.local.conftest import Disk

ROWS: Mapping[str, Any] = loader.bundled_rows(loader.ARCHITECTURES)
ARCHITECTURES = sorted({row["metadata"]["general.architecture"] for row in ROWS.values()})
WITHOUT_A_LAYOUT = {"nomic-ai/nomic-embed-text-v1.5"}
QWEN3 = "Qwen/Qwen3-30B-A3B"
CODER = "Qwen/Qwen3-Coder-30B-A3B-Instruct"
LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
DISTILL = "deepseek-ai/DeepSeek-R1-Distill-Llama-8B"

NAMED = {
    "deepseek-v3.2": "deepseek-ai/DeepSeek-V3.2",
    "glm-4.7-flash": "zai-org/GLM-4.7-Flash",
    "gpt-oss-20b": "openai/gpt-oss-20b",
    "granite4.1-8b": "ibm-granite/granite-4.1-8b",
    "lfm2-1.2b": "LiquidAI/LFM2-1.2B",
    "mimo-v2-flash": "XiaomiMiMo/MiMo-V2-Flash",
    "minimax-m2": "MiniMaxAI/MiniMax-M2",
    "qwen3-32b": "Qwen/Qwen3-32B",
    "qwen3.5-27b": "Qwen/Qwen3.5-27B",
    "starcoder2-7b": "bigcode/starcoder2-7b",
    "step-3.5-flash": "stepfun-ai/Step-3.5-Flash",
    "trinity-mini": "arcee-ai/Trinity-Mini",
}
"""Of the heads in tests/data, those whose own name is that of a row."""
NOT_IN_THE_CATALOGUE = {"qwen1.5-moe-a2.7b", "qwen3-vl-30b-a3b"}
SHAPED = {
    "llama3.1-8b": LLAMA,
    "qwen2.5-7b": "Qwen/Qwen2.5-7B-Instruct",
    "gemma3-27b": "google/gemma-3-27b-it",
    "gemma3n-e4b": "google/gemma-3n-E4B-it",
    "gemma4-26b-a4b": "google/gemma-4-26B-A4B-it",
    "nemotron3-nano-30b-a3b": "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16",
    "kimi-linear-48b-a3b": "moonshotai/Kimi-Linear-48B-A3B-Instruct",
    "falcon-h1-7b": "tiiuae/Falcon-H1-7B-Instruct",
    "qwen3-next-80b-a3b": "Qwen/Qwen3-Next-80B-A3B-Instruct",
    "qwen3-30b-a3b": "Qwen/Qwen3-30B-A3B-Instruct-2507",
    "mistral-small-4": "mistralai/Mistral-Small-4-119B-2603",
}
"""Heads called like a base model, which no row is: the row of the same shape is a candidate. That of
Qwen3-30B-A3B was made from an update: it has the context of the 2507 rows."""


def header(
    model_id: str,
    names: Mapping[str, object],
    *,
    without: Sequence[str] = (),
    more: Mapping[str, object] | None = None,
    options: Mapping[str, object] | None = None,
) -> GgufHeader:
    """The header of a file of one row: its metadata, its tensors, and what it is called."""
    row: Mapping[str, Any] = ROWS[model_id]
    metadata = {**row["metadata"], **names, **(more or {})}
    shapes = lay_out(
        row["metadata"], LayoutOptions.from_row({**(row.get("options") or {}), **(options or {})})
    )
    tensors = _tensors(shape for shape in shapes if not any(part in shape.name for part in without))
    return GgufHeader(3, {key: metadata[key] for key in metadata if key not in without}, tensors, 0, 32, 0)


def _tensors(shapes: Any) -> tuple[Tensor, ...]:
    return tuple(
        Tensor(shape.name, shape.dims, "F16", tensor_bytes("F16", shape.dims))
        for shape in shapes
        if isinstance(shape, TensorShape)
    )


def identity(model_id: str, name: str | None = None, **changes: Any) -> Identity:
    names = {} if name is None else {"general.name": name}
    return identify(summarize(header(model_id, {**names, **changes.pop("names", {})}, **changes)))


def titled(name: str) -> str:
    """``qwen3-8b-instruct`` as converters write it: ``Qwen3 8b Instruct``."""
    return " ".join(
        word.capitalize() if word.islower() and word[0].isalpha() else word for word in name.split("-")
    )


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_row_is_itself_and_a_stranger_of_its_shape_is_not(architecture: str) -> None:
    for model_id, row in ROWS.items():
        metadata: Any = row["metadata"]
        if metadata["general.architecture"] != architecture:
            continue
        try:
            plain = summarize(header(model_id, {"general.name": tail(model_id)}))
        except NotModelledError:
            assert model_id in WITHOUT_A_LAYOUT
            continue
        assert identify(plain) == Identity(model_id)
        for other in (titled(tail(model_id)), f"{tail(model_id)}-GGUF", f"{tail(model_id)} Q4_K_M"):
            assert _called(plain, other) == Identity(model_id), other
        for stranger in ("My Tuned One", None):
            found = _called(plain, stranger)
            assert found.model_id is None and model_id in found.candidates


def _called(summary: HeaderSummary, name: str | None) -> Identity:
    return identify(replace(summary, names={} if name is None else {"general.name": name}))


def test_the_heads_of_the_test_data() -> None:
    found = {}
    for path in sorted(HEADERS.glob("*.head")):
        model = path.name.removesuffix(".gguf.head")
        found[model.rpartition(".")[0]] = identify(summarize(read_header(head_file(model), model)))
    assert len(found) == 43
    assert {name: one.model_id for name, one in found.items() if one.model_id} == NAMED
    strangers = {name for name, one in found.items() if not one.model_id and not one.candidates}
    assert strangers == NOT_IN_THE_CATALOGUE
    for name, model_id in SHAPED.items():
        assert model_id in found[name].candidates, name


def test_the_name_of_the_file_says_nothing(disk: Disk) -> None:
    folder = disk.home / "mine"
    folder.mkdir()
    sparse_file("gpt-oss-20b.MXFP4_MOE", folder).rename(folder / "Qwen3-32B-Q8_0.gguf")
    (model,) = disk.find(folder).models
    assert (model.model_id, model.quantization) == ("openai/gpt-oss-20b", "MXFP4_MOE")


@pytest.mark.parametrize(
    ("row", "name"),
    [
        (LLAMA, "Meta Llama 3.1 8B Instruct"),
        (LLAMA, "meta-llama_Llama-3.1-8B-Instruct"),
        (DISTILL, "DeepSeek R1 Distill Llama 8B"),
        (QWEN3, "Qwen_Qwen3 30B A3B"),
        (CODER, "Qwen3 Coder 30B A3B Instruct"),
        ("google/gemma-3-27b-it", "Gemma 3 27b It Qat Q4_0 Unquantized"),
        ("Qwen/Qwen2.5-7B-Instruct", "qwen2.5-7b-instruct"),
    ],
)
def test_names_as_publishers_write_them(row: str, name: str) -> None:
    assert identity(row, name) == Identity(row)


@pytest.mark.parametrize(
    "name", ["Llama 3.1 8B", "Llama 3.1 8B Instruct Abliterated", "Hermes 3 Llama 3.1 8B"]
)
def test_base_models_and_tuned_ones_are_only_of_that_shape(name: str) -> None:
    assert identity(LLAMA, name) == Identity(candidates=(LLAMA, DISTILL))


def test_the_base_model_that_a_header_names_comes_first() -> None:
    base = {"general.base_model.0.name": "DeepSeek R1 Distill Llama 8B"}
    assert identity(LLAMA, "Tuned", names=base).candidates == (DISTILL, LLAMA)
    base = {"general.base_model.0.repo_url": f"https://huggingface.co/{DISTILL}"}
    assert identity(LLAMA, "Tuned", names=base).candidates == (DISTILL, LLAMA)


def test_what_a_header_was_converted_from_counts_more_than_its_name() -> None:
    for key in ("general.source.huggingface.repository", "general.source.repo_url"):
        assert identity(LLAMA, "snapshot", names={key: DISTILL}) == Identity(DISTILL)
    url = {"general.source.url": f"https://huggingface.co/{DISTILL.lower()}/"}
    assert identity(LLAMA, "snapshot", names=url) == Identity(DISTILL)
    publisher = {"general.repo_url": "https://huggingface.co/unsloth"}
    assert identity(LLAMA, "Llama-3.1-8B-Instruct", names=publisher) == Identity(LLAMA)
    elsewhere = {"general.source.repo_url": f"https://huggingface.co/{QWEN3}"}
    assert identity(LLAMA, "Tuned", names=elsewhere).model_id is None


def test_a_name_and_a_context_that_are_of_two_rows_decide_nothing() -> None:
    longer = {"qwen3moe.context_length": 262144}
    found = identity(QWEN3, "Qwen3-30B-A3B", more=longer)
    assert found.model_id is None
    assert {QWEN3, CODER, "Qwen/Qwen3-30B-A3B-Instruct-2507"} <= set(found.candidates)
    assert identity(QWEN3, "Somebody's Own", more=longer).candidates[0] != QWEN3
    assert identity(QWEN3, "Qwen3-30B-A3B Instruct 2507", more=longer).model_id == (
        "Qwen/Qwen3-30B-A3B-Instruct-2507"
    )


@pytest.mark.parametrize("tokens", [131072, None])
def test_a_context_that_no_row_has_leaves_a_clear_name_alone(tokens: int | None) -> None:
    if tokens is None:
        assert identity(QWEN3, "Qwen3-30B-A3B", without=("qwen3moe.context_length",)) == Identity(QWEN3)
    else:
        more = {"qwen3moe.context_length": tokens}
        assert identity(QWEN3, "Qwen3-30B-A3B", more=more) == Identity(QWEN3)


def test_the_repository_that_it_was_converted_from_counts_more_than_the_context() -> None:
    source = {"general.source.huggingface.repository": QWEN3}
    more = {"qwen3moe.context_length": 262144}
    assert identity(QWEN3, "Qwen3-30B-A3B", names=source, more=more) == Identity(QWEN3)


def test_the_context_decides_between_rows_of_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = identify_module._rows(overlay())
    twin = [replace(row, names=row.names | {"twin"}) for row in rows["qwen3moe"]]
    wanted = {QWEN3, CODER}
    twins = tuple(row for row in twin if row.model_id in wanted)
    monkeypatch.setattr(identify_module, "_rows", lambda _own: {"qwen3moe": twins})
    assert identity(QWEN3, "Twin") == Identity(QWEN3)
    assert identity(QWEN3, "Twin", more={"qwen3moe.context_length": 262144}) == Identity(CODER)
    neither = identity(QWEN3, "Twin", more={"qwen3moe.context_length": 4096})
    assert neither.model_id is None and set(neither.candidates) == wanted


@pytest.mark.parametrize("name", [None, "", "model", "Models", "a" * 40, "hf"])
def test_the_parts_of_a_name_where_there_is_no_name(name: str | None) -> None:
    parts = {
        "general.basename": "Qwen3-Coder",
        "general.size_label": "30B-A3B",
        "general.finetune": "Instruct",
    }
    assert identity(CODER, name, names=parts) == Identity(CODER)
    assert identity(CODER, name).model_id is None
    assert CODER in identity(CODER, name).candidates


def test_the_parts_of_a_name_do_not_speak_for_another_name() -> None:
    parts = {"general.basename": "Qwen3", "general.size_label": "30B-A3B"}
    assert identity(QWEN3, "Somebody's Own", names=parts).model_id is None


def test_more_tokens_in_the_vocabulary_make_it_no_other_model() -> None:
    row: Any = ROWS[LLAMA]["options"]
    found = identity(LLAMA, "Llama 3.1 8B Instruct", options={"vocab_size": row["vocab_size"] + 256})
    assert found == Identity(LLAMA)


def test_a_second_copy_of_the_tied_embedding_changes_nothing() -> None:
    model_id = "Qwen/Qwen2.5-1.5B-Instruct"
    assert identity(model_id, "qwen2.5-1.5b-instruct", options={"tied_embeddings": False}) == Identity(
        model_id
    )


def test_drafting_blocks_left_out_or_kept() -> None:
    model_id = "zai-org/GLM-4.5-Air"
    row: Any = ROWS[model_id]["metadata"]
    last = row["glm4moe.block_count"] - 1
    left_out = {"glm4moe.block_count": last, "glm4moe.nextn_predict_layers": 0}
    assert identity(model_id, "GLM 4.5 Air", without=(f"blk.{last}.",), more=left_out) == Identity(model_id)


def test_heads_of_latent_attention_as_older_converters_counted_them() -> None:
    model_id = "deepseek-ai/DeepSeek-R1"
    older = {
        "deepseek2.attention.head_count_kv": 128,
        "deepseek2.attention.key_length": 192,
        "deepseek2.attention.value_length": 128,
    }
    assert identity(model_id, "DeepSeek R1", more=older) == Identity(model_id)


def test_the_dense_width_that_a_model_of_experts_does_not_have() -> None:
    """Published files of Qwen3-30B-A3B say 6144, those of Qwen3-Coder 5472; no tensor is that wide."""
    for width in (5472, 6144):
        assert identity(
            CODER, "Qwen3 Coder 30B A3B Instruct", more={"qwen3moe.feed_forward_length": width}
        ) == Identity(CODER)


@pytest.mark.parametrize(
    "changes",
    [
        {"more": {"llama.attention.head_count_kv": 4}},
        {"more": {"llama.block_count": 31}},
        {"more": {"llama.attention.head_count_kv": [8] * 31 + [4]}},
        {"more": {"general.architecture": "qwen2"}},
        {"more": {"general.architecture": "unheard-of"}},
        {"without": ("blk.3.ffn_down",)},
    ],
)
def test_another_shape_is_another_model_whatever_its_name(changes: dict[str, Any]) -> None:
    assert identity(LLAMA, "Llama 3.1 8B Instruct", **changes) == Identity()


def test_a_value_for_each_layer_is_the_same_as_one_for_all() -> None:
    more = {"llama.attention.head_count_kv": [8] * 32, "llama.feed_forward_length": [14336] * 32}
    assert identity(LLAMA, "Llama 3.1 8B Instruct", more=more) == Identity(LLAMA)


def test_rows_of_the_user(own_rows: Path) -> None:
    source = read_header(head_file("qwen1.5-moe-a2.7b.Q4_K_M"), "x")
    assert identify(summarize(source)) == Identity()
    add_from_header(source, "mine/Qwen1.5-MoE-A2.7B", "a file")
    overlay.cache_clear()
    assert identify(summarize(source)) == Identity("mine/Qwen1.5-MoE-A2.7B")
