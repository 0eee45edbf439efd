"""Cores, fast and slow ones, NUMA nodes and the name of a board, from /sys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path

from llmfit.advisor.hardware.small_files import parse_cpu_list, read_int, read_text
from llmfit.advisor.text import clean_text

CAPACITY_GAP = 1.2
"""Cores whose capacity differs by less are of one kind: GB10 and Snapdragon X clock equal cores apart."""
_NO_NAMES = ("system product name", "to be filled by o.e.m.", "default string", "not specified", "none")


def cores_from_sysfs(root: Path, cpus: Iterable[int]) -> dict[int, tuple[int, int]]:
    """Logical CPU -> its core, named by the lowest CPU on it; only those that ``topology`` tells of.

    ``core_cpus_list`` is ``thread_siblings_list`` on old kernels (Documentation/admin-guide/cputopology.rst).
    """
    core_of: dict[int, tuple[int, int]] = {}
    for cpu in cpus:
        folder = root / f"sys/devices/system/cpu/cpu{cpu}/topology"
        text = read_text(folder / "core_cpus_list") or read_text(folder / "thread_siblings_list")
        siblings = parse_cpu_list(text)
        if cpu in siblings:
            core_of[cpu] = (0, min(siblings))
    return core_of


def fast_cpus(root: Path, cpus: Iterable[int]) -> frozenset[int] | None:
    """The CPUs of the fast kind where a CPU has fast and slow cores, else ``None``.

    Intel: the kernel has a performance counter unit for each kind, ``cpu_core`` and ``cpu_atom``
    (tools/perf/Documentation/intel-hybrid.txt). ARM: ``cpu_capacity`` (drivers/base/arch_topology.c), split
    at its widest gap. AMD's dense cores run the same code at nearly the same speed: not told apart.
    """
    fast = parse_cpu_list(read_text(root / "sys/devices/cpu_core/cpus"))
    if fast and read_text(root / "sys/devices/cpu_atom/cpus"):
        return fast
    capacity: dict[int, int] = {}
    for cpu in cpus:
        value = read_int(root / f"sys/devices/system/cpu/cpu{cpu}/cpu_capacity")
        if value is None or value <= 0:
            return None
        capacity[cpu] = value
    steps = sorted(set(capacity.values()))
    ratio, low = max(((high / low, low) for low, high in pairwise(steps)), default=(1, 0))
    if ratio < CAPACITY_GAP:
        return None
    return frozenset(cpu for cpu, value in capacity.items() if value > low)


def count_cores(core_of: Mapping[int, tuple[int, int]], cpus: Iterable[int]) -> int | None:
    """Distinct cores behind ``cpus``; ``None`` where none of them is known."""
    return len({core_of[cpu] for cpu in cpus if cpu in core_of}) or None


def read_numa_nodes(root: Path) -> int | None:
    """NUMA nodes with memory and CPUs: a GPU's memory can be a node too (GH200), without CPUs."""
    folder = root / "sys/devices/system/node"
    nodes = parse_cpu_list(read_text(folder / "has_memory")) or parse_cpu_list(read_text(folder / "online"))
    with_cpus = parse_cpu_list(read_text(folder / "has_cpu"))
    return len(nodes & with_cpus if with_cpus else nodes) or None


def read_board_name(root: Path) -> str | None:
    """The computer's name by device tree or firmware: ARM's and RISC-V's /proc/cpuinfo has no CPU name."""
    for name in ("sys/firmware/devicetree/base/model", "sys/class/dmi/id/product_name"):
        text = clean_text(read_text(root / name).replace("\0", " ").replace("_", " "))
        if text and text.lower() not in _NO_NAMES:
            return text
    return None


def is_virtual_machine(root: Path) -> bool:
    """Whether the firmware names a hypervisor, whose tables of memory modules are made up.

    The names are those of systemd's src/basic/virt.c, detect_vm_dmi_vendor.
    """
    folder = root / "sys/class/dmi/id"
    words = [
        read_text(folder / name) for name in ("product_name", "sys_vendor", "board_vendor", "bios_vendor")
    ]
    return any(word.startswith(_HYPERVISORS) for word in words)


_HYPERVISORS = (
    "KVM",
    "OpenStack",
    "KubeVirt",
    "Amazon EC2",
    "QEMU",
    "VMware",
    "VMW",
    "innotek GmbH",
    "VirtualBox",
    "Xen",
    "Bochs",
    "Parallels",
    "BHYVE",
    "Hyper-V",
    "Apple Virtualization",
    "Google Compute Engine",
)
