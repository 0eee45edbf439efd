"""Limits that a container or a service manager sets: Linux control groups, versions 1 and 2.

Every function takes the root of the file system, so that a fixture tree can stand for a computer. Sources:
Linux Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst, man 7 cgroups (the files under /proc).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from llmfit.advisor.hardware.small_files import read_int, read_text, to_int

_MAX_MOUNTINFO_BYTES = 2**20
_MAX_DEPTH = 32
_NO_LIMIT_BYTES = 2**62
"""Version 1 writes a missing limit as the largest number of whole pages below 2**63 (PAGE_COUNTER_MAX,
include/linux/page_counter.h)."""


@dataclass(frozen=True, slots=True)
class CgroupMemory:
    """The tightest limit above this process, and the least that is left under any of its limits."""

    limit_bytes: int | None
    available_bytes: int | None

    def bound(self, free_bytes: int | None) -> int | None:
        """What this process may take of ``free_bytes`` that the system has."""
        known = [size for size in (free_bytes, self.limit_bytes, self.available_bytes) if size is not None]
        return min(known, default=None)


def read_cgroup_memory(root: Path, total_bytes: int) -> CgroupMemory:
    """The memory limit of the control group of this process and of all groups above it.

    A limit of ``total_bytes`` or more is none (version 1 writes 9223372036854771712). What is left is the
    limit less what the group holds; page cache that the kernel can drop (``inactive_file``, ``active_file``)
    does not count as held, as it does not for MemAvailable (si_mem_available, mm/show_mem.c).
    """
    found: list[tuple[int, int | None]] = []
    for group, version in _groups(root, "memory"):
        stat = _stat(group)
        limits = [read_int(group / name) for name in _LIMIT_FILES[version]]
        # Version 1 tells here the limit of groups above that a container does not show.
        limits.append(stat.get("hierarchical_memory_limit"))
        known = [limit for limit in limits if limit is not None and 0 <= limit < total_bytes]
        if not known:
            continue
        used = read_int(group / _USAGE_FILE[version])
        found.append((min(known), None if used is None else max(0, used - _page_cache(stat))))
    return _tightest(found)


def read_cgroup_swap(root: Path, total_bytes: int) -> CgroupMemory:
    """The same for swap: ``memory.swap.max``; version 1 limits RAM and swap together (``memsw``)."""
    found: list[tuple[int, int | None]] = []
    for group, version in _groups(root, "memory"):
        if version == 2:
            limit, used = read_int(group / "memory.swap.max"), read_int(group / "memory.swap.current")
        else:
            limit = _difference(group, "memory.memsw.limit_in_bytes", "memory.limit_in_bytes")
            used = _difference(group, "memory.memsw.usage_in_bytes", "memory.usage_in_bytes")
        if limit is not None and 0 <= limit < total_bytes:
            found.append((limit, used))
    return _tightest(found)


def read_cgroup_cpus(root: Path) -> float | None:
    """CPU cores' worth of time that the tightest quota allows (``docker run --cpus``), or ``None``."""
    quotas: list[float] = []
    for group, version in _groups(root, "cpu"):
        if version == 2:
            words = read_text(group / "cpu.max").split()
            quota, period = (to_int(words[0]), to_int(words[1])) if len(words) == 2 else (None, None)
        else:
            quota, period = read_int(group / "cpu.cfs_quota_us"), read_int(group / "cpu.cfs_period_us")
        if quota is not None and quota > 0 and period is not None and period > 0:
            quotas.append(quota / period)
    return min(quotas, default=None)


# memory.high stalls a program that passes it, so for a model that must stay in RAM it is a limit too.
_LIMIT_FILES = {1: ("memory.limit_in_bytes",), 2: ("memory.max", "memory.high")}
_USAGE_FILE = {1: "memory.usage_in_bytes", 2: "memory.current"}


def _tightest(found: list[tuple[int, int | None]]) -> CgroupMemory:
    limit = min((limit for limit, _ in found), default=None)
    left = [max(0, limit - used) for limit, used in found if used is not None]
    return CgroupMemory(limit, min(left, default=None))


