"""The tiny model is a model: llama-server loads it, reads a prompt and writes words."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from llama_cpp_build import LlamaCppBuild
from tiny_model import tiny_metadata, write_tiny_model

from llmfit.advisor.model.gguf import read_header

EMBEDDED = """
import json, sys, xllamacpp
parameters = xllamacpp.CommonParams()
parameters.model.path, parameters.n_ctx, parameters.cpuparams.n_threads = sys.argv[1], 512, 1
answers = []
server = xllamacpp.Server(parameters)
question = {"prompt": "hello", "max_tokens": 8}
server.handle_completions(question, lambda answer: answers.append(answer) and False)
print(json.dumps(answers[-1]))
"""


class FileBytes:
    def __init__(self, path: Path) -> None:
        self._data = path.read_bytes()
        self.size_bytes = len(self._data)

    def read(self, offset: int, length: int) -> bytes:
        return self._data[offset : offset + length]


@pytest.mark.parametrize(("weight_type", "most_bytes"), [("F16", 2_000_000), ("Q8_0", 1_000_000)])
def test_the_file_is_small_whole_and_the_same_every_time(
    weight_type: str, most_bytes: int, tmp_path: Path
) -> None:
    first = write_tiny_model(tmp_path / "a.gguf", weight_type=weight_type)
    second = write_tiny_model(tmp_path / "b.gguf", weight_type=weight_type)
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_size < most_bytes
    header = read_header(FileBytes(first), "tiny")
    assert header.metadata.items() >= tiny_metadata().items()
    assert {tensor.type_name for tensor in header.tensors} == {"F32", weight_type}


@pytest.mark.llama_cpp
@pytest.mark.parametrize("weight_type", ["F16", "Q8_0"])
def test_llama_server_answers_with_it(weight_type: str, llama_cpp: LlamaCppBuild, tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "tiny.gguf", weight_type=weight_type)
    with server(llama_cpp, model) as url:
        answer = post(f"{url}/completion", {"prompt": "a word", "n_predict": 12, "seed": 1})
        assert answer["tokens_predicted"] == 12
        assert any(word.isalpha() for word in answer["content"].split())
        chat = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 5}
        assert post(f"{url}/v1/chat/completions", chat)["usage"]["completion_tokens"] == 5


@contextmanager
def server(llama_cpp: LlamaCppBuild, model: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        str(llama_cpp.server),
        "-m",
        str(model),
        "--port",
        str(port),
        "-c",
        "512",
        "-t",
        "1",
        "-np",
        "1",
    ]
    log = model.with_suffix(".log")
    with log.open("wb") as output:
        environment = llama_cpp.environment(())
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    last = time.monotonic() + 60
    while time.monotonic() < last and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/health") as reply:
                if reply.status == 200:
                    return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    pytest.fail(f"llama-server did not start: {log.read_text(errors='replace')[-2000:]}")


def post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as reply:
        answer: dict[str, Any] = json.load(reply)
    return answer


def test_the_embedded_server_answers_with_it(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    model = write_tiny_model(tmp_path / "tiny.gguf")
    done = subprocess.run(
        [sys.executable, "-c", EMBEDDED, str(model)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["usage"]["completion_tokens"] == 8
    assert any(word.isalpha() for word in answer["choices"][0]["text"].split())
