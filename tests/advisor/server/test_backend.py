"""Which device of a llama-server is which GPU, and the backend that is planned for."""

from __future__ import annotations

import pytest

from llmfit.advisor.hardware.machine import Cpu, Gpu, Machine, Memory
from llmfit.advisor.recommend.command import device_name
from llmfit.advisor.server.answers import ServerDevice
from llmfit.advisor.server.backend import is_same_order, same_card, with_server_backends

NVIDIA_3090 = ("NVIDIA GeForce RTX 3090", "nvidia", "cuda")
NVIDIA_3060 = ("NVIDIA GeForce RTX 3060", "nvidia", "cuda")
RADEON = ("AMD Radeon RX 7900 XTX", "amd", "rocm")


def machine(*cards: tuple[str, str, str]) -> Machine:
    gpus = tuple(Gpu(index, *card) for index, card in enumerate(cards))
    return Machine("linux", Cpu(None, None, None), Memory(None, None), gpus)


def backends(found: Machine) -> list[str]:
    return [gpu.backend for gpu in found.gpus]


def test_a_vulkan_build_on_nvidia_cards() -> None:
    devices = [ServerDevice(f"Vulkan{number}", NVIDIA_3090[0]) for number in range(2)]
    found = with_server_backends(machine(NVIDIA_3090, NVIDIA_3090), devices)
    assert backends(found) == ["vulkan", "vulkan"]
    assert [device_name(found, index) for index in range(2)] == [device.id for device in devices]
    assert found.gpus[0].sources["backend"] == "llama-server"
    assert found.notes == (
        "Planned for Vulkan: this llama-server offers Vulkan0 (NVIDIA GeForce RTX 3090), "
        "Vulkan1 (NVIDIA GeForce RTX 3090), and nothing for CUDA.",
    )


def test_names_of_vulkan_drivers_mean_the_same_card() -> None:
    devices = [ServerDevice("Vulkan0", "AMD Radeon RX 7900 XTX (RADV NAVI31)")]
    assert backends(with_server_backends(machine(RADEON), devices)) == ["vulkan"]


def test_a_single_card_without_a_name_of_its_own() -> None:
    devices = [ServerDevice("Vulkan0", "AMD Radeon Graphics (RADV GFX1151)")]
    assert backends(with_server_backends(machine(("Radeon 8060S", "amd", "rocm")), devices)) == ["vulkan"]


@pytest.mark.parametrize(
    ("cards", "devices"),
    [
        ((NVIDIA_3090,), ()),
        ((NVIDIA_3090,), (("CUDA0", NVIDIA_3090[0]), ("Vulkan0", NVIDIA_3090[0]))),
        ((NVIDIA_3090,), (("Vulkan0", "AMD Radeon Graphics (RADV RENOIR)"),)),  # only the integrated one
        ((NVIDIA_3090,), (("Vulkan0", "AMD Radeon Graphics"), ("Vulkan1", NVIDIA_3090[0]))),
        ((NVIDIA_3090, NVIDIA_3060), (("Vulkan0", NVIDIA_3060[0]), ("Vulkan1", NVIDIA_3090[0]))),
        ((NVIDIA_3090, NVIDIA_3090), (("Vulkan0", NVIDIA_3090[0]),)),
        # The AMD card would be Vulkan1, but counted from 0 among the Vulkan cards it would be named Vulkan0.
        (
            (NVIDIA_3090, RADEON),
            (("CUDA0", NVIDIA_3090[0]), ("Vulkan0", NVIDIA_3090[0]), ("Vulkan1", RADEON[0])),
        ),
        ((), (("CUDA0", NVIDIA_3090[0]),)),
    ],
)
def test_what_is_not_certain_stays(cards, devices) -> None:
    before = machine(*cards)
    assert with_server_backends(before, [ServerDevice(*device) for device in devices]) is before


def test_one_vulkan_build_for_cards_of_two_makers() -> None:
    devices = [ServerDevice("Vulkan0", NVIDIA_3090[0]), ServerDevice("Vulkan1", RADEON[0])]
    assert backends(with_server_backends(machine(NVIDIA_3090, RADEON), devices)) == ["vulkan", "vulkan"]


def test_an_integrated_gpu_after_the_card_does_not_matter() -> None:
    devices = [ServerDevice("Vulkan0", NVIDIA_3090[0]), ServerDevice("Vulkan1", "Intel(R) UHD Graphics 770")]
    assert backends(with_server_backends(machine(NVIDIA_3090), devices)) == ["vulkan"]


@pytest.mark.parametrize(
    ("ours", "vendor", "theirs", "same"),
    [
        ("Intel Arc A770", "intel", "Intel(R) Arc(tm) A770 Graphics (DG2)", True),
        ("NVIDIA GB10", "nvidia", "NVIDIA GB10", True),
        ("NVIDIA GeForce RTX 3090", "nvidia", "NVIDIA GeForce RTX 3090 Ti", None),
        ("NVIDIA GeForce RTX 3090", "nvidia", "NVIDIA GeForce RTX 4090", False),
        ("NVIDIA GeForce RTX 3090", "nvidia", "llvmpipe (LLVM 15.0.7, 256 bits)", None),
        ("Radeon 8060S", "amd", "AMD Radeon Graphics", None),
        ("Radeon 8060S", "amd", "Intel(R) UHD Graphics", False),
    ],
)
def test_names_of_cards(ours: str, vendor: str, theirs: str, same: bool | None) -> None:
    assert same_card(Gpu(0, ours, vendor, "cuda"), ServerDevice("Vulkan0", theirs)) is same


def test_order_is_certain_only_card_by_card() -> None:
    unnamed = [ServerDevice(f"Vulkan{number}", "AMD Radeon Graphics") for number in range(2)]
    assert not is_same_order(machine(RADEON, RADEON).gpus, unnamed)
    assert is_same_order(machine(RADEON).gpus, unnamed[:1])
