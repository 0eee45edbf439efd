"""CPU and RAM of this computer, with the limits under which this process runs."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from llmfit.advisor.hardware.findings import Findings
from llmfit.advisor.hardware.host.cgroup import read_cgroup_cpus, read_cgroup_memory, read_cgroup_swap
from llmfit.advisor.hardware.host.cpu_topology import (
    cores_from_sysfs,
    count_cores,
    fast_cpus,
    is_virtual_machine,
    read_board_name,
    read_numa_nodes,
)
from llmfit.advisor.hardware.host.cpuinfo import CpuInfo, read_cpuinfo
from llmfit.advisor.hardware.host.meminfo import MemInfo, read_meminfo
from llmfit.advisor.hardware.host.ram_modules import RamModules, read_ram_modules
from llmfit.advisor.hardware.machine import Cpu, Memory
from llmfit.advisor.text import clean_text

CPUINFO, MEMINFO = "/proc/cpuinfo", "/proc/meminfo"
CONTROL_GROUP = "control group"


class HostProbe:
    """Reads CPU and RAM of this computer; ``root`` is the file system's root, another one in tests."""

    subject = "CPU and RAM"
    finds_gpus = False

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    def read(self) -> Findings:
        """CPU and RAM; on a Mac the RAM only, the rest is AppleProbe's (sysctl)."""
        notes: list[str] = []
        info = read_cpuinfo(self._root)
        cpu = None if sys.platform == "darwin" else self._cpu(info, notes)
        return Findings(cpu=cpu, memory=self._memory(info, notes), notes=tuple(notes))

    def _memory(self, info: CpuInfo, notes: list[str]) -> Memory:
        ram, read_from = read_meminfo(self._root), MEMINFO
        if ram is None:
            ram, read_from = _meminfo_by_psutil(notes), "psutil"
        if ram is None:
            return Memory(total_bytes=None, available_bytes=None)
        group = read_cgroup_memory(self._root, ram.total_bytes)
        swap = read_cgroup_swap(self._root, ram.swap_total_bytes or 0)
        modules = RamModules()
        if not (info.virtual or is_virtual_machine(self._root)):
            modules = read_ram_modules(self._root, ram.total_bytes)
        notes.extend(modules.notes)
        memory = Memory(
            total_bytes=ram.total_bytes,
            available_bytes=group.bound(ram.available_bytes),
            limit_bytes=group.limit_bytes,
            bandwidth_bytes_per_s=modules.peak_bandwidth_bytes_per_s,
            bandwidth_source=modules.bandwidth_source,
            peak_bandwidth_bytes_per_s=modules.peak_bandwidth_bytes_per_s,
            memory_type=modules.memory_type,
            channels=modules.channels,
            transfer_rate_mt_s=modules.transfer_rate_mt_s,
            swap_total_bytes=_smallest(ram.swap_total_bytes, swap.limit_bytes),
            swap_free_bytes=swap.bound(ram.swap_free_bytes),
        )
        return replace(memory, sources=_memory_sources(memory, ram, read_from, modules))

    def _cpu(self, info: CpuInfo, notes: list[str]) -> Cpu:
        present = os.cpu_count()
        affinity = _affinity()
        usable = sorted(affinity) if affinity is not None else list(range(present or 0))
        core_of = info.core_of or cores_from_sysfs(self._root, usable)
        physical, cores_from = count_cores(core_of, usable), CPUINFO if info.core_of else "sysfs"
        if physical is None:
            physical, cores_from = _cores_by_psutil(usable), "psutil"
        fast = fast_cpus(self._root, usable)
        fast_usable = fast.intersection(usable) if fast is not None else ()
        performance = count_cores(core_of, fast_usable) or len(fast_usable) or None
        logical = len(usable) or None
        quota = read_cgroup_cpus(self._root)
        threads_from = "affinity" if affinity is not None else "os.cpu_count"
        if quota is not None and logical is not None:
            if quota < logical:
                cores_from, threads_from = f"{cores_from}, {CONTROL_GROUP}", CONTROL_GROUP
            logical = min(logical, max(1, int(quota)))
            physical = _at_most(physical, logical)
            performance = _at_most(performance, logical)
        if logical is not None and present is not None and logical < present:
            notes.append(
                f"This process may use {logical} of {present} CPU threads (affinity or container quota)."
            )
        other = "platform.processor" if sys.platform == "win32" else "firmware"
        sources = {"name": CPUINFO if info.name else other, "features": CPUINFO}
        sources |= {"physical_cores": cores_from, "logical_cores": threads_from}
        sources |= {"performance_cores": "sysfs", "numa_nodes": "sysfs"}
        cpu = Cpu(
            name=info.name or self._other_name(),
            physical_cores=physical,
            logical_cores=logical,
            features=info.features,
            performance_cores=performance,
            numa_nodes=read_numa_nodes(self._root),
        )
        return replace(cpu, sources=_of_known(cpu, sources))

    def _other_name(self) -> str | None:
        if sys.platform == "win32":
            return clean_text(platform.processor()) or None
        return read_board_name(self._root)


def _memory_sources(memory: Memory, ram: MemInfo, read_from: str, modules: RamModules) -> dict[str, str]:
    """Where each known field was read; a control group where its bound is the smaller one."""
    sources: dict[str, str | None] = {"total_bytes": read_from, "limit_bytes": CONTROL_GROUP}
    for name in ("available_bytes", "swap_total_bytes", "swap_free_bytes"):
        bounded = getattr(memory, name) != getattr(ram, name)
        sources[name] = CONTROL_GROUP if bounded else read_from
    for name in ("memory_type", "channels", "transfer_rate_mt_s"):
        sources[name] = modules.read_from
    sources["peak_bandwidth_bytes_per_s"] = modules.bandwidth_source
    return _of_known(memory, sources)


def _of_known(part: Cpu | Memory, sources: Mapping[str, str | None]) -> dict[str, str]:
    """The sources of the fields that have a value."""
    return {
        name: source for name, source in sources.items() if source and getattr(part, name) not in (None, ())
    }


def _meminfo_by_psutil(notes: list[str]) -> MemInfo | None:
    # Imported here: 10 ms, and not needed where /proc/meminfo can be read.
    import psutil  # type: ignore[import-untyped]

    try:
        ram = psutil.virtual_memory()
    except (psutil.Error, OSError, RuntimeError, KeyError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        notes.append(f"RAM could not be read: {clean_text(why).lower()}. Name it with --ram SIZE.")
        return None
    swap_total = swap_free = None
    if sys.platform != "linux":  # There it warns on stderr where /proc/vmstat is missing, too.
        with suppress(psutil.Error, OSError, RuntimeError):
            swap = psutil.swap_memory()
            swap_total, swap_free = swap.total, swap.free
    return MemInfo(ram.total, ram.available, swap_total, swap_free)


def _cores_by_psutil(usable: list[int]) -> int | None:
    import psutil

    with suppress(psutil.Error, OSError, RuntimeError, ValueError):
        cores: int | None = psutil.cpu_count(logical=False)
        return _at_most(cores, len(usable)) if usable else cores
    return None


def _affinity() -> set[int] | None:
    """Logical CPUs that this process may run on, where the system tells."""
    if sys.platform != "linux":
        return None
    with suppress(OSError):
        return os.sched_getaffinity(0)
    return None


def _smallest(*sizes: int | None) -> int | None:
    return min((size for size in sizes if size is not None), default=None)


def _at_most(count: int | None, bound: int) -> int | None:
    return min(count, bound) if count is not None else None
