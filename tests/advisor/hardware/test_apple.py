"""Macs, by stand-ins for sysctl, Metal and the I/O registry."""

from __future__ import annotations

import plistlib
import sys
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfit.advisor.hardware.findings import Findings
from llmfit.advisor.hardware.host.probe import HostProbe
from llmfit.advisor.hardware.mac import apple as apple
from llmfit.advisor.hardware.mac.apple import AppleGpu, AppleProbe, read_ioreg
from llmfit.advisor.hardware.probe import detect_machine
from llmfit.advisor.hardware.unified import gpu_share_of_ram
from llmfit.advisor.units import GIB
from llmfit.catalog.gpus import match_gpu


def _mac(chip: str, ram_gib: int, fast: int, slow: int, **more: str) -> dict[str, str]:
    return {
        "machdep.cpu.brand_string": chip,
        "hw.optional.arm64": "1",
        "hw.physicalcpu": str(fast + slow),
        "hw.logicalcpu": str(fast + slow),
        "hw.perflevel0.physicalcpu": str(fast),
        "hw.perflevel1.physicalcpu": str(slow),
        "hw.memsize": str(ram_gib * GIB),
        "iogpu.wired_limit_mb": "0",
        "kern.osproductversion": "15.6",
        **more,
    }


def _ioreg(model: str | bytes, cores: object) -> bytes:
    entry = {"model": model, "gpu-core-count": cores, "IOClass": "AGXAcceleratorG16X"}
    return plistlib.dumps([{"IOClass": "another"}, entry])


M1 = _mac("Apple M1", 8, 4, 4)
M4_MAX = _mac("Apple M4 Max", 128, 12, 4) | {
    "hw.optional.arm.FEAT_I8MM": "1",
    "hw.optional.arm.FEAT_BF16": "1",
    "hw.optional.arm.FEAT_FP16": "1",
    "hw.optional.arm.FEAT_SME": "1",
}
M3_ULTRA = _mac("Apple M3 Ultra", 512, 24, 8)
UNKNOWN = _mac("Apple M19 Mega", 48, 30, 0)
WIRED = {"iogpu.wired_limit_mb": "114688"}
VENTURA = {"kern.osproductversion": "13.7", "debug.iogpu.wired_limit": str(100 * GIB)}


