"""AMD GPUs from trees like those of the Linux driver amdgpu."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from llmfit.advisor.hardware import amd
from llmfit.advisor.hardware.amd import AmdProbe
from llmfit.advisor.hardware.findings import Findings
from llmfit.advisor.units import GIB, MIB

Tree = Callable[[Mapping[str, str | bytes]], Path]
CARD = "sys/class/drm/card1/device"
IDS = "# table\n1.0.0\n744C,\tC8,\tAMD Radeon RX 7900 XTX\n744C,\tCC,\tAMD Radeon RX 7900 XT\n"
DISCRETE: dict[str, str | bytes] = {
    f"{CARD}/vendor": "0x1002\n",
    f"{CARD}/device": "0x744c\n",
    f"{CARD}/revision": "0xc8\n",
    f"{CARD}/mem_info_vram_total": f"{24 * GIB}\n",
    f"{CARD}/mem_info_vram_used": f"{512 * MIB}\n",
    f"{CARD}/mem_info_gtt_total": f"{32 * GIB}\n",
    f"{CARD}/mem_info_gtt_used": "0\n",
    f"{CARD}/gpu_metrics": bytes([120, 0, 1, 3]) + bytes(116),
    f"{CARD}/uevent": "DRIVER=amdgpu\nPCI_SLOT_NAME=0000:03:00.0\n",
    f"{CARD}/hwmon/hwmon3/power1_cap": "339000000\n",
    "usr/share/libdrm/amdgpu.ids": IDS,
    "dev/kfd": "",
    # A connector of the card, not another card.
    "sys/class/drm/card1-HDMI-A-1/status": "connected",
}


def no_names() -> dict[str, str]:
    return {}


def test_a_card_with_its_own_memory(tree: Tree) -> None:
    findings = AmdProbe(tree(DISCRETE), no_names).read()
    (gpu,) = findings.gpus
    assert (gpu.name, gpu.vendor, gpu.backend, gpu.unified_memory) == (
        "AMD Radeon RX 7900 XTX",
        "amd",
        "rocm",
        False,
    )
    assert (gpu.vram_total_bytes, gpu.vram_free_bytes) == (24 * GIB, 24 * GIB - 512 * MIB)  # without GTT
    assert gpu.power_limit_w == 339.0
    assert gpu.uuid == "0000:03:00.0"
    assert gpu.sources["vram_total_bytes"] == "sysfs"
    assert findings.notes == ()


def test_without_rocm_it_is_planned_for_vulkan(tree: Tree) -> None:
    files = {name: content for name, content in DISCRETE.items() if name != "dev/kfd"}
    assert AmdProbe(tree(files), no_names).read().gpus[0].backend == "vulkan"


def strix_halo(available: str) -> dict[str, str | bytes]:
    return DISCRETE | {
        f"{CARD}/device": "0x1586",
        f"{CARD}/product_name": "Radeon 8060S\x1b[2J Graphics\n",
        f"{CARD}/mem_info_vram_total": str(GIB),
        f"{CARD}/mem_info_vram_used": str(256 * MIB),
        f"{CARD}/mem_info_gtt_total": str(62 * GIB),
        f"{CARD}/mem_info_gtt_used": str(2 * GIB),
        f"{CARD}/gpu_metrics": bytes([4, 1, 3, 0]),
        "proc/meminfo": f"MemTotal: 130000000 kB\n{available}",
    }


def test_an_apu_uses_its_carve_out_and_ram(tree: Tree) -> None:
    (gpu,) = AmdProbe(tree(strix_halo(f"MemAvailable: {100 * 2**20} kB\n")), no_names).read().gpus
    assert gpu.unified_memory
    assert gpu.name == "Radeon 8060S [2J Graphics"
    assert gpu.vram_total_bytes == 63 * GIB
    assert gpu.vram_free_bytes == 60 * GIB + 768 * MIB


def test_an_apu_gets_no_more_than_the_ram_that_is_free(tree: Tree) -> None:
    (gpu,) = AmdProbe(tree(strix_halo(f"MemAvailable: {10 * 2**20} kB\n")), no_names).read().gpus
    assert gpu.vram_free_bytes == 10 * GIB + 768 * MIB


def test_missing_files_are_unknown(tree: Tree) -> None:
    findings = AmdProbe(tree({f"{CARD}/vendor": "0x1002"}), no_names).read()
    (gpu,) = findings.gpus
    assert (gpu.name, gpu.vram_total_bytes, gpu.vram_free_bytes, gpu.power_limit_w) == (
        "AMD GPU",
        None,
        None,
        None,
    )
    assert gpu.sources == {}
    assert "does not tell its memory" in findings.notes[0]


def test_a_name_from_pyamdgpuinfo_where_the_tables_have_none(tree: Tree) -> None:
    files = {name: content for name, content in DISCRETE.items() if "amdgpu.ids" not in name}
    probe = AmdProbe(tree(files), lambda: {"0000:03:00.0": "AMD Radeon Something"})
    assert probe.read().gpus[0].name == "AMD Radeon Something"


def test_other_makers_and_no_cards_are_nothing(tree: Tree, tmp_path: Path) -> None:
    def unexpected() -> dict[str, str]:
        raise AssertionError("asked for names without a card")

    assert AmdProbe(tmp_path / "empty", unexpected).read() == Findings()
    assert AmdProbe(tree({f"{CARD}/vendor": "0x10de"}), unexpected).read() == Findings()


def test_pyamdgpuinfo_without_dev_dri_is_no_error() -> None:
    if Path("/dev/dri").exists():
        pytest.skip("this computer has /dev/dri")
    assert amd._names_from_pyamdgpuinfo() == {}
