"""Reading Linux's /sys and /proc: files that may be missing, empty, unreadable or full of nonsense.

Every function takes the root of the file system or a folder below it, so that a fixture tree can stand for a
computer. Nothing here raises: what cannot be read is ``None`` or empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from llmfit.advisor.hardware.host.cgroup import read_cgroup_memory
from llmfit.advisor.hardware.host.meminfo import read_meminfo
from llmfit.advisor.hardware.small_files import read_number, read_text
from llmfit.advisor.text import clean_text

MOST_WATTS = 10_000
_NODE = re.compile(r"(?:card|renderD)[0-9]{1,5}")
_PCI_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_GENERATIONS = {2.5: 1, 5.0: 2, 8.0: 3, 16.0: 4, 32.0: 5, 64.0: 6}
"""Transfer rate of a lane in GT/s → generation of PCI Express (``16.0 GT/s PCIe``)."""
_WIDTHS = frozenset({1, 2, 4, 8, 12, 16, 32})
"""A link that is down or gone shows 0, 63 or 255 lanes."""


@dataclass(frozen=True, slots=True)
class DisplayDevice:
    """A device with a DRM driver; ``folder`` is its folder in sysfs, links resolved."""

    folder: Path
    vendor: str
    """``0x1002``, as sysfs writes it."""
    device_id: str
    revision: str
    driver: str | None
    bus: str | None
    """``0000:03:00.0``."""

    @property
    def pci_id(self) -> str | None:
        """``1002:744c``, or ``None`` where the files do not tell."""
        found = re.fullmatch(r"0x([0-9a-f]{4})/0x([0-9a-f]{4})", f"{self.vendor}/{self.device_id}")
        return f"{found[1]}:{found[2]}" if found else None

    @property
    def is_there(self) -> bool:
        """Whether the device still answers: an unplugged or failed card takes its files along."""
        return bool(read_text(self.folder / "vendor"))


@dataclass(frozen=True, slots=True)
class PcieLink:
    generation: int | None = None
    width: int | None = None
    max_width: int | None = None


@dataclass(frozen=True, slots=True)
class SystemRam:
    """RAM that the system sees, and what this process may still take of it (its control group counts)."""

    total_bytes: int | None
    available_bytes: int | None


def display_devices(root: Path) -> list[DisplayDevice]:
    """Every device that has a node in /sys/class/drm, once, in order of the PCI bus.

    A container may have only the render node (``renderD128``) of a card.
    """
    folders: dict[Path, None] = {}
    with suppress(OSError):
        for node in sorted((root / "sys/class/drm").iterdir()):
            if _NODE.fullmatch(node.name):
                with suppress(OSError, RuntimeError):
                    folders[(node / "device").resolve(strict=True)] = None
    return sorted(map(_device, folders), key=lambda device: (device.bus or "~", str(device.folder)))


def numbered_folders(parent: Path) -> list[Path]:
    """What lies below ``parent`` under a number (a process, a node, a bank), in order."""
    with suppress(OSError):
        found = (path for path in parent.iterdir() if path.name.isascii() and path.name.isdigit())
        return sorted(found, key=lambda path: int(path.name))
    return []


def lost_note(name: str) -> str:
    """What is said of a card that is no longer there when it has been read (``is_there``)."""
    return f"{name}: the card was lost while it was being read, so it is left out."


def _device(folder: Path) -> DisplayDevice:
    event = dict(line.split("=", 1) for line in read_text(folder / "uevent").splitlines() if "=" in line)
    bus = event.get("PCI_SLOT_NAME", folder.name).lower()
    driver = event.get("DRIVER")
    if driver is None:
        with suppress(OSError):
            driver = (folder / "driver").readlink().name
    return DisplayDevice(
        folder=folder,
        vendor=read_text(folder / "vendor").lower(),
        device_id=read_text(folder / "device").lower(),
        revision=read_text(folder / "revision").lower(),
        driver=clean_text(driver) if driver else None,
        bus=bus if _PCI_ADDRESS.fullmatch(bus) else None,
    )


def read_pcie_link(device: DisplayDevice) -> PcieLink:
    """The narrowest link between the card and the CPU: what weights are loaded through.

    Generation and ``max_width`` are what all devices on the way can do (an idle card lowers its speed),
    ``width`` is in use. Cards of AMD (since Vega) and Intel (Arc) carry a PCIe switch, and the chip shows the
    link to that switch: faster than the slot (Radeon), or 2.5 GT/s x1 as a stand-in (Arc; lspci of A770 and
    B580). Behind such a switch only the links from its upstream port on count. nvtop does alike: it reads the
    ports and leaves the card out (src/device_discovery_linux.c, pcie_walker_helper).
    """
    chain = [device.folder]
    for folder in device.folder.parents:
        if _PCI_ADDRESS.fullmatch(folder.name) is None:
            break
        chain.append(folder)
    if len(chain) >= 4 and all(read_text(port / "vendor").lower() == device.vendor for port in chain[1:3]):
        chain = chain[2:]
    generations = (_generation(read_text(port / "max_link_speed")) for port in chain)
    return PcieLink(
        generation=min((number for number in generations if number is not None), default=None),
        width=_narrowest(chain, "current_link_width"),
        max_width=_narrowest(chain, "max_link_width"),
    )


def _generation(speed: str) -> int | None:
    found = re.match(r"([0-9]{1,2}(?:\.[0-9])?) GT/s", speed)
    return _GENERATIONS.get(float(found[1])) if found else None


def _narrowest(chain: list[Path], name: str) -> int | None:
    widths = (read_number(port / name) for port in chain)
    return min((width for width in widths if width is not None and width in _WIDTHS), default=None)


def read_watts(device: DisplayDevice, *names: str) -> float | None:
    """The first of these files of the card's hardware monitor that holds microwatts; 0 means no limit."""
    for name in names:
        for folder in _monitors(device.folder):
            microwatts = read_number(folder / name, MOST_WATTS * 10**6)
            if microwatts:
                return microwatts / 1e6
    return None


def _monitors(folder: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from sorted((folder / "hwmon").iterdir())


def read_system_ram(root: Path) -> SystemRam:
    """As HostProbe reads them: total and available of /proc/meminfo, the latter within the limits of control
    groups."""
    ram = read_meminfo(root)
    if ram is None:
        return SystemRam(None, None)
    return SystemRam(ram.total_bytes, read_cgroup_memory(root, ram.total_bytes).bound(ram.available_bytes))


def driver_version(root: Path, driver: str) -> str:
    """``amdgpu 6.14.14`` where the module has a version of its own (DKMS), else ``amdgpu, Linux 6.17.0``."""
    version = clean_text(read_text(root / "sys/module" / driver / "version"))
    if version:
        return f"{driver} {version}"
    release = clean_text(read_text(root / "proc/sys/kernel/osrelease"))
    return f"{driver}, Linux {release}" if release else driver
