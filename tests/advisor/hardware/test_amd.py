"""AMD GPUs from trees like those of the Linux driver amdgpu (tests/data/sysfs names their witnesses)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from llmfit.advisor.hardware.drm import amd as amd_module
from llmfit.advisor.hardware.drm.amd import AmdProbe
from llmfit.advisor.hardware.drm.amd_library import LibraryCard
from llmfit.advisor.hardware.findings import Findings
from llmfit.advisor.hardware.machine import Gpu, VramProcess
from llmfit.advisor.units import GIB, KIB

Computer = Callable[..., Path]
Tree = Callable[[Mapping[str, str | bytes]], Path]
HALO_GTT = 65867993088
HALO_RAISED = 118111600640
HALO_CARVE_OUT = 103079215104


def nothing() -> Mapping[str, LibraryCard]:
    return {}


def unexpected() -> Mapping[str, LibraryCard]:
    raise AssertionError("asked the library though sysfs tells all")


def only(findings: Findings) -> Gpu:
    (gpu,) = findings.gpus
    return gpu


def test_a_radeon_rx_7900_xtx(computer: Computer) -> None:
    findings = AmdProbe(computer("rx-7900-xtx"), unexpected).read()
    gpu = only(findings)
    assert (gpu.name, gpu.vendor, gpu.backend, gpu.unified_memory) == (
        "AMD Radeon RX 7900 XTX",
        "amd",
        "rocm",
        False,
    )
    assert (gpu.pci_id, gpu.pci_bus, gpu.uuid) == ("1002:744c rev c8", "0000:03:00.0", "cc4d02090dc9c3ff")
    assert gpu.vram_total_bytes == 25753026560
    assert gpu.vram_free_bytes == 25753026560 - 1402003456  # GTT is RAM, and does not count
    assert gpu.carve_out_bytes is None
    assert (gpu.power_limit_w, gpu.power_draw_w) == (339.0, 25.0)
    assert gpu.driver == "amdgpu 6.14.14"
    assert gpu.sources["vram_total_bytes"] == "sysfs"


def test_the_link_that_counts_is_that_of_the_slot(computer: Computer) -> None:
    """The chip shows x16 to the switch on the card; the slot has eight lanes."""
    gpu = only(AmdProbe(computer("rx-7900-xtx"), nothing).read())
    assert (gpu.pcie_generation, gpu.pcie_width, gpu.pcie_max_width) == (4, 8, 16)


def test_programs_are_listed_once_and_those_of_rocm_too(computer: Computer) -> None:
    gpu = only(AmdProbe(computer("rx-7900-xtx"), nothing).read())
    assert gpu.processes == (
        VramProcess(4444, "python3", 734003200),  # another user's: the compute driver tells
        VramProcess(1500, "kwin_wayland", 544428 * KIB),  # two files of one client
        VramProcess(2200, "firefox", 60060 * KIB),
    )


def test_memory_that_nobody_is_seen_to_hold_is_a_note(
    computer: Computer, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = computer("rx-7900-xtx", {"{gpu}/mem_info_vram_used": "9000000000\n"})
    assert AmdProbe(root, nothing).read().notes == ()  # nobody else is there
    original = amd_module.read_drm_clients

    def with_hidden(path: Path) -> object:
        clients = original(path)
        clients.hidden = 200
        return clients

    monkeypatch.setattr(amd_module, "read_drm_clients", with_hidden)
    (note,) = AmdProbe(root, nothing).read().notes
    assert "7.1 GiB of its memory is held by the driver or by programs of other users" in note
    full = computer("rx-7900-xtx", {"{gpu}/mem_info_vram_used": "25753026560\n"})
    findings = AmdProbe(full, nothing).read()
    assert only(findings).vram_free_bytes == 0  # a full card, not an unknown one
    assert "22.7 GiB of its memory is held" in findings.notes[0]
    unknown = computer("rx-7900-xtx", {"{gpu}/mem_info_vram_used": None})
    assert AmdProbe(unknown, nothing).read().notes == ()


def test_a_radeon_rx_9070_without_rocm(computer: Computer) -> None:
    findings = AmdProbe(computer("rx-9070"), nothing).read()
    gpu = only(findings)
    assert (gpu.name, gpu.backend, gpu.pci_id) == ("AMD GPU", "vulkan", "1002:7550 rev c3")
    assert gpu.vram_total_bytes == 17095983104
    assert (gpu.pcie_generation, gpu.pcie_width) == (5, 16)
    assert gpu.driver == "amdgpu, Linux 6.17.4-arch2-1"
    assert gpu.processes == ()
    assert "the CPU reaches 256 MiB of its 15.9 GiB directly" in findings.notes[0]


def test_strix_halo_as_it_comes(computer: Computer) -> None:
    findings = AmdProbe(computer("strix-halo-512m"), nothing).read()
    gpu = only(findings)
    assert gpu.unified_memory
    assert (gpu.name, gpu.backend) == ("AMD Radeon 8060S Graphics", "rocm")
    assert gpu.vram_total_bytes == HALO_GTT  # ROCm does not use a carve-out smaller than GTT
    assert gpu.vram_free_bytes == HALO_GTT - 41943040
    assert gpu.carve_out_bytes == 0
    assert gpu.sources["vram_total_bytes"] == "kfd"
    assert (gpu.pcie_generation, gpu.pcie_width) == (None, None)  # it has no slot
    assert gpu.processes == (VramProcess(3100, "gnome-shell", 160_000 * KIB),)
    (note,) = findings.notes
    pages = (128648424 * KIB - 8 * GIB) // 4096
    assert f"ttm.pages_limit={pages} " in note
    assert "lends the GPU 61.3 GiB of 122.7 GiB RAM" in note
    assert "makes it 114.7 GiB and leaves the system 8.0 GiB" in note


def test_strix_halo_with_a_raised_limit(computer: Computer) -> None:
    findings = AmdProbe(computer("strix-halo-512m-gtt-110g"), nothing).read()
    gpu = only(findings)
    assert gpu.vram_total_bytes == HALO_RAISED  # what HIP reports there
    assert gpu.vram_free_bytes == HALO_RAISED - 41943040
    assert findings.notes == ()


def test_strix_halo_with_a_large_carve_out(computer: Computer) -> None:
    findings = AmdProbe(computer("strix-halo-96g"), nothing).read()
    gpu = only(findings)
    assert gpu.unified_memory
    assert (gpu.vram_total_bytes, gpu.carve_out_bytes) == (HALO_CARVE_OUT, HALO_CARVE_OUT)
    assert gpu.vram_free_bytes == HALO_CARVE_OUT - 159383552
    unused, firmware = findings.notes
    assert "ROCm can use 96.0 GiB" in unused
    assert "15.5 GiB of RAM that the kernel lends it" in unused
    assert "keeps 96.0 GiB for the GPU alone and leaves the system 31.0 GiB" in firmware


def test_an_older_kernel_gives_rocm_only_gtt(computer: Computer) -> None:
    """ROCm/ROCm issue 5444: rocminfo shows 15.5 GB of a carve-out of 96 GB."""
    bank = "heap_type 1\nsize_in_bytes 16625025024\nflags 0\n"
    node = "sys/class/kfd/kfd/topology/nodes/1/mem_banks/0/properties"
    gpu = only(AmdProbe(computer("strix-halo-96g", {node: bank}), nothing).read())
    assert (gpu.vram_total_bytes, gpu.carve_out_bytes) == (16625025024, 0)


@pytest.mark.parametrize(
    ("name", "total"),
    [
        ("strix-halo-512m", 536870912 + HALO_GTT),
        ("strix-halo-512m-gtt-110g", 536870912 + HALO_RAISED),
        ("strix-halo-96g", HALO_CARVE_OUT + 16625025024),
    ],
)
def test_vulkan_sees_both_pools(computer: Computer, name: str, total: int) -> None:
    gpu = only(AmdProbe(computer(name, {"dev/kfd": None}), nothing).read())
    assert gpu.backend == "vulkan"
    assert gpu.vram_total_bytes == total
    assert gpu.carve_out_bytes == (HALO_CARVE_OUT if name == "strix-halo-96g" else 536870912)
    assert gpu.sources["vram_total_bytes"] == "sysfs"


@pytest.mark.parametrize("backend", ["rocm", "vulkan"])
def test_an_apu_gets_no_more_than_the_ram_that_is_free(computer: Computer, backend: str) -> None:
    changes = {"proc/meminfo": f"MemTotal: 128648424 kB\nMemAvailable: {10 * 2**20} kB\n"}
    if backend == "vulkan":
        changes["dev/kfd"] = None  # type: ignore[assignment]
    gpu = only(AmdProbe(computer("strix-halo-512m", changes), nothing).read())
    carve_out = 536870912 - 125829120 if backend == "vulkan" else 0
    assert gpu.vram_free_bytes == 10 * GIB + carve_out


def test_an_apu_in_a_container_gets_what_the_container_has(computer: Computer) -> None:
    changes = {
        "proc/self/cgroup": "0::/\n",
        "sys/fs/cgroup/memory.max": f"{16 * GIB}\n",
        "sys/fs/cgroup/memory.current": f"{3 * GIB}\n",
        "sys/fs/cgroup/memory.stat": f"inactive_file {GIB}\n",
    }
    gpu = only(AmdProbe(computer("strix-halo-512m", changes), nothing).read())
    assert gpu.vram_free_bytes == 14 * GIB


def test_the_driver_package_of_amd_has_its_own_parameter(computer: Computer) -> None:
    root = computer("strix-halo-512m", {"sys/module/amdttm/parameters/pages_limit": "16081053"})
    assert "amdttm.pages_limit=" in AmdProbe(root, nothing).read().notes[0]


def test_mi300a_uses_ram_though_its_table_is_that_of_a_card(computer: Computer) -> None:
    gpu = only(AmdProbe(computer("mi300a"), nothing).read())
    assert gpu.unified_memory
    assert (gpu.vram_total_bytes, gpu.vram_free_bytes) == (67108864000, 67108864000 - 100663296)
    assert gpu.carve_out_bytes == 0
    set_aside = {"{gpu}/mem_info_vram_total": "137438953472\n"}
    card = only(AmdProbe(computer("mi300a", set_aside), nothing).read())
    assert not card.unified_memory
    assert card.vram_total_bytes == 128 * GIB


def test_four_mi300a_share_the_ram(computer: Computer, tmp_path: Path) -> None:
    """Each driver offers half of all RAM as GTT; the four have a quarter each at most."""
    changes = {"proc/meminfo": f"MemTotal: {512 * 2**20} kB\nMemAvailable: {500 * 2**20} kB\n"}
    root = computer("mi300a", changes | {"{gpu}/mem_info_gtt_total": f"{256 * GIB}\n"})
    first = root / "sys/devices/pci0000:00/0000:00:01.1/0000:01:00.0"
    for index in range(1, 4):
        other = root / f"sys/devices/pci000{index}:00/000{index}:00:01.1/000{index}:01:00.0"
        other.mkdir(parents=True)
        for file in first.iterdir():
            if file.is_file():
                (other / file.name).write_bytes(file.read_bytes())
        (other / "uevent").write_text(f"DRIVER=amdgpu\nPCI_SLOT_NAME=000{index}:01:00.0\n")
        node = root / f"sys/class/drm/renderD{128 + index}"
        node.mkdir()
        (node / "device").symlink_to(other)
    gpus = AmdProbe(root, nothing).read().gpus
    assert [gpu.vram_total_bytes for gpu in gpus] == [128 * GIB] * 4
    assert [gpu.index for gpu in gpus] == [0, 1, 2, 3]


def test_an_integrated_gpu_beside_a_card(computer: Computer) -> None:
    """In order of the PCI bus, the screen of the board's management chip left out."""
    gpus = AmdProbe(computer("amd-igpu-beside-card"), nothing).read().gpus
    assert [(gpu.name, gpu.unified_memory) for gpu in gpus] == [
        ("AMD Radeon RX 7600", False),
        ("AMD Radeon Graphics", True),
    ]


