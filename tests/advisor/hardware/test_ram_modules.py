"""Channels, transfer rate and peak bandwidth from lists of memory modules, as real firmware writes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfit.advisor.hardware.host.ram_modules import (
    RamModules,
    channel_name,
    describe_modules,
    read_ram_modules,
)
from llmfit.advisor.hardware.host.smbios import MemoryModule
from llmfit.advisor.units import GIB

Tree = Callable[[Mapping[str, str | bytes]], Path]


def _modules(
    names: Sequence[tuple[str, str]],
    kind: str | None = "DDR4",
    width: int | None = 64,
    rated: int | None = 3200,
    configured: int | None = 3200,
    size: int | None = 16 * GIB,
) -> list[MemoryModule]:
    return [MemoryModule(size, kind, width, rated, configured, *name) for name in names]


def _empty(locator: str, bank: str = "") -> MemoryModule:
    return MemoryModule(0, None, None, None, None, locator, bank)


AM5_FOUR = [
    ("DIMM 0", "P0 CHANNEL A"),
    ("DIMM 1", "P0 CHANNEL A"),
    ("DIMM 0", "P0 CHANNEL B"),
    ("DIMM 1", "P0 CHANNEL B"),
]
EPYC_EIGHT = [("DIMM 0", f"P{socket} CHANNEL {letter}") for socket in (0, 1) for letter in "ABCD"]


@pytest.mark.parametrize(
    ("modules", "channels", "peak_mb_s", "source"),
    [
        pytest.param(
            _modules(AM5_FOUR, "DDR5", 64, 5600, 4200),
            2,
            67200,
            "DDR5-4200 × 2 channels (peak)",
            id="four-modules-of-which-the-board-runs-slower",
        ),
        pytest.param(_modules(AM5_FOUR[:1]), 1, 25600, "DDR4-3200 × 1 channel (peak)", id="one-module"),
        pytest.param(
            _modules([("Controller0-ChannelA-DIMM0", "BANK 0"), ("Controller1-ChannelA-DIMM0", "BANK 0")]),
            2,
            51200,
            "DDR4-3200 × 2 channels (peak)",
            id="intel-with-two-controllers",
        ),
        pytest.param(
            _modules(
                [(f"Controller{n}-Channel{c}-DIMM0", "BANK 0") for n in (0, 1) for c in "AB"],
                "DDR5",
                64,
                4800,
                4800,
            ),
            2,
            76800,
            "DDR5-4800 × 2 channels (peak)",
            id="intel-naming-the-halves-of-a-channel",
        ),
        pytest.param(
            _modules([("ChannelA-DIMM0", "BANK 0"), ("ChannelB-DIMM0", "BANK 2")], "DDR3", 64, 1600, 1600),
            2,
            25600,
            "DDR3-1600 × 2 channels (peak)",
            id="an-old-laptop",
        ),
        pytest.param(
            _modules([(f"DIMM_{letter}{slot}", "BANK 0") for letter in "AB" for slot in (1, 2)], rated=3600),
            2,
            51200,
            "DDR4-3200 × 2 channels (peak)",
            id="a-desktop-with-lettered-slots",
        ),
        pytest.param(
            _modules(EPYC_EIGHT, "DDR4", 64), 8, 204800, "DDR4-3200 × 8 channels (peak)", id="two-sockets"
        ),
        pytest.param(
            _modules(
                [("DIMMA2", f"P0_Node0_Channel{n}_Dimm1") for n in range(4)], rated=2667, configured=2667
            ),
            4,
            85344,
            "DDR4-2667 × 4 channels (peak)",
            id="supermicro",
        ),
        pytest.param(
            _modules([("DIMM 0", f"P0 CHANNEL {letter}") for letter in "ABCDEFGH"], "LPDDR5", 32, 8532, 8000),
            4,
            256000,
            "LPDDR5-8000 × 256 bits (peak)",
            id="strix-halo",
        ),
        pytest.param(
            _modules([("Motherboard", "")] * 8, "LPDDR5", 16, 6400, 6400),
            2,
            102400,
            "LPDDR5-6400 × 128 bits (peak)",
            id="soldered-without-names",
        ),
        pytest.param(
            _modules([("DIMM 0", "BANK 0"), ("DIMM 1", "BANK 1")]),
            2,
            51200,
            "DDR4-3200 × 2 channels (peak; 2 modules, taken as 2 channels)",
            id="two-modules-without-channels",
        ),
        pytest.param(
            _modules([("Onboard", "")], "LPDDR4", 32, 3200, 3200),
            None,
            12800,
            "LPDDR4-3200 × 32 bits (peak)",
            id="half-a-channel",
        ),
    ],
)
def test_peak_of_real_machines(
    modules: list[MemoryModule], channels: int | None, peak_mb_s: int, source: str
) -> None:
    found = describe_modules(
        [*modules, _empty("DIMM 9", "P9 CHANNEL Z")], sum(m.size_bytes or 0 for m in modules)
    )
    assert found.channels == channels
    assert found.peak_bandwidth_bytes_per_s == peak_mb_s * 10**6
    assert found.bandwidth_source == source
    assert found.memory_type == modules[0].memory_type
    assert found.notes == ()


@pytest.mark.parametrize(
    "modules",
    [
        pytest.param([], id="nothing"),
        pytest.param([_empty("DIMM 0")], id="empty-slots"),
        pytest.param(_modules([("DIMM 0", "")], "RAM", None, None, None), id="qemu"),
        pytest.param(_modules([("RAM slot #0", "RAM slot #0")], "DRAM", 64, 4800, 4800), id="vmware"),
        pytest.param(_modules([("M0", "")], None, None, None, None), id="hyper-v"),
        pytest.param(_modules(AM5_FOUR, "Other"), id="a-kind-that-is-none"),
        pytest.param(
            [*_modules(AM5_FOUR[:2], "DDR4"), *_modules(AM5_FOUR[2:], "DDR5")], id="two-kinds-at-once"
        ),
        pytest.param(_modules([("System ROM", "")], "Flash"), id="no-RAM-at-all"),
    ],
)
def test_modules_that_are_not_believed(modules: list[MemoryModule]) -> None:
    assert describe_modules(modules, None) == RamModules()


def test_modules_that_hold_less_than_the_kernel_counts_are_not_all() -> None:
    assert describe_modules(_modules(AM5_FOUR[:1]), 64 * GIB) == RamModules()
    assert describe_modules(_modules(AM5_FOUR[:1]), 15 * GIB).memory_type == "DDR4"


def test_flash_and_persistent_memory_beside_the_modules_do_not_count() -> None:
    others = [*_modules([("ROM", "")], "Flash"), *_modules([("PMem", "")], "Logical non-volatile device")]
    assert describe_modules([*others, *_modules(AM5_FOUR)], None).channels == 2


@pytest.mark.parametrize(
    ("kind", "rated", "configured"),
    [
        ("DDR4", 3200, 1600),
        ("DDR4", 1600, 1600),
        ("DDR5", 5600, 2800),
        ("DDR5", 2800, None),
        ("DDR3", 800, 800),
    ],
)
def test_a_clock_is_not_taken_for_a_transfer_rate(kind: str, rated: int, configured: int | None) -> None:
    found = describe_modules(_modules(AM5_FOUR, kind, 64, rated, configured), None)
    assert (found.memory_type, found.channels, found.transfer_rate_mt_s) == (kind, 2, None)
    assert found.peak_bandwidth_bytes_per_s is None
    assert "clock" in found.notes[0]


def test_four_modules_without_channels_may_be_two_or_four() -> None:
    found = describe_modules(_modules([(f"DIMM{n}", "BANK 0") for n in range(4)]), None)
    assert (found.channels, found.peak_bandwidth_bytes_per_s, found.transfer_rate_mt_s) == (None, None, 3200)
    assert "4 memory modules but not their channels" in found.notes[0]


def test_a_letter_with_many_slots_is_a_socket() -> None:
    """Dell's servers: DIMM_A1 to DIMM_A12 are the slots of the first socket, three channels or more."""
    fitted = _modules([(f"DIMM_A{n}", "") for n in range(1, 5)])
    slots = [_empty(f"DIMM_A{n}") for n in range(5, 13)]
    assert describe_modules([*fitted, *slots], None).channels is None
    assert describe_modules(fitted[:3], None).channels == 1


