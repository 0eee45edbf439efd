"""Intel GPUs from trees like those of the Linux drivers xe and i915."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from llmfit.advisor.hardware.catalog_facts import PCI_WINDOW
from llmfit.advisor.hardware.drm import intel as intel_module
from llmfit.advisor.hardware.drm.intel import IntelProbe
from llmfit.advisor.hardware.findings import Findings
from llmfit.advisor.hardware.machine import Gpu, VramProcess
from llmfit.advisor.hardware.probe import detect_machine
from llmfit.advisor.hardware.unified import gpu_share_of_ram, intel_share_of_ram
from llmfit.advisor.units import GIB, KIB
from llmfit.catalog.gpus import match_gpu, typical_bandwidth

Computer = Callable[..., Path]
Tree = Callable[[Mapping[str, str | bytes]], Path]
BAR = "0x0000000078000000 0x0000000078ffffff 0x0000000000140204\n0x0 0x0 0x0\n"
WINDOW_8_GIB = BAR + "0x0000006800000000 0x00000069ffffffff 0x000000000014220c\n"
WINDOW_256_MIB = BAR + "0x0000006800000000 0x000000680fffffff 0x000000000014220c\n"


def only(findings: Findings) -> Gpu:
    (gpu,) = findings.gpus
    return gpu


def joined(root: Path) -> Gpu:
    (gpu,) = detect_machine([IntelProbe(root)], match_gpu, estimate=typical_bandwidth).gpus
    return gpu


def test_an_arc_b580_with_the_driver_xe(computer: Computer) -> None:
    findings = IntelProbe(computer("arc-b580")).read()
    gpu = only(findings)
    assert (gpu.name, gpu.vendor, gpu.backend, gpu.unified_memory) == (
        "Intel Arc B580",
        "intel",
        "vulkan",
        False,
    )
    assert (gpu.pci_id, gpu.pci_bus) == ("8086:e20b", "0000:03:00.0")
    assert gpu.vram_total_bytes == 12 * GIB
    assert gpu.processes == (VramProcess(900, "Xorg", 23992 * KIB),)
    assert gpu.vram_free_bytes == 12 * GIB - 23992 * KIB
    assert gpu.power_limit_w == 190.0
    assert gpu.driver == "xe, Linux 6.17.0-8-generic"
    assert gpu.sources["vram_total_bytes"] == "sysfs"
    assert gpu.sources["vram_free_bytes"] == "total less listed programs"
    assert findings.notes == ()


def test_the_chip_of_an_arc_shows_a_link_that_is_not_there(computer: Computer) -> None:
    gpu = only(IntelProbe(computer("arc-b580")).read())
    assert (gpu.pcie_generation, gpu.pcie_width, gpu.pcie_max_width) == (4, 8, 8)
    gpu = only(IntelProbe(computer("arc-a770")).read())  # with an Intel CPU, ports of one maker all the way
    assert (gpu.pcie_generation, gpu.pcie_width, gpu.pcie_max_width) == (4, 16, 16)


def test_an_arc_a770_has_the_size_of_the_catalogue(computer: Computer) -> None:
    probed = only(IntelProbe(computer("arc-a770")).read())
    assert (probed.name, probed.vram_total_bytes, probed.vram_free_bytes) == ("Intel GPU", 16 * GIB, None)
    assert probed.sources["vram_total_bytes"] == PCI_WINDOW
    assert probed.power_limit_w == 225.0  # PL1 reads 0: no limit set
    gpu = joined(computer("arc-a770"))
    assert (gpu.name, gpu.catalog_id) == ("Arc A770", "intel-arc-a770")
    assert gpu.vram_total_bytes == 16 * GIB
    assert gpu.sources["vram_total_bytes"] == "catalog"
    assert gpu.processes == (VramProcess(700, "llama-server", 4418400 * KIB),)
    assert gpu.vram_free_bytes == 16 * GIB - 4418400 * KIB
    assert gpu.bandwidth_bytes_per_s == 560 * 10**9


def test_without_resizable_bar_the_catalogue_alone_tells(computer: Computer) -> None:
    root = computer("arc-a770", {"{gpu}/resource": WINDOW_256_MIB})
    assert only(IntelProbe(root).read()).vram_total_bytes is None
    assert joined(root).vram_total_bytes == 16 * GIB


def test_a_window_rounded_up_is_not_the_size(computer: Computer) -> None:
    root = computer("arc-a770", {"{gpu}/resource": WINDOW_8_GIB, "{gpu}/device": "0x56a5\n"})
    gpu = joined(root)
    assert (gpu.catalog_id, gpu.vram_total_bytes) == ("intel-arc-a380", 6 * GIB)


def test_a_card_smaller_than_the_catalogues_is_not_taken_for_it(computer: Computer) -> None:
    """An A770 is sold with 8 GB, too, which the catalogue does not have."""
    root = computer("arc-a770", {"{gpu}/resource": WINDOW_8_GIB})
    gpu = joined(root)
    assert (gpu.catalog_id, gpu.vram_total_bytes, gpu.vram_free_bytes) == (None, None, None)
    assert "vram_total_bytes" not in gpu.sources


def test_intels_own_driver_package_tells_the_size(computer: Computer) -> None:
    gpu = only(IntelProbe(computer("arc-a770", {"{gpu}/drm/card0/lmem_total_bytes": "17163091968\n"})).read())
    assert gpu.vram_total_bytes == 17163091968
    assert gpu.vram_free_bytes == 17163091968 - 4418400 * KIB


def test_an_integrated_gpu_uses_ram(computer: Computer) -> None:
    findings = IntelProbe(computer("intel-igpu")).read()
    gpu = only(findings)
    assert (gpu.name, gpu.unified_memory, gpu.backend) == ("Intel UHD Graphics 630", True, "vulkan")
    assert gpu.vram_total_bytes == 16260520 * KIB * 3 // 4
    assert gpu.vram_free_bytes == min(12_000_000 * KIB, 16260520 * KIB * 3 // 4)
    assert gpu.processes == (VramProcess(800, "gnome-shell", 6144 * KIB),)
    assert (gpu.pcie_generation, gpu.pcie_width) == (None, None)
    assert "three quarters of RAM" in findings.notes[0]
    assert joined(computer("intel-igpu")).catalog_id is None


def test_the_share_of_ram_by_driver() -> None:
    assert intel_share_of_ram("i915", 4 * GIB)[0] == 2 * GIB
    assert intel_share_of_ram("i915", 32 * GIB)[0] == 24 * GIB
    assert intel_share_of_ram("xe", 32 * GIB)[0] == 16 * GIB
    assert gpu_share_of_ram("intel", 32 * GIB)[0] == 16 * GIB


def test_an_integrated_gpu_gives_way_to_an_arc(computer: Computer) -> None:
    igpu = {
        "sys/devices/pci0000:00/0000:00:02.0/uevent": "DRIVER=i915\nPCI_SLOT_NAME=0000:00:02.0\n",
        "sys/devices/pci0000:00/0000:00:02.0/vendor": "0x8086\n",
        "sys/devices/pci0000:00/0000:00:02.0/device": "0x4680\n",
    }
    root = computer("arc-b580", igpu)
    node = root / "sys/class/drm/card9"
    node.mkdir()
    (node / "device").symlink_to(root / "sys/devices/pci0000:00/0000:00:02.0")
    assert [gpu.unified_memory for gpu in IntelProbe(root).read().gpus] == [True, False]
    machine = detect_machine([IntelProbe(root)], match_gpu)
    assert [(gpu.index, gpu.catalog_id) for gpu in machine.gpus] == [(0, "intel-arc-b580")]
    assert "Intel GPU is left out: llama.cpp uses no integrated GPU beside a graphics card." in machine.notes
    assert not any("of RAM" in note for note in machine.notes)


def test_programs_of_others_make_the_free_memory_a_doubt(
    computer: Computer, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = intel_module.read_drm_clients

    def with_hidden(path: Path) -> object:
        clients = original(path)
        clients.hidden = 3
        return clients

    monkeypatch.setattr(intel_module, "read_drm_clients", with_hidden)
    (note,) = IntelProbe(computer("arc-b580")).read().notes
    assert note.startswith("Intel Arc B580: what programs of other users hold")


def test_without_proc_the_free_memory_is_unknown(computer: Computer) -> None:
    root = computer("arc-b580")
    (root / "proc").rename(root / "elsewhere")
    gpu = only(IntelProbe(root).read())
    assert (gpu.vram_total_bytes, gpu.vram_free_bytes, gpu.processes) == (12 * GIB, None, ())


@pytest.mark.parametrize(
    "nonsense", ["", "-5", "9" * 30, "0xg 0x1 0", "\x00\x01", "\n\n\n", "0x10 0x0 0x0\n" * 5]
)
def test_nonsense_in_files_is_unknown(computer: Computer, nonsense: str) -> None:
    changes = {
        "{gpu}/tile0/physical_vram_size_bytes": nonsense,
        "{gpu}/resource": nonsense,
        "{gpu}/hwmon/hwmon4/power1_max": nonsense,
        "{gpu}/device": nonsense,
        "{up}/max_link_width": nonsense,
        "{slot}/max_link_width": nonsense,
        "usr/share/misc/pci.ids": nonsense,
        "proc/meminfo": nonsense,
    }
    gpu = only(IntelProbe(computer("arc-b580", changes)).read())
    assert (gpu.name, gpu.vram_total_bytes, gpu.power_limit_w) == ("Intel GPU", None, None)
    assert (gpu.pci_id, gpu.pcie_max_width) == (None, None)


def test_a_card_that_disappears_while_it_is_read(computer: Computer, monkeypatch: pytest.MonkeyPatch) -> None:
    original = intel_module.read_pcie_link

    def unplug(device: intel_module.DisplayDevice) -> object:
        (device.folder / "vendor").unlink()
        return original(device)

    monkeypatch.setattr(intel_module, "read_pcie_link", unplug)
    findings = IntelProbe(computer("arc-b580")).read()
    assert findings.gpus == ()
    assert "Intel Arc B580: the card was lost" in findings.unseen_gpus[0]


def test_other_makers_and_drivers_are_nothing(tree: Tree, tmp_path: Path, computer: Computer) -> None:
    assert IntelProbe(tmp_path / "empty").read() == Findings()
    assert IntelProbe(computer("rx-7900-xtx")).read() == Findings()
    card = "sys/class/drm/card0/device"
    for driver in ("gma500", "ast", "vfio-pci", ""):
        root = tree({f"{card}/vendor": "0x8086", f"{card}/uevent": f"DRIVER={driver}\n"})
        assert IntelProbe(root).read() == Findings()
