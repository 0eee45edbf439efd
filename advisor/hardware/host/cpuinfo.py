"""What /proc/cpuinfo says of a CPU: its name, its instruction sets, which threads share a core."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from llmfit.advisor.hardware.small_files import read_text
from llmfit.advisor.text import clean_text

_MAX_CPUINFO_BYTES = 2**23
_MAX_CPUINFO_LINES = 2**17

FEATURE_FLAGS: Mapping[str, tuple[str, ...]] = {
    "sse4_2": ("sse4_2",),
    "avx": ("avx",),
    "avx2": ("avx2",),
    "fma": ("fma",),
    "f16c": ("f16c",),
    "bmi2": ("bmi2",),
    "avx_vnni": ("avx_vnni",),
    "avx512": ("avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"),
    "avx512_vbmi": ("avx512vbmi",),
    "avx512_vnni": ("avx512_vnni",),
    "avx512_bf16": ("avx512_bf16",),
    "amx_int8": ("amx_tile", "amx_int8"),
    "neon": ("asimd",),
    "dotprod": ("asimddp",),
    "fp16": ("fphp", "asimdhp"),
    "bf16": ("bf16",),
    "i8mm": ("i8mm",),
    "sve": ("sve",),
    "sve2": ("sve2",),
    "sme": ("sme",),
    "sme2": ("sme2",),
    "vxe": ("vxe",),
    "vxe2": ("vxe2",),
    "nnpa": ("nnpa",),
}
"""Feature -> the flags of /proc/cpuinfo that make it up: those by which llama.cpp chooses its CPU code
(ggml/src/CMakeLists.txt, ggml_add_cpu_backend_variant; ggml/src/ggml-cpu/arch/*/cpu-feats.cpp,
ggml/src/ggml-feats.h: AVX512 stands for F, CD, BW, DQ and VL together) and ARM's BF16."""


@dataclass(frozen=True, slots=True)
class CpuInfo:
    """What /proc/cpuinfo says. ``core_of`` maps a logical CPU to its physical core, where the file tells."""

    name: str | None
    features: tuple[str, ...]
    core_of: Mapping[int, tuple[int, int]]
    virtual: bool = False
    """An x86 hypervisor shows itself by a flag of that name."""


def read_cpuinfo(root: Path) -> CpuInfo:
    """Name, features and cores from proc/cpuinfo under ``root``; all unknown where there is no such file."""
    lines = read_text(root / "proc/cpuinfo", _MAX_CPUINFO_BYTES).splitlines()[:_MAX_CPUINFO_LINES]
    first: dict[str, str] = {}
    core_of: dict[int, tuple[int, int]] = {}
    block: dict[str, str] = {}
    for line in (*lines, ""):
        key, colon, value = line.partition(":")
        key = key.strip()
        if colon:
            first.setdefault(key, value.strip())
            block[key] = value.strip()
        elif not key:
            with suppress(KeyError, ValueError):
                core_of[int(block["processor"])] = (int(block["physical id"]), int(block["core id"]))
            block = {}
    flags = set((first.get("flags") or first.get("Features") or first.get("features") or "").split())
    name = next((first[key] for key in ("model name", "Model", "cpu", "uarch") if first.get(key)), None)
    features = tuple(feature for feature, needed in FEATURE_FLAGS.items() if flags.issuperset(needed))
    return CpuInfo(
        clean_text(name) if name else None,
        (*features, *_vectors_of_others(first)),
        core_of,
        virtual="hypervisor" in flags,
    )


def _vectors_of_others(first: Mapping[str, str]) -> tuple[str, ...]:
    """RISC-V's V is a letter of ``isa`` before the first multi-letter extension; for POWER, llama.cpp takes
    VSX from version 9 on (powerpc/cpu-feats.cpp)."""
    isa = re.match(r"rv(?:32|64)([a-wy]*)", first.get("isa", ""))
    if isa is not None and "v" in isa[1].partition("z")[0].partition("s")[0]:
        return ("riscv_v",)
    power = re.match(r"POWER(\d{1,2})", first.get("cpu", ""))
    return ("vsx",) if power is not None and int(power[1]) >= 9 else ()