@pytest.mark.parametrize(
    ("rated", "configured", "width"),
    [(None, None, 64), (3200, 65535, 64), (3200, 3, 64), (3200, 3200, None), (3200, 3200, 7)],
)
def test_without_rate_or_width_there_is_no_peak(
    rated: int | None, configured: int | None, width: int | None
) -> None:
    found = describe_modules(_modules(AM5_FOUR, "DDR4", width, rated, configured), None)
    assert found.memory_type == "DDR4"
    assert (found.peak_bandwidth_bytes_per_s, found.bandwidth_source) == (None, None)


def test_an_old_systemd_does_not_know_ddr5() -> None:
    found = describe_modules(_modules(AM5_FOUR, "<OUT OF SPEC>", 64, 5600, 5600), None)
    assert found.memory_type is None
    assert found.bandwidth_source == "RAM at 5600 MT/s × 2 channels (peak)"
    assert found.peak_bandwidth_bytes_per_s == 89_600_000_000


@pytest.mark.parametrize(
    ("locator", "bank", "name"),
    [
        ("DIMM_A2", "BANK 1", "dimm_a"),
        ("P1-DIMMC1", "", "p1-dimmc"),
        ("DDR4-B1", "BANK 2", "ddr4-b"),
        ("DIMM_P0_A0", "BANK 0", "dimm_p0_a"),
        ("SODIMM B", "", "sodimm b"),
        ("DIMM 0", "P0 CHANNEL A", "p0 channel a"),
        ("CHA-DIMM1", "", "cha"),
        ("DIMM1", "BANK 0", None),
        ("DIMM 1", "", None),
        ("A1", "Not Specified", None),
        ("SWITCH 1", "CHASSIS 2", None),
        ("Top-Slot 1(under)", "BANK 0", None),
        ("", "", None),
    ],
)
def test_channels_by_the_names_of_slots(locator: str, bank: str, name: str | None) -> None:
    assert channel_name(MemoryModule(1, "DDR4", 64, 1, 1, locator, bank), "DDR4") == name


