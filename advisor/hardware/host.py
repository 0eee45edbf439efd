"""CPU and RAM of this computer, with the limits under which this process runs."""

from __future__ import annotations

import os
import platform
import re
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from llmfit.advisor.hardware.cgroup import read_cgroup_cpus, read_cgroup_memory
from llmfit.advisor.hardware.findings import Findings, clean_text
from llmfit.advisor.hardware.machine import Cpu, Memory

FEATURE_FLAGS: dict[str, tuple[str, ...]] = {
    "avx": ("avx",),
    "avx2": ("avx2",),
    "fma": ("fma",),
    "f16c": ("f16c",),
    "avx_vnni": ("avx_vnni",),
    "avx512": ("avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"),
    "avx512_vnni": ("avx512_vnni",),
    "avx512_bf16": ("avx512_bf16",),
    "amx": ("amx_tile", "amx_int8"),
    "neon": ("asimd",),
    "dotprod": ("asimddp",),
    "i8mm": ("i8mm",),
    "sve": ("sve",),
    "sve2": ("sve2",),
    "sme": ("sme",),
}
"""Feature -> the flags of /proc/cpuinfo that make it up: those that llama.cpp's CPU code asks for
(ggml/src/ggml-cpu: AVX512 stands for F, CD, BW, DQ and VL together)."""


@dataclass(frozen=True, slots=True)
class CpuInfo:
    """What /proc/cpuinfo says. ``core_of`` maps a logical CPU to its physical core, where the file tells."""

    name: str | None
    features: tuple[str, ...]
    core_of: dict[int, tuple[int, int]]


class HostProbe:
    """Reads CPU and RAM of this computer; ``root`` is the file system's root, another one in tests."""

    subject = "CPU and RAM"

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    def read(self) -> Findings:
        notes: list[str] = []
        return Findings(cpu=self._cpu(notes), memory=self._memory(notes), notes=tuple(notes))

    def _memory(self, notes: list[str]) -> Memory:
        # Imported here: 10 ms, and not needed for a simulated machine.
        import psutil  # type: ignore[import-untyped]

        try:
            ram = psutil.virtual_memory()
        except (psutil.Error, OSError, RuntimeError) as error:
            notes.append(f"RAM could not be read: {clean_text(str(error))}.")
            return Memory(total_bytes=None, available_bytes=None)
        group = read_cgroup_memory(self._root, ram.total)
        available = ram.available
        if group.limit_bytes is not None:
            available = min(available, group.limit_bytes)
        if group.available_bytes is not None:
            available = min(available, group.available_bytes)
        return Memory(total_bytes=ram.total, available_bytes=available, limit_bytes=group.limit_bytes)

    def _cpu(self, notes: list[str]) -> Cpu:
        info = read_cpuinfo(self._root)
        present = os.cpu_count()
        usable = _affinity()
        logical = len(usable) if usable is not None else present
        physical = _physical_cores(info, usable)
        quota = read_cgroup_cpus(self._root)
        if quota is not None and logical is not None:
            logical = min(logical, max(1, int(quota)))
            physical = min(physical, logical) if physical is not None else None
        if logical is not None and present is not None and logical < present:
            notes.append(
                f"This process may use {logical} of {present} CPU threads (affinity or container quota)."
            )
        name = info.name or (clean_text(platform.processor()) if sys.platform == "win32" else None) or None
        return Cpu(name=name, physical_cores=physical, logical_cores=logical, features=info.features)


def read_cpuinfo(root: Path) -> CpuInfo:
    """Name, features and cores from proc/cpuinfo under ``root``; all unknown where there is no such file."""
    text = ""
    with suppress(OSError):
        text = (root / "proc/cpuinfo").read_text(errors="replace")
    name: str | None = None
    flags: set[str] = set()
    core_of: dict[int, tuple[int, int]] = {}
    for block in re.split(r"\n\s*\n", text):
        fields = {key.strip(): value.strip() for key, _, value in map(_split, block.splitlines())}
        name = name or fields.get("model name") or fields.get("Model")
        flags = flags or set((fields.get("flags") or fields.get("Features") or "").split())
        with suppress(KeyError, ValueError):
            core_of[int(fields["processor"])] = (int(fields["physical id"]), int(fields["core id"]))
    features = tuple(feature for feature, needed in FEATURE_FLAGS.items() if flags.issuperset(needed))
    return CpuInfo(clean_text(name) if name else None, features, core_of)


def _split(line: str) -> tuple[str, str, str]:
    return line.partition(":")


def _affinity() -> set[int] | None:
    """Logical CPUs that this process may run on, where the system tells."""
    if sys.platform != "linux":
        return None
    with suppress(OSError):
        return os.sched_getaffinity(0)
    return None


def _physical_cores(info: CpuInfo, usable: set[int] | None) -> int | None:
    """Distinct cores behind the usable logical CPUs, else what the system says of the whole computer."""
    if info.core_of:
        return len({core for cpu, core in info.core_of.items() if usable is None or cpu in usable}) or None
    import psutil

    cores: int | None = psutil.cpu_count(logical=False)
    return min(cores, len(usable)) if cores is not None and usable is not None else cores
