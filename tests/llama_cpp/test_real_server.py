"""Proposed layouts of small models, run by a real llama-server on small fake cards: it must load and answer.

The cards run out of memory for real (ggml allocations fail beyond what is free), and each loses the stated
driver overhead when it is first used, as a real card does.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from llama_cpp_build import Card, LlamaCppBuild
from placement_models import cards_named, machine_with
from small_models import write_dense, write_moe

from llmfit.advisor.memory.fitting import FITS_CPU, FITS_GPU, FITS_OFFLOAD, Layout, find_layout
from llmfit.advisor.memory.overhead import driver_overhead
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.memory.weights import weight_table
from llmfit.advisor.model.gguf import read_header
from llmfit.advisor.model.shape import shape_from_header
from llmfit.advisor.recommend.command import server_argv
from llmfit.advisor.units import GIB, MIB

pytestmark = pytest.mark.llama_cpp

LOAD_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    model: str
    cards: str
    settings: LaunchSettings
    verdict: str
    n_cards: int


CASES = (
    Case("one card", "dense", "1100", LaunchSettings(4096), FITS_GPU, 1),
    Case("the second card stays free", "dense", "1100,1100", LaunchSettings(4096), FITS_GPU, 1),
    Case("split", "dense", "1000:960,950:940", LaunchSettings(4096), FITS_GPU, 2),
    Case("split with quantised cache", "dense", "960,960",
         LaunchSettings(8192, cache_type_k="q8_0", cache_type_v="q8_0"), FITS_GPU, 2),
    Case("layers in RAM", "dense", "880", LaunchSettings(4096), FITS_OFFLOAD, 1),
    Case("four slots", "dense", "880", LaunchSettings(8192, parallel=4, kv_unified=True), FITS_OFFLOAD, 1),
    Case("layers in RAM, two cards", "dense", "800,780", LaunchSettings(8192), FITS_OFFLOAD, 2),
    Case("experts in RAM", "moe", "980", LaunchSettings(4096), FITS_OFFLOAD, 1),
    Case("experts in RAM, two cards", "moe", "820,850", LaunchSettings(4096), FITS_OFFLOAD, 2),
    Case("three cards", "moe", "900,900,900", LaunchSettings(4096), FITS_GPU, 3),
    Case("a card too small", "dense", "500", LaunchSettings(4096), FITS_CPU, 0),
    Case("no card", "moe", "", LaunchSettings(4096), FITS_CPU, 0),
)  # fmt: skip


class _File:
    def __init__(self, path: Path) -> None:
        self._path = path
        self.size_bytes = path.stat().st_size

    def read(self, offset: int, length: int) -> bytes:
        with self._path.open("rb") as file:
            file.seek(offset)
            return file.read(length)


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("small")
    paths = {"dense": write_dense(folder), "moe": write_moe(folder)}
    return paths.__getitem__


def plan(path: Path, cards: tuple[Card, ...], settings: LaunchSettings) -> tuple[Layout, tuple[str, ...]]:
    header = read_header(_File(path), path.name)
    shape = shape_from_header(header.metadata, header.tensors)
    machine = machine_with(*cards, ram_bytes=16 * GIB)
    layout = find_layout(shape, weight_table(shape, header.tensors), machine, settings)
    return layout, server_argv(layout.settings, ("-m", str(path)), machine)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def running_server(
    build: LlamaCppBuild, argv: tuple[str, ...], cards: tuple[Card, ...], log: Path
) -> Iterator[str]:
    """The address of a llama-server that has loaded its model; fails with the end of its log if not."""
    port = free_port()
    environment = build.environment(cards)
    environment["FAKEGPU_OVERHEAD"] = str(driver_overhead("cuda").expected_bytes // MIB)
    command = [str(build.server), *argv[1:], "--host", "127.0.0.1", "--port", str(port), "-t", "2"]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment)
    try:
        wait_until_ready(process, f"http://127.0.0.1:{port}/health", log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_ready(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + LOAD_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"llama-server ended with {process.returncode}:\n{tail(log)}")
        try:
            with urllib.request.urlopen(address, timeout=5) as reply:
                if json.load(reply).get("status") == "ok":
                    return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    pytest.fail(f"llama-server was not ready after {LOAD_SECONDS} s:\n{tail(log)}")


def tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-25:])


def complete(address: str, prompt: str, n_predict: int) -> dict[str, object]:
    request = urllib.request.Request(
        f"{address}/completion",
        json.dumps({"prompt": prompt, "n_predict": n_predict, "ignore_eos": True}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=120) as reply:
        answer: dict[str, object] = json.load(reply)
    return answer


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_proposed_layout_loads_and_answers(
    case: Case, llama_cpp: LlamaCppBuild, model_path: Callable[[str], Path], tmp_path: Path
) -> None:
    cards = cards_named(case.cards)
    layout, argv = plan(model_path(case.model), cards, case.settings)
    assert layout.verdict == case.verdict
    assert len(layout.settings.devices) == case.n_cards
    log = tmp_path / "server.log"
    with running_server(llama_cpp, argv, cards, log) as address:
        answer = complete(address, "hello " * 20, 4)
    assert answer["tokens_predicted"] == 4
    assert int(str(answer["tokens_evaluated"])) > 100, "a batch large enough to be computed on the cards"
    assert "out of memory" not in log.read_text(errors="replace")


def test_a_smaller_card_than_planned_for_runs_out_of_memory(
    llama_cpp: LlamaCppBuild, model_path: Callable[[str], Path], tmp_path: Path
) -> None:
    """The fake cards have teeth: what is planned for a larger card does not load."""
    cards = cards_named("660")
    _, argv = plan(model_path("dense"), cards_named("1100"), LaunchSettings(4096))
    log = tmp_path / "server.log"
    with (
        pytest.raises(pytest.fail.Exception, match="llama-server ended"),
        running_server(llama_cpp, argv, cards, log),
    ):
        pass
    assert "out of memory" in log.read_text(errors="replace")