def test_missing_files_are_unknown(tree: Tree) -> None:
    findings = AmdProbe(tree({"sys/class/drm/card1/device/vendor": "0x1002"}), nothing).read()
    gpu = only(findings)
    assert (gpu.name, gpu.vram_total_bytes, gpu.vram_free_bytes, gpu.power_limit_w) == (
        "AMD GPU",
        None,
        None,
        None,
    )
    assert (gpu.pci_id, gpu.pci_bus, gpu.pcie_width, gpu.uuid) == (None, None, None, None)
    assert gpu.sources == {"driver": "sysfs"}
    assert findings.notes == ("AMD GPU: the driver does not tell the size of its memory.",)


@pytest.mark.parametrize(
    "nonsense",
    ["", "\n", "-1", "0x10", "1e9", "nan", "9" * 40, str(2**60), "1_000", "١٢٣", "12 34", "\x1b[2J"],
)
def test_nonsense_in_files_is_unknown(computer: Computer, nonsense: str) -> None:
    names = ("mem_info_vram_total", "mem_info_vram_used", "current_link_width", "max_link_speed", "revision")
    changes = {f"{{gpu}}/{name}": nonsense for name in names} | {
        "{up}/current_link_width": nonsense,
        "{slot}/current_link_width": nonsense,
        "{gpu}/hwmon/hwmon3/power1_cap": nonsense,
        "proc/1500/fdinfo/20": nonsense,
        "proc/1500/fdinfo/21": f"drm-pdev: 0000:03:00.0\ndrm-client-id: 1\ndrm-memory-vram: {nonsense} KiB",
        "sys/class/kfd/kfd/topology/nodes/1/properties": nonsense,
        "proc/meminfo": nonsense,
    }
    gpu = only(AmdProbe(computer("rx-7900-xtx", changes), nothing).read())
    assert (gpu.vram_total_bytes, gpu.vram_free_bytes, gpu.power_limit_w) == (None, None, None)
    assert (gpu.pcie_generation, gpu.pcie_width) == (4, None)
    assert gpu.name.isprintable()
    assert [process.name for process in gpu.processes] == ["firefox"]


