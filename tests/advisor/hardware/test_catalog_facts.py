"""Which of driver and catalogue is believed, field by field."""

from __future__ import annotations

from dataclasses import replace

from llmfit.advisor.hardware.catalog_facts import add_bandwidth, add_catalog_facts, share_ram_bandwidth
from llmfit.advisor.hardware.machine import Cpu, Gpu, GpuFacts, Machine, Memory, Partition
from llmfit.advisor.units import GIB
from llmfit.catalog.gpus import match_gpu

CARD = Gpu(
    0,
    "NVIDIA GeForce RTX 3090",
    "nvidia",
    "cuda",
    vram_total_bytes=24 * GIB,
    bandwidth_bytes_per_s=936_096_000_000,
    compute_capability="8.6",
    sources={"bandwidth_bytes_per_s": "nvml", "compute_capability": "nvml"},
)


def facts(bandwidth: int | None) -> GpuFacts:
    return GpuFacts(
        "x", "X", "nvidia", "cuda", (24 * GIB,), 24 * GIB, bandwidth, 71, compute_capability="9.9"
    )


def test_bandwidth_of_the_catalogue_and_capability_of_the_driver() -> None:
    filled, notes = add_catalog_facts(CARD, lambda gpu, size: facts(936_200_000_000))
    assert (filled.bandwidth_bytes_per_s, filled.sources["bandwidth_bytes_per_s"]) == (
        936_200_000_000,
        "catalog",
    )
    assert (filled.compute_capability, filled.sources["compute_capability"]) == ("8.6", "nvml")
    assert (filled.fp16_flops, filled.catalog_id, notes) == (71, "x", ())


def test_a_contradiction_is_said() -> None:
    filled, notes = add_catalog_facts(CARD, lambda gpu, size: facts(500_000_000_000))
    assert filled.bandwidth_bytes_per_s == 500_000_000_000
    assert "936 GB/s" in notes[0]
    assert "500" in notes[0]


def test_what_the_catalogue_does_not_know_stays() -> None:
    filled, _ = add_catalog_facts(CARD, lambda gpu, size: facts(None))
    assert (filled.bandwidth_bytes_per_s, filled.sources["bandwidth_bytes_per_s"]) == (
        936_096_000_000,
        "nvml",
    )
    unknown, notes = add_catalog_facts(CARD, lambda gpu, size: None)
    assert unknown == CARD
    assert len(notes) == 1


def test_nvml_clock_rule_meets_the_catalogue() -> None:
    """Highest memory clocks that drivers report (MHz) × bus width × 2, against the makers' figures."""
    clocks = [
        ("NVIDIA GeForce RTX 3090", 24, 9751, 384),
        ("NVIDIA GeForce RTX 4090", 24, 10501, 384),
        ("NVIDIA GeForce RTX 5090", 32, 14001, 512),
        ("NVIDIA A100-SXM4-40GB", 40, 1215, 5120),
        ("NVIDIA H100 80GB HBM3", 80, 2619, 5120),
        ("NVIDIA GeForce GTX 1060 6GB", 6, 4004, 192),
    ]
    for name, size_gib, mhz, bits in clocks:
        row = match_gpu(Gpu(0, name, "nvidia", "cuda"), size_gib * GIB)
        assert row is not None, name
        assert row.bandwidth_bytes_per_s is not None
        read = mhz * 10**6 * 2 * bits // 8
        assert abs(read / row.bandwidth_bytes_per_s - 1) < 0.01, name


def test_a_slice_has_its_share_of_the_card() -> None:
    part = Partition("NVIDIA H100 80GB HBM3", "GPU-1", 1 / 8, 16 / 132)
    slice_ = Gpu(
        0,
        "H100 MIG 1g.10gb",
        "nvidia",
        "cuda",
        vram_total_bytes=9856 * 2**20,
        pci_id="10de:2330",
        partition=part,
    )
    filled, notes = add_catalog_facts(slice_, match_gpu)
    card = match_gpu(slice_, 9856 * 2**20)
    assert card is not None and card.bandwidth_bytes_per_s and card.fp16_flops
    assert filled.bandwidth_bytes_per_s == round(card.bandwidth_bytes_per_s / 8)
    assert filled.fp16_flops == round(card.fp16_flops * 16 / 132)
    assert filled.name == "H100 MIG 1g.10gb"
    assert notes == ()


def test_a_card_without_a_name_gets_the_one_of_its_pci_id() -> None:
    nameless = Gpu(0, "AMD GPU", "amd", "vulkan", vram_total_bytes=24 * GIB, pci_id="1002:744c rev c8")
    filled, _ = add_catalog_facts(nameless, match_gpu)
    assert (filled.name, filled.sources["name"]) == ("Radeon RX 7900 XTX", "catalog")
    named, _ = add_catalog_facts(replace(nameless, name="Sapphire Nitro"), match_gpu)
    assert named.name == "Sapphire Nitro"


APU = Gpu(0, "Some APU", "amd", "vulkan", unified_memory=True, vram_total_bytes=32 * GIB)
UNKNOWN = Gpu(0, "Radeon RX 99", "amd", "rocm", vram_total_bytes=16 * GIB)


def guess(vendor: str, memory_bytes: int | None) -> tuple[int, str]:
    return 500 * 10**9, f"estimated: {vendor} {memory_bytes}"


