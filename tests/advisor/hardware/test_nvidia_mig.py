"""Slices of a card (MIG): the real binding pynvml against a library that answers by scenario."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from types import SimpleNamespace

import pytest

from llmfit.advisor.hardware.machine import Machine, Partition
from llmfit.advisor.hardware.nvidia.mig import _shares, _Whole
from llmfit.advisor.units import GIB, MIB
from llmfit.catalog.gpus import match_gpu

CARD = "NVIDIA H100 80GB HBM3"
CARD_UUID = "GPU-00000000-aaaa-bbbb-cccc-000000000000"
UUIDS = tuple(f"MIG-0000000{slot}-aaaa-bbbb-cccc-000000000000" for slot in (0, 2, 3))
CARD_BANDWIDTH = 2619 * 10**6 * 2 * 5120 // 8
SCENARIOS = (
    "mig",
    "mig_mixed",
    "mig_profile",
    "mig_denied",
    "mig_host",
    "mig_empty",
    "mig_hidden",
    "mig_blind",
)


@pytest.fixture(scope="module")
def seen(detect_all_with_nvml: Callable[..., dict[str, Machine]]) -> Mapping[str, Machine]:
    environs = {name: {"FAKE_NVML": name, "FAKE_NVML_PID": str(os.getpid())} for name in SCENARIOS}
    before = {"FAKE_NVML": "mig_mixed", "FAKE_NVML_DRIVER": "535.129.03"}
    environs["old"] = before
    environs["old, the third"] = before | {"CUDA_VISIBLE_DEVICES": f"{UUIDS[2]},{UUIDS[0]}"}
    environs["old name"] = before | {"CUDA_VISIBLE_DEVICES": f"MIG-{CARD_UUID}/5/0"}
    environs["card 1"] = before | {"CUDA_VISIBLE_DEVICES": "1"}
    environs["two slices"] = {"FAKE_NVML": "mig", "CUDA_VISIBLE_DEVICES": f"{UUIDS[2]},{UUIDS[0]}"}
    return detect_all_with_nvml(environs)


def test_every_slice_is_a_device_of_its_own(seen: Mapping[str, Machine]) -> None:
    slices = seen["mig"].gpus
    assert [part.index for part in slices] == [0, 1, 2]
    assert [part.name for part in slices] == [
        f"{CARD} MIG {profile}" for profile in ("3g.40gb", "2g.20gb", "1g.10gb")
    ]
    assert tuple(part.uuid for part in slices) == UUIDS
    assert [part.vram_total_bytes for part in slices] == [size * MIB for size in (40448, 20096, 9984)]
    assert [part.vram_free_bytes for part in slices] == [size * MIB for size in (40448 - 30014, 20082, 9970)]
    assert {part.vram_reserved_bytes for part in slices} == {14 * MIB}
    assert [part.bandwidth_bytes_per_s for part in slices] == [
        round(CARD_BANDWIDTH * eighths / 8) for eighths in (4, 2, 1)
    ]
    assert [part.partition for part in slices] == [
        Partition(CARD, CARD_UUID, 0.5, 60 / 132),
        Partition(CARD, CARD_UUID, 0.25, 32 / 132),
        Partition(CARD, CARD_UUID, 0.125, 16 / 132),
    ]


def test_a_slice_has_what_belongs_to_the_card_and_not_its_power(seen: Mapping[str, Machine]) -> None:
    part = seen["mig"].gpus[1]
    assert (part.vendor, part.backend, part.driver) == ("nvidia", "cuda", "580.65.06")
    assert (part.compute_capability, part.unified_memory) == ("9.0", False)
    assert (part.pci_id, part.pci_bus) == ("10de:2330", "0000:01:00.0")
    assert (part.pcie_generation, part.pcie_width, part.pcie_max_width) == (5, 16, 16)
    assert (part.power_limit_w, part.power_draw_w) == (None, None)
    assert not {"power_limit_w", "power_draw_w"} & set(part.sources)
    assert part.sources["bandwidth_bytes_per_s"] == "nvml (memory clock × bus width × share of the memory)"
    assert part.sources["vram_free_bytes"] == "nvml"


def test_programs_belong_to_their_slice(seen: Mapping[str, Machine]) -> None:
    first, second, third = seen["mig"].gpus
    ((pid, size),) = [(program.pid, program.vram_bytes) for program in first.processes]
    assert (pid, size) == (os.getpid(), 29000 * MIB)
    assert second.processes == third.processes == ()


def test_where_slices_list_no_programs_those_of_the_card_are_told_apart(seen: Mapping[str, Machine]) -> None:
    first, second, third = seen["mig_host"].gpus
    assert [program.pid for program in first.processes] == [os.getpid()]
    assert [(program.pid, program.vram_bytes) for program in second.processes] == [(4000000000, 500 * MIB)]
    assert third.processes == ()


def test_notes_say_what_cuda_shows_since_driver_570(seen: Mapping[str, Machine]) -> None:
    assert seen["mig"].notes == (
        f"{CARD} is cut into 3 slices (MIG); its power limit of 700 W is the whole card's.",
        "CUDA shows a program every slice that has memory of its own (driver 570 and newer); "
        f"CUDA_VISIBLE_DEVICES={UUIDS[1]} leaves it the one with the most free memory, {CARD} MIG 2g.20gb.",
    )


def test_notes_say_what_cuda_shows_before_driver_570(seen: Mapping[str, Machine]) -> None:
    assert len(seen["old"].gpus) == 4
    assert (
        f"CUDA shows a program only the first slice, {CARD} MIG 3g.40gb, and no other NVIDIA card, unless "
        f"CUDA_VISIBLE_DEVICES={UUIDS[1]} names the one with the most free memory, {CARD} MIG 2g.20gb."
    ) in seen["old"].notes


def test_a_whole_card_beside_slices(seen: Mapping[str, Machine]) -> None:
    *slices, card = seen["mig_mixed"].gpus
    assert [part.partition is not None for part in slices] == [True] * 3
    assert (card.name, card.index, card.partition) == ("NVIDIA GeForce RTX 3090", 3, None)
    assert card.power_limit_w == 350.0


@pytest.mark.parametrize(
    ("asked", "uuids"),
    [
        ("old, the third", [UUIDS[2]]),  # one slice and nothing else
        ("old name", [UUIDS[1]]),
        ("card 1", ["GPU-00000001-aaaa-bbbb-cccc-000000000000"]),
        ("two slices", [UUIDS[2], UUIDS[0]]),
    ],
)
def test_the_slice_that_cuda_is_told_to_take(
    seen: Mapping[str, Machine], asked: str, uuids: list[str]
) -> None:
    assert [gpu.uuid for gpu in seen[asked].gpus] == uuids
    assert [gpu.index for gpu in seen[asked].gpus] == list(range(len(uuids)))
    assert any(note.startswith(f"CUDA_VISIBLE_DEVICES leaves {len(uuids)} of ") for note in seen[asked].notes)


def test_a_container_that_may_not_read_the_card_asks_its_profile(seen: Mapping[str, Machine]) -> None:
    assert [gpu.partition for gpu in seen["mig_profile"].gpus] == [gpu.partition for gpu in seen["mig"].gpus]
    assert seen["mig_profile"].notes == seen["mig"].notes


def test_where_nothing_of_the_card_may_be_read_the_slices_count_and_a_note_says_so(
    seen: Mapping[str, Machine],
) -> None:
    machine = seen["mig_denied"]
    shares = [
        (gpu.partition.memory_share, gpu.partition.compute_share) for gpu in machine.gpus if gpu.partition
    ]
    assert shares == [(4 / 8, 3 / 7), (2 / 8, 2 / 7), (1 / 8, 1 / 7)]
    assert [gpu.bandwidth_bytes_per_s for gpu in machine.gpus] == [None] * 3
    assert any(
        note.startswith(f"This user may not read the memory of the whole {CARD}") for note in machine.notes
    )


def test_a_slice_that_tells_nothing_counts_as_the_smallest(seen: Mapping[str, Machine]) -> None:
    (part,) = seen["mig_blind"].gpus
    assert part.name == f"{CARD} MIG"
    assert (part.vram_total_bytes, part.vram_free_bytes, part.bandwidth_bytes_per_s) == (None, None, None)
    assert not part.unified_memory
    assert part.partition == Partition(CARD, CARD_UUID, 1 / 8, 1 / 8)
    assert any(
        "does not tell its name: Unknown Error; slice attributes" in note for note in seen["mig_blind"].notes
    )


@pytest.mark.parametrize(
    ("scenario", "words"), [("mig_empty", "sudo nvidia-smi mig -i 0 -lgip"), ("mig_hidden", "ask for access")]
)
def test_a_card_without_a_slice_is_no_device_and_says_what_to_do(
    seen: Mapping[str, Machine], scenario: str, words: str
) -> None:
    assert seen[scenario].gpus == ()
    (note,) = seen[scenario].notes
    assert words in note


@pytest.mark.parametrize(
    ("size_mib", "card_mib", "slices", "processors", "card_processors", "most", "memory", "compute"),
    [
        # Sizes and counts as nvidia-smi mig -lgip lists them.
        (9984, 81559, 1, 16, 132, 7, 1 / 8, 16 / 132),  # H100 80 GB: 1g.10gb
        (20096, 81559, 1, 26, 132, 7, 2 / 8, 26 / 132),  # 1g.20gb
        (81152, 81559, 7, 132, 132, 7, 1, 1),  # 7g.80gb
        (4864, 40960, 1, 14, 98, 7, 1 / 8, 1 / 7),  # A100 40 GB: 1g.5gb
        (9856, 40960, 1, 14, 98, 7, 2 / 8, 1 / 7),  # 1g.10gb
        (5952, 24576, 1, 14, 56, 4, 2 / 8, 1 / 4),  # A30: 1g.6gb
        (12096, 24576, 2, 28, 56, 4, 4 / 8, 1 / 2),  # 2g.12gb
        (40448, None, 4, 64, None, 7, 4 / 8, 4 / 7),  # the card is not told
        (81152, None, 7, 132, None, 7, 1, 1),
        (5952, None, 1, 14, None, 4, 2 / 8, 1 / 4),
        (100, 81559, 1, 16, 132, 7, 1 / 8, 16 / 132),  # never nothing
        (90000, 81559, 7, 140, 132, 7, 1, 1),  # never more than the card
    ],
)
def test_shares_of_the_usual_profiles(
    size_mib: int,
    card_mib: int | None,
    slices: int,
    processors: int,
    card_processors: int | None,
    most: int,
    memory: float,
    compute: float,
) -> None:
    attributes = SimpleNamespace(
        gpuInstanceSliceCount=slices, computeInstanceSliceCount=slices, multiprocessorCount=processors
    )
    whole = _Whole(card_mib * MIB if card_mib else None, card_processors, most)
    shares = _shares(size_mib * MIB, attributes, whole)
    assert shares.memory_share == memory
    assert shares.compute_share == pytest.approx(compute)
    assert shares.measured == (card_mib is not None)


def test_the_catalogue_knows_the_card_of_a_slice(seen: Mapping[str, Machine]) -> None:
    for part in (*seen["mig"].gpus, *seen["mig_denied"].gpus):
        facts = match_gpu(part, part.vram_total_bytes)
        assert facts is not None
        assert facts.memory_bytes_options == (80 * GIB,)
        assert CARD in facts.driver_names
