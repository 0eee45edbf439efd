"""NVIDIA cards: the real binding pynvml against a library that answers by scenario (fake_nvml.c)."""

from __future__ import annotations

import os
import shutil
import subprocess
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil
import pynvml
import pytest

from llmfit.advisor.hardware.machine import MAX_GPUS, Machine
from llmfit.advisor.hardware.nvidia.probe import NvidiaProbe
from llmfit.advisor.units import MIB

Detect = Callable[..., Machine]
SCENARIOS = (
    *("one", "two", "none", "mixed", "many", "crowd"),
    *("no_driver", "mismatch", "ancient", "init_denied", "lost", "denied"),
    *("partial", "nonsense", "narrow", "old", "mps", "control", "latin1", "undrawn"),
    *("laptop", "vgpu", "gb10", "zero", "jetson"),
)


@pytest.fixture(scope="module")
def seen(
    detect_all_with_nvml: Callable[..., dict[str, Machine]], tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Machine]:
    """What is detected in each scenario."""
    windows = tmp_path_factory.mktemp("windows")
    (windows / "dev").mkdir()
    (windows / "dev/dxg").touch()
    environs = {name: {"FAKE_NVML": name, "FAKE_NVML_PID": str(os.getpid())} for name in SCENARIOS}
    environs["wsl"] = {"FAKE_NVML": "wsl", "FAKE_ROOT": str(windows)}
    environs["mixed by bus"] = {"FAKE_NVML": "mixed", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    environs["second"] = {"FAKE_NVML": "mixed", "CUDA_VISIBLE_DEVICES": "1"}
    return detect_all_with_nvml(environs)


def test_one_card_is_read_field_by_field(seen: Mapping[str, Machine]) -> None:
    (card,) = seen["one"].gpus
    assert (card.index, card.name) == (0, "NVIDIA GeForce RTX 3090")
    assert (card.vendor, card.backend) == ("nvidia", "cuda")
    assert card.uuid == "GPU-00000000-aaaa-bbbb-cccc-000000000000"
    assert card.vram_total_bytes == 24576 * MIB
    assert card.vram_reserved_bytes == 400 * MIB
    assert card.vram_free_bytes == (24576 - 400) * MIB
    assert card.bandwidth_bytes_per_s == 9751 * 10**6 * 2 * 384 // 8
    assert (card.compute_capability, card.driver) == ("8.6", "580.65.06")
    assert (card.pcie_generation, card.pcie_width, card.pcie_max_width) == (4, 16, 16)
    assert (card.pci_id, card.pci_bus) == ("10de:2204", "0000:01:00.0")
    assert (card.power_limit_w, card.power_draw_w) == (350.0, 31.5)
    assert card.partition is None
    assert not card.unified_memory
    assert card.sources["vram_total_bytes"] == "nvml"
    assert card.sources["bandwidth_bytes_per_s"] == "nvml (memory clock × bus width)"
    assert seen["one"].notes == ()


def test_two_cards_with_programs(seen: Mapping[str, Machine]) -> None:
    first, second = seen["two"].gpus
    assert first.vram_free_bytes == (24576 - 400 - 2600) * MIB
    server, own, unknown = first.processes
    # The driver's name, its path cut off.
    assert (server.name, server.vram_bytes) == ("llama-server", 1500 * MIB)
    # This program computes (600 MiB) and draws (200 MiB): it is one program, named by the system.
    assert (own.pid, own.name, own.vram_bytes) == (os.getpid(), psutil.Process().name(), 600 * MIB)
    # A program of a container that cannot be seen from here, whose memory nobody tells.
    assert (unknown.pid, unknown.name, unknown.vram_bytes) == (4000000001, "a program", None)
    assert second.processes == ()
    assert (second.index, second.pcie_width, second.pci_bus) == (1, 8, "0000:02:00.0")


def test_programs_under_the_mps_server_are_listed(seen: Mapping[str, Machine]) -> None:
    (program,) = seen["mps"].gpus[0].processes
    assert (program.pid, program.name, program.vram_bytes) == (4000000000, "llama-server", 900 * MIB)


def test_a_list_of_programs_that_fails_is_told(seen: Mapping[str, Machine]) -> None:
    (note,) = seen["undrawn"].notes
    assert note == "Card 0 (NVIDIA GeForce RTX 3090) does not tell its programs: Unknown Error."


@pytest.mark.parametrize(
    ("scenario", "words"),
    [
        ("no_driver", "driver is not loaded"),
        ("mismatch", "restart"),
        ("ancient", "too old"),
        ("init_denied", "/dev/nvidiactl"),
        ("crowd", "4000000000 cards, which is not possible"),
        ("none", "lists no card"),
    ],
)
def test_without_cards_there_is_a_reason(seen: Mapping[str, Machine], scenario: str, words: str) -> None:
    machine = seen[scenario]
    assert machine.gpus == ()
    assert machine.memory.total_bytes is not None
    (note,) = machine.notes
    assert words in note
    assert machine.unseen_gpus == (() if scenario == "none" else (note,))


def test_gb10_counts_the_memory_of_the_system_and_has_no_pcie_link(seen: Mapping[str, Machine]) -> None:
    machine = seen["gb10"]
    (card,) = machine.gpus
    assert card.unified_memory
    assert card.vram_total_bytes == machine.memory.capacity_bytes
    assert card.vram_free_bytes == machine.memory.available_bytes
    assert card.sources["vram_total_bytes"] == "system RAM"
    assert card.bandwidth_bytes_per_s is None
    assert card.compute_capability == "12.1"
    # NVML says "generation 1, 1 lane" of a part that has no link.
    assert (card.pcie_generation, card.pcie_width, card.pcie_max_width) == (None, None, None)
    assert not {"pcie_generation", "pcie_width", "pcie_max_width"} & set(card.sources)
    assert (card.pci_id, card.pci_bus) == ("10de:2e12", "000f:01:00.0")
    assert (card.power_limit_w, card.power_draw_w) == (None, 4.25)
    assert [program.vram_bytes for program in card.processes] == [1500 * MIB, 600 * MIB]
    assert machine.notes == (
        "Card 0 (NVIDIA GB10) does not tell its power limit, memory clock, memory bus width: Not Supported.",
    )


def test_a_jetson_tells_little_and_still_counts_the_memory_of_the_system(
    seen: Mapping[str, Machine],
) -> None:
    machine = seen["jetson"]
    (card,) = machine.gpus
    assert (card.name, card.driver, card.compute_capability) == ("Orin (nvgpu)", "540.4.0", "8.7")
    assert card.unified_memory
    assert card.vram_total_bytes == machine.memory.capacity_bytes
    assert (card.pci_id, card.pci_bus, card.pcie_width) == (None, None, None)
    assert card.processes == ()
    assert machine.notes == (
        "Card 0 (Orin (nvgpu)) does not tell its power limit, power draw, PCI id, memory clock, "
        "memory bus width, programs: Not Supported.",
    )


def test_a_total_of_zero_is_unified_memory_too(seen: Mapping[str, Machine]) -> None:
    (card,) = seen["zero"].gpus
    assert card.unified_memory
    assert card.vram_total_bytes == seen["zero"].memory.capacity_bytes


def test_fields_fail_alone_and_are_named(seen: Mapping[str, Machine]) -> None:
    machine = seen["partial"]
    (card,) = machine.gpus
    assert card.vram_total_bytes == 24576 * MIB
    assert card.compute_capability == "8.6"
    unread = ("bandwidth_bytes_per_s", "pcie_generation", "pcie_width", "pcie_max_width", "pci_id", "pci_bus")
    for field in (*unread, "power_limit_w", "power_draw_w"):
        assert getattr(card, field) is None
        assert field not in card.sources
    assert machine.notes == (
        "Card 0 (NVIDIA GeForce RTX 3090) does not tell its power limit, power draw, PCI id, memory clock, "
        "PCIe generation, PCIe width, PCIe maximum width: Not Supported.",
    )


def test_impossible_numbers_are_unknown(seen: Mapping[str, Machine]) -> None:
    machine = seen["nonsense"]
    (card,) = machine.gpus
    assert (card.vram_total_bytes, card.vram_free_bytes, card.vram_reserved_bytes) == (None, None, None)
    assert (card.bandwidth_bytes_per_s, card.pcie_generation, card.power_draw_w) == (None, None, None)
    assert not card.unified_memory
    assert card.pcie_width == 16
    assert machine.notes == (
        "Card 0 (NVIDIA GeForce RTX 3090) does not tell its memory: 25769803777 of 25769803776 bytes free is "
        "not possible; power draw, PCIe generation: 4294967295 is not possible; memory bus width: 0 is not "
        "possible.",
    )


def test_a_card_on_few_lanes_is_read_and_left_to_diagnosis(seen: Mapping[str, Machine]) -> None:
    machine = seen["narrow"]
    (card,) = machine.gpus
    assert (card.pcie_width, card.pcie_max_width) == (4, 16)
    assert machine.notes == ()


def test_a_lost_card_leaves_the_other(seen: Mapping[str, Machine]) -> None:
    assert [card.index for card in seen["lost"].gpus] == [0]
    assert len(seen["lost"].notes) == 1
    assert "card 1 was lost" in seen["lost"].notes[0]


def test_a_card_without_permission_leaves_the_other(seen: Mapping[str, Machine]) -> None:
    assert len(seen["denied"].gpus) == 1
    assert seen["denied"].notes == ("NVIDIA card 1 could not be opened: Insufficient Permissions.",)


def test_more_cards_than_llama_cpp_takes(seen: Mapping[str, Machine]) -> None:
    machine = seen["many"]
    assert [card.index for card in machine.gpus] == list(range(MAX_GPUS))
    assert [card.pci_bus for card in machine.gpus[:2]] == ["0000:01:00.0", "0000:02:00.0"]
    assert machine.notes == (
        "17 NVIDIA cards are here; llama.cpp takes 16, so only the first 16 are listed. "
        "CUDA_VISIBLE_DEVICES chooses others.",
    )


def test_a_laptop_card_keeps_its_name(seen: Mapping[str, Machine]) -> None:
    (card,) = seen["laptop"].gpus
    assert card.name == "NVIDIA GeForce RTX 4090 Laptop GPU"
    assert card.vram_total_bytes == 16376 * MIB
    assert card.bandwidth_bytes_per_s == 9001 * 10**6 * 2 * 256 // 8
    assert card.power_limit_w is None
    assert (card.pcie_width, card.pcie_max_width) == (8, 8)


def test_a_virtual_gpu_is_a_card_whose_speed_is_shared(seen: Mapping[str, Machine]) -> None:
    machine = seen["vgpu"]
    (card,) = machine.gpus
    assert (card.name, card.vram_total_bytes) == ("NVIDIA A40-24Q", 24576 * MIB)
    assert card.bandwidth_bytes_per_s is None
    assert card.partition is None
    assert any("is a virtual GPU" in note for note in machine.notes)
    assert not any("is a virtual GPU" in note for note in seen["one"].notes)


def test_wsl_lists_no_programs_and_says_so(seen: Mapping[str, Machine]) -> None:
    machine = seen["wsl"]
    (card,) = machine.gpus
    assert (card.vram_total_bytes, card.vram_free_bytes) == (24576 * MIB, (24576 - 400) * MIB)
    assert card.vram_reserved_bytes is None  # version 2 of the call fails there
    assert machine.notes == ("WSL does not tell which programs hold VRAM, so none is listed.",)


def test_names_are_safe_for_a_terminal(seen: Mapping[str, Machine]) -> None:
    assert seen["control"].gpus[0].name == "NVIDIA [31mEvil 5000"


def test_a_name_that_is_not_text(seen: Mapping[str, Machine]) -> None:
    assert seen["latin1"].gpus[0].name == "NVIDIA GPU"
    assert seen["latin1"].notes == ("Card 0 (NVIDIA GPU) does not tell its name: not text.",)


def test_an_old_driver_is_asked_in_its_own_version(seen: Mapping[str, Machine]) -> None:
    (card,) = seen["old"].gpus
    assert card.vram_total_bytes == 24576 * MIB
    assert card.vram_free_bytes == (24576 - 400) * MIB
    assert card.vram_reserved_bytes is None
    assert len(card.processes) == 2
    assert seen["old"].notes == ()


def test_different_cards_come_with_the_order_of_cuda(seen: Mapping[str, Machine]) -> None:
    assert any("CUDA_DEVICE_ORDER=PCI_BUS_ID" in note for note in seen["mixed"].notes)
    ordered = seen["mixed by bus"]
    assert ordered.notes == ()
    assert [card.name for card in ordered.gpus] == ["NVIDIA GeForce RTX 3060", "NVIDIA GeForce RTX 3090"]


def test_a_card_that_is_hidden_from_cuda_is_left_out(seen: Mapping[str, Machine]) -> None:
    (card,) = seen["second"].gpus
    assert (card.index, card.pci_bus) == (0, "0000:02:00.0")


def test_an_endless_device_tree_is_not_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", absent)
    file = tmp_path / "proc/device-tree/compatible"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"nvidia,p3737-0000+p3701-0005\0nvidia,tegra234\0")
    os.truncate(file, 64 * MIB)
    tracemalloc.start()
    try:
        (note,) = NvidiaProbe({}, tmp_path).read().unseen_gpus
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()
    assert note.startswith("This is an NVIDIA Jetson")


