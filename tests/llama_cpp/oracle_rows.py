"""The rows of tests/data/memory_oracle.csv.gz and what our estimate says to each."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llmfit.advisor.errors import LlmfitError
from llmfit.advisor.hardware.machine import Cpu, Gpu, Machine, Memory
from llmfit.advisor.memory.breakdown import DeviceMemory
from llmfit.advisor.memory.estimate import estimate_memory
from llmfit.advisor.memory.settings import ALL_LAYERS, SERVER_DEFAULT_SLOTS, LaunchSettings
from llmfit.advisor.units import GIB, MIB
from tests.llama_cpp.placement_models import known_model

DATA = Path(__file__).parent.parent / "data"
ROUNDING_BYTES = 600
"""The file's 0.001 MiB, halved, with a little to spare."""
N_CARDS = {"cpu": 0, "gpu": 1, "2gpu": 2}
Row = dict[str, str]


def oracle_rows() -> Iterator[Row]:
    with gzip.open(DATA / "memory_oracle.csv.gz", "rt", newline="") as file:
        yield from csv.DictReader(file)


def machine_of(n_cards: int) -> Machine:
    gpus = tuple(
        Gpu(index, "fake", "nvidia", "cuda", vram_total_bytes=1024 * GIB, vram_free_bytes=1024 * GIB)
        for index in range(n_cards)
    )
    return Machine("linux", Cpu("x86", 2, 2, ("avx2", "avx512f")), Memory(1024 * GIB, 1024 * GIB), gpus)


def settings_of(row: Row) -> LaunchSettings:
    flags = row["extra"].split()
    given = dict(zip(flags, [*flags[1:], ""], strict=False))
    auto = row["np"] == "-1"
    cpu_moe = ALL_LAYERS if "--cpu-moe" in given else int(given.get("--n-cpu-moe", 0))
    split = given.get("-ts")
    return LaunchSettings(
        context_tokens=int(row["n_ctx"]),
        devices=tuple(range(N_CARDS[row["dev"]])),
        cache_type_k=row["ctk"],
        cache_type_v=row["ctv"],
        flash_attn=row["fa"] == "on",
        batch=max(2048, int(row["ub"])),
        ubatch=int(row["ub"]),
        parallel=SERVER_DEFAULT_SLOTS if auto else int(row["np"]),
        kv_unified=(auto or "--kv-unified" in given) and "--no-kv-unified" not in given,
        swa_full="--swa-full" in given,
        gpu_layers=int(row["ngl"]),
        n_cpu_moe=cpu_moe,
        tensor_split=tuple(float(part) for part in split.split(",")) if split else None,
        kv_offload="-nkvo" not in given,
        op_offload="--no-op-offload" not in given,
        outputs="server" if row["n_outputs"] == "server" else "tool",
    )


@dataclass(frozen=True, slots=True)
class Device:
    """One device of one row: our figures and llama.cpp's, in bytes."""

    name: str
    ours: DeviceMemory
    weights_bytes: float
    cache_bytes: float
    compute_bytes: float

    @property
    def total_bytes(self) -> float:
        return self.weights_bytes + self.cache_bytes + self.compute_bytes

    @property
    def total_error(self) -> float:
        """Signed, as a share of llama.cpp's figure."""
        return share_of(self.ours.llama_cpp_bytes, self.total_bytes)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A row with our answer: devices where both gave one, ``refusal`` where we refused."""

    row: Row
    devices: tuple[Device, ...]
    refusal: str | None

    @property
    def label(self) -> str:
        keys = ("model", "dev", "n_ctx", "ctk", "ctv", "ub", "fa", "ngl", "np", "extra", "n_outputs")
        return " ".join(self.row[key] for key in keys)

    @property
    def gpus(self) -> tuple[Device, ...]:
        return self.devices[:-1]

    @property
    def setting(self) -> str:
        """The group of the issue's limits that a row belongs to."""
        if self.row["dev"] == "cpu":
            return "no GPU"
        if "cpu-moe" in self.row["extra"]:
            return "experts in RAM"
        if self.row["ngl"] != "999":
            return "layers in RAM"
        if "-nkvo" in self.row["extra"]:
            return "cache in RAM"
        return "one GPU" if self.row["dev"] == "gpu" else "two GPUs"


def share_of(ours: float, theirs: float) -> float:
    """Relative error; differences below the file's rounding are none."""
    if abs(ours - theirs) <= ROUNDING_BYTES:
        return 0.0
    return (ours - theirs) / theirs if theirs else float("inf")


def compare(row: Row) -> Comparison:
    model = known_model(f"{row['model']}.{row['quant']}")
    settings = settings_of(row)
    try:
        estimate = estimate_memory(model.shape, model.weights, settings, machine_of(len(settings.devices)))
    except LlmfitError as error:
        return Comparison(row, (), str(error))
    if row["error"]:
        return Comparison(row, (), None)
    names = [*(f"dev{index}" for index in range(len(settings.devices))), "host"]
    return Comparison(
        row,
        tuple(_device(name, ours, row) for name, ours in zip(names, estimate.devices, strict=True)),
        None,
    )


def _device(name: str, ours: DeviceMemory, row: Row) -> Device:
    weights, cached, compute = (
        float(row[f"{name}_{part}_MiB"] or 0) * MIB for part in ("model", "context", "compute")
    )
    if row["dev"] == "cpu":
        weights += float(row["dev0_model_MiB"] or 0) * MIB
    return Device(name, ours, weights, cached, compute)
