"""The real binding code of Metal and sysctl, against a small library with their symbols."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from llmfit.advisor.hardware.mac import metal as metal
from llmfit.advisor.hardware.mac.apple import AppleProbe
from llmfit.advisor.hardware.mac.metal import read_working_set_bytes, sysctl_reader
from llmfit.advisor.units import GIB

SOURCE = Path(__file__).parents[2] / "data" / "fake_macos.c"


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    compiler = shutil.which("cc")
    if compiler is None or sys.platform == "win32":
        pytest.skip("needs a C compiler (cc) to build the stand-in for macOS")
    path = tmp_path_factory.mktemp("macos") / "libfake.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(path), str(SOURCE)], check=True, timeout=60)
    return ctypes.CDLL(str(path))


@pytest.mark.parametrize(
    ("mac", "expected"),
    [
        # 107.52 and 112 GiB: an M5 Max with 128 GB without and with the limit (antirez/ds4 issue 890).
        ("m4max", 115448725504),
        ("m4max_wired", 112 * GIB),
        ("no_device", None),
        ("no_property", None),
    ],
)
def test_the_working_set(
    library: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch, mac: str, expected: int | None
) -> None:
    monkeypatch.setenv("FAKE_MACOS", mac)
    opened: list[str] = []
    before = library.fake_released()

    def load(path: str) -> ctypes.CDLL:
        opened.append(path)
        return library

    assert read_working_set_bytes(load) == expected
    assert opened == [metal.CORE_GRAPHICS, metal.METAL, metal.OBJECTIVE_C]
    assert library.fake_released() - before == (mac != "no_device")


@pytest.mark.parametrize("missing", [metal.CORE_GRAPHICS, metal.METAL, metal.OBJECTIVE_C])
def test_a_library_that_is_missing_is_no_device(library: ctypes.CDLL, missing: str) -> None:
    def load(path: str) -> ctypes.CDLL:
        if path == missing:
            raise OSError("image not found")
        return library

    assert read_working_set_bytes(load) is None


def test_a_library_without_the_symbols_is_no_device() -> None:
    assert read_working_set_bytes(lambda path: ctypes.CDLL(None)) is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("machdep.cpu.brand_string", "Apple M4 Max"),
        ("hw.memsize", str(128 * GIB)),
        ("hw.physicalcpu", "16"),
        ("hw.odd", None),
        ("hw.lie", None),
        ("iogpu.wired_limit_mb", None),
    ],
)
def test_kernel_values(library: ctypes.CDLL, key: str, value: str | None) -> None:
    assert sysctl_reader(lambda path: library)(key) == value


def test_without_the_system_library_every_value_is_unknown() -> None:
    def load(path: str) -> ctypes.CDLL:
        raise OSError(path)

    assert sysctl_reader(load)("hw.memsize") is None


def test_the_probe_through_the_bindings(library: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_MACOS", "m4max")
    probe = AppleProbe(
        sysctl_reader(lambda path: library),
        metal=lambda: read_working_set_bytes(lambda path: library),
        ioreg=lambda: None,
    )
    findings = probe.read()
    (gpu,) = findings.gpus
    assert (gpu.name, gpu.vram_total_bytes) == ("Apple M4 Max", 115448725504)
    assert gpu.sources["vram_total_bytes"] == "Metal recommendedMaxWorkingSetSize"
    assert findings.cpu is not None
    assert (findings.cpu.physical_cores, findings.notes) == (16, ())
