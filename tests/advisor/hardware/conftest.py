"""Helpers: file trees that stand for a computer, and NVML built from tests/data/fake_nvml.c."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from llmfit.advisor.errors import UsageError
from llmfit.advisor.hardware.machine import GpuFacts, GpuLookup, Machine
from llmfit.advisor.hardware.machine_file import machine_from_json
from llmfit.advisor.units import GIB

SYSFS = Path(__file__).parents[2] / "data" / "sysfs"
FAKE_NVML_SOURCE = Path(__file__).parents[2] / "data" / "fake_nvml.c"
DETECT = """
import json, sys
from pathlib import Path
from llmfit.advisor.hardware.host.probe import HostProbe
from llmfit.advisor.hardware.machine_file import machine_to_json
from llmfit.advisor.hardware.nvidia.probe import NvidiaProbe
from llmfit.advisor.hardware.probe import detect_machine
probes = [HostProbe(), NvidiaProbe(root=Path(sys.argv[2]))]
machine = detect_machine(probes, timeout_s=float(sys.argv[1]))
print(json.dumps(machine_to_json(machine)))
"""
DETECT_ALL = """
import json, os, sys
from pathlib import Path
from llmfit.advisor.hardware.host.probe import HostProbe
from llmfit.advisor.hardware.machine_file import machine_to_json
from llmfit.advisor.hardware.nvidia.probe import NvidiaProbe
from llmfit.advisor.hardware.probe import detect_machine
for environ in json.load(sys.stdin):
    os.environ.update(environ)
    probes = [HostProbe(), NvidiaProbe(root=Path(os.environ.get("FAKE_ROOT", "/")))]
    machine = detect_machine(probes, timeout_s=30)
    print(json.dumps(machine_to_json(machine)))
    for name in environ:
        del os.environ[name]
"""


@pytest.fixture
def tree(tmp_path: Path) -> Callable[[Mapping[str, str | bytes]], Path]:
    """Writes files under a fresh root and returns the root."""

    def write(files: Mapping[str, str | bytes]) -> Path:
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path

    return write


@pytest.fixture
def computer(tmp_path: Path) -> Callable[..., Path]:
    """Writes a tree of tests/data/sysfs and returns its root.

    ``changes`` are path → content; None removes a file.
    """

    def write(name: str, changes: Mapping[str, str | None] | None = None) -> Path:
        root = tmp_path / f"{name}-{len(list(tmp_path.iterdir()))}"
        short: dict[str, str] = {}
        for line in (SYSFS / f"{name}.tree").read_text().splitlines():
            if line.startswith("#"):
                continue
            left, sign, right = re.split(r" (=|->) ?", line, maxsplit=1)
            left = left.format(**short)
            if left.startswith("@"):
                short[left[1:]] = right.format(**short)
            elif sign == "->":
                _make(root / left).symlink_to(right)
            elif right.startswith("hex:"):
                _make(root / left).write_bytes(bytes.fromhex(right[4:]))
            else:
                _make(root / left).write_text(right.replace("\\n", "\n").replace("\\t", "\t"))
        for path, content in (changes or {}).items():
            changed = root / path.format(**short)
            changed.unlink(missing_ok=True)
            if content is not None:
                _make(changed).write_text(content)
        return root

    return write


def _make(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


@pytest.fixture(scope="session")
def fake_nvml_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with libnvidia-ml.so.1 that answers by scenario."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs Linux and a C compiler (cc) to build the stand-in for NVML")
    folder = tmp_path_factory.mktemp("nvml")
    command = [compiler, "-shared", "-fPIC", "-o", str(folder / "libnvidia-ml.so.1"), str(FAKE_NVML_SOURCE)]
    subprocess.run(command, check=True, timeout=60)
    return folder


@pytest.fixture
def detect_with_nvml(fake_nvml_folder: Path) -> Callable[..., Machine]:
    """Runs detection in a new process in which pynvml loads the stand-in with a scenario.

    ``root`` is where the NVIDIA probe looks for ``/dev`` and ``/proc``.
    """

    def detect(scenario: str, timeout_s: float = 30.0, root: Path = Path("/"), **environ: str) -> Machine:
        environ = {"FAKE_NVML": scenario, **environ}
        (text,) = _python(fake_nvml_folder, [DETECT, str(timeout_s), str(root)], environ)
        return machine_from_json(json.loads(text))

    return detect


@pytest.fixture(scope="session")
def detect_all_with_nvml(fake_nvml_folder: Path) -> Callable[..., dict[str, Machine]]:
    """Runs detection once for each named environment, all in one new process: starting one costs more than
    detecting. ``FAKE_ROOT`` is where the NVIDIA probe looks for ``/dev`` and ``/proc``."""

    def detect(environs: Mapping[str, Mapping[str, str]]) -> dict[str, Machine]:
        lines = _python(fake_nvml_folder, [DETECT_ALL], {}, json.dumps(list(environs.values())))
        return {name: machine_from_json(json.loads(line)) for name, line in zip(environs, lines, strict=True)}

    return detect


def _python(nvml_folder: Path, script: list[str], environ: Mapping[str, str], stdin: str = "") -> list[str]:
    """The lines that a script prints whose pynvml finds the stand-in."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("CUDA_", "FAKE_"))}
    done = subprocess.run(
        [sys.executable, "-c", *script],
        env={**environment, "LD_LIBRARY_PATH": str(nvml_folder), **environ},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def _facts(name: str, sizes: tuple[int, ...], bandwidth_gb_s: int, **more: object) -> GpuFacts:
    return GpuFacts(
        id=name.lower().replace(" ", "-"),
        name=name,
        vendor=str(more.pop("vendor", "nvidia")),
        backend=str(more.pop("backend", "cuda")),
        memory_bytes_options=tuple(size * GIB for size in sizes),
        default_memory_bytes=max(sizes, default=0) * GIB or None,
        bandwidth_bytes_per_s=bandwidth_gb_s * 10**9,
        fp16_flops=71 * 10**12,
        **more,  # type: ignore[arg-type]
    )


ROWS: Mapping[str, tuple[GpuFacts, ...]] = {
    "rtx 3090": (
        _facts(
            "GeForce RTX 3090", (24,), 936, compute_capability="8.6", pcie_generation=4, architecture="Ampere"
        ),
    ),
    "rtx 3060": (_facts("GeForce RTX 3060 12 GB", (12,), 360), _facts("GeForce RTX 3060 8 GB", (8,), 240)),
    "gtx 1060 6gb": (_facts("GeForce GTX 1060 6 GB", (6,), 192),),
    "m4 max": (
        _facts("Apple M4 Max (40)", (48, 64, 128), 546, vendor="apple", backend="metal", unified_memory=True),
        _facts("Apple M4 Max (32)", (36,), 410, vendor="apple", backend="metal", unified_memory=True),
    ),
    "dgx spark": (_facts("GB10", (128,), 273, unified_memory=True),),
    "strix halo": (_facts("Radeon 8060S", (), 256, vendor="amd", backend="vulkan", unified_memory=True),),
}


@pytest.fixture
def lookup() -> GpuLookup:
    """A catalogue of a few rows."""

    def find(name: str) -> tuple[GpuFacts, ...]:
        try:
            return ROWS[name.lower().strip()]
        except KeyError:
            raise UsageError(f"GPU {name!r}", "not in the catalogue", "Did you mean RTX 3090?") from None

    return find