UDEV = """\
N:
I:1234
E:MEMORY_ARRAY_MAX_CAPACITY=137438953472
E:MEMORY_DEVICE_0_TOTAL_WIDTH=64
E:MEMORY_DEVICE_0_DATA_WIDTH=64
E:MEMORY_DEVICE_0_SIZE=17179869184
E:MEMORY_DEVICE_0_LOCATOR=DIMM_A2
E:MEMORY_DEVICE_0_BANK_LOCATOR=BANK 1
E:MEMORY_DEVICE_0_TYPE=DDR4
E:MEMORY_DEVICE_0_SPEED_MTS=3600
E:MEMORY_DEVICE_0_CONFIGURED_SPEED_MTS=3600
E:MEMORY_DEVICE_1_PRESENT=0
E:MEMORY_DEVICE_1_LOCATOR=DIMM_B1
E:MEMORY_DEVICE_1_TYPE=Unknown
E:MEMORY_DEVICE_999_SIZE=5
E:MEMORY_DEVICE_x_SIZE=5
E:MEMORY_ARRAY_NUM_DEVICES=2
"""


def test_udevs_database_is_read_by_everybody(tree: Tree) -> None:
    found = read_ram_modules(tree({"run/udev/data/+dmi:id": UDEV}), 15 * GIB)
    assert found == RamModules(
        "DDR4", 1, 3600, 28_800_000_000, "DDR4-3600 × 1 channel (peak)", read_from="udev"
    )


# Type 17, 0x22 bytes: 16 GiB of DDR4 at 3200 MT/s, 64 bits, no names.
TABLE = bytes.fromhex(
    "11220011 0010 feff 4000 4000 0040 09 00 0000 1a 8000 800c 00000000 01 00000000 800c 0000".replace(
        " ", ""
    )
)


