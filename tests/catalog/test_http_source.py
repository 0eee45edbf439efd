from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from llmfit.advisor.errors import GgufError, NetworkError
from llmfit.advisor.model.gguf import read_header
from llmfit.catalog import http_source
from llmfit.catalog.http_source import HttpRangeSource, open_client
from tests.advisor.model.gguf_builder import TensorInfo, build, with_vocabulary
from tests.catalog.hub_server import REPO, Hub, serve

MODEL = build({"general.architecture": "llama"}, [TensorInfo("a", (256, 32))])


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with serve(Hub({"m.gguf": MODEL})) as hub:
        yield hub


def read(hub: Hub, name: str = "m.gguf", timeout_s: float = 5.0) -> object:
    with open_client(timeout_s=timeout_s) as client:
        source = HttpRangeSource(client, f"{hub.url}/{REPO}/resolve/main/{name}", name)
        return read_header(source, name)


def error(hub: Hub, **options: float) -> NetworkError:
    with pytest.raises(NetworkError) as caught:
        read(hub, **options)
    assert str(caught.value).isprintable()
    assert caught.value.what == "m.gguf"
    assert caught.value.hint
    return caught.value


def test_a_header_is_read_by_ranges(hub: Hub) -> None:
    hub.files["m.gguf"] = build(with_vocabulary(40_000, 60_000), [TensorInfo("a", (256, 2**15))])
    header = read(hub)
    assert header.file_bytes == len(hub.files["m.gguf"])
    assert [tensor.name for tensor in header.tensors] == ["a"]
    assert len(hub.requests) <= 4
    assert hub.sent_bytes < len(hub.files["m.gguf"]) / 4
    assert all(headers["Accept-Encoding"] == "identity" for _, headers in hub.requests)


def test_bytes_are_those_of_the_file(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_source, "FIRST_CHUNK_BYTES", 16)
    monkeypatch.setattr(http_source, "MAX_CHUNK_BYTES", 256)
    choose = random.Random(1)
    with open_client() as client:
        source = HttpRangeSource(client, f"{hub.url}/{REPO}/resolve/main/m.gguf", "m.gguf")
        for _ in range(60):
            offset, length = choose.randrange(len(MODEL) + 100), choose.randrange(600)
            assert source.read(offset, length) == MODEL[offset : offset + length]
        before = len(hub.requests)
        assert source.read(0, 100) == MODEL[:100]
        assert source.read(10, 50) == MODEL[10:60]
        assert len(hub.requests) <= before + 1


def test_redirects_are_followed(hub: Hub) -> None:
    with serve(Hub({"m.gguf": MODEL})) as other:
        hub.mode, hub.redirect_to = "redirect", other.url
        assert read(hub).file_bytes == len(MODEL)


def test_redirects_in_circles(hub: Hub) -> None:
    hub.mode, hub.redirect_to = "redirect", hub.url
    assert error(hub).why == "the server redirects in circles"


def test_a_server_without_ranges_does_not_send_the_file(hub: Hub) -> None:
    hub.files["m.gguf"] = MODEL + bytes(100_000_000)
    hub.mode = "no ranges"
    assert error(hub).why == "the server does not send parts of a file (no HTTP ranges)"
    assert hub.sent_bytes < 20_000_000


@pytest.mark.parametrize(
    ("mode", "why"),
    [
        ("401", "the server refuses access (HTTP 401)"),
        ("403", "the server refuses access (HTTP 403)"),
        ("429", "the server asks to slow down (HTTP 429)"),
        ("503", "the server answered HTTP 503"),
        ("204", "the server does not send parts of a file (no HTTP ranges)"),
        ("304", "the server answered HTTP 304"),
        ("other range", "the server sends another part of the file than the one asked for"),
        ("unknown size", "the server does not say which part of the file it sends"),
        ("no Content-Range", "the server does not say which part of the file it sends"),
        ("compressed", "the server sends the file compressed, so its parts cannot be used"),
        ("breaks off", "the connection failed"),
        ("sends more", "the server sends more than"),
    ],
)
def test_servers_that_misbehave(hub: Hub, mode: str, why: str) -> None:
    hub.mode = mode
    assert why in error(hub).why


def test_a_file_that_changes_while_it_is_read(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_source, "FIRST_CHUNK_BYTES", 16)
    hub.mode = "grows"
    assert error(hub).why == "the file changed while it was read"


def test_a_missing_file(hub: Hub) -> None:
    hub.files.clear()
    assert error(hub).why == "the server does not know it (HTTP 404)"


def test_a_server_that_hangs(hub: Hub) -> None:
    hub.mode = "hangs"
    assert error(hub, timeout_s=0.2).why == "the server did not answer in time"


def test_a_server_that_drips(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_source, "REQUEST_LIMIT_S", -1.0)
    assert "the answer took longer than" in error(hub).why


def test_no_server(hub: Hub) -> None:
    with serve(Hub()) as gone:
        pass
    assert error(gone).why.startswith("the server cannot be reached (")


def test_a_header_that_does_not_end(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_source, "MAX_FETCHED_BYTES", 2**20 - 1)
    assert "its header is longer than" in error(hub).why


def test_an_empty_file(hub: Hub) -> None:
    hub.files["m.gguf"] = b""
    with pytest.raises(GgufError, match="the file is empty"):
        read(hub)


@pytest.mark.parametrize("url", ["ftp://x/y", "http://[::1/x", "http://\x00", "http://" + "a" * 70 + ".b/"])
def test_addresses_that_are_none(url: str) -> None:
    with open_client(timeout_s=0.2) as client, pytest.raises(NetworkError):
        _ = HttpRangeSource(client, url, "m.gguf").size_bytes


@pytest.mark.parametrize("proxy", ["socks9://127.0.0.1:1", "nonsense"])
def test_proxy_settings_that_cannot_be_used(hub: Hub, monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    monkeypatch.setenv("NO_PROXY", "")
    with pytest.raises(NetworkError) as caught:
        read(hub)
    assert str(caught.value).isprintable()
