"""Machines that are not here."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfit.advisor.errors import LlmfitError, UsageError
from llmfit.advisor.hardware.machine import Cpu, Gpu, GpuLookup, Machine, Memory
from llmfit.advisor.hardware.machine_file import machine_from_json, machine_to_json
from llmfit.advisor.hardware.simulate import override_machine, simulate_machine
from llmfit.advisor.units import GIB
from llmfit.catalog.gpus import lookup_gpu


def sizes(machine: Machine) -> list[tuple[float, float]]:
    return [((gpu.vram_total_bytes or 0) / GIB, (gpu.vram_free_bytes or 0) / GIB) for gpu in machine.gpus]


def test_one_card(lookup: GpuLookup) -> None:
    machine = simulate_machine(["RTX 3090"], "64GiB", None, None, lookup)
    (gpu,) = machine.gpus
    assert (gpu.name, gpu.vendor, gpu.backend) == ("GeForce RTX 3090", "nvidia", "cuda")
    assert (gpu.vram_total_bytes, gpu.vram_free_bytes) == (24 * GIB, 24 * GIB)
    assert (gpu.bandwidth_bytes_per_s, gpu.compute_capability, gpu.catalog_id) == (
        936 * 10**9,
        "8.6",
        "geforce-rtx-3090",
    )
    assert gpu.sources == {
        "vram_total_bytes": "simulated",
        "vram_free_bytes": "simulated",
        "bandwidth_bytes_per_s": "catalog",
        "fp16_flops": "catalog",
        "compute_capability": "catalog",
        "architecture": "catalog",
    }
    assert machine.memory == Memory(64 * GIB, 64 * GIB, sources=machine.memory.sources)
    assert machine.memory.sources == {"total_bytes": "simulated", "available_bytes": "simulated"}
    assert machine.cpu == Cpu(None, None, None)
    assert (machine.os, machine.simulated, machine.notes) == ("linux", True, ())
    assert machine.described_by == "--gpu"


@pytest.mark.parametrize(
    "spec", ["2x RTX 3090", "2 x RTX 3090", "2xRTX 3090", "2× RTX 3090", "2*rtx 3090", " 2X  RTX 3090 "]
)
def test_counts(lookup: GpuLookup, spec: str) -> None:
    machine = simulate_machine([spec], "64GiB", None, None, lookup)
    assert [(gpu.index, gpu.name) for gpu in machine.gpus] == [
        (0, "GeForce RTX 3090"),
        (1, "GeForce RTX 3090"),
    ]


def test_repeated_options_add_up(lookup: GpuLookup) -> None:
    machine = simulate_machine(["RTX 3090", "2x RTX 3060 8GB"], "64GiB", "51.2", "20GiB,8GiB,0", lookup)
    assert sizes(machine) == [(24, 20), (8, 8), (8, 0)]
    assert machine.memory.bandwidth_bytes_per_s == 51_200_000_000
    assert machine.memory.bandwidth_source == "--ram-bandwidth"
    assert machine.gpus[0].sources["vram_free_bytes"] == "--vram-free"


def test_one_free_size_counts_for_every_card(lookup: GpuLookup) -> None:
    assert sizes(simulate_machine(["2x RTX 3090"], None, None, "9GiB", lookup)) == [(24, 9), (24, 9)]


def test_no_gpu(lookup: GpuLookup) -> None:
    machine = simulate_machine(["none"], "32G", None, None, lookup)
    assert machine.gpus == ()
    assert machine.memory.total_bytes == 32 * GIB


def test_ram_that_nobody_gave_is_stated(lookup: GpuLookup) -> None:
    machine = simulate_machine(["RTX 3090"], None, None, None, lookup)
    assert machine.memory.total_bytes == 64 * GIB
    assert machine.memory.bandwidth_bytes_per_s is None
    assert machine.notes == ("System RAM is assumed to be 64 GiB; --ram says another size.",)


@pytest.mark.parametrize(
    "spec", ["RTX 3060 8GB", "RTX 3060 8 GB", "RTX 3060 8GiB", "RTX 3060 (8GB)", "rtx 3060 8g"]
)
def test_a_size_chooses_among_cards_of_one_name(lookup: GpuLookup, spec: str) -> None:
    machine = simulate_machine([spec], "64GiB", None, None, lookup)
    assert (machine.gpus[0].name, machine.gpus[0].bandwidth_bytes_per_s) == (
        "GeForce RTX 3060 8 GB",
        240 * 10**9,
    )
    assert machine.notes == ()


def test_without_a_size_the_usual_one_is_taken_and_said(lookup: GpuLookup) -> None:
    machine = simulate_machine(["RTX 3060"], "64GiB", None, None, lookup)
    assert machine.gpus[0].vram_total_bytes == 12 * GIB
    assert machine.notes == (
        'RTX 3060 is sold with 8 or 12 GB; 12 GB is taken. Write "RTX 3060 8GB" for another.',
    )


def test_a_size_that_is_part_of_the_name(lookup: GpuLookup) -> None:
    machine = simulate_machine(["GTX 1060 6GB"], "16GiB", None, None, lookup)
    assert sizes(machine) == [(6, 6)]
    assert machine.notes == ()


def test_a_mac(lookup: GpuLookup) -> None:
    machine = simulate_machine(["M4 Max 128GB"], None, None, None, lookup)
    (gpu,) = machine.gpus
    assert gpu.unified_memory
    assert machine.os == "macos"
    assert machine.memory.total_bytes == 128 * GIB
    assert gpu.vram_total_bytes == 96 * GIB
    assert machine.memory.bandwidth_bytes_per_s == gpu.bandwidth_bytes_per_s == 546 * 10**9
    assert "iogpu.wired_limit_mb" in machine.notes[0]


def test_ram_chooses_the_mac(lookup: GpuLookup) -> None:
    machine = simulate_machine(["M4 Max"], "36GiB", None, None, lookup)
    assert machine.gpus[0].bandwidth_bytes_per_s == 410 * 10**9
    # 64e9 bytes, as people write the 64 GiB of a Mac.
    assert simulate_machine(["M4 Max"], "64GB", None, None, lookup).memory.total_bytes == 64 * GIB


def test_dgx_spark(lookup: GpuLookup) -> None:
    machine = simulate_machine(["DGX Spark"], None, None, None, lookup)
    assert sizes(machine) == [(119, 119)]
    assert machine.memory.total_bytes == 119 * GIB


@pytest.mark.parametrize(
    ("spec", "ram"), [("Strix Halo 128GB", None), ("Strix Halo", "128GiB"), ("Strix Halo 128GB", "128GiB")]
)
def test_strix_halo_needs_its_size(lookup: GpuLookup, spec: str, ram: str | None) -> None:
    machine = simulate_machine([spec], ram, None, None, lookup)
    assert sizes(machine) == [(64, 64)]
    assert machine.memory.total_bytes == 128 * GIB
    with pytest.raises(UsageError, match="its size is not given"):
        simulate_machine(["Strix Halo"], None, None, None, lookup)


def test_a_raised_limit_of_unified_memory(lookup: GpuLookup) -> None:
    machine = simulate_machine(["M4 Max 128GB"], None, None, "120GiB", lookup)
    assert sizes(machine) == [(120, 120)]
    assert "because --vram-free says so" in machine.notes[-1]


@pytest.mark.parametrize(
    ("specs", "ram", "bandwidth", "free", "words"),
    [
        (["RTX 9999"], None, None, None, "Did you mean RTX 3090"),
        (["2x RTX 9999 8GB"], None, None, None, "Did you mean RTX 3090"),
        ([""], None, None, None, "empty"),
        (["  "], None, None, None, "empty"),
        (["2x"], None, None, None, "not in the catalogue"),
        (["0x RTX 3090"], None, None, None, "number of cards"),
        (["17x RTX 3090"], None, None, None, "number of cards"),
        (["1000x RTX 3090"], None, None, None, "number of cards"),
        (["9" * 5000 + "x RTX 3090"], None, None, None, "number of cards"),
        (["-1x RTX 3090"], None, None, None, "not in the catalogue"),
        (["9x RTX 3090", "8x RTX 3090"], None, None, None, "17 GPUs"),
        (["RTX 3060 10GB"], None, None, None, "It comes with 8 or 12 GB"),
        (["RTX 3090", "none"], None, None, None, "together"),
        (["2x M4 Max"], None, None, None, "plans for it alone"),
        (["DGX Spark", "RTX 3090"], None, None, None, "plans for it alone"),
        (["M4 Max"], "100GiB", None, None, "It comes with 36, 48, 64 or 128 GB"),
        (["M4 Max 128GB"], "64GiB", None, None, "It has 128 GiB"),
        (["M4 Max 128GB"], None, None, "129GiB", "may use"),
        (["RTX 3090"], "64", None, None, "Write a unit"),
        (["RTX 3090"], "0", None, None, "Write a unit"),
        (["RTX 3090"], "much", None, None, "not a size"),
        (["RTX 3090"], "-64GiB", None, None, "not a size"),
        (["RTX 3090"], "64GiB", "fast", None, "not a bandwidth"),
        (["RTX 3090"], "64GiB", "0", None, "not a bandwidth"),
        (["RTX 3090"], "64GiB", "1e9", None, "not a bandwidth"),
        (["RTX 3090"], "64GiB", "-5", None, "not a bandwidth"),
        (["RTX 3090"], None, None, "25GiB", "more than GeForce RTX 3090 has"),
        (["2x RTX 3090"], None, None, "20GiB,25GiB", "more than GeForce RTX 3090 has"),
        (["2x RTX 3090"], None, None, "20GiB,9GiB,3GiB", "3 sizes for 2 cards"),
        (["3x RTX 3090"], None, None, "20GiB,9GiB", "2 sizes for 3 cards"),
        (["RTX 3090"], None, None, "20GiB,", "not a size|sizes for 1 card"),
        (["RTX 3090"], None, None, "9", "less than 1 MiB"),
        (["none"], None, None, "9GiB", "no GPU"),
    ],
)
def test_nonsense_is_one_clear_line(
    lookup: GpuLookup, specs: list[str], ram: str | None, bandwidth: str | None, free: str | None, words: str
) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        simulate_machine(specs, ram, bandwidth, free, lookup)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


CARD = Gpu(
    0, "NVIDIA GeForce RTX 3090", "nvidia", "cuda", vram_total_bytes=24 * GIB, vram_free_bytes=20 * GIB
)
REAL = Machine("linux", Cpu("c", 8, 16), Memory(32 * GIB, 30 * GIB, 16 * GIB), gpus=(CARD,))


def test_an_integrated_gpu_has_the_bandwidth_that_is_given_for_its_ram() -> None:
    gpu = Gpu(0, "Radeon 780M", "amd", "vulkan", unified_memory=True)
    for sources in ({}, {"bandwidth_bytes_per_s": "RAM (measured 2026-11-22 by the CPU)"}):
        bandwidth = 50 * 10**9 if sources else None
        known = replace(gpu, bandwidth_bytes_per_s=bandwidth, sources=sources)
        machine = override_machine(replace(REAL, gpus=(known,)), None, "80", None)
        assert machine.gpus[0].bandwidth_bytes_per_s == 80 * 10**9
        assert machine.gpus[0].sources["bandwidth_bytes_per_s"] == "RAM (--ram-bandwidth)"


def test_overriding_a_real_machine() -> None:
    machine = override_machine(REAL, "128GiB", "80", "9GiB")
    sources = {"total_bytes": "--ram", "available_bytes": "--ram"}
    assert machine.memory == Memory(
        128 * GIB, 128 * GIB, None, 80 * 10**9, "--ram-bandwidth", sources=sources
    )
    assert machine.gpus[0].vram_free_bytes == 9 * GIB
    assert machine.cpu == REAL.cpu
    assert machine.simulated and machine.described_by is None, "this computer, with another size of RAM"
    assert "--ram" in machine.notes[0]


def test_overriding_nothing_changes_nothing() -> None:
    assert override_machine(REAL, None, None, None) == REAL


def test_other_ram_changes_what_a_unified_gpu_may_use(lookup: GpuLookup) -> None:
    mac = simulate_machine(["M4 Max 128GB"], None, None, None, lookup)
    assert sizes(override_machine(mac, "64GiB", None, None)) == [(48, 48)]


@pytest.mark.parametrize(
    ("spec", "name", "total_gib"),
    [
        ("RTX 3090", "GeForce RTX 3090", 24),
        ("NVIDIA GeForce RTX 5070", "GeForce RTX 5070", 12),
        ("NVIDIA GeForce RTX 3060 Laptop GPU", "GeForce RTX 3060 Mobile", 6),
        ("RTX 3060 8GB", "GeForce RTX 3060 8 GB", 8),
        ("RX 7900 XTX", "Radeon RX 7900 XTX", 24),
        ("NVIDIA A100-SXM4-80GB", "A100 SXM4 80 GB", 80),
        ("M4 Max 128GB", "Apple M4 Max (40-core GPU)", 96),
        ("DGX Spark", "GB10", 119),
    ],
)
def test_names_of_the_command_line_against_the_real_catalogue(spec: str, name: str, total_gib: int) -> None:
    machine = simulate_machine([spec], None, None, None, lookup_gpu)
    assert [gpu.name for gpu in machine.gpus] == [name]
    assert sizes(machine) == [(total_gib, total_gib)]


@given(
    spec=st.text(max_size=30)
    | st.from_regex(r"[0-9]{0,3}x? ?(RTX 3090|RTX 3060|M4 Max|DGX Spark)( [0-9]{1,3}GB)?", fullmatch=True),
    ram=st.none() | st.text(max_size=12) | st.from_regex(r"[0-9]{1,4}(GiB|GB|G)", fullmatch=True),
    free=st.none() | st.text(max_size=12) | st.from_regex(r"[0-9]{1,3}GiB(,[0-9]{1,3}GiB)?", fullmatch=True),
)
def test_anything_is_a_machine_or_a_usage_error(spec: str, ram: str | None, free: str | None) -> None:
    try:
        machine = simulate_machine([spec], ram, None, free, lookup_gpu)
    except LlmfitError as error:
        assert isinstance(error, UsageError)
        assert str(error).isprintable()
        return
    assert all((gpu.vram_free_bytes or 0) <= (gpu.vram_total_bytes or 0) for gpu in machine.gpus)
    assert machine.memory.total_bytes
    assert machine_from_json(machine_to_json(machine)) == replace(machine, described_by="--machine")
