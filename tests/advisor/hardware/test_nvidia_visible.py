"""Which devices CUDA_VISIBLE_DEVICES leaves: pure, with devices made up here."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfit.advisor.hardware.machine import MAX_GPUS, Gpu, Partition
from llmfit.advisor.hardware.nvidia.device import NvidiaDevice
from llmfit.advisor.hardware.nvidia.visible import visible_devices
from llmfit.advisor.units import GIB


def card(number: int, name: str = "A", uuid: str | None = None) -> NvidiaDevice:
    uuid = uuid or f"GPU-{number}0000000-aaaa"
    return NvidiaDevice(Gpu(number, name, "nvidia", "cuda", uuid, driver="580.65.06"), number)


def part(
    of: int, instance: int, compute: int = 0, driver: str = "580.65.06", free: int = GIB
) -> NvidiaDevice:
    gpu = replace(
        card(of).gpu,
        uuid=f"MIG-{of}{instance}{compute}-bbbb",
        driver=driver,
        vram_free_bytes=free,
        partition=Partition("A", f"GPU-{of}0000000-aaaa", 0.5, 0.5),
    )
    return NvidiaDevice(gpu, of, (instance, compute))


def seen(devices: list[NvidiaDevice], wanted: str | None) -> list[str | None]:
    environ = {} if wanted is None else {"CUDA_VISIBLE_DEVICES": wanted}
    return [device.gpu.uuid for device in visible_devices(devices, environ)[0]]


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (None, [0, 1]),
        ("1", [1]),
        ("1,0", [1, 0]),
        (" 1 , 0 ", [1, 0]),
        ("", []),
        ("-1", []),
        ("0,7,1", [0]),  # CUDA stops reading at what it does not know
        ("GPU-1", [1]),
        ("GPU-10000000-aaaa,0", [1, 0]),
        ("GPU-", []),  # both cards begin so
        ("NoDevFiles", []),
        ("0,0", [0]),
        ("9" * 5000, []),
        ("MIG-GPU-10000000-aaaa/0/0", []),
    ],
)
def test_cards_are_named_by_number_or_uuid(wanted: str | None, numbers: list[int]) -> None:
    cards = [card(0), card(1)]
    assert seen(cards, wanted) == [cards[number].gpu.uuid for number in numbers]
    notes = visible_devices(cards, {} if wanted is None else {"CUDA_VISIBLE_DEVICES": wanted})[1]
    told = f"CUDA_VISIBLE_DEVICES leaves {len(numbers)} of 2 NVIDIA cards to programs started here."
    assert notes == (() if len(numbers) == 2 else (told,))


@pytest.mark.parametrize(
    ("wanted", "uuids"),
    [
        ("MIG-010-bbbb", ["MIG-010-bbbb"]),
        ("MIG-01", []),  # two compute instances begin so
        ("MIG-02", ["MIG-020-bbbb"]),
        ("MIG-GPU-00000000-aaaa/1/1", ["MIG-011-bbbb"]),
        ("MIG-GPU-00000000-aaaa/1/2", []),
        ("0", ["MIG-010-bbbb"]),  # a card that is cut: its first slice
        ("GPU-0", ["MIG-010-bbbb"]),
        ("1", ["GPU-10000000-aaaa"]),
        ("MIG-020-bbbb,MIG-010-bbbb", ["MIG-020-bbbb", "MIG-010-bbbb"]),
        ("MIG-011-bbbb,MIG-010-bbbb", ["MIG-011-bbbb"]),  # one compute instance of a GPU instance
        ("1,MIG-020-bbbb", ["GPU-10000000-aaaa", "MIG-020-bbbb"]),
    ],
)
def test_slices_are_named_by_uuid_or_by_their_place(wanted: str, uuids: list[str]) -> None:
    assert seen([part(0, 1, 0), part(0, 1, 1), part(0, 2), card(1)], wanted) == uuids


@pytest.mark.parametrize("wanted", ["MIG-020-bbbb,MIG-010-bbbb", "1,MIG-020-bbbb,MIG-010-bbbb"])
@pytest.mark.parametrize("driver", ["535.129.03", "nonsense", "", "569.99"])
def test_before_driver_570_a_program_sees_one_slice_and_nothing_else(wanted: str, driver: str) -> None:
    devices = [part(0, 1, driver=driver), part(0, 2, driver=driver), card(1)]
    assert seen(devices, wanted) == ["MIG-020-bbbb"]


def test_the_slice_with_the_most_free_memory_is_named() -> None:
    devices = [part(0, 1, driver="535.1", free=3 * GIB), part(0, 2, driver="535.1", free=2 * GIB)]
    (note,) = visible_devices(devices, {})[1]
    assert note.startswith("CUDA shows a program only the first slice, A,")
    assert note.endswith("it has the most free memory (CUDA_VISIBLE_DEVICES=MIG-010-bbbb).")
    (note,) = visible_devices(devices[::-1], {})[1]
    assert note.endswith(
        "unless CUDA_VISIBLE_DEVICES=MIG-010-bbbb names the one with the most free memory, A."
    )


def test_one_slice_alone_needs_no_note() -> None:
    assert visible_devices([part(0, 1)], {}) == ((part(0, 1),), ())


def test_cards_that_differ_are_counted_otherwise_by_cuda() -> None:
    cards = [card(0, "A"), card(1, "B")]
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in visible_devices(cards, {})[1][0]
    assert visible_devices(cards, {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"})[1] == ()
    assert visible_devices([card(0), card(1)], {})[1] == ()


def test_no_more_than_llama_cpp_takes() -> None:
    cards = [card(number, uuid=f"GPU-{number:03}") for number in range(MAX_GPUS + 1)]
    found, notes = visible_devices(cards, {})
    assert list(found) == cards[:MAX_GPUS]
    assert notes[0].startswith("17 NVIDIA cards are here; llama.cpp takes 16")
    last = visible_devices(cards, {"CUDA_VISIBLE_DEVICES": "16"})[0]
    assert last == (cards[16],)


def kind(number: int, name: str, capability: str | None, gb_per_s: int | None) -> NvidiaDevice:
    bandwidth = None if gb_per_s is None else gb_per_s * 10**9
    gpu = replace(card(number, name).gpu, compute_capability=capability, bandwidth_bytes_per_s=bandwidth)
    return NvidiaDevice(gpu, number)


@pytest.mark.parametrize(
    ("devices", "wanted", "numbers"),
    [
        # GTX 1660 SUPER first on the bus: CUDA counts the RTX 3090 first (koboldcpp issue 1023).
        ([kind(0, "1660", "7.5", 336), kind(1, "3090", "8.6", 936)], "0", [1]),
        ([kind(0, "1660", "7.5", 336), kind(1, "3090", "8.6", 936)], "1,0", [0, 1]),
        # RTX 3090 first on the bus: CUDA counts the RTX 4090 first (ollama issue 7429).
        ([kind(0, "3090", "8.6", 936), kind(1, "4090", "8.9", 1008)], "0,1", [1, 0]),
        # 10.0 is more than 9.0; equal cards stay in the order of the bus.
        (
            [kind(0, "A", "9.0", 500), kind(1, "B", "10.0", 900), kind(2, "A", "9.0", 500)],
            "0,1,2",
            [1, 0, 2],
        ),
    ],
)
def test_numbers_count_the_fastest_first(
    devices: list[NvidiaDevice], wanted: str, numbers: list[int]
) -> None:
    environ = {"CUDA_VISIBLE_DEVICES": wanted}
    found, notes = visible_devices(devices, environ)
    assert [device.card for device in found] == numbers
    assert any("counts unlike cards fastest first: 0 is taken as" in note for note in notes)
    assert not any("may mean another card" in note for note in notes)
    by_bus = visible_devices(devices, environ | {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"})
    assert [device.card for device in by_bus[0]] == [int(number) for number in wanted.split(",")]
    assert not any("fastest first" in note for note in by_bus[1])


@pytest.mark.parametrize(
    "devices",
    [
        # CUDA counts the GB300 first, though its capability is the lower one (vllm pull request 53834).
        [kind(0, "RTX PRO 4000", "12.0", 672), kind(1, "GB300", "10.3", 8000)],
        [kind(0, "4060", "8.9", 272), kind(1, "3090", "8.6", 936)],
        [kind(0, "3060", "8.6", 360), kind(1, "3090", "8.6", 936)],
        [kind(0, "1660", None, 336), kind(1, "3090", "8.6", 936)],
        [kind(0, "1660", "7.5", None), kind(1, "3090", "8.6", 936)],
        [part(0, 1), kind(1, "3090", "8.6", 936)],
    ],
)
def test_a_number_that_may_mean_another_card_is_said(devices: list[NvidiaDevice]) -> None:
    found, notes = visible_devices(devices, {"CUDA_VISIBLE_DEVICES": "1"})
    assert [device.card for device in found] == [1]
    assert any("a number may mean another card" in note for note in notes)
    uuid = devices[1].gpu.uuid or ""
    found, notes = visible_devices(devices, {"CUDA_VISIBLE_DEVICES": uuid})
    assert [device.card for device in found] == [1]
    assert not any("another card" in note for note in notes)


def test_equal_cards_have_one_order() -> None:
    cards = [kind(0, "3090", "8.6", 936), kind(1, "3090", "8.6", 936)]
    assert visible_devices(cards, {"CUDA_VISIBLE_DEVICES": "1,0"}) == ((cards[1], cards[0]), ())


@given(st.text(max_size=30), st.integers(0, 3))
def test_no_list_breaks_it(wanted: str, count: int) -> None:
    devices = [part(0, 1), card(1), card(2)][:count]
    found, _ = visible_devices(devices, {"CUDA_VISIBLE_DEVICES": wanted})
    assert len(set(map(id, found))) == len(found) <= count
    assert all(device in devices for device in found)
