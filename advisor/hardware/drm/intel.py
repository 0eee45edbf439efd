"""Intel GPUs through the files of the Linux drivers i915 and xe.

What they tell: xe the physical VRAM of each tile (``tile0/physical_vram_size_bytes``, igt-gpu-tools
tests/intel/xe_sysfs_tile.c; a little more than programs get, as some is reserved), the kernel's i915 nothing,
Intel's own i915 package ``lmem_total_bytes``. Nobody tells what is free: it is the total less what the
programs hold that this user can see. The llama.cpp backend is Vulkan: every Mesa brings it, SYCL needs
Intel's oneAPI.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmfit.advisor.hardware.catalog_facts import FREE_SOURCE, NAMELESS_INTEL, PCI_WINDOW
from llmfit.advisor.hardware.drm.clients import DrmClients, read_drm_clients
from llmfit.advisor.hardware.drm.sysfs import (
    DisplayDevice,
    SystemRam,
    display_devices,
    driver_version,
    lost_note,
    read_pcie_link,
    read_system_ram,
    read_watts,
)
from llmfit.advisor.hardware.findings import Findings
from llmfit.advisor.hardware.machine import Gpu, VramProcess
from llmfit.advisor.hardware.small_files import read_number, read_text
from llmfit.advisor.hardware.unified import intel_share_of_ram
from llmfit.advisor.text import clean_text
from llmfit.advisor.units import GIB, MAX_SIZE_BYTES, MIB

INTEL_VENDOR_ID = "0x8086"
DRIVERS = ("i915", "xe")
INTEGRATED_BUS = "0000:00:02.0"
"""Where every integrated Intel GPU sits, and no card (nvtop, src/extract_gpuinfo_intel.c)."""
SMALLEST_WINDOW_BYTES = GIB
"""i915 widens BAR 2 to the VRAM's size, rounded up to a power of two (i915_resize_lmem_bar): an upper bound
that tells 8 GB from 16 GB. Without resizable BAR it stays 256 MiB and tells nothing."""
_VRAM_BAR = 2
_PCI_IDS = ("usr/share/misc/pci.ids", "usr/share/hwdata/pci.ids")
_PCI_IDS_BYTES = 4 * MIB


class IntelProbe:
    """Reads the Intel GPUs of a Linux system under ``root``."""

    subject = "Intel GPUs"
    finds_gpus = True

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    def read(self) -> Findings:
        devices = [
            device
            for device in display_devices(self._root)
            if device.vendor == INTEL_VENDOR_ID and device.driver in DRIVERS
        ]
        if not devices:
            return Findings()
        clients, ram = read_drm_clients(self._root), read_system_ram(self._root)
        gpus: list[Gpu] = []
        notes: list[str] = []
        lost: list[str] = []
        for device in devices:
            gpu = self._gpu(len(gpus), device, clients, ram, notes)
            if device.is_there:
                gpus.append(gpu)
            else:
                lost.append(lost_note(gpu.name))
        return Findings(gpus=tuple(gpus), notes=tuple(notes), unseen_gpus=tuple(lost))

    def _gpu(
        self, index: int, device: DisplayDevice, clients: DrmClients, ram: SystemRam, notes: list[str]
    ) -> Gpu:
        name, driver = _name(self._root, device), device.driver or ""
        unified = device.bus == INTEGRATED_BUS
        link = None if unified else read_pcie_link(device)
        processes = clients.processes(device.bus, shared=unified)
        memory = _shared_memory(driver, ram) if unified else _card_memory(device, clients, processes)
        notes += [f"{name}: {note}" for note in memory.notes]
        read: dict[str, Any] = {
            "vram_total_bytes": memory.total_bytes,
            "vram_free_bytes": memory.free_bytes,
            "power_limit_w": read_watts(device, "power1_max", "power1_rated_max"),
            "pcie_generation": link.generation if link else None,
            "pcie_width": link.width if link else None,
            "pcie_max_width": link.max_width if link else None,
        }
        identity: dict[str, Any] = {
            "uuid": device.bus,
            "driver": driver_version(self._root, driver),
            "pci_id": device.pci_id,
            "pci_bus": device.bus,
        }
        sources = {key: "sysfs" for key, value in {**read, **identity}.items() if value is not None}
        if name != NAMELESS_INTEL:
            sources["name"] = "pci.ids"
        if memory.total_bytes is not None:
            sources["vram_total_bytes"] = memory.source
        if memory.free_bytes is not None:
            sources["vram_free_bytes"] = "RAM available" if unified else FREE_SOURCE
        if clients.readable:
            sources["processes"] = "fdinfo"
        return Gpu(
            index=index,
            name=name,
            vendor="intel",
            backend="vulkan",
            unified_memory=unified,
            processes=processes,
            sources=sources,
            **identity,
            **read,
        )


@dataclass(frozen=True, slots=True)
class _Memory:
    total_bytes: int | None
    free_bytes: int | None
    source: str
    notes: tuple[str, ...] = ()


def _shared_memory(driver: str, ram: SystemRam) -> _Memory:
    if ram.total_bytes is None:
        return _Memory(None, None, "")
    total, why = intel_share_of_ram(driver, ram.total_bytes)
    free = None if ram.available_bytes is None else min(total, ram.available_bytes)
    return _Memory(total, free, "share of RAM", (why,))


def _card_memory(device: DisplayDevice, clients: DrmClients, processes: tuple[VramProcess, ...]) -> _Memory:
    total, source = _vram(device)
    free = None
    if clients.readable and total is not None and source != PCI_WINDOW:
        free = max(0, total - sum(process.vram_bytes or 0 for process in processes))
    hidden = "what programs of other users hold of its memory cannot be seen, so less may be free."
    return _Memory(total, free, source, (hidden,) if clients.hidden else ())


def _vram(device: DisplayDevice) -> tuple[int | None, str]:
    """Bytes of VRAM of a card and where they were read."""
    tiles = [read_number(path) for path in sorted(device.folder.glob("tile*/physical_vram_size_bytes"))]
    known = [size for size in tiles if size]
    if known:
        return sum(known), "sysfs"
    for path in sorted(device.folder.glob("drm/card*/lmem_total_bytes")):
        size = read_number(path)
        if size:
            return size, "sysfs"
    window = _window(device)
    return (window, PCI_WINDOW) if window >= SMALLEST_WINDOW_BYTES else (None, "")


def _window(device: DisplayDevice) -> int:
    """Size of BAR 2; each line of ``resource`` is first address, last address and flags of one."""
    lines = read_text(device.folder / "resource").splitlines()
    found = (
        re.match(r"0x([0-9a-f]{1,16}) 0x([0-9a-f]{1,16}) ", lines[_VRAM_BAR])
        if len(lines) > _VRAM_BAR
        else None
    )
    if found is None:
        return 0
    size = int(found[2], 16) - int(found[1], 16) + 1
    return size if 1 < size <= MAX_SIZE_BYTES else 0


def _name(root: Path, device: DisplayDevice) -> str:
    """``Intel Arc A770`` from the system's list of PCI ids (``DG2 [Arc A770]``), else ``Intel GPU``."""
    device_id = device.device_id.removeprefix("0x")
    for path in _PCI_IDS:
        text = read_text(root / path, _PCI_IDS_BYTES)
        start = text.find("\n8086  ")
        if start < 0 or not re.fullmatch(r"[0-9a-f]{4}", device_id):
            continue
        end = re.compile(r"^[0-9a-f]{4}  ", re.MULTILINE).search(text, start + 7)
        lines = re.compile(rf"^\t{device_id}  (.+)$", re.MULTILINE)
        found = lines.search(text, start, end.start() if end else len(text))
        if found is not None:
            sold_as = re.search(r"\[([^\]]+)\]", found[1])
            name = clean_text((sold_as or found)[1])
            if name:
                return name if name.startswith("Intel") else f"Intel {name}"
    return NAMELESS_INTEL
