"""detect_machine(): every probe may fail alone."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import pytest

from llmfit.advisor.hardware import probe as probe_module
from llmfit.advisor.hardware.findings import Findings, clean_text
from llmfit.advisor.hardware.machine import Cpu, Gpu, GpuFacts, LlamaServer, Memory
from llmfit.advisor.hardware.probe import detect_machine
from llmfit.advisor.units import GIB

HOST = Findings(cpu=Cpu("some CPU", 8, 16), memory=Memory(64 * GIB, 50 * GIB, 60 * GIB))
CARD = Gpu(
    0, "NVIDIA GeForce RTX 3090", "nvidia", "cuda", vram_total_bytes=24 * GIB, vram_free_bytes=20 * GIB
)
SHARED = Gpu(0, "NVIDIA GB10", "nvidia", "cuda", unified_memory=True)


@dataclass
class Fixed:
    findings: Findings
    subject: str = "something"

    def read(self) -> Findings:
        return self.findings


class Failing:
    subject = "the odd card"

    def read(self) -> Findings:
        raise KeyError("a\x1b[2Jb")


class Hanging:
    subject = "the slow card"

    def __init__(self) -> None:
        self.release = threading.Event()

    def read(self) -> Findings:
        self.release.wait(30)
        return Findings()


def test_findings_are_joined_in_order() -> None:
    second = Gpu(0, "Radeon RX 7900 XTX", "amd", "rocm")
    machine = detect_machine([Fixed(HOST), Fixed(Findings(gpus=(CARD,))), Fixed(Findings(gpus=(second,)))])
    assert machine.cpu.name == "some CPU"
    assert [(gpu.index, gpu.vendor) for gpu in machine.gpus] == [(0, "nvidia"), (1, "amd")]
    assert not machine.simulated


def test_a_failing_probe_costs_only_its_part() -> None:
    machine = detect_machine([Failing(), Fixed(HOST), Fixed(Findings(gpus=(CARD,), notes=("a note",)))])
    assert machine.memory.total_bytes == 64 * GIB
    assert machine.gpus[0].vram_free_bytes == 20 * GIB
    assert machine.notes == ("The odd card could not be read: KeyError 'a\\x1b[2Jb'.", "a note")


def test_a_hanging_probe_costs_only_its_part() -> None:
    hanging = Hanging()
    try:
        machine = detect_machine([hanging, Fixed(HOST)], timeout_s=0.05)
    finally:
        hanging.release.set()
    assert machine.cpu.name == "some CPU"
    assert machine.notes == ("The slow card could not be read: the driver did not answer within 0.05 s.",)


def test_nothing_known_is_unknown_and_not_zero() -> None:
    machine = detect_machine([])
    assert machine.memory == Memory(None, None)
    assert machine.cpu == Cpu(None, None, None)
    assert machine.gpus == ()


def test_unified_memory_is_what_this_process_may_use() -> None:
    (gpu,) = detect_machine([Fixed(HOST), Fixed(Findings(gpus=(SHARED,)))]).gpus
    assert gpu.vram_total_bytes == 60 * GIB  # the container's limit
    assert gpu.vram_free_bytes == 50 * GIB


def test_an_integrated_gpu_gives_way_to_a_card() -> None:
    machine = detect_machine([Fixed(HOST), Fixed(Findings(gpus=(SHARED, CARD)))])
    assert [gpu.name for gpu in machine.gpus] == [CARD.name]
    assert machine.gpus[0].index == 0
    assert "NVIDIA GB10 is left out" in machine.notes[0]


def test_the_catalogue_fills_what_the_driver_does_not_tell() -> None:
    asked: list[tuple[str, int | None]] = []

    def match(gpu: Gpu, size_bytes: int | None) -> GpuFacts:
        asked.append((gpu.name, size_bytes))
        return GpuFacts(
            "gb10", "GB10", "nvidia", "cuda", bandwidth_bytes_per_s=273 * 10**9, unified_memory=True
        )

    machine = detect_machine([Fixed(HOST), Fixed(Findings(gpus=(SHARED,)))], match)
    assert asked == [("NVIDIA GB10", 64 * GIB)]
    assert machine.gpus[0].catalog_id == "gb10"
    assert machine.gpus[0].sources["bandwidth_bytes_per_s"] == "catalog"
    assert machine.memory.bandwidth_bytes_per_s == 273 * 10**9
    assert machine.memory.bandwidth_source == "catalog (shared with the GPU)"


def test_the_server_on_path_is_found_but_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_module, "find_llama_server", lambda: LlamaServer("/opt/llama-server"))
    assert detect_machine([]).llama_server == LlamaServer("/opt/llama-server")


def test_this_computer_can_be_probed() -> None:
    machine = detect_machine()
    assert machine.memory.total_bytes is not None
    assert machine.memory.available_bytes is not None
    assert 0 < machine.memory.available_bytes <= machine.memory.total_bytes
    assert machine.cpu.logical_cores is not None


def test_clean_text() -> None:
    assert clean_text(" a\tb\x00\x1b[0m\u202e\nc ") == "a b [0m c"
    assert len(clean_text("x" * 5000)) == 120
