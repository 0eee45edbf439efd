"""Kind, channels and peak bandwidth of the RAM, from what the firmware says of the modules.

In this order: udev's database, which everybody may read (systemd's dmi_memory_id writes the firmware's table
there); that table itself, for root; the kernel's error counters (EDAC), which know the kind only. Firmware
writes nonsense often enough: what cannot be is left unknown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from llmfit.advisor.hardware.host.smbios import (
    MAX_MODULES,
    MAX_TABLE_BYTES,
    MemoryModule,
    read_memory_modules,
)
from llmfit.advisor.hardware.small_files import read_bytes, read_text, to_int
from llmfit.advisor.text import clean_text

_MAX_UDEV_BYTES = 2**20
_UDEV_LINE = re.compile(r"E:MEMORY_DEVICE_(\d{1,3})_([A-Z_]+)=(.*)")
_NO_RAM = frozenset({"Flash", "ROM", "EEPROM", "FEPROM", "EPROM", "Logical non-volatile device"})
_DRAM = re.compile(r"DDR[2-9]?|LPDDR[2-9]?X?|HBM[2-9]?E?")
_NAME_TOO_NEW = "<OUT OF SPEC>"
"""systemd before it knew DDR5 writes this for its kind (dmi_memory_device_type)."""
_WIDTHS_BITS = frozenset({8, 16, 32, 64, 128})
CHANNEL_BITS = 64
_MAX_BITS = 4096
_SLOWEST_SOLD_MT_S = {"DDR3": 1066, "DDR4": 2133, "DDR5": 4000}
"""Below this nothing is sold (JEDEC JESD79-3/-4/-5; DDR4-1600 and 1866 exist on paper): then the firmware
writes the clock, which is half the transfer rate."""
_MAX_MT_S = 20000
_LEAST_OF_TOTAL = 0.9
"""Modules that hold less than this part of what the kernel counts are not all modules."""


@dataclass(frozen=True, slots=True)
class RamModules:
    """What the modules tell of the RAM. ``bandwidth_source`` says how ``peak_bandwidth_bytes_per_s`` comes
    about; ``notes`` why something about modules that could be read is not known; ``read_from`` says
    whose tables they were read in."""

    memory_type: str | None = None
    channels: int | None = None
    transfer_rate_mt_s: int | None = None
    peak_bandwidth_bytes_per_s: int | None = None
    bandwidth_source: str | None = None
    notes: tuple[str, ...] = ()
    read_from: str | None = None


def read_ram_modules(root: Path, total_bytes: int | None) -> RamModules:
    """The RAM of the computer under ``root``; ``total_bytes`` is what the kernel counts."""
    by_udev = describe_modules(_from_udev(root), total_bytes)
    if by_udev.memory_type is not None:
        return replace(by_udev, read_from="udev")
    by_table = describe_modules(_from_firmware(root), total_bytes)
    if by_table.memory_type is not None:
        return replace(by_table, read_from="SMBIOS")
    kind = _type_from_edac(root)
    known = ("udev" if by_udev.transfer_rate_mt_s or by_udev.channels else "", "EDAC" if kind else "")
    return replace(by_udev, memory_type=kind, read_from=" and ".join(filter(None, known)) or None)


def describe_modules(modules: Sequence[MemoryModule], total_bytes: int | None) -> RamModules:
    """Kind, channels, rate and peak of ``modules``, each only where nothing contradicts it.

    peak = bits of all populated channels / 8 × transfers a second.
    """
    ram = [module for module in modules if module.size_bytes != 0 and module.memory_type not in _NO_RAM]
    kinds = {module.memory_type for module in ram}
    kind = next(iter(kinds), None)
    if len(kinds) != 1 or kind is None or not (_DRAM.fullmatch(kind) or kind == _NAME_TOO_NEW):
        return RamModules()
    sizes = [module.size_bytes for module in ram if module.size_bytes is not None]
    if total_bytes and len(sizes) == len(ram) and sum(sizes) < total_bytes * _LEAST_OF_TOTAL:
        return RamModules()
    name = None if kind == _NAME_TOO_NEW else kind
    rate, rate_doubt = _transfer_rate(ram, kind)
    bits, assumed, channel_doubt = _populated_bits(ram, kind, letters_are_channels(modules))
    channels = bits // CHANNEL_BITS if bits is not None and bits % CHANNEL_BITS == 0 else None
    peak = None if bits is None or rate is None else bits // 8 * rate * 10**6
    source = None
    if peak is not None:
        speed = f"{name}-{rate}" if name else f"RAM at {rate} MT/s"
        width = (
            f"{channels} channel{'s'[: channels != 1]}"
            if channels and not _soldered(kind)
            else f"{bits} bits"
        )
        source = f"{speed} × {width} (peak{assumed})"
    notes = tuple(doubt for doubt in (rate_doubt, channel_doubt) if doubt)
    return RamModules(name, channels, rate, peak, source, notes)


def _soldered(kind: str) -> bool:
    return kind.startswith(("LPDDR", "HBM"))


def _transfer_rate(ram: Sequence[MemoryModule], kind: str) -> tuple[int | None, str]:
    """MT/s of the slowest module, and a doubt: some firmware writes the clock instead, half of it."""
    rates = [module.configured_mt_s or module.rated_mt_s for module in ram]
    known = [rate for rate in rates if rate is not None and 200 <= rate <= _MAX_MT_S]
    if len(known) < len(ram):
        return None, ""
    rate = min(known)
    rated = min((module.rated_mt_s for module in ram if module.rated_mt_s), default=rate)
    if rated < _SLOWEST_SOLD_MT_S.get(kind, 0) or (rate != rated and abs(2 * rate - rated) <= rated // 100):
        return None, (
            f"The firmware gives {rate} for the speed of the {kind} modules, which may be their clock, half "
            "of the transfer rate: their bandwidth is left unknown."
        )
    return rate, ""


def _populated_bits(ram: Sequence[MemoryModule], kind: str, lettered: bool) -> tuple[int | None, str, str]:
    """Data bits of all channels with a module in them; how that was taken; why it is not known."""
    widths = [module.width_bits for module in ram]
    known = [width for width in widths if width in _WIDTHS_BITS]
    if len(known) < len(ram) or len(ram) > MAX_MODULES:
        return None, "", ""
    names = [channel_name(module, kind, lettered) for module in ram]
    assumed = ""
    if all(names):
        by_channel: dict[str, int] = {}
        for name, width in zip(names, known, strict=True):
            by_channel[name or ""] = max(width or 0, by_channel.get(name or "", 0))
        bits = sum(by_channel.values())
    elif _soldered(kind) or len(ram) == 1:
        bits = sum(width or 0 for width in known)
    elif len(ram) == 2:
        bits, assumed = sum(width or 0 for width in known), "; 2 modules, taken as 2 channels"
    else:
        return (
            None,
            "",
            (
                f"The firmware lists {len(ram)} memory modules but not their channels: the peak bandwidth "
                "of the RAM is left unknown."
            ),
        )
    return (bits, assumed, "") if bits <= _MAX_BITS else (None, "", "")


_CONTROLLER = re.compile(r"(.*?Controller\s*\d+)", re.IGNORECASE)
_CHANNEL = re.compile(r"(.*?(?:Channel|(?<![A-Z])CH)[\s_-]*(?:[A-P]|\d{1,2}))(?![A-Z0-9])", re.IGNORECASE)
_LETTERED_SLOT = re.compile(
    r"(.*?(?:DIMM|DDR\d)[\s_-]*(?:P\d[\s_-]*)?[A-P])(?:[\s_-]*\d{1,2})?\W*", re.IGNORECASE
)
_SLOTS_OF_A_CHANNEL = 3


def letters_are_channels(modules: Sequence[MemoryModule]) -> bool:
    """Whether ``DIMM_A1`` means channel A: no channel has more than three slots, empty ones counted.

    On Dell's servers the letter is the socket and the number counts its slots (``DIMM_A1`` to ``DIMM_A12``).
    """
    slots = [match[1].lower() for match in (_LETTERED_SLOT.fullmatch(m.locator) for m in modules) if match]
    return all(slots.count(letter) <= _SLOTS_OF_A_CHANNEL for letter in set(slots))


def channel_name(module: MemoryModule, kind: str, lettered: bool = True) -> str | None:
    """What all modules of one channel have in common in their names; ``None`` where names do not tell.

    Seen: ``P0 CHANNEL A``, ``ChannelB-DIMM0``, ``P0_Node0_Channel0_Dimm1``, ``DIMM_A2``, ``P1-DIMMC1``,
    ``DDR4-A1``, ``Controller1-ChannelA-DIMM0``: Intel's client CPUs since 2020 have two controllers, each one
    64-bit channel of DDR4 or DDR5 however its halves are named. ``lettered``: see ``letters_are_channels``.
    """
    for text in (module.bank_locator, module.locator):
        controller = _CONTROLLER.match(text)
        if controller is not None and not _soldered(kind):
            return controller[1].lower()
    for text in (module.bank_locator, module.locator):
        channel = _CHANNEL.match(text)
        if channel is not None:
            return channel[1].lower()
    slot = _LETTERED_SLOT.fullmatch(module.locator) if lettered else None
    return slot[1].lower() if slot is not None else None


def _from_udev(root: Path) -> tuple[MemoryModule, ...]:
    """udev's database entry of the DMI device; keys by systemd's dmi_memory_id.c."""
    slots: dict[int, dict[str, str]] = {}
    for line in read_text(root / "run/udev/data/+dmi:id", _MAX_UDEV_BYTES).splitlines():
        match = _UDEV_LINE.fullmatch(line)
        if match is not None and int(match[1]) < MAX_MODULES:
            slots.setdefault(int(match[1]), {})[match[2]] = clean_text(match[3])
    return tuple(_udev_module(fields) for _, fields in sorted(slots.items()))


def _udev_module(fields: Mapping[str, str]) -> MemoryModule:
    return MemoryModule(
        size_bytes=0 if fields.get("PRESENT") == "0" else _number(fields, "SIZE", 2**60),
        memory_type=fields.get("TYPE"),
        width_bits=_number(fields, "DATA_WIDTH", 0xFFFE),
        rated_mt_s=_number(fields, "SPEED_MTS", 0xFFFE),
        configured_mt_s=_number(fields, "CONFIGURED_SPEED_MTS", 0xFFFE),
        locator=fields.get("LOCATOR", ""),
        bank_locator=fields.get("BANK_LOCATOR", ""),
    )


def _number(fields: Mapping[str, str], key: str, largest: int) -> int | None:
    value = to_int(fields.get(key, ""))
    return value if value is not None and 0 <= value <= largest else None


def _from_firmware(root: Path) -> tuple[MemoryModule, ...]:
    return read_memory_modules(read_bytes(root / "sys/firmware/dmi/tables/DMI", MAX_TABLE_BYTES))


def _type_from_edac(root: Path) -> str | None:
    """``Unbuffered-DDR5`` and the like (edac_mem_types, drivers/edac/edac_mc.c)."""
    kinds: set[str] = set()
    for number in range(16):
        folder = root / f"sys/devices/system/edac/mc/mc{number}"
        if not folder.is_dir():
            break
        for path in sorted(folder.glob("dimm*/dimm_mem_type"))[:MAX_MODULES]:
            match = re.fullmatch(r"(Low-Power-)?(?:[A-Za-z-]+-)?(DDR[2-9])(?:-RAM)?", read_text(path))
            if match is not None:
                kinds.add(("LP" if match[1] else "") + match[2])
    return kinds.pop() if len(kinds) == 1 else None
