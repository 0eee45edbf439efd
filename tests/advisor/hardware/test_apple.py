"""Apple silicon, by a stand-in for sysctl."""

from __future__ import annotations

import sys

import pytest

from llmfit.advisor.hardware.apple import AppleProbe
from llmfit.advisor.hardware.findings import Findings
from llmfit.advisor.hardware.host import HostProbe
from llmfit.advisor.hardware.machine import Gpu
from llmfit.advisor.hardware.probe import detect_machine
from llmfit.advisor.hardware.unified import gpu_share_of_ram
from llmfit.advisor.units import GIB
from llmfit.catalog.gpus import match_gpu

M4_MAX = {
    "machdep.cpu.brand_string": "Apple M4 Max",
    "hw.physicalcpu": "16",
    "hw.logicalcpu": "16",
    "hw.memsize": str(128 * GIB),
    "iogpu.wired_limit_mb": "0",
    "hw.optional.arm.FEAT_I8MM": "1",
}


def test_the_default_limit_is_a_share_and_said_so() -> None:
    findings = AppleProbe(M4_MAX.get).read()
    (gpu,) = findings.gpus
    assert (gpu.name, gpu.backend, gpu.unified_memory) == ("Apple M4 Max", "metal", True)
    assert gpu.vram_total_bytes == 96 * GIB
    assert "three quarters" in findings.notes[0]
    assert findings.cpu is not None
    assert findings.cpu.features == ("neon", "dotprod", "i8mm")


def test_a_limit_that_somebody_set_counts() -> None:
    findings = AppleProbe((M4_MAX | {"iogpu.wired_limit_mb": "114688"}).get).read()
    assert findings.gpus[0].vram_total_bytes == 112 * GIB
    assert findings.gpus[0].sources["vram_total_bytes"] == "sysctl iogpu.wired_limit_mb"
    assert findings.notes == ()


def test_silence_is_unknown() -> None:
    findings = AppleProbe(lambda key: None).read()
    assert findings.gpus[0].vram_total_bytes is None
    assert len(findings.notes) == 1


@pytest.mark.skipif(sys.platform == "darwin", reason="this computer is a Mac")
def test_elsewhere_it_says_nothing() -> None:
    assert AppleProbe().read() == Findings()


def test_the_chip_and_its_size_find_the_row_of_the_catalogue() -> None:
    facts = match_gpu(Gpu(0, "Apple M4 Max", "apple", "metal"), 36 * GIB)
    assert facts is not None
    assert facts.bandwidth_bytes_per_s == 410 * 10**9
    machine = detect_machine([AppleProbe(M4_MAX.get), HostProbe()])
    assert machine.gpus[0].vram_free_bytes is not None
    assert machine.memory.available_bytes is not None
    assert machine.gpus[0].vram_free_bytes <= machine.memory.available_bytes


@pytest.mark.parametrize(
    ("vendor", "ram_gib", "measured_gib"),
    # What Metal's recommendedMaxWorkingSetSize and the systems' own tools show: sources in unified.py.
    [
        ("apple", 16, 10.67),
        ("apple", 16, 11.84),
        ("apple", 64, 48.0),
        ("apple", 128, 96.0),
        ("apple", 128, 107.52),
        ("nvidia", 128, 119.0),
    ],
)
def test_the_share_is_never_above_what_was_measured(vendor: str, ram_gib: int, measured_gib: float) -> None:
    share, why = gpu_share_of_ram(vendor, ram_gib * GIB)
    assert share <= measured_gib * GIB * 1.001
    assert share >= 0.85 * measured_gib * GIB
    assert why.endswith(".")
