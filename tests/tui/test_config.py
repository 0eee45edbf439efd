"""The user's config.toml: what is understood, and a sentence for everything that is not."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmfit.tui import config
from llmfit.tui.config import UserConfig, config_path, read_config, user_config


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    def write(content: str | bytes) -> UserConfig:
        path = tmp_path / "config.toml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_config(path)

    return write


def test_one_server_and_folders(written, tmp_path: Path) -> None:
    found = written('llama_server = "/opt/b/llama-server"\nmodel_folders = ["~/gguf", "models", "/data"]')
    assert found.llama_servers == (Path("/opt/b/llama-server"),)
    assert found.model_folders == (tmp_path / "home" / "gguf", tmp_path / "models", Path("/data"))
    assert found.problems == ()


def test_a_list_of_servers_in_its_order_and_each_once(written) -> None:
    found = written('llama_server = ["/b/llama-server", "/a/llama-server", "/b/llama-server"]')
    assert found.llama_servers == (Path("/b/llama-server"), Path("/a/llama-server"))


def test_an_empty_file_decides_nothing(written) -> None:
    assert written("") == UserConfig()


def test_unknown_keys_are_named_and_the_rest_counts(written) -> None:
    found = written('model_folder = "/x"\n[server]\nport = 1\n[ui]\n"a\\u001bb" = 1')
    assert found.model_folders == ()
    assert [problem.split(": ", 1)[1] for problem in found.problems] == [
        f'"{key}" is no setting; the settings are llama_server and model_folders.'
        for key in ("model_folder", "server", "ui")
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("llama_server = 3", 'llama_server: "3" is not a path.'),
        ('llama_server = ""', 'llama_server: "" is not a path.'),
        ("model_folders = [true]", 'model_folders: "True" is not a path.'),
        ('model_folders = "a\\u0000b"', 'model_folders: "a\\x00b" is not a path.'),
        ('model_folders = {"a" = 1}', "model_folders: \"{'a': 1}\" is not a path."),
        ('model_folders = "~nobody-of-this-name/x"', "the home folder in"),
        ("model_folders = [", "not TOML"),
        (b"\xff\xfe", "not UTF-8 text"),
        (b"a = " + b"[" * 100_000, "nested too deeply"),
        (b"#" * (config.MAX_FILE_BYTES + 1), "larger than 1 MiB"),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_what_is_wrong_is_one_sentence(written, content: str | bytes, said: str) -> None:
    found = written(content)
    assert len(found.problems) == 1, found
    assert said in found.problems[0]
    assert found.problems[0].isprintable()
    assert (found.llama_servers, found.model_folders) == ((), ())


def test_too_many_paths_are_cut(written) -> None:
    found = written(f"model_folders = {[f'/d/{number}' for number in range(config.MAX_PATHS + 1)]}")
    assert len(found.model_folders) == config.MAX_PATHS
    assert "the first 100 count" in found.problems[0]


def test_a_folder_in_place_of_the_file(tmp_path: Path) -> None:
    assert "not readable: is a directory." in read_config(tmp_path).problems[0]


@pytest.mark.skipif(sys.platform == "win32", reason="has no named pipes in folders")
def test_a_pipe_in_place_of_the_file_holds_nothing_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "not readable: not a regular file." in read_config(tmp_path / "pipe").problems[0]


def test_dev_null_is_an_empty_file() -> None:
    assert read_config(Path(os.devnull), must_exist=True) == UserConfig()


def test_a_missing_file_is_a_problem_only_where_it_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = tmp_path / "none.toml"
    assert read_config(missing) == UserConfig()
    monkeypatch.setenv(config.CONFIG_VARIABLE, str(missing))
    user_config.cache_clear()
    try:
        assert config_path() == missing
        assert user_config().problems == (f"{missing}: there is no such file.",)
    finally:
        user_config.cache_clear()


def test_the_usual_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(config.CONFIG_VARIABLE, raising=False)
    monkeypatch.setattr("platformdirs.user_config_dir", lambda *_, **__: str(tmp_path))
    assert config_path() == tmp_path / "config.toml"


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "ignore")))
def test_no_content_raises(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any.toml"
    path.write_bytes(content)
    assert all(problem.isprintable() for problem in read_config(path).problems)
