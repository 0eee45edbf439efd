"""AMD GPUs through the files of the Linux driver amdgpu (sysfs); pyamdgpuinfo, if installed, only for
names."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from llmfit.advisor.hardware.findings import Findings, clean_text
from llmfit.advisor.hardware.machine import Gpu

AMD_VENDOR_ID = "0x1002"
APU_METRICS_REVISIONS = (2, 3)
"""gpu_metrics tables 2.x and 3.x belong to APUs, 1.x to cards with their own memory
(Linux, drivers/gpu/drm/amd/include/kgd_pp_interface.h)."""


class AmdProbe:
    """Reads the AMD GPUs of a Linux system under ``root``. ``names`` tells names where sysfs has none."""

    subject = "AMD GPUs"

    def __init__(self, root: Path = Path("/"), names: Callable[[], dict[str, str]] | None = None) -> None:
        self._root = root
        self._names = names or _names_from_pyamdgpuinfo

    def read(self) -> Findings:
        devices = [device for device in self._devices() if _text(device / "vendor") == AMD_VENDOR_ID]
        if not devices:
            return Findings()
        names = self._names()
        notes: list[str] = []
        gpus = [self._gpu(index, device, names, notes) for index, device in enumerate(devices)]
        return Findings(gpus=tuple(gpus), notes=tuple(notes))

    def _devices(self) -> list[Path]:
        drm = self._root / "sys/class/drm"
        cards = [path for path in drm.glob("card*") if re.fullmatch(r"card\d+", path.name)]
        return [card / "device" for card in sorted(cards, key=lambda path: int(path.name[4:]))]

    def _gpu(self, index: int, device: Path, names: dict[str, str], notes: list[str]) -> Gpu:
        bus = _bus_address(device)
        name = self._name(device) or names.get(bus or "") or "AMD GPU"
        total, free = _pool(device, "vram")
        unified = _is_apu(device)
        if unified:
            # A graphics part of the CPU uses its carve-out and, beyond it, ordinary RAM (GTT).
            more, more_free = _pool(device, "gtt")
            total = _sum(total, more)
            available = _available_ram(self._root)
            if more_free is not None and available is not None:
                more_free = min(more_free, available)
            free = free + more_free if free is not None and more_free is not None else None
        if total is None:
            notes.append(f"{name} does not tell its memory: the driver amdgpu offers no mem_info_vram_total.")
        power_uw = next((_number(path) for path in sorted(device.glob("hwmon/hwmon*/power1_cap"))), None)
        read = {"vram_total_bytes": total, "vram_free_bytes": free}
        sources = {key: "sysfs" for key, value in read.items() if value is not None}
        return Gpu(
            index=index,
            name=name,
            vendor="amd",
            backend="rocm" if (self._root / "dev/kfd").exists() else "vulkan",
            uuid=_text(device / "unique_id") or bus,
            unified_memory=unified,
            vram_total_bytes=total,
            vram_free_bytes=free,
            power_limit_w=power_uw / 1e6 if power_uw else None,
            sources=sources,
        )

    def _name(self, device: Path) -> str | None:
        """The marketing name: the driver's own, else the row of libdrm's table for device id and revision."""
        name = clean_text(_text(device / "product_name"))
        if name:
            return name
        device_id = _text(device / "device").removeprefix("0x").upper()
        revision = _text(device / "revision").removeprefix("0x").upper()
        for line in _text(self._root / "usr/share/libdrm/amdgpu.ids").splitlines():
            columns = [column.strip() for column in line.split(",", 2)]
            if len(columns) == 3 and columns[:2] == [device_id, revision]:
                return clean_text(columns[2]) or None
        return None


def _pool(device: Path, kind: str) -> tuple[int | None, int | None]:
    """Total and free bytes of the pool ``vram`` or ``gtt``."""
    total, used = _number(device / f"mem_info_{kind}_total"), _number(device / f"mem_info_{kind}_used")
    return total, max(0, total - used) if total is not None and used is not None else None


def _available_ram(root: Path) -> int | None:
    found = re.search(r"^MemAvailable:\s+(\d+) kB", _text(root / "proc/meminfo"), re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _is_apu(device: Path) -> bool:
    with suppress(OSError):
        header = (device / "gpu_metrics").read_bytes()[:4]
        return len(header) == 4 and header[2] in APU_METRICS_REVISIONS
    return False


def _bus_address(device: Path) -> str | None:
    found = re.search(r"PCI_SLOT_NAME=(\S+)", _text(device / "uevent"))
    return found[1] if found else None


def _names_from_pyamdgpuinfo() -> dict[str, str]:
    """PCI address -> name. Empty without the package, without /dev/dri, or without the right to open it."""
    names: dict[str, str] = {}
    # The library raises FileNotFoundError where /dev/dri is missing, and RuntimeError or OSError for a card.
    with suppress(ImportError, OSError, RuntimeError):
        import pyamdgpuinfo

        for index in range(pyamdgpuinfo.detect_gpus()):
            gpu = pyamdgpuinfo.get_gpu(index)
            if gpu.name:
                names[str(gpu.pci_slot)] = clean_text(str(gpu.name))
    return names


def _sum(first: int | None, second: int | None) -> int | None:
    known = [value for value in (first, second) if value is not None]
    return sum(known) if known else None


def _number(path: Path) -> int | None:
    with suppress(ValueError):
        return int(_text(path))
    return None


def _text(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(errors="replace").strip()
    return ""
