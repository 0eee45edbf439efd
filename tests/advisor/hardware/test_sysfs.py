"""Reading files of /sys and /proc that may hold anything, and the programs in fdinfo."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfit.advisor.hardware.drm import clients as drm_clients
from llmfit.advisor.hardware.drm.amd_kfd import read_kfd_nodes, read_kfd_processes
from llmfit.advisor.hardware.drm.clients import read_drm_clients
from llmfit.advisor.hardware.drm.sysfs import (
    display_devices,
    driver_version,
    read_pcie_link,
    read_system_ram,
)
from llmfit.advisor.hardware.host.meminfo import read_meminfo
from llmfit.advisor.hardware.machine import VramProcess
from llmfit.advisor.hardware.small_files import read_number, read_text
from llmfit.advisor.units import GIB, KIB, MIB

Tree = Callable[[Mapping[str, str | bytes]], Path]
BUS = "0000:03:00.0"


def test_a_folder_a_missing_file_and_an_endless_one(tmp_path: Path) -> None:
    assert read_text(tmp_path) == ""
    assert read_text(tmp_path / "missing") == ""
    (tmp_path / "long").write_bytes(b"7" * 10**6)
    assert len(read_text(tmp_path / "long")) == 64 * KIB
    assert read_number(tmp_path / "long") is None
    (tmp_path / "broken").write_bytes(b"\xff\xfe12")
    assert read_number(tmp_path / "broken") is None
    assert read_text(tmp_path / "with\0zero") == ""


@given(st.text(max_size=30))
def test_a_number_is_digits_or_unknown(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "number"
    path.write_text(text, encoding="utf-8", errors="replace")
    number = read_number(path)
    assert number is None or (0 <= number <= 2**50 and number == int(text.strip()))


def test_a_card_with_two_nodes_and_links_in_a_circle(tree: Tree) -> None:
    root = tree({"sys/devices/a/vendor": "0x1002", "sys/devices/a/uevent": "DRIVER=amdgpu\nNONSENSE\n"})
    drm = root / "sys/class/drm"
    for name in ("card0", "renderD128", "card0-DP-1", "cardX", "renderD"):
        (drm / name).mkdir(parents=True)
        (drm / name / "device").symlink_to("../../../devices/a")
    (drm / "card7").mkdir()
    (drm / "card7/device").symlink_to("device")  # to itself
    (drm / "card8").mkdir()
    (drm / "card8/device").symlink_to("../../../devices/gone")
    (device,) = display_devices(root)
    assert (device.vendor, device.driver, device.bus, device.pci_id) == ("0x1002", "amdgpu", None, None)
    assert device.is_there


def test_the_driver_by_its_link(tree: Tree) -> None:
    root = tree({"sys/class/drm/card0/device/vendor": "0x8086", "sys/bus/pci/drivers/xe/new_id": ""})
    (root / "sys/class/drm/card0/device/driver").symlink_to("../../../../bus/pci/drivers/xe")
    (device,) = display_devices(root)
    assert device.driver == "xe"
    assert driver_version(root, "xe") == "xe"


@pytest.mark.parametrize(
    ("speed", "generation"),
    [
        *(("2.5 GT/s PCIe", 1), ("5.0 GT/s PCIe", 2), ("8 GT/s", 3), ("16.0 GT/s PCIe", 4), ("64.0 GT/s", 6)),
        *(("Unknown speed", None), ("", None), ("17 GT/s", None), ("99999999 GT/s", None)),
    ],
)
def test_the_generation_of_a_link(tree: Tree, speed: str, generation: int | None) -> None:
    device = f"sys/devices/pci0000:00/{BUS}"
    root = tree({f"{device}/max_link_speed": speed, f"{device}/current_link_width": "255"})
    node = root / "sys/class/drm/card0"
    node.mkdir(parents=True)
    (node / "device").symlink_to(root / device)
    link = read_pcie_link(display_devices(root)[0])
    assert (link.generation, link.width) == (generation, None)


def test_ram_with_and_without_a_limit(tree: Tree) -> None:
    meminfo = f"MemTotal: {8 * 2**20} kB\nMemAvailable: {6 * 2**20} kB\nHugePages_Total: 0\n"
    root = tree({"proc/meminfo": meminfo})
    assert (read_system_ram(root).total_bytes, read_system_ram(root).available_bytes) == (8 * GIB, 6 * GIB)
    tree({"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": f"{2 * GIB}\n"})
    assert read_system_ram(root).available_bytes == 2 * GIB
    assert read_system_ram(root / "missing").total_bytes is None


@pytest.mark.parametrize(
    "meminfo",
    [
        "MemTotal: 8388608 kB\nMemAvailable: 6291456 kB\n",
        "MemTotal: 8388608 kB\nMemAvailable: 9000000 kB\n",  # a container's lxcfs may say so
        "MemTotal: 8388608 kB\n",
        "MemTotal: 0 kB\nMemAvailable: 0 kB\n",
        "MemTotal: lots\nMemAvailable: 1 kB\n",
    ],
)
def test_a_gpu_counts_the_ram_as_the_host_does(tree: Tree, meminfo: str) -> None:
    root = tree({"proc/meminfo": meminfo, "sys/fs/cgroup/memory.max": f"{7 * GIB}\n"})
    ram = read_system_ram(root)
    host = read_meminfo(root)
    if host is None:
        assert (ram.total_bytes, ram.available_bytes) == (None, None)
    else:
        assert ram.total_bytes == host.total_bytes == 8 * GIB
        assert ram.available_bytes == min(7 * GIB, host.available_bytes)


def program(root: Path, pid: int, files: Mapping[int, tuple[str, str]], name: str = "prog") -> None:
    folder = root / "proc" / str(pid)
    (folder / "fd").mkdir(parents=True)
    (folder / "fdinfo").mkdir()
    (folder / "comm").write_text(name + "\n")
    for number, (target, text) in files.items():
        (folder / "fd" / str(number)).symlink_to(target)
        (folder / "fdinfo" / str(number)).write_text(text)


def client(number: int | None, *lines: str) -> tuple[str, str]:
    start = [f"drm-pdev:\t{BUS}"] + ([f"drm-client-id:\t{number}"] if number is not None else [])
    return "/dev/dri/renderD128", "\n".join([*start, *lines]) + "\n"


def listed(root: Path, *, shared: bool = False) -> list[tuple[int, int | None]]:
    return [(each.pid, each.vram_bytes) for each in read_drm_clients(root).processes(BUS, shared=shared)]


def test_resident_memory_counts_before_what_was_asked_for(tmp_path: Path) -> None:
    program(tmp_path, 5, {1: client(1, "drm-total-vram0: 8 GiB", "drm-resident-vram0: 5 GiB")})
    program(tmp_path, 6, {1: client(2, "drm-memory-vram: 7 MiB", "drm-total-vram: 9 MiB")})
    program(tmp_path, 7, {1: client(3, "drm-total-local0: 3 MiB", "drm-resident-stolen-local0: 4096")})
    assert listed(tmp_path) == [(5, 5 * GIB), (6, 7 * MIB), (7, 3 * MIB + 4096)]


def test_ram_counts_only_for_a_gpu_that_shares_it(tmp_path: Path) -> None:
    lines = (
        "drm-resident-vram: 1 MiB",
        "drm-resident-gtt: 2 MiB",
        "drm-resident-cpu: 9 MiB",
        "drm-total-system: 9",
    )
    program(tmp_path, 5, {1: client(1, *lines)})
    assert listed(tmp_path) == [(5, MIB)]
    assert listed(tmp_path, shared=True) == [(5, 3 * MIB)]


def test_one_client_counts_once_even_in_two_programs(tmp_path: Path) -> None:
    one = client(1, "drm-resident-vram: 10 MiB")
    program(tmp_path, 5, {1: one, 2: one, 3: client(2, "drm-resident-vram: 1 MiB")})
    program(tmp_path, 6, {1: one, 2: client(3, "drm-resident-vram: 2 MiB")})
    assert listed(tmp_path) == [(5, 11 * MIB), (6, 2 * MIB)]


def test_old_kernels_without_a_client_id(tmp_path: Path) -> None:
    files = {1: client(None, "drm-memory-vram: 4 MiB"), 2: client(None, "drm-memory-vram: 6 MiB")}
    program(tmp_path, 5, files)
    assert listed(tmp_path) == [(5, 6 * MIB)]


def test_other_files_and_names_of_programs(tmp_path: Path) -> None:
    files = {
        1: ("/dev/null", client(1, "drm-resident-vram: 1 MiB")[1]),
        2: ("socket:[1]", "x"),
        3: ("/dev/dri/card0", ""),
    }
    program(tmp_path, 5, files)
    program(tmp_path, 6, {1: client(4, "drm-resident-vram: 1 KiB")}, "evil\x1b[2J")
    (tmp_path / "proc/self").mkdir()
    found = read_drm_clients(tmp_path)
    assert found.processes(BUS, shared=False) == (VramProcess(6, "evil [2J", KIB),)
    assert found.processes("0000:99:00.0", shared=False) == ()
    assert found.processes(None, shared=False) == ()


def test_programs_of_other_users_are_counted_and_not_guessed_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, 5, {1: client(1, "drm-resident-vram: 1 MiB")})
    program(tmp_path, 6, {1: client(2, "drm-resident-vram: 1 MiB")})
    (tmp_path / "proc/7").mkdir()  # has ended
    original = os.scandir

    def refuse(path: Path) -> object:
        if "/6/" in str(path):
            raise PermissionError(13, "Permission denied")
        return original(path)

    monkeypatch.setattr(drm_clients.os, "scandir", refuse)
    found = read_drm_clients(tmp_path)
    assert (found.hidden, found.readable) == (1, True)
    assert [each.pid for each in found.processes(BUS, shared=False)] == [5]
    assert not read_drm_clients(tmp_path / "missing").readable


@given(st.text(max_size=200))
def test_any_text_in_fdinfo(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    root = tmp_path_factory.mktemp("fdinfo")
    program(root, 5, {})
    (root / "proc/5/fd/1").symlink_to("/dev/dri/card0")
    (root / "proc/5/fdinfo/1").write_text(
        f"drm-pdev: {BUS}\ndrm-memory-vram: {text}\n{text}", errors="replace"
    )
    for process in read_drm_clients(root).processes(BUS, shared=True):
        assert (process.vram_bytes or 0) > 0


def test_rocms_view_of_cpus_partitions_and_nonsense(tree: Tree) -> None:
    nodes = "sys/class/kfd/kfd/topology/nodes"
    gpu = "simd_count 128\nlocation_id 1280\ndomain 0\n"
    bank = "heap_type 1\nsize_in_bytes 1000\n"
    root = tree(
        {
            f"{nodes}/0/properties": "cpu_cores_count 20\nsimd_count 0\n",
            f"{nodes}/0/gpu_id": "0",
            f"{nodes}/1/properties": gpu,
            f"{nodes}/1/gpu_id": "56387",
            f"{nodes}/1/mem_banks/0/properties": bank,
            f"{nodes}/1/mem_banks/1/properties": "heap_type 0\nsize_in_bytes 5000\n",
            f"{nodes}/2/properties": gpu,
            f"{nodes}/2/gpu_id": "56388",
            f"{nodes}/2/mem_banks/0/properties": bank,
            f"{nodes}/3/properties": "simd_count many\nlocation_id -1\n",
            f"{nodes}/3/gpu_id": "7",
            f"{nodes}/x/properties": gpu,
            "sys/class/kfd/kfd/proc/12/vram_56387": "4096\n",
            "sys/class/kfd/kfd/proc/13/vram_56387": "0\n",
            "sys/class/kfd/kfd/proc/14/vram_1": "4096\n",
        }
    )
    found = read_kfd_nodes(root)
    assert list(found) == ["0000:05:00.0"]
    assert (found["0000:05:00.0"].gpu_id, found["0000:05:00.0"].memory_bytes) == (56387, 2000)
    assert read_kfd_processes(root, 56387) == {12: 4096}
    assert read_kfd_nodes(root / "missing") == {}
    assert read_kfd_processes(root / "missing", 1) == {}