def test_the_firmwares_table_is_read_where_udev_says_nothing(tree: Tree) -> None:
    assert len(TABLE) == 0x22 + 2
    found = read_ram_modules(tree({"sys/firmware/dmi/tables/DMI": TABLE}), 15 * GIB)
    assert (found.memory_type, found.channels, found.transfer_rate_mt_s) == ("DDR4", 1, 3200)
    assert found.read_from == "SMBIOS"


def test_the_firmwares_table_knows_what_an_old_systemd_does_not(tree: Tree) -> None:
    files: dict[str, str | bytes] = {"run/udev/data/+dmi:id": UDEV.replace("=DDR4", "=<OUT OF SPEC>")}
    by_udev = read_ram_modules(tree(files), 15 * GIB)
    assert (by_udev.memory_type, by_udev.transfer_rate_mt_s) == (None, 3600)
    files["sys/devices/system/edac/mc/mc0/dimm0/dimm_mem_type"] = "Unbuffered-DDR5\n"
    with_edac = read_ram_modules(tree(files), 15 * GIB)
    assert (with_edac.memory_type, with_edac.transfer_rate_mt_s) == ("DDR5", 3600)
    assert (by_udev.read_from, with_edac.read_from) == ("udev", "udev and EDAC")
    files["sys/firmware/dmi/tables/DMI"] = TABLE
    by_table = read_ram_modules(tree(files), 15 * GIB)
    assert (by_table.memory_type, by_table.transfer_rate_mt_s) == ("DDR4", 3200)


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        (["Unbuffered-DDR5", "Unbuffered-DDR5"], "DDR5"),
        (["Load-Reduced-DDR4-RAM"], "DDR4"),
        (["Low-Power-DDR4-RAM"], "LPDDR4"),
        (["Unbuffered-DDR5", "Registered-DDR4"], None),
        (["Unknown"], None),
        (["Non-volatile-RAM"], None),
    ],
)
def test_edac_knows_the_kind_only(tree: Tree, kinds: list[str], expected: str | None) -> None:
    files = {
        f"sys/devices/system/edac/mc/mc0/dimm{n}/dimm_mem_type": f"{kind}\n" for n, kind in enumerate(kinds)
    }
    assert read_ram_modules(tree(files), 15 * GIB) == RamModules(
        memory_type=expected, read_from="EDAC" if expected else None
    )


def test_a_folder_where_a_file_should_be(tree: Tree) -> None:
    root = tree({"run/udev/data/+dmi:id/x": "", "sys/firmware/dmi/tables/DMI/x": ""})
    assert read_ram_modules(root, None) == RamModules()


NUMBERS = st.none() | st.integers(0, 70000)


@given(
    st.lists(
        st.builds(
            MemoryModule,
            st.none() | st.integers(0, 2**42),
            st.sampled_from(("DDR4", "DDR5", "LPDDR5", "<OUT OF SPEC>", "RAM", "", None)),
            st.sampled_from((None, 7, 16, 32, 64)) | NUMBERS,
            NUMBERS,
            NUMBERS,
            st.text(max_size=20) | st.sampled_from(("DIMM_A1", "DIMM_B1", "ChannelA")),
            st.text(max_size=20),
        ),
        max_size=8,
    ),
    st.none() | st.integers(0, 2**42),
)
def test_a_peak_is_rate_times_width(modules: list[MemoryModule], total_bytes: int | None) -> None:
    found = describe_modules(modules, total_bytes)
    assert (found.peak_bandwidth_bytes_per_s is None) == (found.bandwidth_source is None)
    if found.peak_bandwidth_bytes_per_s is not None:
        assert found.transfer_rate_mt_s is not None
        bits = found.peak_bandwidth_bytes_per_s * 8 // (found.transfer_rate_mt_s * 10**6)
        assert bits <= sum(module.width_bits or 0 for module in modules)
        assert found.channels is None or found.channels * 64 == bits


@given(st.binary(max_size=400))
def test_udevs_file_may_be_any_bytes(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    root = tmp_path_factory.mktemp("udev")
    (root / "run/udev/data").mkdir(parents=True)
    (root / "run/udev/data/+dmi:id").write_bytes(b"E:MEMORY_DEVICE_0_TYPE=" + content)
    assert read_ram_modules(root, None).channels is None
