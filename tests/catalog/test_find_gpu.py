from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfit.advisor.errors import UsageError
from llmfit.advisor.hardware.machine import Gpu, Partition
from llmfit.advisor.hardware.simulate import simulate_machine
from llmfit.catalog import loader
from llmfit.catalog.gpus import (
    gpu_key,
    list_gpus,
    lookup_gpu,
    match_gpu,
    split_memory_size,
    typical_bandwidth,
)
from llmfit.catalog.overlay import overlay

GIB = 2**30


def driver_says(name: str, vendor: str = "nvidia", **more: object) -> Gpu:
    return Gpu(0, name, vendor, "cuda", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "gpu_id"),
    [
        ("RTX 3090", "nvidia-geforce-rtx-3090"),
        ("rtx3090", "nvidia-geforce-rtx-3090"),
        ("3090", "nvidia-geforce-rtx-3090"),
        ("GeForce RTX-3090", "nvidia-geforce-rtx-3090"),
        ("NVIDIA GeForce RTX 5070", "nvidia-geforce-rtx-5070"),
        ("4070 ti super", "nvidia-geforce-rtx-4070-ti-super"),
        ("RTX 4090 Laptop", "nvidia-geforce-rtx-4090-mobile"),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "nvidia-geforce-rtx-4090-mobile"),
        ("RX 7900 XTX", "amd-radeon-rx-7900-xtx"),
        ("AMD Radeon RX 7900 XTX (RADV NAVI31)", "amd-radeon-rx-7900-xtx"),
        ("7900xtx", "amd-radeon-rx-7900-xtx"),
        ("Intel(R) Arc(TM) B580 Graphics", "intel-arc-b580"),
        ("B580", "intel-arc-b580"),
        ("DGX Spark", "nvidia-gb10"),
        ("Strix Halo", "amd-radeon-8060s"),
        ("RTX 3060", "nvidia-geforce-rtx-3060-12-gb"),
        ("RTX 3060 8GB", "nvidia-geforce-rtx-3060-8-gb"),
        ("RTX 4060 Ti", "nvidia-geforce-rtx-4060-ti-16-gb"),
        ("RTX 3080", "nvidia-geforce-rtx-3080"),
        ("RTX 3080 12GB", "nvidia-geforce-rtx-3080-12-gb"),
        ("GTX 1060 6GB", "nvidia-geforce-gtx-1060-6-gb"),
        ("H100", "nvidia-h100-sxm5-80-gb"),
        ("RTX 6000 Ada", "nvidia-rtx-6000-ada-generation"),
        ("RTX PRO 6000", "nvidia-rtx-pro-6000-blackwell"),
        ("RTX A6000", "nvidia-rtx-a6000"),
        ("P40", "nvidia-tesla-p40"),
        ("nvidia-geforce-rtx-3090", "nvidia-geforce-rtx-3090"),
    ],
)
def test_names_of_people_and_drivers(name: str, gpu_id: str) -> None:
    assert lookup_gpu(name)[0].id == gpu_id


@pytest.mark.parametrize(
    ("spec", "gb_per_s"),
    [
        ("M4 Max 128GB", 546),
        ("M4 Max 36 GB", 410),
        ("M4 Max", 546),
        ("A100 40GB", 1555),
        ("RTX 3060 8GB", 240),
        ("RTX 3060", 360),
    ],
)
def test_the_size_asked_for_picks_the_card(spec: str, gb_per_s: int) -> None:
    """A card sold in several sizes or variants has the bandwidth of the one that was asked for."""
    card = simulate_machine([spec], None, None, None, lookup_gpu).gpus[0]
    assert card.bandwidth_bytes_per_s == pytest.approx(gb_per_s * 10**9, rel=0.002)


def test_a_size_that_is_not_sold() -> None:
    with pytest.raises(UsageError, match=r"It comes with 8 or 12 GB\."):
        simulate_machine(["RTX 3060 24GB"], None, None, None, lookup_gpu)


def test_every_name_of_every_card_finds_it() -> None:
    for facts in list_gpus():
        aliases = loader.bundled_rows(loader.GPUS)[facts.id]["aliases"]
        for name in (facts.name, *facts.driver_names, *aliases):  # type: ignore[misc]
            assert facts.id in [found.id for found in lookup_gpu(name)], (facts.id, name)
        assert lookup_gpu(facts.name)[0].id == facts.id