def _difference(group: Path, whole: str, part: str) -> int | None:
    """``None`` also where the whole has no limit: less a part that has none, it would be 0."""
    both, one = read_int(group / whole), read_int(group / part)
    if both is None or one is None or both >= _NO_LIMIT_BYTES:
        return None
    return max(0, both - one)


def _groups(root: Path, controller: str) -> Iterator[tuple[Path, int]]:
    """Folders of the groups of this process that ``controller`` may limit, from its own up to the mount.

    In a container /proc/self/cgroup may name the path that the host sees while the container's own group is
    mounted at the top: folders that are not there are skipped, and the mount itself always counts.
    """
    paths = _own_paths(root, controller)
    seen: set[Path] = set()
    for mount, top, version in _mounts(root, controller):
        if version not in paths:
            continue
        relative = _below(paths[version], top)
        for part in (relative, *relative.parents)[-_MAX_DEPTH:]:
            folder = mount / part
            if folder not in seen and folder.is_dir():
                seen.add(folder)
                yield folder, version


def _own_paths(root: Path, controller: str) -> dict[int, PurePosixPath]:
    """Version -> path of this process's group in its hierarchy; the top where /proc does not tell."""
    text = read_text(root / "proc/self/cgroup")
    if not text:
        return {1: PurePosixPath("/"), 2: PurePosixPath("/")}
    paths: dict[int, PurePosixPath] = {}
    for line in text.splitlines():
        hierarchy, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        if not colon:
            continue
        if hierarchy == "0" and not controllers:
            paths[2] = PurePosixPath(path)
        elif controller in controllers.split(","):
            paths[1] = PurePosixPath(path)
    return paths


def _mounts(root: Path, controller: str) -> Iterator[tuple[Path, PurePosixPath, int]]:
    """Where a hierarchy with ``controller`` is mounted: folder, the group that is its top, version.

    From /proc/self/mountinfo (man 5 proc): it tells where a hybrid system has version 2 (``unified``), which
    controllers share a mount (``cpu,cpuacct``), and which group a container's mount begins at. Without it,
    the usual places.
    """
    found = False
    for line in read_text(root / "proc/self/mountinfo", _MAX_MOUNTINFO_BYTES).splitlines():
        before, dash, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        if not dash or len(fields) < 6 or len(kind) < 3 or kind[0] not in ("cgroup", "cgroup2"):
            continue
        version = 2 if kind[0] == "cgroup2" else 1
        if version == 2 or controller in kind[2].split(","):
            found = True
            yield root / _unescape(fields[4]).lstrip("/"), PurePosixPath(_unescape(fields[3])), version
    if not found:
        usual = root / "sys/fs/cgroup"
        for folder, version in ((usual, 2), (usual / "unified", 2), (usual / controller, 1)):
            yield folder, PurePosixPath("/"), version


def _below(path: PurePosixPath, top: PurePosixPath) -> PurePosixPath:
    """``path`` as seen from a mount that begins at ``top``; the mount itself where that is not known.

    A path with ``..`` leads out of this process's cgroup namespace (man 7 cgroup_namespaces).
    """
    if ".." in path.parts or not path.is_relative_to(top):
        return PurePosixPath()
    return path.relative_to(top)


def _unescape(text: str) -> str:
    r"""mountinfo writes blanks and backslashes as ``\040`` (mangle, fs/proc_namespace.c)."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _stat(group: Path) -> dict[str, int]:
    pairs = (line.split(" ") for line in read_text(group / "memory.stat").splitlines())
    numbers = ((pair[0], to_int(pair[1])) for pair in pairs if len(pair) == 2)
    return {name: number for name, number in numbers if number is not None}


def _page_cache(stat: dict[str, int]) -> int:
    """Dropable page cache of a group; version 1 counts the groups below it under ``total_``."""
    names = ("inactive_file", "active_file")
    return sum(max(0, stat.get(f"total_{name}", stat.get(name, 0))) for name in names)
