"""Measured speeds as questions to the estimator: which model, on which machine, placed how, how deep.

Reads tests/data/speed_*.csv.gz (see speed.md there). A row is left out, and counted with its reason, where
the model, its file type or the card is not in the catalogue, or where nobody tells what was placed where.
"""

from __future__ import annotations

import csv
import gzip
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from llmfit.advisor.errors import LlmfitError
from llmfit.advisor.hardware.machine import Gpu, Machine
from llmfit.advisor.hardware.simulate import simulate_machine
from llmfit.advisor.memory.settings import ALL_LAYERS, LaunchSettings
from llmfit.advisor.memory.weights import WeightTable, weight_table
from llmfit.advisor.model.model import Model
from llmfit.catalog.build import build_model
from llmfit.catalog.gpus import lookup_gpu
from llmfit.catalog.models import CatalogModel, find_model, list_models

DATA = Path(__file__).parents[1] / "data"
SAME_PARAMETERS = 0.03
"""llama-bench counts what lies in the file; the catalogue's count of the text part is this near."""
SAME_FILE = 0.25
"""Another mix of the same name may be this much larger or smaller; what it reads is scaled by it."""
_LLAMA_BENCH_FILE_TYPES = {" - Medium": "_M", " - Small": "_S", " - Large": "_L"}
_ALIKE = {"mistral3": ("mistral3", "llama"), "llama": ("llama", "mistral3")}


@dataclass(frozen=True, slots=True)
class SpeedRow:
    """One measurement of decode speed and everything needed to estimate it.

    ``scale`` is the size of the measured file over the one that is laid out here. ``group`` is the class it
    is scored in; ``user`` who measured it.
    """

    source: str
    device: str
    user: str
    model: Model
    weights: WeightTable
    machine: Machine
    settings: LaunchSettings
    depth_tokens: int
    tok_s: float
    group: str
    scale: float = 1.0


class Unusable(Exception):
    """Why a row is left out."""


def read_rows(left_out: Counter[str]) -> Iterator[SpeedRow]:
    """Every row of decode speed that can be asked about; ``left_out`` counts the reasons of the others."""
    for read, name in ((_measured, "speed_measured"), (_llama_bench, "speed_llama_bench")):
        with gzip.open(DATA / f"{name}.csv.gz", "rt", encoding="utf-8", newline="") as file:
            for fields in csv.DictReader(file):
                try:
                    yield read(fields)
                except Unusable as reason:
                    left_out[str(reason)] += 1


def _measured(fields: Mapping[str, str]) -> SpeedRow:
    if fields["row_class"] != "clean" or fields["speculative"] == "True":
        raise Unusable("not clean")
    entry = _entry(fields["model"])
    placement = fields["placement"]
    if placement not in ("full_gpu", "unified_gpu", "cpu"):
        raise Unusable(f"placement {placement or 'not told'}")
    count = int(float(fields["gpu_count"] or 1))
    model, weights = _model(entry, fields["quant"])
    ram_gb_s = fields["ddr_bw_theoretical"]
    if placement == "cpu":
        machine = _cpu_machine(ram_gb_s)
    else:
        machine = _gpu_machine((fields["gpu_name"],) * count, fields["gpu_bw"])
    settings = _settings(machine, ALL_LAYERS if placement != "cpu" else 0)
    depth = int(float(fields["depth"] or 0))
    device = f"{count}x {fields['gpu_name']}" if count > 1 else fields["gpu_name"]
    if placement == "cpu":
        device = f"CPU {fields['cpu']}"
    return SpeedRow(
        source="measured",
        device=device,
        user=fields["user"] or device,
        model=model,
        weights=weights,
        machine=machine,
        settings=settings,
        depth_tokens=depth,
        tok_s=float(fields["tg_tok_s"]),
        group=_group(machine, model, depth, placement == "cpu"),
    )