def test_every_card_is_found_by_driver_name_and_memory() -> None:
    """Except where a driver gives one name to cards of one size that differ in speed: then nobody knows."""
    undecided = []
    for facts in list_gpus():
        for name in facts.driver_names:
            for size in facts.memory_bytes_options or (64 * GIB,):
                found = match_gpu(driver_says(name, facts.vendor), size - size // 50)
                if found is None:
                    undecided.append(name)
                else:
                    assert found.bandwidth_bytes_per_s == facts.bandwidth_bytes_per_s, (facts.id, name)
    # Sold with GDDR5 and with GDDR6 under one name and one size.
    assert set(undecided) == {"NVIDIA GeForce GTX 1650"}


def test_a_driver_name_alone_is_not_guessed_at() -> None:
    assert match_gpu(driver_says("NVIDIA GeForce RTX 3060"), None) is None
    assert match_gpu(driver_says("NVIDIA GeForce RTX 3060"), 12 * GIB) is not None
    assert match_gpu(driver_says("NVIDIA GeForce RTX 9990"), 24 * GIB) is None
    assert match_gpu(driver_says(""), None) is None


def test_a_slice_of_a_card_has_not_its_bandwidth() -> None:
    assert match_gpu(driver_says("NVIDIA H100 80GB HBM3"), 81559 * 2**20) is not None
    assert match_gpu(driver_says("NVIDIA H100 80GB HBM3"), 10 * GIB) is None


def test_a_card_with_more_memory_soldered_on_keeps_its_bandwidth() -> None:
    found = match_gpu(driver_says("NVIDIA GeForce RTX 4090"), 48 * GIB)
    assert found is not None
    assert found.id == "nvidia-geforce-rtx-4090"


@pytest.mark.parametrize(
    ("pci_id", "memory_gib", "gpu_id"),
    [
        ("1002:744c rev c8", 24, "amd-radeon-rx-7900-xtx"),
        ("1002:744c rev cc", 20, "amd-radeon-rx-7900-xt"),
        ("1002:744C rev CE", 16, "amd-radeon-rx-7900-gre"),
        ("1002:744c", 20, "amd-radeon-rx-7900-xt"),  # without the revision the memory decides
        ("1002:744c", 16, None),  # RX 7900 GRE or RX 7900M: one speed of memory, two of compute
        ("1002:744c rev 99", 24, None),  # a revision nobody lists may be another card
        ("1002:7590 rev c0", 8, "amd-radeon-rx-9060-xt-8-gb"),
        ("1002:7590 rev c0", 16, "amd-radeon-rx-9060-xt-16-gb"),
        ("8086:e20b rev 00", 12, "intel-arc-b580"),  # a row without a revision holds for all
        ("1002:1586 rev c1", 128, "amd-radeon-8060s"),
        ("10de:25b6 rev a1", 16, None),  # A2 and A16
        ("ffff:ffff", 24, None),
        ("", 24, None),
        ("744c", 24, None),
    ],
)
def test_a_pci_id_finds_the_card_that_no_driver_names(
    pci_id: str, memory_gib: int, gpu_id: str | None
) -> None:
    vendor = {"1002": "amd", "8086": "intel"}.get(pci_id[:4], "nvidia")
    found = match_gpu(driver_says("some GPU", vendor, pci_id=pci_id), memory_gib * GIB)
    assert (found.id if found else None) == gpu_id


def test_the_pci_id_is_believed_before_the_name_and_the_name_parts_twins() -> None:
    found = match_gpu(driver_says("AMD Radeon RX 7900 XT", "amd", pci_id="1002:744c rev c8"), 24 * GIB)
    assert found is not None and found.id == "amd-radeon-rx-7900-xtx"
    found = match_gpu(driver_says("NVIDIA A16", pci_id="10de:25b6 rev a1"), 16 * GIB)
    assert found is not None and found.id == "nvidia-a16-pcie"


def test_every_pci_id_leads_to_its_row_or_a_twin() -> None:
    undecided = set()
    for facts in list_gpus():
        for pci_id in facts.pci_ids:
            for size in facts.memory_bytes_options or (64 * GIB,):
                named = driver_says("some GPU", facts.vendor, pci_id=pci_id)
                found = match_gpu(named, size)
                if found is None:
                    undecided.add(facts.name)
                else:
                    assert found.bandwidth_bytes_per_s == facts.bandwidth_bytes_per_s, (facts.id, pci_id)
    assert undecided == {"A2 PCIe", "A16 PCIe"}  # one id, one size: the name decides


@pytest.mark.parametrize(
    ("cores", "memory_gib", "gb_per_s"), [(40, 64, 546), (32, 36, 410), (None, 36, 410), (None, 48, 546)]
)
def test_apple_chips_of_one_name(cores: int | None, memory_gib: int, gb_per_s: int) -> None:
    found = match_gpu(driver_says("Apple M4 Max", "apple", gpu_cores=cores), memory_gib * GIB)
    assert found is not None
    assert found.bandwidth_bytes_per_s == gb_per_s * 10**9


def test_cores_that_were_read_are_believed_before_the_memory() -> None:
    """40 cores with 36 GB are not sold: a virtual machine may show them, not the other chip."""
    found = match_gpu(driver_says("Apple M4 Max", "apple", gpu_cores=40), 36 * GIB)
    assert found is not None and found.bandwidth_bytes_per_s == 546 * 10**9


@pytest.mark.parametrize("ram_gib", [24, 119, 128])
def test_a_chip_is_the_same_with_less_ram_in_sight(ram_gib: int) -> None:
    found = match_gpu(driver_says("NVIDIA GB10", pci_id="10de:2e12"), ram_gib * GIB)
    assert found is not None and found.id == "nvidia-gb10"


def test_every_card_has_an_architecture() -> None:
    assert all(facts.architecture for facts in list_gpus())
    assert lookup_gpu("RTX 3090")[0].architecture == "Ampere"


def test_a_name_of_a_family_is_not_its_largest_member() -> None:
    """Every Jetson Orin says the same name; only the AGX with 64 GB is in the catalogue."""
    assert match_gpu(driver_says("Orin (nvgpu)"), 61 * GIB) is not None
    for ram_gib in (7, 15, 30):
        assert match_gpu(driver_says("Orin (nvgpu)"), ram_gib * GIB) is None


def test_a_slice_is_looked_up_as_its_card() -> None:
    part = Partition("NVIDIA H100 80GB HBM3", "GPU-1", 1 / 8, 16 / 132)
    found = match_gpu(driver_says("NVIDIA H100 80GB HBM3 MIG 1g.10gb", partition=part), 9856 * 2**20)
    assert found is not None and found.id == "nvidia-h100-sxm5-80-gb"
    assert found.bandwidth_bytes_per_s == pytest.approx(3.35e12, rel=0.01)  # the whole card's


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("RTX 9090", "GeForce RTX 3090"), ("RTX 6000", "Quadro RTX 6000"), ("RX 7900", "XTX")],
)
def test_unknown_names_list_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(UsageError) as caught:
        lookup_gpu(name)
    assert nearest in caught.value.hint


