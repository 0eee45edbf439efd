"""Machine ⇄ JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmfit.advisor.errors import UsageError
from llmfit.advisor.hardware.machine import (
    Cpu,
    Disk,
    Gpu,
    LlamaServer,
    Machine,
    Memory,
    Partition,
    VramProcess,
)
from llmfit.advisor.hardware.machine_file import machine_from_json, machine_to_json, read_machine
from llmfit.advisor.units import GIB

FULL = Machine(
    os="linux",
    cpu=Cpu(
        "AMD Ryzen 9",
        16,
        32,
        ("avx2", "avx512"),
        performance_cores=8,
        numa_nodes=2,
        sources={"name": "sysfs"},
    ),
    memory=Memory(
        64 * GIB,
        50 * GIB,
        60 * GIB,
        80 * 10**9,
        "measured",
        peak_bandwidth_bytes_per_s=96 * 10**9,
        memory_type="DDR5",
        channels=2,
        transfer_rate_mt_s=6000,
        swap_total_bytes=8 * GIB,
        swap_free_bytes=7 * GIB,
        sources={"total_bytes": "/proc/meminfo"},
    ),
    gpus=(
        Gpu(
            index=0,
            name="NVIDIA GeForce RTX 3090",
            vendor="nvidia",
            backend="cuda",
            uuid="GPU-1",
            vram_total_bytes=24 * GIB,
            vram_free_bytes=20 * GIB,
            bandwidth_bytes_per_s=936 * 10**9,
            fp16_flops=71 * 10**12,
            compute_capability="8.6",
            driver="580.1",
            pcie_generation=4,
            pcie_width=16,
            power_limit_w=350.5,
            processes=(VramProcess(7, "Xorg", 600), VramProcess(8, "firefox", None)),
            catalog_id="nvidia-geforce-rtx-3090",
            vram_reserved_bytes=400,
            pci_id="10de:2204 rev a1",
            pci_bus="0000:01:00.0",
            pcie_max_width=16,
            architecture="Ampere",
            power_draw_w=21.5,
            sources={"vram_total_bytes": "nvml"},
        ),
        Gpu(
            index=1,
            name="odd",
            vendor="apple",
            backend="metal",
            unified_memory=True,
            carve_out_bytes=512,
            gpu_cores=40,
        ),
        Gpu(
            index=2,
            name="a slice",
            vendor="nvidia",
            backend="cuda",
            partition=Partition("NVIDIA H100", "GPU-2", 0.5, 3 / 7),
        ),
    ),
    llama_server=LlamaServer("/opt/llama-server", "1 (a)", 1, ("cuda", "cpu"), ("CUDA0",)),
    llama_servers=(
        LlamaServer("/opt/llama-server", "1 (a)", 1, ("cuda", "cpu"), ("CUDA0",)),
        LlamaServer("/usr/bin/llama-server", problem="It needs a library that is missing."),
    ),
    disks=(Disk("/", 10**12, 10**11),),
    notes=("A note that is longer than a name may be. " * 5 + "End.",),
    simulated=True,
    described_by="--machine",
)
EMPTY = Machine("macos", Cpu(None, None, None), Memory(None, None))


@pytest.mark.parametrize("machine", [FULL, EMPTY], ids=["full", "empty"])
def test_round_trip_through_a_file(machine: Machine, tmp_path: Path) -> None:
    path = tmp_path / "machine.json"
    path.write_text(json.dumps(machine_to_json(machine)))
    read = read_machine(path)
    assert read == replace(machine, described_by="--machine"), "nobody looked at this computer for it"
    # What a comparison leaves out because it changes by the second.
    assert read.disks == machine.disks
    assert [gpu.power_draw_w for gpu in read.gpus] == [gpu.power_draw_w for gpu in machine.gpus]
    assert read.memory.swap_free_bytes == machine.memory.swap_free_bytes


def test_the_names_are_those_of_the_contract() -> None:
    document = machine_to_json(FULL)
    assert document["schema"] == "llmfit.hardware/1"
    assert set(document) >= {"schema", "os", "cpu", "ram", "gpus", "llama_server", "notes"}
    assert set(document["cpu"]) >= {"name", "physical_cores", "logical_cores", "features"}
    assert set(document["ram"]) >= {
        "total_bytes",
        "available_bytes",
        "limit_bytes",
        "bandwidth_bytes_per_s",
        "bandwidth_source",
    }
    assert set(document["gpus"][0]) >= {
        "index",
        "name",
        "vendor",
        "backend",
        "uuid",
        "unified_memory",
        "vram_total_bytes",
        "vram_free_bytes",
        "bandwidth_bytes_per_s",
        "fp16_flops",
        "compute_capability",
        "driver",
        "pcie",
        "power_limit_w",
        "processes",
        "sources",
    }
    assert document["gpus"][0]["pcie"] == {"generation": 4, "width": 16, "max_width": 16}
    assert document["gpus"][0]["processes"][1] == {"pid": 8, "name": "firefox", "vram_bytes": None}
    assert set(document["llama_server"]) >= {"path", "version", "build", "backends", "devices"}
    assert machine_to_json(EMPTY)["llama_server"] is None
    assert machine_to_json(EMPTY)["ram"]["total_bytes"] is None


def test_unknown_fields_are_ignored_and_missing_ones_unknown() -> None:
    card = {"name": "A card", "vendor": "nvidia", "backend": "cuda", "colour": "green"}
    machine = machine_from_json({"gpus": [card, card], "weather": 3})
    assert [gpu.index for gpu in machine.gpus] == [0, 1]
    assert machine.gpus[0].vram_total_bytes is None
    assert machine.memory == Memory(None, None)


def changed(**values: Any) -> dict[str, Any]:
    document: dict[str, Any] = machine_to_json(FULL)
    for path, value in values.items():
        *parents, last = path.split("__")
        place: Any = document
        for parent in parents:
            place = place[int(parent)] if parent.isdecimal() else place[parent]
        place[last] = value
    return document


@pytest.mark.parametrize(
    ("document", "field"),
    [
        (changed(ram__total_bytes="64GiB"), "ram.total_bytes: not a whole number"),
        (changed(ram__total_bytes=1.5), "ram.total_bytes"),
        (changed(ram__total_bytes=True), "ram.total_bytes"),
        (changed(ram__total_bytes=-1), "ram.total_bytes"),
        (changed(ram__total_bytes=2**60), "ram.total_bytes"),
        (changed(ram__bandwidth_bytes_per_s=0), "ram.bandwidth_bytes_per_s"),
        (changed(gpus=3), "gpus: not a list"),
        (changed(gpus__0__vendor="matrox"), "gpus[0].vendor"),
        (changed(gpus__0__name=None), "gpus[0].name"),
        (changed(gpus__1__vram_free_bytes="all"), "gpus[1].vram_free_bytes"),
        (
            changed(gpus__0__vram_free_bytes=25 * GIB),
            "gpus[0]: vram_free_bytes is more than vram_total_bytes",
        ),
        (changed(gpus__0__unified_memory=1), "gpus[0].unified_memory"),
        (changed(gpus__0__processes__0__pid="x\x1b[2J\n"), "gpus[0].processes[0].pid"),
        (changed(gpus__1__index=0), "two GPUs have the same index"),
        (changed(gpus=[{"name": "x", "vendor": "nvidia", "backend": "cuda"}] * 17), "gpus"),
        (changed(schema="llmfit.hardware/2"), "schema: not llmfit.hardware/1"),
        (changed(notes=[1]), "notes[0]"),
        ([], "not an object"),
        ("text", "not an object"),
        (None, "not an object"),
    ],
)
def test_a_wrong_field_is_named_in_one_line(document: object, field: str) -> None:
    with pytest.raises(UsageError) as caught:
        machine_from_json(document)
    assert field in str(caught.value)
    assert str(caught.value).isprintable()


def test_names_are_made_safe() -> None:
    assert machine_from_json(changed(gpus__0__name="RTX\x1b[2J\u202e 3090\n")).gpus[0].name == "RTX [2J 3090"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b" " * (5 * 2**20), "too large"),
    ],
)
def test_files_that_are_not_machines(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "machine.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=words):
        read_machine(path)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        read_machine(tmp_path / "none.json")
    with pytest.raises(UsageError, match="is a directory"):
        read_machine(tmp_path)


def test_writing_and_simulating_do_not_load_pydantic_or_drivers() -> None:
    code = (
        "import sys\n"
        "import llmfit.advisor.hardware.machine_file, llmfit.advisor.hardware.simulate\n"
        "import llmfit.advisor.hardware.probe\n"
        "print(sorted({'pydantic', 'psutil', 'pynvml', 'pyamdgpuinfo'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
