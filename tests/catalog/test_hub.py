from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from llmfit.advisor.errors import GgufError, LlmfitError, NetworkError, UsageError
from llmfit.catalog.hub import (
    HubFile,
    HubReference,
    choose_files,
    parse_hub_reference,
    quant_of,
    read_hub_model,
)
from tests.advisor.model.gguf_builder import TensorInfo, build, header_bytes
from tests.catalog.hub_server import REPO, Hub, serve


def model(name: str, n_elements: int = 256, **metadata: object) -> bytes:
    return build({"general.architecture": "llama", **metadata}, [TensorInfo(name, (n_elements,))])


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    files = {
        "README.md": b"# A model",
        "m-Q4_K_M.gguf": model("q4"),
        "m-Q8_0.gguf": model("q8"),
        "mmproj-m-f16.gguf": model("mmproj"),
    }
    with serve(Hub(files)) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url + "/")
        monkeypatch.setenv("HF_TOKEN", "secret")
        yield hub


def error(text: str, kind: type[LlmfitError]) -> LlmfitError:
    with pytest.raises(kind) as caught:
        read_hub_model(text, timeout_s=2.0)
    assert str(caught.value).isprintable()
    assert caught.value.hint
    assert "secret" not in str(caught.value)
    return caught.value


# -- which file is meant


def choose(paths: list[str], quant: str = "") -> list[str]:
    files = choose_files([HubFile(path, 1) for path in paths], HubReference("o/r", quant))
    return [file.path for file in files]


def test_default_is_q4_k_m_then_q8_0_then_the_first() -> None:
    assert choose(["a-Q2_K.gguf", "a-Q8_0.gguf", "a-Q4_K_M.gguf"]) == ["a-Q4_K_M.gguf"]
    assert choose(["a-Q2_K.gguf", "a-q8_0.gguf"]) == ["a-q8_0.gguf"]
    assert choose(["mmproj-F16.gguf", "x.txt", "a-Q2_K.gguf", "a-Q3_K.gguf"]) == ["a-Q2_K.gguf"]


def test_the_quantisation_asked_for_in_any_case() -> None:
    paths = ["a-Q4_K_M.gguf", "a-IQ2_XXS.gguf", "UD/a-UD-Q4_K_XL.gguf"]
    assert choose(paths, "iq2_xxs") == ["a-IQ2_XXS.gguf"]
    assert choose(paths, "Q4_K_XL") == ["UD/a-UD-Q4_K_XL.gguf"]
    assert choose(paths, "UD-Q4_K_XL") == ["UD/a-UD-Q4_K_XL.gguf"]


def test_files_beside_the_model_are_not_the_model() -> None:
    paths = ["mmproj-Q8_0.gguf", "imatrix-Q8_0.gguf", "mtp-a-Q8_0.gguf", "eagle3-a-Q8_0.gguf", "b-Q8_0.gguf"]
    assert choose(paths) == ["b-Q8_0.gguf"]
    assert choose(paths, "Q8_0") == ["b-Q8_0.gguf"]


