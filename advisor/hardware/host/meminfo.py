"""RAM and swap of the whole computer as Linux counts them: /proc/meminfo."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from llmfit.advisor.hardware.small_files import read_text, to_int
from llmfit.advisor.units import KIB


@dataclass(frozen=True, slots=True)
class MemInfo:
    """Bytes; control groups are not in it, except where lxcfs writes the file for a container."""

    total_bytes: int
    available_bytes: int
    swap_total_bytes: int | None = None
    swap_free_bytes: int | None = None


def read_meminfo(root: Path) -> MemInfo | None:
    """``None`` where the file is missing or lacks a line (MemAvailable: Linux before 3.14). Its kB are KiB
    (Documentation/filesystems/proc.rst)."""
    lines = (line.partition(":") for line in read_text(root / "proc/meminfo").splitlines())
    fields = {key: to_int(rest.removesuffix("kB")) for key, _, rest in lines}
    sizes = [fields.get(key) for key in ("MemTotal", "MemAvailable", "SwapTotal", "SwapFree")]
    total, available, swap_total, swap_free = (
        size * KIB if size is not None and size >= 0 else None for size in sizes
    )
    if not total or available is None:
        return None
    return MemInfo(total, min(total, available), swap_total, swap_free)