def test_files_that_cannot_be_read_are_unknown(computer: Computer, monkeypatch: pytest.MonkeyPatch) -> None:
    root = computer("rx-7900-xtx")
    original = Path.open

    def refuse(path: Path, *args: object, **more: object) -> object:
        if path.name.startswith(("mem_info", "power1", "gpu_metrics", "unique_id")):
            raise PermissionError(13, "Permission denied", str(path))
        return original(path, *args, **more)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", refuse)
    gpu = only(AmdProbe(root, nothing).read())
    assert (gpu.vram_total_bytes, gpu.power_limit_w, gpu.uuid) == (None, None, "0000:03:00.0")
    assert gpu.name == "AMD Radeon RX 7900 XTX"


def test_a_card_that_disappears_while_it_is_read(computer: Computer, monkeypatch: pytest.MonkeyPatch) -> None:
    root = computer("rx-7900-xtx")
    original = amd_module.read_pcie_link

    def unplug(device: amd_module.DisplayDevice) -> object:
        (device.folder / "vendor").unlink()
        return original(device)

    monkeypatch.setattr(amd_module, "read_pcie_link", unplug)
    findings = AmdProbe(root, nothing).read()
    assert findings.gpus == ()
    assert "was lost while it was being read" in findings.unseen_gpus[0]


