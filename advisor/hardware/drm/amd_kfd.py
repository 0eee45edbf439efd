"""What ROCm sees of AMD GPUs: the topology of the kernel's compute driver, /sys/class/kfd.

Its memory bank is the total that hipMemGetInfo gives llama.cpp (measured on a Strix Halo with 110 GiB of GTT:
mem_banks/0 118111600640, HIP the same, mem_info_vram_total 536870912; ROCm/rocm-systems pull request 8475).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from llmfit.advisor.hardware.drm.sysfs import numbered_folders
from llmfit.advisor.hardware.small_files import read_number, read_text
from llmfit.advisor.units import MAX_SIZE_BYTES

_VIDEO_HEAPS = (1, 2)
"""HSA_MEM_HEAP_TYPE_FB_PUBLIC and _FB_PRIVATE (Linux, drivers/gpu/drm/amd/amdkfd/kfd_topology.h)."""


@dataclass(frozen=True, slots=True)
class KfdNode:
    """``memory_bytes`` is what a ROCm program may allocate on the GPU at most."""

    gpu_id: int
    memory_bytes: int | None


def read_kfd_nodes(root: Path) -> dict[str, KfdNode]:
    """PCI address → node of every GPU that ROCm can use. Partitions of one card are added up."""
    nodes: dict[str, KfdNode] = {}
    for folder in numbered_folders(root / "sys/class/kfd/kfd/topology/nodes"):
        values = _values(folder / "properties")
        gpu_id = read_number(folder / "gpu_id")
        if not gpu_id or not values.get("simd_count"):
            continue  # a CPU
        bus = _address(values)
        before = nodes.get(bus, KfdNode(gpu_id, None))
        sizes = [size for size in (before.memory_bytes, _memory(folder)) if size is not None]
        nodes[bus] = KfdNode(before.gpu_id, sum(sizes) if sizes else None)
    return nodes


def read_kfd_processes(root: Path, gpu_id: int) -> dict[int, int]:
    """Process → bytes of VRAM that it holds through ROCm on one GPU, of every user's programs."""
    held: dict[int, int] = {}
    for folder in numbered_folders(root / "sys/class/kfd/kfd/proc"):
        size = read_number(folder / f"vram_{gpu_id}")
        if size:
            held[int(folder.name)] = size
    return held


def _address(values: Mapping[str, int]) -> str:
    """``location_id`` is bus << 8 | device << 3 | function (Linux, pci_dev_id)."""
    location = values.get("location_id", 0)
    domain, bus = values.get("domain", 0), location >> 8 & 0xFF
    return f"{domain:04x}:{bus:02x}:{location >> 3 & 0x1F:02x}.{location & 7}"


def _memory(folder: Path) -> int | None:
    sizes = []
    for bank in numbered_folders(folder / "mem_banks"):
        values = _values(bank / "properties")
        size = values.get("size_in_bytes")
        if size and size <= MAX_SIZE_BYTES and values.get("heap_type") in _VIDEO_HEAPS:
            sizes.append(size)
    return sum(sizes) if sizes else None


def _values(path: Path) -> dict[str, int]:
    """``name 123`` on each line."""
    values: dict[str, int] = {}
    for line in read_text(path).splitlines():
        name, _, number = line.partition(" ")
        if number.isascii() and number.isdigit() and len(number) < 20:
            values[name] = int(number)
    return values
