"""AMD GPUs through the files of the Linux driver amdgpu; libdrm (pyamdgpuinfo) for what cannot be read there.

Sizes, power and PCI facts: Linux, Documentation/gpu/amdgpu/driver-misc.rst and thermal.rst.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmfit.advisor.hardware.catalog_facts import NAMELESS_AMD
from llmfit.advisor.hardware.drm.amd_kfd import KfdNode, read_kfd_nodes, read_kfd_processes
from llmfit.advisor.hardware.drm.amd_library import Library, LibraryCard, read_library
from llmfit.advisor.hardware.drm.amd_pools import Pools, Usable, pool_notes, usable_memory
from llmfit.advisor.hardware.drm.clients import DrmClients, process_name, read_drm_clients
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
from llmfit.advisor.hardware.small_files import read_bytes, read_number, read_text
from llmfit.advisor.text import clean_text
from llmfit.advisor.units import MIB, format_gib

AMD_VENDOR_ID = "0x1002"
APU_METRICS_REVISIONS = (2, 3)
"""gpu_metrics tables 2.x and 3.x belong to APUs, 1.x to cards with their own memory
(Linux, drivers/gpu/drm/amd/include/kgd_pp_interface.h)."""
UNLISTED_WORTH_SAYING_BYTES = 512 * MIB
"""Below it is what the driver and the screen hold, which belongs to no program."""


class AmdProbe:
    """Reads the AMD GPUs of a Linux system under ``root``.

    ``library`` is asked only where sysfs is silent.
    """

    subject = "AMD GPUs"
    finds_gpus = True

    def __init__(self, root: Path = Path("/"), library: Library = read_library) -> None:
        self._root = root
        self._library = library

    def read(self) -> Findings:
        devices = [device for device in display_devices(self._root) if device.vendor == AMD_VENDOR_ID]
        if not devices:
            return Findings()
        system = _System(
            root=self._root,
            ram=read_system_ram(self._root),
            has_kfd=(self._root / "dev/kfd").exists(),
            nodes=read_kfd_nodes(self._root),
            clients=read_drm_clients(self._root),
            sharing=sum(map(_is_apu, devices)),
            library=self._library,
        )
        notes: list[str] = []
        gpus: list[Gpu] = []
        lost: list[str] = []
        for device in devices:
            gpu = _Card(system, device).read(len(gpus), notes)
            if device.is_there:
                gpus.append(gpu)
            else:
                lost.append(lost_note(gpu.name))
        return Findings(gpus=tuple(gpus), notes=tuple(notes), unseen_gpus=tuple(lost))


@dataclass(slots=True)
class _System:
    """What is read once for all cards."""

    root: Path
    ram: SystemRam
    has_kfd: bool
    nodes: Mapping[str, KfdNode]
    clients: DrmClients
    sharing: int
    """APUs that share the RAM: an MI300A node has four of 128 GB each."""
    library: Library
    _asked: Mapping[str, LibraryCard] | None = field(default=None)

    @property
    def backend(self) -> str:
        """ROCm where its device node is there: its builds of llama.cpp need /dev/kfd, Vulkan does not."""
        return "rocm" if self.has_kfd else "vulkan"

    @property
    def limit_module(self) -> str:
        """AMD's own driver package brings its copy of the kernel's module ttm."""
        return "amdttm" if (self.root / "sys/module/amdttm").exists() else "ttm"

    def library_card(self, bus: str | None) -> LibraryCard:
        if self._asked is None:
            self._asked = self.library()
        return self._asked.get(bus or "", LibraryCard())


class _Card:
    """Reads one card."""

    def __init__(self, system: _System, device: DisplayDevice) -> None:
        self._system = system
        self._device = device
        self._sources: dict[str, str] = {}
        self._read_from: dict[tuple[str, str], str] = {}
        """Pool and ``total`` or ``used`` -> where it was read."""

    def read(self, index: int, notes: list[str]) -> Gpu:
        system, device = self._system, self._device
        name, name_source = self._name()
        unified = _is_apu(device)
        pools = self._pools(unified)
        usable = self._usable(pools, unified)
        self._tell_memory_sources(usable, unified)
        link = None if unified else read_pcie_link(device)
        processes = self._processes(unified)
        read: dict[str, Any] = {
            "vram_total_bytes": usable.total_bytes,
            "vram_free_bytes": usable.free_bytes,
            "carve_out_bytes": usable.carve_out_bytes if unified else None,
            "power_limit_w": read_watts(device, "power1_cap"),
            "power_draw_w": read_watts(device, "power1_average", "power1_input"),
            "pcie_generation": link.generation if link else None,
            "pcie_width": link.width if link else None,
            "pcie_max_width": link.max_width if link else None,
        }
        identity: dict[str, Any] = {
            "uuid": clean_text(read_text(device.folder / "unique_id")) or device.bus,
            "driver": driver_version(system.root, device.driver or "amdgpu"),
            "pci_id": _pci_id(device),
            "pci_bus": device.bus,
        }
        known = {key: "sysfs" for key, value in {**read, **identity}.items() if value is not None}
        if name_source:
            known["name"] = name_source
        if processes:
            known["processes"] = "fdinfo"
        notes += self._notes(name, pools, usable, unified, processes)
        return Gpu(
            index=index,
            name=name,
            vendor="amd",
            backend=system.backend,
            unified_memory=unified,
            processes=processes,
            sources={**known, **self._sources},
            **identity,
            **read,
        )

    def _name(self) -> tuple[str, str | None]:
        """The marketing name and where it was read: the driver, libdrm's table for device id and revision, or
        libdrm itself."""
        if name := clean_text(read_text(self._device.folder / "product_name")):
            return name, "sysfs"
        if name := self._name_in_table() or "":
            return name, "libdrm's amdgpu.ids"
        if name := self._system.library_card(self._device.bus).name or "":
            return name, "pyamdgpuinfo"
        return NAMELESS_AMD, None

    def _name_in_table(self) -> str | None:
        wanted = [text.removeprefix("0x").upper() for text in (self._device.device_id, self._device.revision)]
        for line in read_text(self._system.root / "usr/share/libdrm/amdgpu.ids").splitlines():
            columns = [column.strip() for column in line.split(",", 2)]
            if len(columns) == 3 and columns[:2] == wanted:
                return clean_text(columns[2]) or None
        return None

    def _pools(self, unified: bool) -> Pools:
        """A card's GTT is RAM that llama.cpp does not count on: it is not asked for."""
        carve_out, carve_out_free = self._pool("vram")
        gtt, gtt_free = self._pool("gtt") if unified else (None, None)
        return Pools(carve_out, carve_out_free, gtt, gtt_free)

    def _pool(self, kind: str) -> tuple[int | None, int | None]:
        """Total and free bytes of the pool ``vram`` or ``gtt``."""
        total, used = self._size(kind, "total"), self._size(kind, "used")
        return total, max(0, total - used) if total is not None and used is not None else None

    def _size(self, kind: str, part: str) -> int | None:
        size, source = read_number(self._device.folder / f"mem_info_{kind}_{part}"), "sysfs"
        if size is None:
            card = self._system.library_card(self._device.bus)
            size, source = getattr(card, f"{kind}_{part}_bytes"), "pyamdgpuinfo"
        if size is not None:
            self._read_from[kind, part] = source
        return size

    def _usable(self, pools: Pools, unified: bool) -> Usable:
        if not unified:
            return Usable(pools.carve_out_bytes, pools.carve_out_free_bytes, None)
        system = self._system
        node = system.nodes.get(self._device.bus or "")
        ram_bytes = system.ram.total_bytes
        if ram_bytes is not None:
            ram_bytes //= system.sharing
        return usable_memory(
            pools, system.backend, ram_bytes, system.ram.available_bytes, node.memory_bytes if node else None
        )

    def _tell_memory_sources(self, usable: Usable, unified: bool) -> None:
        """Where the sizes were read of the pools that count: of an APU under ROCm one of the two."""
        kinds = ["vram", "gtt"] if unified else ["vram"]
        if unified and self._system.backend == "rocm":
            lent = not usable.carve_out_bytes and ("gtt", "total") in self._read_from
            kinds = ["gtt"] if lent else ["vram"]
        for key, size, parts in (
            ("vram_total_bytes", usable.total_bytes, ("total",)),
            ("vram_free_bytes", usable.free_bytes, ("total", "used")),
        ):
            read = (self._read_from.get((kind, part)) for kind in kinds for part in parts)
            if size is not None:
                self._sources[key] = " and ".join(dict.fromkeys(source for source in read if source))
        if usable.from_kfd:
            self._sources["vram_total_bytes"] = "kfd"

    def _processes(self, unified: bool) -> tuple[VramProcess, ...]:
        """Programs by fdinfo, and those of ROCm that the kernel's compute driver lists for every user."""
        system, bus = self._system, self._device.bus
        listed = {process.pid: process for process in system.clients.processes(bus, shared=unified)}
        node = system.nodes.get(bus or "")
        for pid, size in read_kfd_processes(system.root, node.gpu_id).items() if node else ():
            before = listed.get(pid)
            if before is None or (before.vram_bytes or 0) < size:
                listed[pid] = VramProcess(pid, process_name(system.root, pid), size)
        return tuple(sorted(listed.values(), key=lambda process: (-(process.vram_bytes or 0), process.pid)))

    def _notes(
        self, name: str, pools: Pools, usable: Usable, unified: bool, processes: tuple[VramProcess, ...]
    ) -> list[str]:
        if usable.total_bytes is None:
            return [f"{name}: the driver does not tell the size of its memory."]
        system = self._system
        if unified:
            module, ram_bytes = system.limit_module, system.ram.total_bytes
            return list(pool_notes(name, pools, system.backend, usable, ram_bytes, module))
        notes = []
        visible = read_number(self._device.folder / "mem_info_vis_vram_total")
        if visible and visible < usable.total_bytes // 2:
            notes.append(
                f"{name}: the CPU reaches {format_gib(visible)} of its {format_gib(usable.total_bytes)} "
                "directly; resizable BAR in the firmware's setup gives it all."
            )
        listed = sum(process.vram_bytes or 0 for process in processes)
        held = 0 if usable.free_bytes is None else usable.total_bytes - usable.free_bytes
        unlisted = held - listed
        if unlisted >= UNLISTED_WORTH_SAYING_BYTES and system.clients.hidden:
            notes.append(
                f"{name}: {format_gib(unlisted)} of its memory is held by the driver or by programs of other "
                "users, which this user cannot list."
            )
        return notes


def _is_apu(device: DisplayDevice) -> bool:
    """Whether the GPU uses the system's RAM: by its metrics table, or because it has no memory of its own.

    An MI300A has the table of a card and shows 0 bytes of VRAM: all of its HBM is the system's RAM, lent as
    GTT (Linux, gmc_v9_0_mc_init: "Set mc_vram_size = 0 for APP APU"). With its HBM set aside by the firmware
    it shows VRAM, and is a card.
    """
    header = read_bytes(device.folder / "gpu_metrics", 4)
    if len(header) == 4 and header[2] in APU_METRICS_REVISIONS:
        return True
    vram, gtt = (read_number(device.folder / f"mem_info_{kind}_total") for kind in ("vram", "gtt"))
    return vram == 0 and bool(gtt)


def _pci_id(device: DisplayDevice) -> str | None:
    """AMD tells cards of one device id apart by the revision."""
    revision = device.revision.removeprefix("0x")
    if device.pci_id is None or len(revision) != 2:
        return device.pci_id
    return f"{device.pci_id} rev {revision}"