def test_parts_come_in_order() -> None:
    parts = [f"Q8_0/a-Q8_0-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    assert choose([parts[2], parts[0], "a-Q2_K.gguf", parts[1]]) == parts
    with pytest.raises(GgufError, match=r"00002-of-00003\.gguf is missing in this repository"):
        choose([parts[2], parts[0]])


def test_an_unknown_quantisation_lists_those_there_are() -> None:
    with pytest.raises(UsageError) as caught:
        choose(
            ["a-Q4_K_M.gguf", "b/a-UD-IQ1_S-00001-of-00002.gguf", "mmproj-F16.gguf", "plain name.gguf"], "Q9"
        )
    assert caught.value.why == "no file of quantisation Q9 in this repository"
    assert caught.value.hint == "There are: Q4_K_M, IQ1_S, plain name."


def test_a_repository_without_models() -> None:
    with pytest.raises(UsageError, match="no GGUF model in this repository"):
        choose(["model.safetensors", "mmproj-F16.gguf"])


def test_quantisation_of_a_file_name() -> None:
    assert quant_of("x/m-q4_k_m.gguf") == "Q4_K_M"
    assert quant_of("m.BF16-00001-of-00009.gguf") == "BF16"
    assert quant_of("m.gguf") == "m"


# -- what a person may write


def test_references() -> None:
    assert parse_hub_reference("hf:owner/Some.Model-GGUF:UD-Q4_K_XL") == HubReference(
        "owner/Some.Model-GGUF", "UD-Q4_K_XL"
    )
    assert parse_hub_reference("hf:o_1/m") == HubReference("o_1/m", "")
    assert str(parse_hub_reference("hf:o/m:Q8_0")) == "hf:o/m:Q8_0"


@pytest.mark.parametrize(
    "text",
    ["hf:", "hf:owner", "hf:owner/", "hf:/m", "hf:a/b/c", "hf:../m", "hf:o/..", "hf:o/m:", "hf:o/m:a:b",
     "hf:o/m?x", "hf:o/m m", "hf:-o/m", "hf:o/m.", "hf:ö/m", "hf:o/m\n", "hf:o/\x1b[31m", "o/m",
     "hf:" + "o" * 300 + "/m"],
)  # fmt: skip
def test_wrong_references_ask_nobody(hub: Hub, text: str) -> None:
    assert "not the name of a hub repository" in error(text, UsageError).why
    assert not hub.requests


# -- asking a hub


def test_a_model_is_read_by_its_header(hub: Hub) -> None:
    found = read_hub_model(f"hf:{REPO}")
    assert found.quant == "Q4_K_M"
    assert found.files == (HubFile("m-Q4_K_M.gguf", len(hub.files["m-Q4_K_M.gguf"])),)
    assert [tensor.name for tensor in found.header.tensors] == ["q4"]
    assert all(headers["Authorization"] == "Bearer secret" for _, headers in hub.requests)


def test_only_the_header_is_fetched(hub: Hub) -> None:
    head, size_bytes = header_bytes("lfm2-1.2b.Q4_K_M")
    hub.files = {"m-Q4_K_M.gguf": head + bytes(size_bytes // 16)}
    assert "incomplete" in error(f"hf:{REPO}", GgufError).why
    assert hub.sent_bytes < 2_000_000


def test_a_split_model_is_one_model(hub: Hub) -> None:
    for number in (1, 2):
        name = f"UD-IQ1_S/m-UD-IQ1_S-0000{number}-of-00002.gguf"
        hub.files[name] = model(f"t{number}", **{"split.no": number - 1, "split.count": 2})
    found = read_hub_model(f"hf:{REPO}:IQ1_S")
    assert [tensor.name for tensor in found.header.tensors] == ["t1", "t2"]
    assert found.header.file_bytes == sum(file.size_bytes for file in found.files)
    assert found.quant == "IQ1_S"


def test_names_are_quoted_in_addresses(hub: Hub) -> None:
    hub.files = {"a b/m #1?-Q4_K_M.gguf": model("odd")}
    assert read_hub_model(f"hf:{REPO}").files[0].path == "a b/m #1?-Q4_K_M.gguf"


def test_a_listing_of_several_pages(hub: Hub) -> None:
    hub.page_size = 2
    assert read_hub_model(f"hf:{REPO}:Q8_0").header.tensors[0].name == "q8"


def test_a_listing_that_leads_elsewhere_does_not_get_our_token(hub: Hub) -> None:
    with serve(Hub()) as other:
        hub.page_size, hub.redirect_to = 2, other.url + "/next"
        assert error(f"hf:{REPO}:Q8_0", NetworkError).why == "the hub's list of files does not end"
        assert not other.requests


def test_a_listing_that_goes_in_circles(hub: Hub) -> None:
    hub.page_size, hub.redirect_to = 2, f"{hub.url}/api/models/{REPO}/tree/main?recursive=true"
    assert error(f"hf:{REPO}:Q8_0", NetworkError).why == "the hub's list of files does not end"
    assert len(hub.requests) == 50


def test_a_redirect_to_another_host_does_not_get_our_token(hub: Hub) -> None:
    with serve(Hub(dict(hub.files))) as other:
        hub.mode, hub.redirect_to = "redirect", other.url
        assert read_hub_model(f"hf:{REPO}").header.tensors[0].name == "q4"
        assert other.requests
        assert not any("Authorization" in headers for _, headers in other.requests)


@pytest.mark.parametrize(
    "listing",
    [b"", b"<html>", b"{}x", b'{"error": 1}', b"[1]", b'[{"type": "file"}]', b"\xff", b"[" * 100_000, b"null",
     b'[{"type": "file", "path": "a", "size": null}]', b'[{"type": "file", "path": "a", "size": Infinity}]',
     b'"text"'],
)  # fmt: skip
def test_listings_that_are_none(hub: Hub, listing: bytes) -> None:
    hub.listing = listing
    assert error(f"hf:{REPO}", NetworkError).why == "the hub's list of files cannot be understood"


def test_file_names_with_escapes_are_shown_harmless(hub: Hub) -> None:
    hub.listing = json.dumps([{"type": "file", "path": "\x1b[31mred-x\x1b.gguf", "size": 5}]).encode()
    assert r"\x1b[31mred-x\x1b" in error(f"hf:{REPO}:Q8_0", UsageError).hint


def test_an_unknown_repository(hub: Hub) -> None:
    caught = error("hf:owner/other", NetworkError)
    assert (caught.what, caught.why) == ("hf:owner/other", "the server does not know it (HTTP 404)")


def test_a_gated_file(hub: Hub) -> None:
    hub.mode = "403"
    assert "HF_TOKEN" in error(f"hf:{REPO}", NetworkError).hint


def test_a_file_that_is_no_model(hub: Hub) -> None:
    hub.files["m-Q4_K_M.gguf"] = b"Hello, world"
    assert error(f"hf:{REPO}", GgufError).what == "m-Q4_K_M.gguf"


def test_offline(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert error(f"hf:{REPO}", NetworkError).why == "HF_HUB_OFFLINE is set"
    assert not hub.requests


def test_without_a_token_none_is_sent(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    read_hub_model(f"hf:{REPO}")
    assert not any("Authorization" in headers for _, headers in hub.requests)


def test_a_login_of_the_hub_package_is_used(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "stored")
    read_hub_model(f"hf:{REPO}")
    assert {headers["Authorization"] for _, headers in hub.requests} == {"Bearer stored"}


def test_an_endpoint_that_is_no_address(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "nonsense")
    error(f"hf:{REPO}", NetworkError)
