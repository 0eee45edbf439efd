"""Memory modules from SMBIOS tables that the tests write, good ones and any bytes at all."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from llmfit.advisor.hardware.host.smbios import MAX_MODULES, MemoryModule, read_memory_modules
from llmfit.advisor.units import GIB, KIB, MIB

FULL_LENGTH = 0x5C


def device(
    size: int = 0x4000,
    kind: int = 0x22,
    width: int = 64,
    speed: int = 5600,
    configured: int = 5600,
    names: tuple[str, ...] = ("DIMM 0", "P0 CHANNEL A"),
    extended: tuple[int, int, int] = (0, 0, 0),
    length: int = FULL_LENGTH,
) -> bytes:
    """A type 17 structure, laid out as DSP0134 7.18 says."""
    data = bytearray(FULL_LENGTH)
    struct.pack_into("<BBH", data, 0, 17, length, 0x1100)
    struct.pack_into("<HHH", data, 0x08, width + 8, width, size)
    data[0x10], data[0x11], data[0x12] = 1, 2, kind
    struct.pack_into("<H", data, 0x15, speed)
    struct.pack_into("<I", data, 0x1C, extended[0])
    struct.pack_into("<H", data, 0x20, configured)
    struct.pack_into("<II", data, 0x54, extended[1], extended[2])
    strings = b"".join(name.encode("latin-1") + b"\0" for name in names)
    return bytes(data[:length]) + (strings or b"\0") + b"\0"


BIOS_INFORMATION = bytes((0, 4, 0, 0)) + b"Maker\0Version\0\0"
END = bytes((127, 4, 0xFF, 0xFE)) + b"\0\0"


def test_a_module_and_an_empty_slot() -> None:
    empty = device(size=0, kind=2, width=0, speed=0, configured=0, names=("DIMM 1", "P0 CHANNEL A"))
    modules = read_memory_modules(BIOS_INFORMATION + device() + empty + END + device())
    assert modules == (
        MemoryModule(16 * GIB, "DDR5", 64, 5600, 5600, "DIMM 0", "P0 CHANNEL A"),
        MemoryModule(0, None, None, None, None, "DIMM 1", "P0 CHANNEL A"),
    )


def test_large_and_small_sizes_and_speeds() -> None:
    table = device(size=0x7FFF, speed=0xFFFF, configured=0xFFFF, extended=(128 * KIB, 70000, 66000))
    table += device(size=0x8000 | 512) + device(size=0xFFFF) + END
    large, small, unknown = read_memory_modules(table)
    assert (large.size_bytes, large.rated_mt_s, large.configured_mt_s) == (128 * GIB, 70000, 66000)
    assert small.size_bytes == 512 * KIB
    assert unknown.size_bytes is None


def test_an_old_table_is_shorter() -> None:
    (module,) = read_memory_modules(device(length=0x1B) + END)
    assert module == MemoryModule(16 * GIB, "DDR5", 64, 5600, None, "DIMM 0", "P0 CHANNEL A")
    (module,) = read_memory_modules(device(length=0x15) + END)
    assert (module.rated_mt_s, module.configured_mt_s) == (None, None)
    assert read_memory_modules(device(length=0x14) + END) == ()


def test_names_are_cleaned_and_may_be_missing() -> None:
    (module,) = read_memory_modules(device(names=("\x1b[31mA\nB",)) + END)
    assert (module.locator, module.bank_locator) == ("[31mA B", "")
    (module,) = read_memory_modules(device(names=()) + END)
    assert (module.locator, module.bank_locator) == ("", "")


def test_a_table_that_ends_too_early_gives_what_came_before() -> None:
    table = device() + device()[:-1]
    assert len(read_memory_modules(table)) == 1
    assert read_memory_modules(b"\x11\x03\0\0" + device()) == ()


def test_no_more_modules_than_a_computer_has() -> None:
    assert len(read_memory_modules(device() * (MAX_MODULES + 50))) == MAX_MODULES


@given(st.binary(max_size=600))
def test_any_bytes_are_a_table_without_error(table: bytes) -> None:
    for module in read_memory_modules(table):
        assert module.size_bytes is None or 0 <= module.size_bytes < 2**31 * MIB
        assert module.width_bits is None or 0 < module.width_bits < 0xFFFF


@given(st.data(), st.lists(st.tuples(st.integers(0, FULL_LENGTH + 20), st.integers(0, 255)), max_size=12))
def test_a_damaged_table_is_no_error(data: st.DataObject, damages: list[tuple[int, int]]) -> None:
    table = bytearray(device() + device() + END)
    for offset, value in damages:
        table[offset] = value
    cut = data.draw(st.integers(0, len(table)))
    assert len(read_memory_modules(bytes(table[:cut]))) <= 60


@given(
    st.integers(1, 0x7FFE),
    st.integers(1, 0xFFFE),
    st.integers(1, 0xFFFE),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20),
)
def test_what_is_written_is_read(size: int, speed: int, width: int, name: str) -> None:
    (module,) = read_memory_modules(
        device(size=size, width=min(width, 0xFFF6), configured=speed, names=(name, name)) + END
    )
    assert module.size_bytes == size * MIB
    assert (module.configured_mt_s, module.width_bits) == (speed, min(width, 0xFFF6))
    assert (module.locator, module.bank_locator) == (name, name)