def test_only_the_render_node_of_a_container(computer: Computer) -> None:
    root = computer("rx-7900-xtx", {"sys/class/drm/card1": None})
    assert only(AmdProbe(root, nothing).read()).vram_total_bytes == 25753026560


def test_the_library_fills_what_sysfs_does_not_tell(computer: Computer) -> None:
    card = LibraryCard("AMD Radeon Something", 16 * GIB, 2 * GIB, 8 * GIB, 0)
    changes = dict.fromkeys(("{gpu}/mem_info_vram_total", "{gpu}/mem_info_vram_used"))
    gpu = only(AmdProbe(computer("rx-9070", changes), lambda: {"0000:2f:00.0": card}).read())
    assert gpu.name == "AMD Radeon Something"
    assert (gpu.vram_total_bytes, gpu.vram_free_bytes) == (16 * GIB, 14 * GIB)
    assert gpu.sources["vram_total_bytes"] == gpu.sources["vram_free_bytes"] == "pyamdgpuinfo"


def test_a_card_without_gtt_files_is_not_asked_for_them(computer: Computer) -> None:
    changes = dict.fromkeys(("{gpu}/mem_info_gtt_total", "{gpu}/mem_info_gtt_used"))
    gpu = only(AmdProbe(computer("rx-7900-xtx", changes), unexpected).read())
    assert gpu.sources["vram_total_bytes"] == gpu.sources["vram_free_bytes"] == "sysfs"