def test_a_bandwidth_that_nobody_knows_is_estimated_and_said_so() -> None:
    filled, (note,) = add_bandwidth(UNKNOWN, Memory(None, None), guess)
    assert filled.bandwidth_bytes_per_s == 500 * 10**9
    assert filled.sources["bandwidth_bytes_per_s"] == f"estimated: amd {16 * GIB}"
    assert note.startswith(
        "Radeon RX 99: its memory bandwidth is not known and taken as 500 GB/s, estimated:"
    )


def test_what_is_known_is_never_estimated() -> None:
    assert add_bandwidth(CARD, Memory(None, None), guess) == (CARD, ())
    assert add_bandwidth(UNKNOWN, Memory(None, None), None) == (UNKNOWN, ())
    assert add_bandwidth(UNKNOWN, Memory(None, None), lambda vendor, size: None) == (UNKNOWN, ())
    part = replace(UNKNOWN, partition=Partition("X", None, 0.5, 0.5))
    assert add_bandwidth(part, Memory(None, None), guess) == (part, ())


def test_an_integrated_gpu_has_the_bandwidth_of_its_ram() -> None:
    assert add_bandwidth(APU, Memory(None, None), guess) == (APU, ())  # of no class: its RAM decides
    measured = Memory(64 * GIB, None, bandwidth_bytes_per_s=80 * 10**9, bandwidth_source="measured")
    filled, notes = add_bandwidth(APU, measured, guess)
    assert (filled.bandwidth_bytes_per_s, filled.sources["bandwidth_bytes_per_s"], notes) == (
        80 * 10**9,
        "RAM (measured)",
        (),
    )
    both = replace(measured, peak_bandwidth_bytes_per_s=90 * 10**9)
    filled, _ = add_bandwidth(APU, both, guess)
    assert filled.sources["bandwidth_bytes_per_s"] == "RAM (peak of its type)"
    card, _ = add_bandwidth(UNKNOWN, both, None)
    assert card.bandwidth_bytes_per_s is None


def test_a_measurement_that_comes_later_is_shared_too() -> None:
    machine = Machine("linux", Cpu(None, None, None), Memory(None, None), (APU,))
    assert share_ram_bandwidth(machine) is machine
    measured = replace(machine, memory=Memory(None, None, bandwidth_bytes_per_s=80 * 10**9))
    shared = share_ram_bandwidth(measured)
    assert shared.gpus[0].bandwidth_bytes_per_s == 80 * 10**9
    again = replace(shared, memory=replace(shared.memory, bandwidth_bytes_per_s=90 * 10**9))
    assert share_ram_bandwidth(again).gpus[0].bandwidth_bytes_per_s == 90 * 10**9
    its_own = replace(APU, bandwidth_bytes_per_s=256 * 10**9, sources={"bandwidth_bytes_per_s": "catalog"})
    assert share_ram_bandwidth(replace(again, gpus=(its_own,))).gpus == (its_own,)


def test_apple_chips_are_a_class() -> None:
    chip = Gpu(0, "Apple M9", "apple", "metal", unified_memory=True, vram_total_bytes=48 * GIB)
    filled, _ = add_bandwidth(chip, Memory(64 * GIB, None), guess)
    assert filled.bandwidth_bytes_per_s == 500 * 10**9


def test_a_name_with_another_memory_keeps_what_the_driver_reads() -> None:
    """The catalogue's RTX 3050 Laptop has 4 GB on 128 bits; the one with 6 GB has 96 bits."""
    row = GpuFacts("x", "Card", "nvidia", "cuda", (4 * GIB,), 4 * GIB, 192 * 10**9, 10**13)
    other = Gpu(
        0, "Card", "nvidia", "cuda", vram_total_bytes=6 * GIB - 2**26, bandwidth_bytes_per_s=168 * 10**9
    )
    found, notes = add_catalog_facts(other, lambda gpu, size: row)
    assert (found.bandwidth_bytes_per_s, found.catalog_id) == (168 * 10**9, None)
    assert "168 GB/s is used" in notes[0]
    same_bus = replace(other, bandwidth_bytes_per_s=190 * 10**9)
    assert add_catalog_facts(same_bus, lambda gpu, size: row)[0].catalog_id == "x"
    same_size = replace(other, vram_total_bytes=4 * GIB)
    assert add_catalog_facts(same_size, lambda gpu, size: row)[0].bandwidth_bytes_per_s == 192 * 10**9


def test_a_card_that_tells_no_memory_does_not_share_the_ram() -> None:
    silent = replace(
        CARD,
        unified_memory=True,
        vram_total_bytes=64 * GIB,
        sources={"vram_total_bytes": "system RAM", "name": "nvml"},
    )
    found, notes = add_catalog_facts(silent, match_gpu, 64 * GIB)
    assert (found.unified_memory, found.vram_total_bytes, found.vram_free_bytes) == (False, None, None)
    assert found.sources == {"name": "nvml"}
    assert "has memory of its own" in notes[0]


def test_a_slice_of_unknown_size_is_not_the_whole_card() -> None:
    part = Partition("NVIDIA GeForce RTX 3090", "GPU-1", 1 / 8, 1 / 8)
    slice_ = replace(CARD, partition=part, vram_total_bytes=None, bandwidth_bytes_per_s=None)
    found, _ = add_catalog_facts(slice_, match_gpu, 64 * GIB)
    assert found.vram_total_bytes is None
