"""``llmfit models``: what people and programs see of the files on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmfit.tui.config import CONFIG_VARIABLE, user_config
from tests.advisor.model.gguf_builder import TensorInfo, build, sparse_file
from tests.tui.cli.conftest import Run
from tests.tui.cli.test_contract import check

NONE = type(None)
SHAPE: dict[str, Any] = {
    "schema": str,
    "models": [
        {
            "name": str,
            "store": str,
            "path": str,
            "paths": [str],
            "file_bytes": int,
            "kind": str,
            "architecture": (str, NONE),
            "quantization": (str, NONE),
            "parameters": (int, NONE),
            "context_train_tokens": (int, NONE),
            "model_id": (str, NONE),
            "candidates": [str],
            "problem": (str, NONE),
        }
    ],
    "folders": [str],
    "notes": [str],
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder without any store, and no settings."""
    folder = tmp_path / "home"
    folder.mkdir()
    names = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "LLAMA_CACHE")
    for name in (*names, "OLLAMA_MODELS", CONFIG_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    monkeypatch.setenv("LLMFIT_CACHE", str(tmp_path / "cache"))
    user_config.cache_clear()
    yield folder  # type: ignore[misc]
    user_config.cache_clear()


@pytest.fixture
def folder(home: Path) -> Path:
    """A model that the catalogue has, one of a known shape, a projector, a broken file."""
    mine = home / "mine"
    mine.mkdir()
    sparse_file("qwen3-32b.Q4_K_M", mine)
    sparse_file("llama3.1-8b.Q4_K_M", mine)
    clip = build({"general.architecture": "clip"}, [TensorInfo("v.patch.weight", (32, 4), "F16")])
    (mine / "mmproj.gguf").write_bytes(clip)
    (mine / "bad\x1b[31m.gguf").write_bytes(b"Dear diary")
    return mine


def _only(document: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    """Without what the machine that runs the tests may hold in its system folders."""
    return [model for model in document["models"] if model["path"].startswith(str(folder))]


def test_the_document(run: Run, folder: Path) -> None:
    answer = run("models", "--folder", folder, "--json")
    assert answer.code == 0 and answer.err == ""
    document = answer.document
    assert next(iter(document)) == "schema" and document["schema"] == "llmfit.models/1"
    check(document, SHAPE)
    assert str(folder) in document["folders"]
    models = {model["path"].rpartition("/")[2]: model for model in _only(document, folder)}
    assert len(models) == 4
    qwen = models["qwen3-32b.Q4_K_M.gguf"]
    assert qwen == {
        "name": "qwen3-32b.Q4_K_M.gguf",
        "store": "folder",
        "path": str(folder / "qwen3-32b.Q4_K_M.gguf"),
        "paths": [str(folder / "qwen3-32b.Q4_K_M.gguf")],
        "file_bytes": 19_756_216_736,
        "kind": "model",
        "architecture": "qwen3",
        "quantization": "Q4_K_M",
        "parameters": 32_762_123_264,
        "context_train_tokens": 40960,
        "model_id": "Qwen/Qwen3-32B",
        "candidates": [],
        "problem": None,
    }
    llama = models["llama3.1-8b.Q4_K_M.gguf"]
    assert llama["model_id"] is None and "meta-llama/Llama-3.1-8B-Instruct" in llama["candidates"]
    assert models["mmproj.gguf"]["kind"] == "projector"
    assert models["bad\x1b[31m.gguf"]["problem"] == "not a GGUF file (it begins with 'Dear')"


def test_the_table(run: Run, folder: Path) -> None:
    answer = run("models", "--folder", folder)
    assert answer.code == 0
    lines = answer.out.splitlines()
    assert lines[0].split() == ["model", "catalogue", "quant", "GiB", "context", "store"]
    (qwen,) = (line for line in lines if line.startswith("qwen3-32b"))
    assert qwen.split() == ["qwen3-32b.Q4_K_M.gguf", "Qwen3-32B", "Q4_K_M", "18.4", "40K", "folder"]
    (llama,) = (line for line in lines if line.startswith("llama3.1"))
    assert "shape of Llama-3.1-8B-Instruct and 1 more" in llama
    assert "projector" in answer.out
    assert "Cannot be used:" in lines
    assert "not a GGUF file (it begins with 'Dear')" in answer.out
    assert f"{folder}/bad\\x1b[31m.gguf" in answer.out
    assert f"  {folder}" in lines[lines.index("Looked in:") :]
    assert answer.out.replace("\n", "").isprintable()


def test_a_filter(run: Run, folder: Path) -> None:
    for text, names in {
        "qwen": ["qwen3-32b.Q4_K_M.gguf"],
        "meta-llama": ["llama3.1-8b.Q4_K_M.gguf"],
        "Q4_K_M": ["llama3.1-8b.Q4_K_M.gguf", "qwen3-32b.Q4_K_M.gguf"],
        "unheard": [],
    }.items():
        document = run("models", text, "--folder", folder, "--json").document
        assert [model["name"] for model in _only(document, folder)] == names
    answer = run("models", "unheard", "--folder", folder)
    assert answer.code == 0 and answer.out.startswith("Nothing is called 'unheard'; ")


def test_nothing_found_says_what_to_do(run: Run, home: Path) -> None:
    answer = run("models", "unheard")
    if "files are here" in answer.out:
        pytest.skip("this machine has models in its system folders")
    assert answer.code == 0
    assert answer.out.startswith("No GGUF files found.")
    assert "--folder DIR" in answer.out and "model_folders" in answer.out
    assert "Looked in:" not in answer.out or "  /" in answer.out
    assert "no folder" not in answer.out


@pytest.mark.parametrize("name", ["nowhere", "file.gguf", "", "~nobody-of-this-name/x"])
def test_a_folder_that_is_none(run: Run, tmp_path: Path, name: str) -> None:
    (tmp_path / "file.gguf").touch()
    answer = run("models", "--folder", name if name[:1] in ("", "~") else tmp_path / name)
    assert answer.code == 2 and answer.out == ""
    assert answer.err.startswith("llmfit: error: --folder") and answer.err.count("\n") == 1


def test_folders_of_the_settings(run: Run, folder: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = home / "config.toml"
    settings.write_text(f'model_folders = ["{folder}", "{home / "gone"}"]\nwhat = 1\n')
    monkeypatch.setenv(CONFIG_VARIABLE, str(settings))
    user_config.cache_clear()
    answer = run("models", "--json")
    assert len(_only(answer.document, folder)) == 4
    assert any("what" in note for note in answer.document["notes"])
    gone = f"{settings}: model_folders: {home / 'gone'}: no such folder."
    assert gone in answer.document["notes"]
    err = run("models").err
    assert "what" in err and f"llmfit: note: {gone}\n" in err
    configuration = [
        one for one in run("doctor", "--json").document["findings"] if "/gone: no such" in one["text"]
    ]
    assert [(one["level"], bool(one["fix"])) for one in configuration] == [("warning", True)]


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 200])
def test_rows_fit_the_terminal(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    name = "a-model-with-quite-a-long-name-as-publishers-like-them-0123456789"
    (folder / "llama3.1-8b.Q4_K_M.gguf").rename(folder / f"{name}.gguf")
    free = run("models", "--folder", folder).out.splitlines()
    assert any(line.startswith(f"{name}.gguf  shape of Llama-3.1-8B-Instruct and 1 more ") for line in free)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr("llmfit.tui.cli.models.sys.stdout.isatty", lambda: True, raising=False)
    lines = run("models", "--folder", folder).out.splitlines()
    rows = lines[: lines.index("Cannot be used:")]
    assert max(map(len, rows)) <= columns
    assert ("store" in rows[0]) == (columns >= 80) and "quant" in rows[0] and "GiB" in rows[0]
    assert any(name in row for row in rows) == (columns == 200)
    assert any("…" in row for row in rows) == (columns < 200)


def test_one_of_a_thing_is_no_plural(run: Run, folder: Path) -> None:
    totals = run("models", "qwen3-32b.Q4", "--folder", folder).out
    assert "\n1 model; 18.4 GiB in all (folder 1)" in totals


def test_a_relative_folder(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    assert len(_only(run("models", "--folder", "mine", "--json").document, folder)) == 4
