"""Cards that share a name or nearly so: read by the real binding, told apart by the real catalogue."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from llmfit.advisor.hardware.machine import Gpu, Machine
from llmfit.advisor.hardware.nvidia.card import _bandwidth
from llmfit.advisor.hardware.nvidia.device import Handle
from llmfit.advisor.units import MIB
from llmfit.catalog.gpus import match_gpu

UNKNOWN_ID = "0001"
"""In no row: the card must be found by its name and memory."""
GEFORCE = (
    ("NVIDIA GeForce RTX 4090", 24564, UNKNOWN_ID, "GeForce RTX 4090", 1008.4),
    ("NVIDIA GeForce RTX 4090 Laptop GPU", 16376, UNKNOWN_ID, "GeForce RTX 4090 Mobile", 576.0),
    ("NVIDIA GeForce RTX 4090 Laptop GPU", 16376, "2757", "GeForce RTX 4090 Mobile", 576.0),
    ("NVIDIA GeForce RTX 3060", 12288, UNKNOWN_ID, "GeForce RTX 3060 12 GB", 360.0),
    ("NVIDIA GeForce RTX 3060", 8192, UNKNOWN_ID, "GeForce RTX 3060 8 GB", 240.0),
    ("NVIDIA GeForce RTX 3060", 12288, "2504", "GeForce RTX 3060 12 GB", 360.0),
    ("NVIDIA GeForce RTX 3060 Laptop GPU", 6144, UNKNOWN_ID, "GeForce RTX 3060 Mobile", 336.0),
    ("NVIDIA GeForce RTX 3050", 8192, UNKNOWN_ID, "GeForce RTX 3050 8 GB", 224.0),
    ("NVIDIA GeForce RTX 3050", 6144, UNKNOWN_ID, "GeForce RTX 3050 6 GB", 168.0),
    ("NVIDIA GeForce RTX 3050", 4096, UNKNOWN_ID, None, None),  # a third one that the catalogue lacks
    ("NVIDIA GeForce RTX 3050 Laptop GPU", 4096, UNKNOWN_ID, "GeForce RTX 3050 Mobile", 192.0),
    ("NVIDIA GeForce RTX 3080", 10240, UNKNOWN_ID, "GeForce RTX 3080", 760.3),
    ("NVIDIA GeForce RTX 3080", 12288, UNKNOWN_ID, "GeForce RTX 3080 12 GB", 912.4),
    ("NVIDIA GeForce GTX 1060 6GB", 6144, UNKNOWN_ID, "GeForce GTX 1060 6 GB", 192.2),
    ("NVIDIA GeForce GTX 1060 3GB", 3072, UNKNOWN_ID, "GeForce GTX 1060 3 GB", 192.2),
)
PROFESSIONAL = (
    ("NVIDIA RTX A4000", 16376, UNKNOWN_ID, "RTX A4000", 448.0),
    ("NVIDIA RTX 4000 Ada Generation", 20475, UNKNOWN_ID, "RTX 4000 Ada Generation", 360.0),
    ("NVIDIA RTX 4000 SFF Ada Generation", 20475, UNKNOWN_ID, "RTX 4000 SFF Ada Generation", 280.0),
    ("Quadro RTX 4000", 8192, UNKNOWN_ID, "Quadro RTX 4000", 416.0),
    (
        "NVIDIA RTX PRO 6000 Blackwell Workstation Edition",
        *(97887, UNKNOWN_ID, "RTX PRO 6000 Blackwell", 1792.0),
    ),
    (
        "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition",
        *(97887, UNKNOWN_ID, "RTX PRO 6000 Blackwell Max-Q", 1792.0),
    ),
    (
        "NVIDIA RTX PRO 6000 Blackwell Server Edition",
        *(97887, UNKNOWN_ID, "RTX PRO 6000 Blackwell Server", 1792.0),
    ),
    # One PCI id, two sizes.
    ("NVIDIA RTX PRO 5000 Blackwell", 48935, "2bb3", "RTX PRO 5000 Blackwell", 1344.0),
    ("NVIDIA RTX PRO 5000 72GB Blackwell", 73415, "2bb3", "RTX PRO 5000 72 GB Blackwell", 1344.0),
    ("NVIDIA A100-SXM4-40GB", 40960, UNKNOWN_ID, "A100 SXM4 40 GB", 1555.2),
    ("NVIDIA A100-SXM4-80GB", 81920, UNKNOWN_ID, "A100 SXM4 80 GB", 2039.0),
    ("NVIDIA A100 80GB PCIe", 81920, UNKNOWN_ID, "A100 PCIe 80 GB", 1935.4),
    ("NVIDIA H100 PCIe", 81559, UNKNOWN_ID, "H100 PCIe 80 GB", 2039.0),
    # Part of a card that its name or id would give away as a whole one (vGPU).
    ("NVIDIA A40-24Q", 24576, "2235", None, None),
    ("GRID A100-10C", 10240, "20b0", None, None),
)


@pytest.fixture(scope="module")
def cards(detect_all_with_nvml: Callable[..., dict[str, Machine]]) -> list[Gpu]:
    environs = {
        title: {
            "FAKE_NVML": "cards",
            "FAKE_NVML_CARDS": ";".join(f"{name}|{mib}|{pci_id}" for name, mib, pci_id, *_ in rows),
        }
        for title, rows in (("geforce", GEFORCE), ("professional", PROFESSIONAL))
    }
    return [gpu for machine in detect_all_with_nvml(environs).values() for gpu in machine.gpus]


@pytest.mark.parametrize("number", range(len(GEFORCE + PROFESSIONAL)))
def test_cards_of_similar_names_are_told_apart(cards: list[Gpu], number: int) -> None:
    name, mib, pci_id, known_as, bandwidth_gb_s = (GEFORCE + PROFESSIONAL)[number]
    card = cards[number]
    assert (card.name, card.vram_total_bytes, card.pci_id) == (name, mib * MIB, f"10de:{pci_id}")
    facts = match_gpu(card, card.vram_total_bytes)
    if known_as is None:
        assert facts is None
        return
    assert facts is not None
    assert facts.name == known_as
    assert facts.bandwidth_bytes_per_s == pytest.approx(bandwidth_gb_s * 1e9)


class _Clocks:
    """An NVML that knows a clock and a bus width."""

    NVMLError = NVMLLibraryMismatchError = RuntimeError
    NVML_CLOCK_MEM = 2

    def __init__(self, clock_mhz: int, bus_bits: int) -> None:
        self.nvmlDeviceGetMaxClockInfo = lambda handle, clock: clock_mhz
        self.nvmlDeviceGetMemoryBusWidth = lambda handle: bus_bits


@pytest.mark.parametrize(
    ("name", "clock_mhz", "bus_bits"),
    [
        ("NVIDIA GeForce GTX 1060 6GB", 4004, 192),  # GDDR5
        ("NVIDIA GeForce RTX 3090", 9751, 384),  # GDDR6X
        ("NVIDIA GeForce RTX 4090 Laptop GPU", 9001, 256),  # GDDR6
        ("NVIDIA GeForce RTX 5090", 14001, 512),  # GDDR7
        ("NVIDIA A100-SXM4-40GB", 1215, 5120),  # HBM2
        ("NVIDIA H100 80GB HBM3", 2619, 5120),  # HBM3
    ],
)
def test_clock_times_width_meets_the_catalogue(name: str, clock_mhz: int, bus_bits: int) -> None:
    facts = match_gpu(Gpu(0, name, "nvidia", "cuda"), None)
    assert facts is not None
    read = _bandwidth(Handle(_Clocks(clock_mhz, bus_bits), None))
    assert read == pytest.approx(facts.bandwidth_bytes_per_s, rel=0.01)
