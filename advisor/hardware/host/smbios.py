"""Memory modules from an SMBIOS table (type 17, Memory Device): bytes in, modules out.

The table is the firmware's and may be anything: every length is checked, nothing raises. Layout: DMTF
DSP0134 (SMBIOS Reference Specification), 6.1.2 and 7.18; systemd's src/udev/dmi_memory_id/dmi_memory_id.c
reads the same fields.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from llmfit.advisor.text import clean_text
from llmfit.advisor.units import KIB, MIB

MAX_TABLE_BYTES = 2**20
MAX_MODULES = 256
_MEMORY_DEVICE = 17
_END_OF_TABLE = 127
_SHORTEST = 0x15

MEMORY_TYPES = {
    0x09: "Flash",
    0x08: "ROM",
    0x0A: "EEPROM",
    0x0B: "FEPROM",
    0x0C: "EPROM",
    0x1F: "Logical non-volatile device",
    0x12: "DDR",
    0x13: "DDR2",
    0x18: "DDR3",
    0x1A: "DDR4",
    0x1B: "LPDDR",
    0x1C: "LPDDR2",
    0x1D: "LPDDR3",
    0x1E: "LPDDR4",
    0x20: "HBM",
    0x21: "HBM2",
    0x22: "DDR5",
    0x23: "LPDDR5",
    0x24: "HBM3",
}
"""DSP0134 7.18.2, those that matter here: kinds of RAM, and what lies on the board but is no RAM."""


@dataclass(frozen=True, slots=True)
class MemoryModule:
    """One memory device as the firmware lists it. Unknown is ``None``; an empty slot has ``size_bytes`` 0."""

    size_bytes: int | None
    memory_type: str | None
    """``DDR5``; a name that is no kind of DRAM (``RAM``, ``Flash``) is kept as it is."""
    width_bits: int | None
    """Of the data, without ECC."""
    rated_mt_s: int | None
    configured_mt_s: int | None
    locator: str = ""
    bank_locator: str = ""


def read_memory_modules(table: bytes) -> tuple[MemoryModule, ...]:
    """Every memory device of a table (/sys/firmware/dmi/tables/DMI), empty slots too."""
    modules: list[MemoryModule] = []
    for formatted, strings in _structures(table[:MAX_TABLE_BYTES]):
        if formatted[0] == _MEMORY_DEVICE and len(formatted) >= _SHORTEST:
            modules.append(_module(formatted, strings))
        if len(modules) >= MAX_MODULES:
            break
    return tuple(modules)


def _structures(table: bytes) -> Iterator[tuple[bytes, list[str]]]:
    """Each structure's formatted part and its strings; ends at the first one that does not fit."""
    start = 0
    while start + 4 <= len(table):
        kind, length = table[start], table[start + 1]
        if length < 4 or kind == _END_OF_TABLE:
            return
        end = table.find(b"\0\0", start + length)
        if end < 0:
            return
        strings = table[start + length : end].split(b"\0")
        yield table[start : start + length], [text.decode("latin-1") for text in strings]
        start = end + 2


def _module(data: bytes, strings: list[str]) -> MemoryModule:
    kind = data[0x12]
    return MemoryModule(
        size_bytes=_size(data),
        memory_type=MEMORY_TYPES.get(kind),
        width_bits=_word(data, 0x0A),
        rated_mt_s=_speed(data, 0x15, 0x54),
        configured_mt_s=_speed(data, 0x20, 0x58),
        locator=_string(strings, data[0x10]),
        bank_locator=_string(strings, data[0x11]),
    )


def _size(data: bytes) -> int | None:
    """Bit 15 set: KiB, else MiB; 0 no module; 0x7FFF means that the extended field counts (MiB)."""
    size = int(struct.unpack_from("<H", data, 0x0C)[0])
    if size == 0xFFFF:
        return None
    if size == 0x7FFF:
        extended = _dword(data, 0x1C)
        return extended * MIB if extended is not None else None
    return (size & 0x7FFF) * (KIB if size & 0x8000 else MIB)


def _speed(data: bytes, offset: int, extended_offset: int) -> int | None:
    """MT/s; 0xFFFF means that the extended field counts."""
    if offset + 2 <= len(data) and struct.unpack_from("<H", data, offset)[0] == 0xFFFF:
        return _dword(data, extended_offset)
    return _word(data, offset)


def _word(data: bytes, offset: int) -> int | None:
    value = int(struct.unpack_from("<H", data, offset)[0]) if offset + 2 <= len(data) else 0
    return value if value not in (0, 0xFFFF) else None


def _dword(data: bytes, offset: int) -> int | None:
    value = int(struct.unpack_from("<I", data, offset)[0]) if offset + 4 <= len(data) else 0
    return value & 0x7FFFFFFF or None


def _string(strings: list[str], number: int) -> str:
    return clean_text(strings[number - 1]) if 0 < number <= len(strings) else ""