@pytest.mark.parametrize(
    ("mac", "metal_bytes", "total_bytes", "source"),
    [
        # Metal's figure for 128 GB: antirez/ds4 issue 890, measured with and without the limit.
        pytest.param(M4_MAX, 115448725504, 115448725504, "Metal recommendedMaxWorkingSetSize", id="metal"),
        pytest.param(
            M4_MAX | WIRED, 112 * GIB, 112 * GIB, "Metal recommendedMaxWorkingSetSize", id="metal-and-limit"
        ),
        pytest.param(
            M4_MAX | WIRED, None, 112 * GIB, "sysctl iogpu.wired_limit_mb", id="limit-without-metal"
        ),
        pytest.param(
            {key: value for key, value in M4_MAX.items() if not key.startswith("iogpu")} | VENTURA,
            None,
            100 * GIB,
            "sysctl debug.iogpu.wired_limit",
            id="ventura-writes-bytes",
        ),
        pytest.param(M4_MAX, None, 96 * GIB, "default share of hw.memsize", id="three-quarters"),
        pytest.param(M1, None, 8 * GIB * 2 // 3, "default share of hw.memsize", id="two-thirds"),
        pytest.param(
            M1, 200 * GIB, 8 * GIB * 2 // 3, "default share of hw.memsize", id="metal-above-all-RAM"
        ),
        pytest.param(
            M1 | {"iogpu.wired_limit_mb": "999999"},
            None,
            8 * GIB,
            "sysctl iogpu.wired_limit_mb",
            id="limit-above-RAM",
        ),
        pytest.param(M3_ULTRA, None, 384 * GIB, "default share of hw.memsize", id="m3-ultra"),
    ],
)
def test_what_the_gpu_may_use(
    mac: Mapping[str, str], metal_bytes: int | None, total_bytes: int, source: str
) -> None:
    findings = AppleProbe(mac.get, lambda: metal_bytes, lambda: None).read()
    (gpu,) = findings.gpus
    assert (gpu.backend, gpu.unified_memory, gpu.vram_free_bytes) == ("metal", True, None)
    assert (gpu.vram_total_bytes, gpu.sources["vram_total_bytes"]) == (total_bytes, source)
    guessed = source.startswith("default")
    assert [("iogpu.wired_limit_mb" in note) for note in findings.notes] == [True] * guessed


@pytest.mark.parametrize(
    ("mac", "cores", "performance", "physical"),
    [(M1, 7, 4, 8), (M4_MAX, 40, 12, 16), (M3_ULTRA, 80, 24, 32), (UNKNOWN, 128, None, 30)],
)
def test_chip_and_core_variant(
    mac: Mapping[str, str], cores: int, performance: int | None, physical: int
) -> None:
    chip = mac["machdep.cpu.brand_string"]
    findings = AppleProbe(mac.get, lambda: None, lambda: _ioreg(chip, cores)).read()
    (gpu,) = findings.gpus
    assert (gpu.name, gpu.gpu_cores, gpu.sources["gpu_cores"]) == (chip, cores, "ioreg gpu-core-count")
    assert (gpu.driver, gpu.sources["driver"]) == ("macOS 15.6", "sysctl kern.osproductversion")
    assert findings.cpu is not None
    assert (findings.cpu.performance_cores, findings.cpu.physical_cores) == (performance, physical)


def test_instruction_sets() -> None:
    for mac, more in ((M1, ()), (M4_MAX, ("fp16", "bf16", "i8mm", "sme"))):
        cpu = AppleProbe(mac.get, lambda: None, lambda: None).read().cpu
        assert cpu is not None
        assert cpu.features == ("neon", "dotprod", *more)


def test_silence_is_unknown() -> None:
    findings = AppleProbe(lambda key: None, lambda: None, lambda: None).read()
    (gpu,) = findings.gpus
    assert (gpu.name, gpu.vram_total_bytes, gpu.gpu_cores, gpu.driver) == ("Apple GPU", None, None, None)
    assert dict(gpu.sources) == {}
    assert len(findings.notes) == 1


def test_metal_alone_is_enough() -> None:
    findings = AppleProbe(lambda key: None, lambda: 10 * GIB, lambda: None).read()
    assert (findings.gpus[0].vram_total_bytes, findings.notes) == (10 * GIB, ())


def test_rosetta_is_said_with_its_fix() -> None:
    translated = M4_MAX | {
        "machdep.cpu.brand_string": "VirtualApple @ 2.50GHz processor",
        "sysctl.proc_translated": "1",
    }
    findings = AppleProbe(translated.get, lambda: 96 * GIB, lambda: _ioreg("Apple M4 Max", 40)).read()
    assert (findings.gpus[0].name, findings.gpus[0].gpu_cores) == ("Apple M4 Max", 40)
    assert findings.cpu is not None
    assert findings.cpu.name == "Apple M4 Max"
    assert len(findings.notes) == 1
    assert "Rosetta" in findings.notes[0]
    assert "Install Python and llama.cpp for arm64" in findings.notes[0]
    unnamed = AppleProbe(translated.get, lambda: None, lambda: None).read()
    assert unnamed.gpus[0].name == "VirtualApple"


def test_an_intel_mac_has_a_cpu_only() -> None:
    intel = {
        "machdep.cpu.brand_string": "Intel(R) Core(TM) i9-9880H CPU @ 2.30GHz",
        "hw.physicalcpu": "8",
        "hw.logicalcpu": "16",
        "hw.memsize": str(32 * GIB),
    }
    findings = AppleProbe(intel.get, lambda: 8 * GIB, lambda: None).read()
    assert findings.gpus == ()
    assert findings.cpu is not None
    assert (findings.cpu.physical_cores, findings.cpu.logical_cores) == (8, 16)
    assert len(findings.notes) == 1
    assert "Intel processor" in findings.notes[0]


@pytest.mark.skipif(sys.platform == "darwin", reason="this computer is a Mac")
def test_elsewhere_it_says_nothing() -> None:
    assert AppleProbe().read() == Findings()
    assert apple._ioreg() is None


def test_on_a_mac_the_host_leaves_the_cpu_to_this_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmfit.advisor.hardware.host.probe.sys.platform", "darwin")
    assert HostProbe().read().cpu is None
    machine = detect_machine([HostProbe(), AppleProbe(M4_MAX.get, lambda: None, lambda: None)])
    assert (machine.cpu.name, machine.cpu.performance_cores) == ("Apple M4 Max", 12)


def test_the_chip_and_its_size_find_the_row_of_the_catalogue() -> None:
    small = AppleProbe(_mac("Apple M4 Max", 36, 10, 4).get, lambda: None, lambda: _ioreg("Apple M4 Max", 32))
    facts = match_gpu(small.read().gpus[0], 36 * GIB)
    assert facts is not None
    assert facts.bandwidth_bytes_per_s == 410 * 10**9
    machine = detect_machine([AppleProbe(M4_MAX.get, lambda: None, lambda: None), HostProbe()])
    assert machine.gpus[0].vram_free_bytes is not None
    assert machine.memory.available_bytes is not None
    assert machine.gpus[0].vram_free_bytes <= machine.memory.available_bytes


@pytest.mark.parametrize(
    ("plist", "expected"),
    [
        (None, AppleGpu()),
        (b"", AppleGpu()),
        (b"<plist>", AppleGpu()),
        (b"bplist00\xff\xff", AppleGpu()),
        (plistlib.dumps({"gpu-core-count": 8}), AppleGpu()),
        (plistlib.dumps([{"gpu-core-count": "eight", "model": 5}]), AppleGpu()),
        (_ioreg("Apple M1", 100000), AppleGpu("Apple M1", None)),
        (_ioreg("Apple M1", True), AppleGpu("Apple M1", None)),
        (_ioreg(b"Apple M2 Pro\0", 19), AppleGpu("Apple M2 Pro", 19)),
        (_ioreg("Apple\n M2", 10), AppleGpu("Apple M2", 10)),
        (
            b'<?xml version="1.0"?><!DOCTYPE p [<!ENTITY a "aa">]><plist><array><dict>'
            b"<key>gpu-core-count</key><integer>8</integer></dict></array></plist>",
            AppleGpu(),
        ),
    ],
)
def test_the_registry_may_write_anything(plist: bytes | None, expected: AppleGpu) -> None:
    assert read_ioreg(plist) == expected


@given(st.binary(max_size=200), st.sampled_from((b"", b"bplist00", b"<?xml version='1.0'?><plist>")))
def test_any_bytes_are_a_registry_without_error(content: bytes, start: bytes) -> None:
    assert read_ioreg(start + content) == AppleGpu()


@given(st.dictionaries(st.sampled_from(sorted(M4_MAX)), st.text(max_size=12)))
def test_any_values_are_a_mac_without_error(values: dict[str, str]) -> None:
    findings = AppleProbe({**M4_MAX, **values}.get, lambda: None, lambda: None).read()
    for gpu in findings.gpus:
        assert gpu.vram_total_bytes is None or gpu.vram_total_bytes > 0


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
