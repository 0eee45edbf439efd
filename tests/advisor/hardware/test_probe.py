"""detect_machine(): every probe may fail alone."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from llmfit.advisor.hardware import probe as probe_module
from llmfit.advisor.hardware.drm.amd import AmdProbe
from llmfit.advisor.hardware.drm.intel import IntelProbe
from llmfit.advisor.hardware.findings import Findings
from llmfit.advisor.hardware.machine import MAX_GPUS, Cpu, Gpu, GpuFacts, Memory
from llmfit.advisor.hardware.machine_file import machine_from_json, machine_to_json
from llmfit.advisor.hardware.probe import detect_machine
from llmfit.advisor.text import clean_text
from llmfit.advisor.units import GIB
from llmfit.catalog.gpus import match_gpu, typical_bandwidth

SYSFS = Path(__file__).parents[2] / "data" / "sysfs"
HOST = Findings(cpu=Cpu("some CPU", 8, 16), memory=Memory(64 * GIB, 50 * GIB, 60 * GIB))
CARD = Gpu(
    0, "NVIDIA GeForce RTX 3090", "nvidia", "cuda", vram_total_bytes=24 * GIB, vram_free_bytes=20 * GIB
)
SHARED = Gpu(0, "NVIDIA GB10", "nvidia", "cuda", unified_memory=True)


@dataclass
class Fixed:
    findings: Findings
    subject: str = "something"
    finds_gpus: bool = True

    def read(self) -> Findings:
        return self.findings


class Failing:
    subject = "the odd card"
    finds_gpus = True

    def read(self) -> Findings:
        raise KeyError("a\x1b[2Jb")


class Hanging:
    subject = "the slow card"
    finds_gpus = True

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
    assert not machine.simulated and machine.described_by is None


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
    assert machine.unseen_gpus == machine.notes


def test_only_what_finds_gpus_leaves_them_unseen() -> None:
    failing = Failing()
    failing.finds_gpus = False
    machine = detect_machine([failing])
    assert machine.notes and machine.unseen_gpus == ()


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


def test_no_more_gpus_than_llama_cpp_takes() -> None:
    """Whoever made them: NVIDIA's probe cuts its own list, and others may join it."""
    nvidia, amd = (Gpu(0, name, name.lower(), "vulkan") for name in ("NVIDIA", "AMD"))
    asked: list[str] = []

    def match(gpu: Gpu, size_bytes: int | None) -> None:
        asked.append(gpu.name)

    probes = [Fixed(Findings(gpus=(nvidia,) * 10)), Fixed(Findings(gpus=(amd,) * 7))]
    machine = detect_machine(probes, match)
    assert [gpu.index for gpu in machine.gpus] == list(range(MAX_GPUS))
    assert [gpu.name for gpu in machine.gpus] == ["NVIDIA"] * 10 + ["AMD"] * 6 == asked
    told = "17 GPUs are here; llama.cpp takes 16, so only the first 16 are listed."
    assert told in machine.notes
    fits = detect_machine([Fixed(Findings(gpus=(amd,) * MAX_GPUS))])
    assert (len(fits.gpus), fits.notes) == (MAX_GPUS, ())


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


def test_this_computer_can_be_probed() -> None:
    machine = detect_machine()
    assert machine.memory.total_bytes is not None
    assert machine.memory.available_bytes is not None
    assert 0 < machine.memory.available_bytes <= machine.memory.total_bytes
    assert machine.cpu.logical_cores is not None


def test_clean_text() -> None:
    assert clean_text(" a\tb\x00\x1b[0m\u202e\nc ") == "a b [0m c"
    assert len(clean_text("x" * 5000)) == 120


def test_advice_about_a_gpu_that_is_left_out_is_left_out() -> None:
    notes = ("NVIDIA GB10: it could have more.", "Something: else.")
    machine = detect_machine([Fixed(HOST), Fixed(Findings(gpus=(SHARED, CARD), notes=notes))])
    assert machine.notes == (
        "Something: else.",
        "NVIDIA GB10 is left out: llama.cpp uses no integrated GPU beside a graphics card.",
    )


def test_notes_about_a_nameless_card_get_its_name() -> None:
    card = Gpu(0, "AMD GPU", "amd", "rocm", vram_total_bytes=24 * GIB, pci_id="1002:744c rev c8")
    probe = Fixed(Findings(gpus=(card,), notes=("AMD GPU: a note.",)))
    assert detect_machine([probe], match_gpu).notes == ("Radeon RX 7900 XTX: a note.",)
    twins = Fixed(Findings(gpus=(card, card), notes=("AMD GPU: a note.",)))
    assert detect_machine([twins], match_gpu).notes == ("AMD GPU: a note.",)


def test_what_is_free_of_a_carve_out_and_the_ram_beside_it() -> None:
    apu = Gpu(
        0, "APU", "amd", "vulkan", unified_memory=True, vram_total_bytes=111 * GIB, carve_out_bytes=96 * GIB
    )
    host = Findings(memory=Memory(31 * GIB, 10 * GIB))
    assert detect_machine([Fixed(host), Fixed(Findings(gpus=(apu,)))]).gpus[0].vram_free_bytes == 106 * GIB


def test_an_amd_integrated_gpu_beside_a_card(computer: Callable[..., Path]) -> None:
    machine = detect_machine([AmdProbe(computer("amd-igpu-beside-card"))], match_gpu)
    assert [gpu.catalog_id for gpu in machine.gpus] == ["amd-radeon-rx-7600"]
    assert machine.notes == (
        "AMD Radeon Graphics is left out: llama.cpp uses no integrated GPU beside a graphics card.",
    )


def test_strix_halo_from_the_files_to_the_catalogue(computer: Callable[..., Path]) -> None:
    (gpu,) = detect_machine([AmdProbe(computer("strix-halo-96g"))], match_gpu).gpus
    assert gpu.catalog_id == "amd-radeon-8060s"
    assert gpu.bandwidth_bytes_per_s == 256 * 10**9


def test_every_source_is_asked_in_order() -> None:
    subjects = [probe.subject for probe in probe_module.default_probes()]
    assert subjects == ["CPU and RAM", "NVIDIA cards", "AMD GPUs", "Intel GPUs", "the Apple GPU"]


@pytest.mark.parametrize("name", sorted(path.stem for path in SYSFS.glob("*.tree")))
def test_every_computer_survives_the_machine_file(name: str, computer: Callable[..., Path]) -> None:
    root = computer(name)
    machine = detect_machine(
        [Fixed(HOST), AmdProbe(root), IntelProbe(root)], match_gpu, 30, typical_bandwidth
    )
    assert machine.gpus
    read = machine_from_json(json.loads(json.dumps(machine_to_json(machine))))
    assert read == replace(machine, described_by="--machine")
    assert all(note.isprintable() and note.endswith(".") for note in machine.notes)


def test_an_empty_sys_has_no_gpus(tmp_path: Path) -> None:
    (tmp_path / "sys").mkdir()
    machine = detect_machine([Fixed(HOST), AmdProbe(tmp_path), IntelProbe(tmp_path)], match_gpu)
    assert (machine.gpus, machine.notes) == ((), ())