@pytest.mark.parametrize(
    ("missing", "total", "free"),
    [
        ("mem_info_vram_total", "pyamdgpuinfo", "pyamdgpuinfo and sysfs"),
        ("mem_info_vram_used", "sysfs", "sysfs and pyamdgpuinfo"),
    ],
)
def test_each_size_says_where_it_was_read(computer: Computer, missing: str, total: str, free: str) -> None:
    card = LibraryCard("AMD Radeon Something", 16 * GIB, 2 * GIB, 8 * GIB, 0)
    root = computer("rx-9070", {f"{{gpu}}/{missing}": None})
    gpu = only(AmdProbe(root, lambda: {"0000:2f:00.0": card}).read())
    assert (gpu.sources["vram_total_bytes"], gpu.sources["vram_free_bytes"]) == (total, free)


def test_a_size_that_stays_unknown_has_no_source(computer: Computer) -> None:
    changes = dict.fromkeys(("{gpu}/mem_info_vram_total", "{gpu}/mem_info_vram_used"))
    card = LibraryCard(vram_total_bytes=16 * GIB)
    gpu = only(AmdProbe(computer("rx-9070", changes), lambda: {"0000:2f:00.0": card}).read())
    assert gpu.sources["vram_total_bytes"] == "pyamdgpuinfo"
    assert gpu.vram_free_bytes is None
    assert "vram_free_bytes" not in gpu.sources


def test_the_pool_that_an_apu_does_not_use_is_no_source(computer: Computer) -> None:
    """ROCm takes GTT here: the carve-out that only the library tells is in no figure."""
    root = computer("strix-halo-512m", {"{gpu}/mem_info_vram_used": None})
    bus = only(AmdProbe(root, nothing).read()).pci_bus or ""
    library = {bus: LibraryCard(vram_total_bytes=GIB, vram_used_bytes=0, gtt_total_bytes=GIB)}
    gpu = only(AmdProbe(root, lambda: library).read())
    assert gpu.sources["vram_free_bytes"] == "sysfs"
    vulkan = computer("strix-halo-512m", {"{gpu}/mem_info_vram_used": None, "dev/kfd": None})
    gpu = only(AmdProbe(vulkan, lambda: library).read())
    assert gpu.sources["vram_total_bytes"] == "sysfs"
    assert gpu.sources["vram_free_bytes"] == "sysfs and pyamdgpuinfo"
    nothing_lent = {"{gpu}/mem_info_vram_total": "0", "{gpu}/mem_info_gtt_total": None}
    gpu = only(AmdProbe(computer("strix-halo-512m", nothing_lent), nothing).read())
    assert gpu.sources["vram_free_bytes"] == "sysfs"


def test_other_makers_and_no_cards_are_nothing(tree: Tree, tmp_path: Path, computer: Computer) -> None:
    assert AmdProbe(tmp_path / "empty", unexpected).read() == Findings()
    assert AmdProbe(tree({"sys/class/drm/version": "1"}), unexpected).read() == Findings()
    assert AmdProbe(computer("arc-b580"), unexpected).read() == Findings()
    for vendor in ("0x10de", "0x1a03", "0x1af4", "0x1b36", "0x102b", "0x1234", "nonsense", ""):
        root = tree({"sys/class/drm/card0/device/vendor": vendor})
        assert AmdProbe(root, unexpected).read() == Findings()
