"""The command line, called in this process with an empty catalogue folder of the user's own."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from llmfit.catalog.overlay import FOLDER_VARIABLE, overlay
from llmfit.tui.cli.main import main
from llmfit.tui.config import CONFIG_VARIABLE, user_config
from tests.advisor.model.gguf_builder import sparse_file


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command printed and its exit code."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """stdout as the one JSON document that it must be."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found

    @property
    def documents(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


class Run(Protocol):
    def __call__(self, *arguments: object, stdin: str | bytes | None = None) -> Answer: ...


@pytest.fixture(autouse=True)
def own_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The user's catalogue folder; it does not exist yet. Settings, caches and data are a test's own, too."""
    folder = tmp_path / "own catalogue"
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    monkeypatch.setenv("LLMFIT_CACHE", str(tmp_path / "own cache"))
    monkeypatch.setenv("LLMFIT_DATA", str(tmp_path / "own data"))
    monkeypatch.setenv(CONFIG_VARIABLE, os.devnull)
    overlay.cache_clear()
    user_config.cache_clear()
    yield folder
    overlay.cache_clear()
    user_config.cache_clear()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """``run("estimate", MODEL, "--json")`` in this process."""

    def call(*arguments: object, stdin: str | bytes | None = None) -> Answer:
        if stdin is not None:
            raw = stdin.encode() if isinstance(stdin, str) else stdin
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw), encoding="utf-8"))
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Llama 3.1 8B in Q4_K_M: the header with a hole for data."""
    return sparse_file("llama3.1-8b.Q4_K_M", tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="session")
def moe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Qwen3 30B A3B in Q4_K_M."""
    return sparse_file("qwen3-30b-a3b.Q4_K_M", tmp_path_factory.mktemp("moe"))
