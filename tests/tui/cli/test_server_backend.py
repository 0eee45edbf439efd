"""Every command plans for what the llama-server of this machine offers, as the app does."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmfit.advisor.hardware import probe
from llmfit.advisor.hardware.machine import Cpu, Gpu, Machine, Memory
from llmfit.advisor.units import GIB
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
