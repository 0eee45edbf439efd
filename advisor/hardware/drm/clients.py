"""Which programs hold memory of a GPU: /proc/PID/fdinfo of every open /dev/dri node.

Format: Linux, Documentation/gpu/drm-usage-stats.rst. A process whose files this user may not read is counted
as hidden, never guessed at.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from llmfit.advisor.hardware.drm.sysfs import numbered_folders
from llmfit.advisor.hardware.machine import UNKNOWN_PROGRAM, VramProcess
from llmfit.advisor.hardware.small_files import read_text
from llmfit.advisor.text import clean_text
from llmfit.advisor.units import GIB, KIB, MAX_SIZE_BYTES, MIB

MAX_FILES_PER_PROCESS = 4096
"""A browser has some hundred files open; a program with a million must not stop the probe."""
_VALUE = re.compile(r"([0-9]{1,19})\s*(KiB|MiB|GiB|kB)?")
_UNITS = {None: 1, "KiB": KIB, "kB": KIB, "MiB": MIB, "GiB": GIB}
_KINDS = ("resident", "memory", "total")
"""What lies in a region now; amdgpu's older name for it; and all that was asked for, where that is all."""
_DEVICE_REGIONS = ("vram", "local", "stolen-local")
"""Of the card: amdgpu ``vram``, xe ``vram0``, i915 ``local0``."""
_SHARED_REGIONS = ("gtt", "system0")
"""RAM that the GPU uses: amdgpu and xe ``gtt``, i915 ``system0``."""


@dataclass(frozen=True, slots=True)
class GpuUse:
    """Bytes that a program holds: on the card, and in RAM on behalf of the GPU."""

    vram_bytes: int = 0
    shared_bytes: int = 0


@dataclass(slots=True)
class DrmClients:
    """Programs by PCI address and process. ``readable`` is False where there is no /proc to look into."""

    by_bus: dict[str, dict[int, GpuUse]] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    hidden: int = 0
    """Processes of other users, whose files could not be read."""
    readable: bool = False

    def processes(self, bus: str | None, *, shared: bool) -> tuple[VramProcess, ...]:
        """Programs on one card, the largest first; ``shared`` adds what they hold in RAM for the GPU."""
        held = (
            (pid, use.vram_bytes + (use.shared_bytes if shared else 0))
            for pid, use in self.by_bus.get(bus or "", {}).items()
        )
        found = (VramProcess(pid, self.names.get(pid, UNKNOWN_PROGRAM), size) for pid, size in held if size)
        return tuple(sorted(found, key=lambda process: (-(process.vram_bytes or 0), process.pid)))


def read_drm_clients(root: Path) -> DrmClients:
    """Every DRM client that this user may see. One client seen through several files counts once."""
    clients = DrmClients()
    seen: set[tuple[str, str]] = set()
    for folder in numbered_folders(root / "proc"):
        clients.readable = True
        pid = int(folder.name)
        try:
            texts = list(_fdinfo_texts(folder))
        except PermissionError:
            clients.hidden += 1
            continue
        except OSError:  # the process has ended
            continue
        for text in texts:
            _add(clients, seen, pid, _pairs(text))
        if any(pid in uses for uses in clients.by_bus.values()):
            clients.names[pid] = process_name(root, pid)
    return clients


def process_name(root: Path, pid: int) -> str:
    return clean_text(read_text(root / "proc" / str(pid) / "comm")) or UNKNOWN_PROGRAM


def _fdinfo_texts(folder: Path) -> Iterator[str]:
    """The fdinfo of every file of a process that is a node of /dev/dri. Raises OSError."""
    with os.scandir(folder / "fd") as files:
        for file in islice(files, MAX_FILES_PER_PROCESS):
            with suppress(FileNotFoundError):
                if str(Path(file.path).readlink()).startswith("/dev/dri/"):
                    yield read_text(folder / "fdinfo" / file.name)


def _pairs(text: str) -> dict[str, str]:
    lines = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in lines}


def _add(clients: DrmClients, seen: set[tuple[str, str]], pid: int, pairs: Mapping[str, str]) -> None:
    bus = pairs.get("drm-pdev", "").lower()
    if not bus:
        return
    client = pairs.get("drm-client-id")
    # Without a client id the files of one process may be one client: the largest counts.
    key = (bus, client if client is not None else f"process {pid}")
    use = GpuUse(_held(pairs, _DEVICE_REGIONS), _held(pairs, _SHARED_REGIONS))
    uses = clients.by_bus.setdefault(bus, {})
    before = uses.get(pid, GpuUse())
    if client is None:
        uses[pid] = max(before, use, key=lambda each: each.vram_bytes)
    elif key not in seen:
        uses[pid] = GpuUse(before.vram_bytes + use.vram_bytes, before.shared_bytes + use.shared_bytes)
    seen.add(key)


def _held(pairs: Mapping[str, str], regions: tuple[str, ...]) -> int:
    """Bytes in all regions of a kind: of each the first of resident, memory, total that is written."""
    found: dict[str, int] = {}
    for kind in reversed(_KINDS):
        prefix = f"drm-{kind}-"
        for key, value in pairs.items():
            region = key.removeprefix(prefix)
            size = _bytes(value)
            if key.startswith(prefix) and region.startswith(regions) and size is not None:
                found[region] = size
    return sum(found.values())


def _bytes(text: str) -> int | None:
    value = _VALUE.fullmatch(text)
    if value is None:
        return None
    size = int(value[1]) * _UNITS[value[2]]
    return size if size <= MAX_SIZE_BYTES else None
