from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfit.advisor.errors import UsageError
from llmfit.catalog import loader
from llmfit.catalog.models import exact_file, find_model, gguf_repo, list_models, search_models
from llmfit.catalog.search import name_key, one_of, tail, words

IDS = tuple(loader.bundled_lines(loader.MODELS))


@pytest.mark.parametrize(
    ("query", "model_id"),
    [
        ("mimo-v2-flash", "XiaomiMiMo/MiMo-V2-Flash"),
        ("Qwen3-30B-A3B", "Qwen/Qwen3-30B-A3B"),
        ("llama-3.3-70b", "meta-llama/Llama-3.3-70B-Instruct"),
        ("llama3.3 70b", "meta-llama/Llama-3.3-70B-Instruct"),
        ("LLAMA_3_3_70B_INSTRUCT", "meta-llama/Llama-3.3-70B-Instruct"),
        ("gemma-3-27b", "google/gemma-3-27b-it"),
        ("gemma 3 1b", "google/gemma-3-1b-it"),
        ("deepseek-r1", "deepseek-ai/DeepSeek-R1"),
        ("r1-distill-llama-8b", "deepseek-ai/DeepSeek-R1-Distill-Llama-8B"),
        ("phi4", "microsoft/phi-4"),
        ("google/gemma-4-26B", "google/gemma-4-26B-A4B-it"),
        ("qwen2.5-coder-7b", "Qwen/Qwen2.5-Coder-7B-Instruct"),
        ("Nemotron-3-Nano", "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16"),
    ],
)
def test_names_people_use(query: str, model_id: str) -> None:
    assert find_model(query).id == model_id


def test_every_id_and_every_name_finds_its_model() -> None:
    for model in list_models():
        assert find_model(model.id).id == model.id
        assert find_model(model.id.upper()).id == model.id
        assert find_model(model.name).id == model.id


def test_an_ambiguous_part_lists_the_candidates() -> None:
    with pytest.raises(UsageError) as caught:
        find_model("gpt-oss")
    assert str(caught.value) == (
        "model 'gpt-oss': could mean gpt-oss-20b or gpt-oss-120b. Write more of its name."
    )
    with pytest.raises(UsageError, match="more"):
        find_model("qwen3")


def test_digits_do_not_run_together() -> None:
    """gemma-31b is not gemma-3-1b: between two digits a separator counts."""
    with pytest.raises(UsageError):
        find_model("gemma-31b")
    assert name_key("gemma-3-1b") != name_key("gemma-31b")


def test_an_unknown_name_lists_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        find_model("lame-3.3-70b")
    assert "Llama-3.3-70B-Instruct" in caught.value.hint
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "query", ["", " ", "///", "../../etc/passwd", "[red]x[/red]", "\x1b[31m", "🙂" * 500]
)
def test_nonsense_is_unknown_in_one_printable_line(query: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_model(query)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


@given(
    st.text(max_size=60)
    | st.sampled_from(IDS).flatmap(lambda text: st.integers(0, len(text)).map(lambda cut: text[cut:]))
)
def test_any_text_finds_a_model_that_has_its_words_or_is_refused(query: str) -> None:
    try:
        found = find_model(query)
    except UsageError:
        return
    assert words(query)
    for word in words(query):
        assert word in name_key(found.id) or word in {"instruct", "it", "chat"}


def test_search_needs_every_word() -> None:
    coders = search_models("qwen coder")
    assert coders
    assert all("qwen" in model.id.lower() and "coder" in model.id.lower() for model in coders)
    assert search_models("qwen zzz") == ()
    assert len(search_models("")) == len(list_models())


def test_a_tuned_model_is_meant_when_its_base_is_known_too(own_rows: object) -> None:
    from pathlib import Path

    from llmfit.catalog.overlay import overlay

    folder = Path(str(own_rows))
    folder.mkdir()
    rows = [
        {"id": "me/Zed-9B", "kind": "base"},
        {"id": "me/Zed-9B-Chat-v2"},
    ]
    common = {"architecture": "llama", "parameters": {"text": 9 * 10**9}, "sources": ["test"]}
    lines = [json.dumps(row | common) for row in rows]
    (folder / "models.jsonl").write_text("\n".join(lines))
    overlay.cache_clear()
    assert overlay().problems == ()
    assert find_model("zed").id == "me/Zed-9B-Chat-v2"
    assert find_model("zed-9b").id == "me/Zed-9B"


def test_exact_sizes_win_and_rounded_ones_do_not() -> None:
    published = exact_file(find_model("Qwen3-14B"), "Q4_K_M")
    assert published is not None
    assert published.bytes == 9_001_752_960
    assert exact_file(find_model("Qwen3-14B"), "Q6_K") is None
    assert exact_file(find_model("mimo-v2-flash"), "Q4_K_M") is None, "187.14 GB is rounded: evidence only"


def test_the_repository_is_one_that_has_the_quantisation() -> None:
    qwen = find_model("Qwen3.5-9B")
    assert gguf_repo(qwen, "IQ2_M", 3_500_000_000) == "bartowski/Qwen_Qwen3.5-9B-GGUF"
    assert gguf_repo(find_model("Hunyuan-4B"), "Q4_K_M", 2_500_000_000) is None
    for model in list_models():
        listed = {
            file.repo for file in model.files if file.quant == "Q4_K_M" and file.repo in model.gguf_repos
        }
        if listed:
            assert gguf_repo(model, "Q4_K_M", model.parameters.text * 5 // 8) in listed


def test_of_two_repositories_the_one_with_the_nearest_file_is_named() -> None:
    qwen = find_model("Qwen3.6-27B")
    files = {
        file.repo: file for file in qwen.files if file.quant == "Q5_K_M" and file.repo in qwen.gguf_repos
    }
    assert len(files) > 1
    for repo, file in files.items():
        named = gguf_repo(qwen, "Q5_K_M", file.bytes)
        assert abs(files[named].bytes - file.bytes) <= files[named].rounded_to_bytes, repo


def test_one_of() -> None:
    assert one_of(["a"]) == "a"
    assert one_of(["a", "b"]) == "a or b"
    assert one_of(list("abcdefghij")) == "a, b, c, d, e, f, g, h or 2 more"


def test_only_the_asked_line_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """`llmfit estimate MODEL` must not pay for the other 196 rows."""
    parsed = []

    def loads(text: str) -> object:
        parsed.append(text)
        return json.JSONDecoder().decode(text)

    monkeypatch.setattr(loader.json, "loads", loads)
    assert tail(find_model("Qwen3-32B").id) == "Qwen3-32B"
    assert len(parsed) <= 3
