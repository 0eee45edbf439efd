"""Apple silicon: chip, memory and what the GPU may use of it, by sysctl."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress

from llmfit.advisor.hardware.findings import Findings, clean_text
from llmfit.advisor.hardware.machine import Cpu, Gpu
from llmfit.advisor.hardware.unified import gpu_share_of_ram
from llmfit.advisor.units import MIB

Sysctl = Callable[[str], str | None]
SYSCTL_TIMEOUT_S = 1.0


class AppleProbe:
    """Reads a Mac with Apple silicon; says nothing elsewhere. ``sysctl`` maps a key to its value, ``None``
    unknown.

    Metal itself would tell its limit (recommendedMaxWorkingSetSize); without it the limit is the one somebody
    set, or the share that macOS gives by default, and a note says so.
    """

    subject = "the Apple GPU"

    def __init__(self, sysctl: Sysctl | None = None) -> None:
        self._sysctl = sysctl

    def read(self) -> Findings:
        sysctl = self._sysctl
        if sysctl is None:
            if sys.platform != "darwin" or platform.machine() != "arm64":
                return Findings()
            sysctl = _sysctl
        chip = clean_text(sysctl("machdep.cpu.brand_string") or "")
        cpu = Cpu(
            name=chip or None,
            physical_cores=_int(sysctl("hw.physicalcpu")),
            logical_cores=_int(sysctl("hw.logicalcpu")),
            features=("neon", "dotprod", *(("i8mm",) if sysctl("hw.optional.arm.FEAT_I8MM") == "1" else ())),
        )
        ram_bytes = _int(sysctl("hw.memsize"))
        limit_mib = _int(sysctl("iogpu.wired_limit_mb"))
        total, source, notes = _working_set(ram_bytes, limit_mib)
        gpu = Gpu(
            index=0,
            name=chip or "Apple GPU",
            vendor="apple",
            backend="metal",
            unified_memory=True,
            vram_total_bytes=total,
            sources={"vram_total_bytes": source} if total is not None else {},
        )
        return Findings(cpu=cpu, gpus=(gpu,), notes=notes)


def _working_set(ram_bytes: int | None, limit_mib: int | None) -> tuple[int | None, str, tuple[str, ...]]:
    if limit_mib:
        limit_bytes = limit_mib * MIB
        return min(limit_bytes, ram_bytes or limit_bytes), "sysctl iogpu.wired_limit_mb", ()
    if ram_bytes is None:
        return None, "", ("The Mac's memory size could not be read by sysctl.",)
    share, why = gpu_share_of_ram("apple", ram_bytes)
    return share, "default share of hw.memsize", (why,)


def _sysctl(key: str) -> str | None:
    with suppress(OSError, subprocess.SubprocessError, UnicodeDecodeError):
        answer = subprocess.run(
            ["/usr/sbin/sysctl", "-n", key],
            capture_output=True,
            text=True,
            timeout=SYSCTL_TIMEOUT_S,
            check=True,
        )
        return answer.stdout.strip()
    return None


def _int(text: str | None) -> int | None:
    with suppress(ValueError):
        return int(text or "")
    return None