@pytest.mark.parametrize("name", ["", "banana", "\x1b[31mRTX", "[bold]", "GB", "24GB", "x" * 10_000])
def test_nonsense_is_one_printable_line(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        lookup_gpu(name)[0]
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


@given(st.text(max_size=40))
def test_any_text_is_found_or_refused(name: str) -> None:
    try:
        found = lookup_gpu(name)[0]
    except UsageError:
        return
    assert gpu_key(split_memory_size(name)[0]) or found.id == name.strip().lower()


def test_split_memory_size() -> None:
    assert split_memory_size("RTX 3060 8GB") == ("RTX 3060", 8 * GIB)
    assert split_memory_size("RTX 3060 8 GiB") == ("RTX 3060", 8 * GIB)
    assert split_memory_size("RTX 3060") == ("RTX 3060", None)
    assert split_memory_size("GB10") == ("GB10", None)


def test_shader_rate_stands_in_where_there_are_no_matrix_units() -> None:
    """Pascal's FP16 is a 64th of its FP32, and llama.cpp does not use it."""
    assert lookup_gpu("GTX 1080 Ti")[0].fp16_flops == 11_340_000_000_000
    assert lookup_gpu("RTX 3090")[0].fp16_flops == 71_200_000_000_000
    assert lookup_gpu("RX 6800 XT")[0].fp16_flops == 41_500_000_000_000


def test_a_card_of_the_user_wins(own_rows: Path) -> None:
    own_rows.mkdir()
    row = (
        '{"id":"my-3090","name":"RTX 3090","vendor":"nvidia","memory_bytes":[51539607552],"sources":["mine"]}'
    )
    (own_rows / "gpus.jsonl").write_text(row)
    overlay.cache_clear()
    assert lookup_gpu("RTX 3090")[0].id == "my-3090"
    assert lookup_gpu("NVIDIA GeForce RTX 3090")[0].default_memory_bytes == 48 * GIB


def test_the_typical_bandwidth_of_a_class() -> None:
    found = typical_bandwidth("amd", 16 * GIB - 100 * 2**20)
    assert found is not None
    bandwidth, why = found
    alike = sorted(
        facts.bandwidth_bytes_per_s
        for facts in list_gpus()
        if facts.vendor == "amd" and facts.memory_bytes_options == (16 * GIB,) and facts.bandwidth_bytes_per_s
    )
    assert bandwidth == alike[(len(alike) - 1) // 2]
    assert why == (
        f"estimated: middle of {len(alike)} AMD cards with 16 GB in the catalogue, "
        f"{alike[0] / 1e9:.0f} to {alike[-1] / 1e9:.0f} GB/s"
    )


def test_no_class_no_estimate() -> None:
    assert typical_bandwidth("amd", None) is None
    assert typical_bandwidth("amd", 0) is None
    assert typical_bandwidth("amd", 700 * GIB) is None
    assert typical_bandwidth("nobody", 16 * GIB) is None
    assert typical_bandwidth("intel", 32 * GIB) is None  # one card


def test_a_class_has_no_integrated_gpus() -> None:
    """128 GB: the MI250 and MI250X, and not the MI300A, whose memory is RAM."""
    assert typical_bandwidth("amd", 128 * GIB) is None


def test_mi300a_is_planned_for_rocm_and_strix_halo_for_vulkan() -> None:
    for name, backend in (("MI300A", "rocm"), ("Strix Halo", "vulkan"), ("MI300X", "rocm")):
        assert {found.backend for found in lookup_gpu(name)} == {backend}
    assert lookup_gpu("MI300A")[0].unified_memory
