"""One whole NVIDIA card, read through NVML."""

from __future__ import annotations

from typing import Any

from llmfit.advisor.hardware.catalog_facts import NAMELESS_NVIDIA
from llmfit.advisor.hardware.machine import Gpu
from llmfit.advisor.hardware.nvidia.device import Handle, NvidiaDevice, Vram
from llmfit.advisor.hardware.nvidia.processes import read_processes

TRANSFERS_PER_MEMORY_CLOCK = 2
"""NVML reports a clock at which the bus moves two bits a line, whatever the memory type.

Checked against makers' figures: RTX 3090 (GDDR6X, 9751 MHz x 384 bit: 936 GB/s), RTX 5090 (GDDR7, 14001 x
512: 1792), GTX 1060 (GDDR5, 4004 x 192: 192), A100 40 GB (HBM2, 1215 x 5120: 1555), H100 SXM (HBM3, 2619 x
5120: 3352).
"""
_MOST_LANES = _HIGHEST_GENERATION = 32
_HIGHEST_CLOCK_MHZ = 10**5
_WIDEST_BUS_BITS = 2**16
_MOST_MILLIWATTS = 10**8


def read_card(handle: Handle, number: int, driver: str | None, *, sliced: bool = False) -> NvidiaDevice:
    """Card ``number`` as it is now; a field that fails is ``None`` and named in ``untold``.

    Of a ``sliced`` card (MIG) memory and programs are those of its slices: they are not read here.
    Raises CardLostError.
    """
    name = handle.ask_text("name", "nvmlDeviceGetName") or NAMELESS_NVIDIA
    uuid = handle.ask_text("UUID", "nvmlDeviceGetUUID")
    vram = Vram() if sliced else handle.vram()
    limit_mw = handle.ask_number("power limit", "nvmlDeviceGetEnforcedPowerLimit", most=_MOST_MILLIWATTS)
    draw_mw = handle.ask_number("power draw", "nvmlDeviceGetPowerUsage", most=_MOST_MILLIWATTS)
    pci_id, pci_bus = _pci(handle)
    read: dict[str, Any] = {
        "vram_total_bytes": vram.total,
        "vram_free_bytes": vram.free,
        "vram_reserved_bytes": vram.reserved,
        "bandwidth_bytes_per_s": _bandwidth(handle),
        "compute_capability": _compute_capability(handle),
        "pci_id": pci_id,
        "pci_bus": pci_bus,
        "power_limit_w": limit_mw / 1000 if limit_mw else None,
        "power_draw_w": draw_mw / 1000 if draw_mw else None,
    }
    if not vram.unified:
        read |= _pcie_link(handle)
    sources = {key: "nvml" for key, value in read.items() if value is not None}
    if "bandwidth_bytes_per_s" in sources:
        sources["bandwidth_bytes_per_s"] = "nvml (memory clock × bus width)"
    told = {"name": name != NAMELESS_NVIDIA, "uuid": uuid, "driver": driver}
    sources |= {field: "nvml" for field, value in told.items() if value}
    gpu = Gpu(
        index=number,
        name=name,
        vendor="nvidia",
        backend="cuda",
        uuid=uuid,
        unified_memory=vram.unified,
        driver=driver,
        processes=() if sliced else read_processes(handle),
        sources=sources,
        **read,
    )
    return NvidiaDevice(gpu, number, untold=tuple(handle.untold.items()), remarks=_remarks(handle, gpu))


def _bandwidth(handle: Handle) -> int | None:
    """Peak bytes per second of the card's memory: highest memory clock × bus width."""
    clock_mhz = handle.ask_number(
        "memory clock", "nvmlDeviceGetMaxClockInfo", handle.nvml.NVML_CLOCK_MEM, most=_HIGHEST_CLOCK_MHZ
    )
    bus_bits = handle.ask_number("memory bus width", "nvmlDeviceGetMemoryBusWidth", most=_WIDEST_BUS_BITS)
    if clock_mhz is None or bus_bits is None:
        return None
    return clock_mhz * 10**6 * TRANSFERS_PER_MEMORY_CLOCK * bus_bits // 8


def _compute_capability(handle: Handle) -> str | None:
    capability = handle.ask("compute capability", "nvmlDeviceGetCudaComputeCapability")
    return f"{capability[0]}.{capability[1]}" if capability else None


def _pci(handle: Handle) -> tuple[str | None, str | None]:
    """``10de:2204`` and ``0000:01:00.0``. NVML tells no revision; its domain has eight digits, Linux shows
    four."""
    info = handle.ask("PCI id", "nvmlDeviceGetPciInfo")
    if info is None or not info.pciDeviceId:
        return None, None
    vendor, device = info.pciDeviceId & 0xFFFF, info.pciDeviceId >> 16
    return f"{vendor:04x}:{device:04x}", f"{info.domain:04x}:{info.bus:02x}:{info.device:02x}.0"


def _pcie_link(handle: Handle) -> dict[str, int | None]:
    """The link of a card. Not asked of parts with unified memory, which have none: NVML invents
    "generation 1, 1 lane" for a GB10 (github.com/Syllo/nvtop, issue 426 and pull request 499).

    The generation is the highest of card and slot, because it drops while a card is idle; the width in use
    mostly stays.
    """
    lanes = _MOST_LANES
    return {
        "pcie_generation": handle.ask_number(
            "PCIe generation", "nvmlDeviceGetMaxPcieLinkGeneration", most=_HIGHEST_GENERATION
        ),
        "pcie_width": handle.ask_number("PCIe width", "nvmlDeviceGetCurrPcieLinkWidth", most=lanes),
        "pcie_max_width": handle.ask_number(
            "PCIe maximum width", "nvmlDeviceGetMaxPcieLinkWidth", most=lanes
        ),
    }


def _remarks(handle: Handle, gpu: Gpu) -> tuple[str, ...]:
    if handle.ask_quietly("nvmlDeviceGetVirtualizationMode") != handle.nvml.NVML_GPU_VIRTUALIZATION_MODE_VGPU:
        return ()
    where = f"{gpu.name} at {gpu.pci_bus}" if gpu.pci_bus else gpu.name
    return (f"{where} is a virtual GPU: other guests of the same card may take part of its speed.",)
