"""llama-server found on PATH and asked; small programs stand in for it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from llmfit.advisor.hardware.llama_server import ask_llama_server, find_llama_server
from llmfit.advisor.hardware.machine import LlamaServer

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="uses shell scripts")
Install = Callable[[str], Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a shell script named llama-server on PATH."""

    def write(script: str) -> Path:
        path = tmp_path / "llama-server"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        return path

    return write


ANSWERS = """
case "$1" in
  --version) echo "{version}" >&2; echo "built with GNU 12.2.0 for Linux x86_64" >&2;;
  --list-devices) echo "Available devices:"
    echo "  CUDA0: NVIDIA GeForce RTX 3090 (24124 MiB, 23862 MiB free)"
    echo "  CUDA1: NVIDIA GeForce RTX 3090 (24124 MiB, 23862 MiB free)"
    echo "  Vulkan0: Radeon (1 MiB, 1 MiB free)";;
esac
"""


@pytest.mark.parametrize(
    ("line", "version", "build"),
    [
        ("version: 6123 (79e0b68c)", "6123 (79e0b68c)", 6123),
        ("version: 0.6.0-dev (build 11434, commit abc)", "0.6.0-dev (build 11434, commit abc)", 11434),
        ("version: 0.6.0-dev (build 0, commit unknown)", "0.6.0-dev (build 0, commit unknown)", None),
    ],
)
def test_version_build_and_devices(install: Install, line: str, version: str, build: int | None) -> None:
    path = install(ANSWERS.format(version=line))
    found = find_llama_server()
    assert found == LlamaServer(str(path))
    server = ask_llama_server(found)
    assert (server.version, server.build) == (version, build)
    assert server.devices == ("CUDA0", "CUDA1", "Vulkan0")
    assert server.backends == ("cuda", "vulkan", "cpu")


@pytest.mark.parametrize("script", ["exit 1", "printf '\\377\\376'", "kill -9 $$", "exec sleep 30"])
def test_a_server_that_does_not_answer_stays_unknown(install: Install, script: str) -> None:
    path = install(script)
    assert ask_llama_server(LlamaServer(str(path)), timeout_s=0.3) == LlamaServer(str(path))


def test_a_file_that_does_not_run(tmp_path: Path) -> None:
    server = LlamaServer(str(tmp_path / "missing"))
    assert ask_llama_server(server) == server


def test_none_on_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_llama_server() is None
