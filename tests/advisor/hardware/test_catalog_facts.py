"""Which of driver and catalogue is believed, field by field."""

from __future__ import annotations

from llmfit.advisor.hardware.catalog_facts import add_catalog_facts
from llmfit.advisor.hardware.machine import Gpu, GpuFacts
from llmfit.advisor.units import GIB
from llmfit.catalog.gpus import match_driver_name

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
    filled, notes = add_catalog_facts(CARD, lambda name, size: facts(936_200_000_000))
    assert (filled.bandwidth_bytes_per_s, filled.sources["bandwidth_bytes_per_s"]) == (
        936_200_000_000,
        "catalog",
    )
    assert (filled.compute_capability, filled.sources["compute_capability"]) == ("8.6", "nvml")
    assert (filled.fp16_flops, filled.catalog_id, notes) == (71, "x", ())


def test_a_contradiction_is_said() -> None:
    filled, notes = add_catalog_facts(CARD, lambda name, size: facts(500_000_000_000))
    assert filled.bandwidth_bytes_per_s == 500_000_000_000
    assert "936 GB/s" in notes[0]
    assert "500" in notes[0]


def test_what_the_catalogue_does_not_know_stays() -> None:
    filled, _ = add_catalog_facts(CARD, lambda name, size: facts(None))
    assert (filled.bandwidth_bytes_per_s, filled.sources["bandwidth_bytes_per_s"]) == (
        936_096_000_000,
        "nvml",
    )
    unknown, notes = add_catalog_facts(CARD, lambda name, size: None)
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
        row = match_driver_name(name, size_gib * GIB)
        assert row is not None, name
        assert row.bandwidth_bytes_per_s is not None
        read = mhz * 10**6 * 2 * bits // 8
        assert abs(read / row.bandwidth_bytes_per_s - 1) < 0.01, name
