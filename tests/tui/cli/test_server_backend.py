"""Every command plans for what the llama-server of this machine offers, as the app does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from llmfit.advisor.hardware import probe
from llmfit.advisor.hardware.machine import Cpu, Gpu, LlamaServer, Machine, Memory
from llmfit.advisor.recommend.request import Request
from llmfit.advisor.recommend.search import judge
from llmfit.advisor.recommend.warnings import SERVER_SEES_NO_GPU, find_warnings
from llmfit.advisor.units import GIB
from llmfit.catalog.build import build_model
from llmfit.catalog.models import find_model
from tests.advisor.server.fake_servers import server_script, write_program
from tests.tui.cli.conftest import Run

NAME = "NVIDIA GeForce RTX 3090"
CARDS = tuple(
    Gpu(i, NAME, "nvidia", "cuda", vram_total_bytes=24 * GIB, vram_free_bytes=24 * GIB) for i in range(2)
)
THIS = Machine("linux", Cpu("cpu", 8, 16), Memory(64 * GIB, 60 * GIB), CARDS)


@pytest.fixture(autouse=True)
def this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(probe, "detect_machine", lambda **_: THIS)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


CUDA = [f"CUDA{number}: {NAME} (24576 MiB, 24000 MiB free)" for number in range(2)]
BLIND = "The llama-server lists no GPU, but this machine has 2x NVIDIA GeForce RTX 3090"


def put(path: Path, *devices: str) -> Path:
    """PATH has nothing but the test's own folder."""
    return write_program(path, server_script(*devices).replace("echo", "/bin/echo"))


def test_a_server_that_sees_no_gpu_is_said_by_every_answer_that_plans_for_one(
    run: Run, tmp_path: Path
) -> None:
    put(tmp_path / "bin/llama-server")
    model = ("Llama-3.1-8B", "--quant", "Q4_K_M")
    warnings = run("estimate", *model, "--json").document["warnings"]
    (text,) = [warning["text"] for warning in warnings if warning["code"] == "server_sees_no_gpu"]
    assert text.startswith(BLIND)
    assert "lists no GPU" in run("estimate", *model).out
    command = run("command", *model)
    assert command.out.startswith("llama-server ") and command.out.count("\n") == 1
    assert command.err == f"llmfit: note: {text}\n"
    assert run("command", *model, "--json").err == ""
    shown = run("recommend", "--limit", "1", "--family", "Llama 3").out
    assert shown.count("lists no GPU") == 1 and shown.splitlines()[1].startswith("! The llama-server lists")


def test_what_uses_no_gpu_has_no_such_warning() -> None:
    machine = replace(THIS, llama_server=LlamaServer("/b/llama-server", "1", None, ("cpu",)))
    model = build_model(find_model("Llama-3.1-8B"), "Q4_K_M")
    judgement = judge(model, machine, Request(), remedies=False)
    (warning,) = [warning for warning in judgement.warnings if warning.code == SERVER_SEES_NO_GPU]
    assert "CPU-only build" in warning.text
    on_the_cpu = replace(judgement.settings, devices=())
    assert SERVER_SEES_NO_GPU not in [w.code for w in find_warnings(model, machine, on_the_cpu)]


def test_a_server_that_sees_them_is_no_warning(run: Run, tmp_path: Path) -> None:
    put(tmp_path / "bin/llama-server", *CUDA)
    answer = run("command", "Llama-3.1-8B", "--quant", "Q4_K_M")
    assert (answer.code, answer.err) == (0, "")


@pytest.mark.parametrize("on_path", [True, False])
def test_the_line_says_for_which_server_it_was_planned(run: Run, tmp_path: Path, on_path: bool) -> None:
    seeing = put(tmp_path / "llama.cpp/build/bin/llama-server", *CUDA)
    blind = put(tmp_path / "bin/llama-server") if on_path else None
    answer = run("command", "Llama-3.1-8B", "--quant", "Q4_K_M")
    assert answer.out.startswith("llama-server ")
    what = f"means {blind} in a shell" if blind else "is not on PATH"
    assert answer.err == f"llmfit: note: llama-server {what}; this line was planned for {seeing}.\n"
    described = run("command", "Llama-3.1-8B", "--quant", "Q4_K_M", "--gpu", "RTX 3090")
    assert described.err == ""


@pytest.mark.parametrize(("backend", "device"), [("vulkan", "Vulkan0"), ("cuda", "CUDA0")])
def test_the_command_names_the_devices_of_the_server(
    run: Run, tmp_path: Path, backend: str, device: str
) -> None:
    kind = device.rstrip("0")
    devices = [f"{kind}{number}: {NAME} (24576 MiB, 24000 MiB free)" for number in range(2)]
    write_program(tmp_path / "bin/llama-server", server_script(*devices).replace("echo", "/bin/echo"))
    document = run("estimate", "Llama-3.1-8B", "--quant", "Q4_K_M", "--json").document
    assert [gpu["backend"] for gpu in document["machine"]["gpus"]] == [backend, backend]
    argv = document["argv"]
    assert argv[argv.index("--device") + 1] == device