@pytest.mark.parametrize("scenario", ["hang", "hang_init"])
def test_a_hanging_driver_does_not_hang_us(detect_with_nvml: Detect, scenario: str) -> None:
    machine = detect_with_nvml(scenario, timeout_s=1.0)
    assert machine.gpus == ()
    assert machine.memory.total_bytes is not None
    assert "NVIDIA cards could not be read: the driver did not answer within 1 s." in machine.unseen_gpus


def test_no_library_is_a_note(detect_with_nvml: Detect, tmp_path: Path) -> None:
    (tmp_path / "libnvidia-ml.so.1").write_text("not a library")
    machine = detect_with_nvml("one", root=tmp_path, LD_LIBRARY_PATH=str(tmp_path))
    if machine.gpus:
        pytest.skip("this computer has a real NVML behind the broken one")
    assert machine.notes[0].startswith("NVML not found")


def test_a_jetson_without_the_library_is_recognised(detect_with_nvml: Detect, tmp_path: Path) -> None:
    (tmp_path / "libnvidia-ml.so.1").write_text("not a library")
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    (tmp_path / "proc/device-tree/compatible").write_bytes(b"nvidia,p3737-0000+p3701-0005\0nvidia,tegra234\0")
    machine = detect_with_nvml("one", root=tmp_path, LD_LIBRARY_PATH=str(tmp_path))
    if machine.gpus:
        pytest.skip("this computer has a real NVML behind the broken one")
    assert "NVIDIA Jetson whose system has no NVML" in machine.notes[0]


def test_a_library_that_is_not_nvml_is_a_note(
    fake_nvml_folder: Path, detect_with_nvml: Detect, tmp_path: Path
) -> None:
    compiler = shutil.which("cc")
    assert compiler is not None  # fake_nvml_folder skips without one
    (tmp_path / "empty.c").write_text("int nothing;")
    library = tmp_path / "libnvidia-ml.so.1"
    subprocess.run([compiler, "-shared", "-o", library, tmp_path / "empty.c"], check=True, timeout=60)
    machine = detect_with_nvml("one", LD_LIBRARY_PATH=str(tmp_path))
    assert machine.gpus == ()
    assert machine.notes == (
        "NVIDIA cards cannot be seen: the NVML library found here is too old, or is not NVIDIA's.",
    )