def _llama_bench(fields: Mapping[str, str]) -> SpeedRow:
    if fields["flag"]:
        raise Unusable("flagged")
    if not fields["test"].startswith("tg"):
        raise Unusable("prefill")
    if fields["placement"] not in ("gpu", "multi-gpu"):
        raise Unusable(f"placement {fields['placement']}")
    if fields["split_mode_ts"] == "sm=tensor":
        raise Unusable("tensor split")
    entry = _entry_of(fields["model"], float(fields["params_b"] or 0))
    model, weights = _model(entry, _file_type(fields["quant"]))
    names = [name.strip() for name in re.sub(r"\([^)]*\)", "", fields["gpu_name"]).split("+")]
    if len(names) == 1 and fields["placement"] == "multi-gpu":
        if not fields["gpu_count"].isdigit():
            raise Unusable("number of cards not told")
        names *= int(fields["gpu_count"])
    machine = _gpu_machine(tuple(names), "", fields["backend"].lower())
    depth = int(float(fields["depth"] or 0))
    size_bytes = float(fields["model_size_gib"] or 0) * 2**30
    scale = size_bytes / sum(tensor.n_bytes for tensor in model.tensors)
    if abs(scale - 1) > SAME_FILE:
        raise Unusable("file of another size")
    return SpeedRow(
        source="llama-bench",
        device=f"{fields['gpu_name']} {fields['backend']}",
        user=fields["source_url"],
        model=model,
        weights=weights,
        machine=machine,
        settings=_settings(machine, ALL_LAYERS),
        depth_tokens=depth,
        tok_s=float(fields["tok_s"]),
        group=_group(machine, model, depth, False),
        scale=scale,
    )


def _group(machine: Machine, model: Model, depth_tokens: int, on_cpu: bool) -> str:
    if on_cpu:
        return "CPU only"
    if machine.gpus[0].vendor == "apple":
        return "Apple"
    if machine.gpus[0].catalog_id == "nvidia-gb10":
        return "GB10"
    if len(machine.gpus) > 1:
        return "several GPUs"
    if depth_tokens > 9000:
        return "depth over 9K"
    return "MoE on one GPU" if model.shape.n_expert else "dense on one GPU"


def _settings(machine: Machine, gpu_layers: int) -> LaunchSettings:
    devices = tuple(gpu.index for gpu in machine.gpus) if gpu_layers else ()
    return LaunchSettings(context_tokens=4096, devices=devices, gpu_layers=gpu_layers)


@cache
def _entry(name: str) -> CatalogModel:
    for spelling in (name, name.split("/")[-1]):
        try:
            return find_model(spelling)
        except LlmfitError:
            continue
    raise Unusable("model not in the catalogue")


@cache
def _entry_of(label: str, billions: float) -> CatalogModel:
    """The catalogue's model behind llama-bench's label (``qwen35moe 35B.A3B Q4_K - Medium``)."""
    architecture = label.split()[0]
    near = [
        (abs(entry.parameters.text / 1e9 / billions - 1), entry)
        for entry in list_models()
        if billions and entry.architecture in _ALIKE.get(architecture, (architecture,))
    ]
    best = min(near, key=lambda one: one[0], default=None)
    if best is None or best[0] > SAME_PARAMETERS:
        raise Unusable("model not in the catalogue")
    return best[1]


def _file_type(text: str) -> str:
    for words, letters in _LLAMA_BENCH_FILE_TYPES.items():
        text = text.replace(words, letters)
    text = text.split(" ")[0]
    return "MXFP4_MOE" if text == "MXFP4" else text


@cache
def _model(entry: CatalogModel, quant: str) -> tuple[Model, WeightTable]:
    try:
        model = build_model(entry, quant)
    except LlmfitError:
        raise Unusable("file type or model not modelled") from None
    return model, weight_table(model.shape, model.tensors)


@cache
def _gpu_machine(names: tuple[str, ...], gb_per_s: str, backend: str = "") -> Machine:
    """``gb_per_s``: the peak that the collector states, where the name leaves it open (laptops, variants)."""
    machine = _simulated(names, None) or _simulated(names, "128GiB")
    if machine is None:
        raise Unusable("card not in the catalogue")
    gpus = tuple(_as_measured(gpu, gb_per_s, backend) for gpu in machine.gpus)
    return replace(machine, gpus=gpus)


def _simulated(names: tuple[str, ...], ram: str | None) -> Machine | None:
    """An integrated GPU needs the size of its RAM, a chip sold with its memory may not be given another."""
    try:
        return simulate_machine(list(names), ram, None, None, lookup_gpu)
    except LlmfitError:
        return None


def _as_measured(gpu: Gpu, gb_per_s: str, backend: str) -> Gpu:
    for name in ("vulkan", "rocm", "cuda", "sycl", "metal"):
        if name in backend:
            gpu = replace(gpu, backend=name)
            break
    if gpu.bandwidth_bytes_per_s is None and gb_per_s:
        gpu = replace(gpu, bandwidth_bytes_per_s=round(float(gb_per_s) * 1e9))
    if gpu.bandwidth_bytes_per_s is None:
        raise Unusable("bandwidth not known")
    return gpu


@cache
def _cpu_machine(ram_gb_per_s: str) -> Machine:
    if not ram_gb_per_s:
        raise Unusable("RAM bandwidth not known")
    return simulate_machine(["none"], "64GiB", str(float(ram_gb_per_s)), None, lookup_gpu)
