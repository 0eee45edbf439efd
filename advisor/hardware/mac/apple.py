"""Macs: chip, cores, memory and what the GPU may use of it, by Metal, sysctl and the I/O registry."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from llmfit.advisor.hardware.findings import Findings
from llmfit.advisor.hardware.machine import Cpu, Gpu
from llmfit.advisor.hardware.unified import gpu_share_of_ram
from llmfit.advisor.text import clean_text
from llmfit.advisor.units import MIB

Sysctl = Callable[[str], str | None]
IOREG_TIMEOUT_S = 1.0
_MAX_PLIST_BYTES = 2**22
_MAX_GPU_CORES = 512

_FEATURES = {
    "fp16": "hw.optional.arm.FEAT_FP16",
    "bf16": "hw.optional.arm.FEAT_BF16",
    "i8mm": "hw.optional.arm.FEAT_I8MM",
    "sme": "hw.optional.arm.FEAT_SME",
    "sme2": "hw.optional.arm.FEAT_SME2",
}
"""Those that llama.cpp asks macOS for (ggml-feats.h), and BF16; NEON and dot product every Apple chip has
(llama.cpp's variant apple_m1, ggml/src/CMakeLists.txt)."""

_ROSETTA = (
    "This Python is built for Intel and runs under Rosetta: a llama.cpp that it installs or starts may be an "
    "Intel build, without Metal. Install Python and llama.cpp for arm64 (Homebrew in /opt/homebrew)."
)
_INTEL = (
    "This Mac has an Intel processor: llmfit plans with its CPU and RAM only, and knows no limits of its GPU."
)


@dataclass(frozen=True, slots=True)
class AppleGpu:
    """What the I/O registry says of the GPU."""

    name: str | None = None
    cores: int | None = None


class AppleProbe:
    """Reads a Mac; says nothing elsewhere.

    ``sysctl`` maps a key to its value, ``None`` unknown; ``metal`` and ``ioreg`` read Metal's working set
    in bytes and the I/O registry (a property list), ``None`` where they cannot. Tests hand in others.
    """

    subject = "the Apple GPU"
    finds_gpus = True

    def __init__(
        self,
        sysctl: Sysctl | None = None,
        metal: Callable[[], int | None] | None = None,
        ioreg: Callable[[], bytes | None] | None = None,
    ) -> None:
        self._sysctl = sysctl
        self._metal = metal or _metal
        self._ioreg = ioreg or _ioreg

    def read(self) -> Findings:
        sysctl = self._sysctl
        if sysctl is None:
            if sys.platform != "darwin":
                return Findings()
            # Imported here, as ctypes and subprocess below: 10 ms that no other system needs.
            from llmfit.advisor.hardware.mac.metal import sysctl_reader

            sysctl = sysctl_reader()
        chip = clean_text(sysctl("machdep.cpu.brand_string") or "")
        if _is_intel(sysctl, chip):
            return Findings(cpu=_cpu(sysctl, chip, ()), notes=(_INTEL,))
        registry = read_ioreg(self._ioreg())
        # Under Rosetta the kernel calls the CPU "VirtualApple @ 2.50GHz processor".
        name = chip if chip.startswith("Apple") else (registry.name or chip.partition(" @")[0])
        features = tuple(feature for feature, key in _FEATURES.items() if sysctl(key) == "1")
        gpu, notes = self._gpu(sysctl, name, registry)
        if sysctl("sysctl.proc_translated") == "1":
            notes = (_ROSETTA, *notes)
        return Findings(cpu=_cpu(sysctl, name, ("neon", "dotprod", *features)), gpus=(gpu,), notes=notes)

    def _gpu(self, sysctl: Sysctl, name: str, registry: AppleGpu) -> tuple[Gpu, tuple[str, ...]]:
        total, source, notes = working_set(sysctl, self._metal())
        version = clean_text(sysctl("kern.osproductversion") or "")
        sources = {
            "vram_total_bytes": source if total is not None else None,
            "gpu_cores": "ioreg gpu-core-count" if registry.cores is not None else None,
            "driver": "sysctl kern.osproductversion" if version else None,
            "name": "sysctl machdep.cpu.brand_string" if name and name != registry.name else None,
        }
        gpu = Gpu(
            index=0,
            name=name or "Apple GPU",
            vendor="apple",
            backend="metal",
            unified_memory=True,
            vram_total_bytes=total,
            driver=f"macOS {version}" if version else None,
            gpu_cores=registry.cores,
            sources={field: text for field, text in sources.items() if text is not None},
        )
        return gpu, notes


def working_set(sysctl: Sysctl, metal_bytes: int | None) -> tuple[int | None, str, tuple[str, ...]]:
    """Bytes of RAM that the GPU may use, where that was read, and what to tell people about it.

    Metal's own figure first: it is the one that llama.cpp goes by. Then the limit that somebody set:
    ``iogpu.wired_limit_mb`` (MiB, macOS 14 and later) or ``debug.iogpu.wired_limit`` (bytes, macOS 13), where
    0 means the system's default. Then the share that macOS gives by default.
    """
    ram_bytes = _int(sysctl("hw.memsize"))
    if metal_bytes is not None and (ram_bytes is None or 0 < metal_bytes <= ram_bytes):
        return metal_bytes, "Metal recommendedMaxWorkingSetSize", ()
    for key, unit in (("iogpu.wired_limit_mb", MIB), ("debug.iogpu.wired_limit", 1)):
        limit = _int(sysctl(key))
        if limit is not None and limit > 0:
            return min(limit * unit, ram_bytes or limit * unit), f"sysctl {key}", ()
    if ram_bytes is None or ram_bytes <= 0:
        return None, "", ("The Mac's memory size could not be read by sysctl.",)
    share, why = gpu_share_of_ram("apple", ram_bytes)
    return share, "default share of hw.memsize", (why,)


def read_ioreg(plist: bytes | None) -> AppleGpu:
    """``model`` and ``gpu-core-count`` of the GPU's entry in what ``ioreg -rc AGXAccelerator -a`` writes."""
    import plistlib

    entries: object = None
    if plist and len(plist) <= _MAX_PLIST_BYTES:
        # plistlib raises what its parsers raise, and they differ by what the bytes look like.
        with suppress(Exception):
            entries = plistlib.loads(plist)
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and "gpu-core-count" in entry:
            cores, model = entry["gpu-core-count"], entry.get("model")
            if isinstance(model, bytes):
                model = model.rstrip(b"\0").decode(errors="replace")
            known = isinstance(cores, int) and not isinstance(cores, bool) and 0 < cores <= _MAX_GPU_CORES
            name = clean_text(model) if isinstance(model, str) else ""
            return AppleGpu(name or None, cores if known else None)
    return AppleGpu()


def _is_intel(sysctl: Sysctl, chip: str) -> bool:
    """``hw.optional.arm64`` is 1 on Apple silicon, under Rosetta too."""
    if sysctl("hw.optional.arm64") == "1" or sysctl("sysctl.proc_translated") == "1" or "Apple" in chip:
        return False
    return bool(chip) or (sys.platform == "darwin" and platform.machine() == "x86_64")


def _cpu(sysctl: Sysctl, name: str, features: tuple[str, ...]) -> Cpu:
    fast = _int(sysctl("hw.perflevel0.physicalcpu"))
    slow = _int(sysctl("hw.perflevel1.physicalcpu"))
    fields = ("name", "physical_cores", "logical_cores", "features", "performance_cores")
    return Cpu(
        name=name or None,
        physical_cores=_int(sysctl("hw.physicalcpu")),
        logical_cores=_int(sysctl("hw.logicalcpu")),
        features=features,
        performance_cores=fast if slow else None,
        sources=dict.fromkeys(fields, "sysctl"),
    )


def _metal() -> int | None:
    from llmfit.advisor.hardware.mac.metal import read_working_set_bytes

    return read_working_set_bytes()


def _ioreg() -> bytes | None:
    import subprocess

    with suppress(OSError, subprocess.SubprocessError):
        answer = subprocess.run(
            ["/usr/sbin/ioreg", "-rc", "AGXAccelerator", "-d", "1", "-a"],
            capture_output=True,
            timeout=IOREG_TIMEOUT_S,
            check=True,
        )
        return answer.stdout
    return None


def _int(text: str | None) -> int | None:
    with suppress(ValueError):
        return int(text or "")
    return None
