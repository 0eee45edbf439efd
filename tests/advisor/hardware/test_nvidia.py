"""NVIDIA cards: the real binding pynvml against a library that answers by scenario."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.units import MIB

Detect = Callable[..., Machine]


def test_one_card_is_read_field_by_field(detect_with_nvml: Detect) -> None:
    machine = detect_with_nvml("one")
    (card,) = machine.gpus
    assert (card.index, card.name, card.vendor, card.backend) == (
        0,
        "NVIDIA GeForce RTX 3090",
        "nvidia",
        "cuda",
    )
    assert card.uuid == "GPU-00000000-aaaa-bbbb-cccc-000000000000"
    assert card.vram_total_bytes == 24576 * MIB
    assert card.vram_reserved_bytes == 400 * MIB
    assert card.vram_free_bytes == (24576 - 400) * MIB
    assert card.bandwidth_bytes_per_s == 9751 * 10**6 * 2 * 384 // 8
    assert (card.compute_capability, card.driver) == ("8.6", "580.65.06")
    assert (card.pcie_generation, card.pcie_width, card.power_limit_w) == (4, 16, 350.0)
    assert not card.unified_memory
    assert card.sources["vram_total_bytes"] == "nvml"
    assert machine.notes == ()


def test_two_cards_with_programs(detect_with_nvml: Detect) -> None:
    machine = detect_with_nvml("two", FAKE_NVML_PID=str(os.getpid()))
    first, second = machine.gpus
    assert first.vram_free_bytes == (24576 - 400 - 2600) * MIB
    server, own, unknown = first.processes
    assert (server.name, server.vram_bytes) == (
        "llama-server",
        1500 * MIB,
    )  # the driver's name, its path cut off
    # This program computes (600 MiB) and draws (200 MiB): it is one program, named by the system.
    assert (own.pid, own.name, own.vram_bytes) == (os.getpid(), psutil.Process().name(), 600 * MIB)
    assert (unknown.name, unknown.vram_bytes) == ("unknown", None)
    assert second.processes == ()
    assert (second.index, second.pcie_width) == (1, 8)


@pytest.mark.parametrize(
    ("scenario", "words"),
    [("no_driver", "driver is not loaded"), ("mismatch", "restart"), ("none", None)],
)
def test_without_cards_there_is_a_reason(detect_with_nvml: Detect, scenario: str, words: str | None) -> None:
    machine = detect_with_nvml(scenario)
    assert machine.gpus == ()
    assert machine.memory.total_bytes is not None
    assert (words is None) == (machine.notes == ())
    assert words is None or words in machine.notes[0]


def test_gb10_counts_the_memory_of_the_system(detect_with_nvml: Detect) -> None:
    machine = detect_with_nvml("gb10")
    (card,) = machine.gpus
    assert card.unified_memory
    assert card.vram_total_bytes == machine.memory.capacity_bytes
    assert card.vram_free_bytes == machine.memory.available_bytes
    assert card.sources["vram_total_bytes"] == "system RAM"
    assert card.bandwidth_bytes_per_s is None
    assert card.compute_capability == "12.1"


def test_a_total_of_zero_is_unified_memory_too(detect_with_nvml: Detect) -> None:
    machine = detect_with_nvml("zero")
    assert machine.gpus[0].unified_memory
    assert machine.gpus[0].vram_total_bytes == machine.memory.capacity_bytes


def test_fields_fail_alone_and_are_named(detect_with_nvml: Detect) -> None:
    machine = detect_with_nvml("partial")
    (card,) = machine.gpus
    assert card.vram_total_bytes == 24576 * MIB
    assert card.bandwidth_bytes_per_s is None
    assert card.pcie_generation is None
    assert card.power_limit_w is None
    assert machine.notes == (
        "Card 0 (NVIDIA GeForce RTX 3090) does not tell its power limit, memory clock, PCIe generation, "
        "PCIe width: Not Supported.",
    )


def test_a_lost_card_leaves_the_other(detect_with_nvml: Detect) -> None:
    machine = detect_with_nvml("lost")
    assert [card.index for card in machine.gpus] == [0]
    assert "card 1 was lost" in machine.notes[0]


def test_a_card_without_permission_leaves_the_other(detect_with_nvml: Detect) -> None:
    machine = detect_with_nvml("denied")
    assert len(machine.gpus) == 1
    assert machine.notes == ("NVIDIA card 1 could not be opened: Insufficient Permissions.",)


def test_a_hanging_driver_does_not_hang_us(detect_with_nvml: Detect) -> None:
    machine = detect_with_nvml("hang", timeout_s=1.0)
    assert machine.gpus == ()
    assert "NVIDIA cards could not be read: the driver did not answer within 1 s." in machine.notes


def test_names_are_safe_for_a_terminal(detect_with_nvml: Detect) -> None:
    assert detect_with_nvml("control").gpus[0].name == "NVIDIA [31mEvil 5000"


def test_a_name_that_is_not_text(detect_with_nvml: Detect) -> None:
    machine = detect_with_nvml("latin1")
    assert machine.gpus[0].name == "NVIDIA GPU"
    assert "does not tell its name" in machine.notes[0]


def test_an_old_driver_is_asked_in_its_own_version(detect_with_nvml: Detect) -> None:
    machine = detect_with_nvml("old", FAKE_NVML_PID=str(os.getpid()))
    (card,) = machine.gpus
    assert card.vram_total_bytes == 24576 * MIB
    assert card.vram_free_bytes == (24576 - 400) * MIB
    assert card.vram_reserved_bytes is None
    assert len(card.processes) == 2
    assert machine.notes == ()


def test_impossible_memory_is_unknown(detect_with_nvml: Detect) -> None:
    machine = detect_with_nvml("nonsense")
    assert machine.gpus[0].vram_total_bytes is None
    assert machine.gpus[0].vram_free_bytes is None
    assert "not possible" in machine.notes[0]


def test_different_cards_come_with_the_order_of_cuda(detect_with_nvml: Detect) -> None:
    assert any("CUDA_DEVICE_ORDER=PCI_BUS_ID" in note for note in detect_with_nvml("mixed").notes)
    ordered = detect_with_nvml("mixed", CUDA_DEVICE_ORDER="PCI_BUS_ID")
    assert ordered.notes == ()
    assert [card.name for card in ordered.gpus] == ["NVIDIA GeForce RTX 3060", "NVIDIA GeForce RTX 3090"]


@pytest.mark.parametrize(
    ("visible", "buses"),
    [
        ("1", ["1"]),
        ("1,0", ["1", "0"]),
        ("", []),
        ("-1", []),
        ("0,7,1", ["0"]),
        ("GPU-00000001", ["1"]),
        ("0,0", ["0"]),
    ],
)
def test_hidden_cards_are_left_out(detect_with_nvml: Detect, visible: str, buses: list[str]) -> None:
    machine = detect_with_nvml("two", CUDA_VISIBLE_DEVICES=visible)
    assert [str(int((card.uuid or "")[4:12])) for card in machine.gpus] == buses
    assert [card.index for card in machine.gpus] == list(range(len(buses)))
    assert any("CUDA_VISIBLE_DEVICES" in note for note in machine.notes) == (len(buses) < 2)


def test_no_library_is_a_note(detect_with_nvml: Detect, tmp_path: Path) -> None:
    (tmp_path / "libnvidia-ml.so.1").write_text("not a library")
    machine = detect_with_nvml("one", LD_LIBRARY_PATH=str(tmp_path))
    if machine.gpus:
        pytest.skip("this computer has a real NVML behind the broken one")
    assert machine.notes[0].startswith("NVML not found")
