"""Limits that a container or a service manager sets: Linux control groups, versions 1 and 2.

Every function takes the root of the file system, so that a fixture tree can stand for a computer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class CgroupMemory:
    """The tightest memory limit above this process, and the least that is left under any of its limits."""

    limit_bytes: int | None
    available_bytes: int | None


def read_cgroup_memory(root: Path, total_bytes: int) -> CgroupMemory:
    """The memory limit of the control group of this process and of all groups above it.

    A limit of ``total_bytes`` or more is none. What is left is the limit less what the group holds; page
    cache that the kernel can drop (``inactive_file``) does not count as held.
    """
    limit_bytes: int | None = None
    available_bytes: int | None = None
    for group, version in _groups(root, "memory"):
        limits = [_number(group / name) for name in _LIMIT_FILES[version]]
        known = [limit for limit in limits if limit is not None and limit < total_bytes]
        if not known:
            continue
        limit = min(known)
        limit_bytes = limit if limit_bytes is None else min(limit_bytes, limit)
        used = _number(group / _USAGE_FILE[version])
        if used is None:
            continue
        left = max(0, limit - max(0, used - _inactive_file(group)))
        available_bytes = left if available_bytes is None else min(available_bytes, left)
    return CgroupMemory(limit_bytes, available_bytes)


def read_cgroup_cpus(root: Path) -> float | None:
    """CPU cores' worth of time that the tightest quota allows (``docker run --cpus``), or ``None``."""
    quotas: list[float] = []
    for group, version in _groups(root, "cpu"):
        if version == 2:
            words = _text(group / "cpu.max").split()
            quota = _int(words[0]) if len(words) == 2 else None
            period = _int(words[1]) if len(words) == 2 else None
        else:
            quota, period = _number(group / "cpu.cfs_quota_us"), _number(group / "cpu.cfs_period_us")
        if quota is not None and quota > 0 and period:
            quotas.append(quota / period)
    return min(quotas, default=None)


# memory.high stalls a program that passes it, so for a model that must stay in RAM it is a limit too.
_LIMIT_FILES = {1: ("memory.limit_in_bytes",), 2: ("memory.max", "memory.high")}
_USAGE_FILE = {1: "memory.usage_in_bytes", 2: "memory.current"}


def _groups(root: Path, controller: str) -> Iterator[tuple[Path, int]]:
    """Folders of the groups of this process that ``controller`` may limit, from its own up to the mount.

    In a container /proc/self/cgroup may name the path that the host sees while the container's own group is
    mounted at the top: folders that are not there are skipped, and the mount itself always counts.
    """
    top = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if hierarchy == "0" and not controllers:
            mount, version = top, 2
        elif controller in controllers.split(","):
            mount, version = top / controller, 1
        else:
            continue
        relative = Path(path.lstrip("/"))
        if ".." in relative.parts:
            relative = Path()
        for part in (relative, *relative.parents):
            if (mount / part).is_dir():
                yield mount / part, version


def _inactive_file(group: Path) -> int:
    """Dropable page cache of a group; version 1 counts the groups below it under ``total_``."""
    values = dict(line.split(" ", 1) for line in _text(group / "memory.stat").splitlines() if " " in line)
    return _int(values.get("total_inactive_file", values.get("inactive_file", ""))) or 0


def _number(path: Path) -> int | None:
    return _int(_text(path))


def _int(text: str) -> int | None:
    with suppress(ValueError):
        return int(text)
    return None


def _text(path: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text().strip()
    return ""
