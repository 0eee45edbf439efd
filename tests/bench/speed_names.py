"""From the names in the measured rows to models, file types and machines of the catalogue."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import cache

from llmfit.advisor.errors import LlmfitError
from llmfit.advisor.hardware.machine import Cpu, Gpu, Machine
from llmfit.advisor.hardware.simulate import simulate_machine
from llmfit.advisor.memory.weights import WeightTable, weight_table
from llmfit.advisor.model.model import Model
from llmfit.catalog.build import build_model
from llmfit.catalog.gpus import lookup_gpu
from llmfit.catalog.models import CatalogModel, find_model, list_models
from llmfit.catalog.spec import model_from_spec

SAME_PARAMETERS = 0.03
"""llama-bench counts what lies in the file; the catalogue's count of the text part is this near."""
LLAMA_2_7B = json.dumps(
    {
        "name": "Llama-2-7B",
        "architecture": "llama",
        "n_layer": 32,
        "n_embd": 4096,
        "n_head": 32,
        "n_head_kv": 32,
        "n_ff": 11008,
        "n_vocab": 32000,
        "context_length": 4096,
    }
)
"""The model of llama.cpp's own scoreboards: too old for the catalogue, measured everywhere."""
_OLD_MODELS = {("llama", 6.74): LLAMA_2_7B, ("llama", 6.738): LLAMA_2_7B}
_TUNED = {"Ornith-1.0-35B": "Qwen3.6-35B-A3B", "Ornith-1.0-9B": "Qwen3.5-9B"}
"""Fine-tuned from them: the same tensors."""
_ALIKE = {"mistral3": ("mistral3", "llama"), "llama": ("llama", "mistral3")}
_LLAMA_BENCH_WORDS = {" - Medium": "_M", " - Small": "_S", " - Large": "_L"}
_FILE_TYPES = {
    "MXFP4": "MXFP4_MOE", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M", "Q3_K": "Q3_K_M", "Q2_K_M": "Q2_K",
    "Q8_K": "Q8_0", "Q6_K_M": "Q6_K",
}  # fmt: skip
_MIX_ENDING = re.compile(r"^UD-|(?<=\w)(_XL|_L|-\d\.\d+bpw|_)$")


_CPUS = {
    "i5-3230M": Cpu("Core i5-3230M", 2, 4, ("avx", "f16c")),
    "i5-4278U": Cpu("Core i5-4278U", 2, 4, ("avx2",)),
    "i7-1365U": Cpu("Core i7-1365U", 10, 12, ("avx2",), performance_cores=2),
    "i3-1315U": Cpu("Core i3-1315U", 6, 8, ("avx2",), performance_cores=2),
    "Ultra 7 155H": Cpu("Core Ultra 7 155H", 16, 22, ("avx2",), performance_cores=6),
    "i7-10710U": Cpu("Core i7-10710U", 6, 12, ("avx2",)),
    "i9-9900T": Cpu("Core i9-9900T", 8, 16, ("avx2",)),
    "6 P-cores (VM)": Cpu("6 P-cores", 6, 6, ("avx2",)),
    "E5-2699 v4": Cpu("Xeon E5-2699 v4", 44, 88, ("avx2",), numa_nodes=2),
    "7840HS": Cpu("Ryzen 7 7840HS", 8, 16, ("avx2", "avx512")),
    "5600X": Cpu("Ryzen 5 5600X", 6, 12, ("avx2",)),
    "5700X": Cpu("Ryzen 7 5700X", 8, 16, ("avx2",)),
    "7950X": Cpu("Ryzen 9 7950X", 16, 32, ("avx2", "avx512")),
    "9960X": Cpu("Ryzen Threadripper 9960X", 24, 48, ("avx2", "avx512")),
    "EPYC 9554": Cpu("EPYC 9554", 64, 128, ("avx2", "avx512")),
    "Snapdragon 888": Cpu("Snapdragon 888", 8, 8, ("neon", "dotprod"), performance_cores=4),
}
"""By a part of the measured row's text: cores and threads as their makers list them (Intel ARK, AMD's and
Qualcomm's product pages). The E5-2699 v4 has 22 cores; the bandwidth that its rows state is that of four
channels twice, of two of them."""


_CARDS = {
    "Intel Iris Xe": "Iris Xe Graphics 96EU",
    "Intel Arc 130V/140V": "Arc 140V Mobile",
    "AMD Radeon 840M/860M": "Radeon 860M",
    "AMD Vega iGPU (Ryzen 7730U)": "Radeon Graphics Vega 8",
    "NVIDIA GeForce GTX 1650 with Max-Q Design": "GTX 1650 Max-Q",
    "Radeon gfx1030": "RX 6800 XT",
    "Instinct MI50 32GB": "Radeon Instinct MI60",
    "Radeon Pro VII": "Radeon VII",
}
"""By the beginning of the row's text. All Navi 21 cards with 16 GB but the 6950 XT have the same memory; an
MI50 with 32 GB has that of the MI60, a Pro VII that of the Radeon VII (all four are one chip)."""


class Unusable(Exception):
    """Why a row is left out."""


def file_type_of(text: str) -> str:
    """The file type of the same name, or the plain one of another publisher's mix (``UD-Q4_K_XL``).

    What such a mix reads differs by its size, which the rows of llama-bench tell.
    """
    for words, letters in _LLAMA_BENCH_WORDS.items():
        text = text.replace(words, letters)
    name = text.split(" ")[0]
    while (shorter := _MIX_ENDING.sub("", name)) != name:
        name = shorter
    return _FILE_TYPES.get(name, name)


@cache
def model_named(name: str, quant: str) -> tuple[Model, WeightTable]:
    """The catalogue's model of a full name (``Qwen/Qwen3-8B``)."""
    return _built(_entry_named(name), quant)


@cache
def model_labelled(label: str, billions: float, quant: str) -> tuple[Model, WeightTable]:
    """The model behind a label of llama-bench (``qwen35moe 35B.A3B Q4_K - Medium``) or of a table."""
    old = _OLD_MODELS.get((label.split()[0], billions))
    if old is not None:
        model = model_from_spec(json.loads(old), quant)
        return model, weight_table(model.shape, model.tensors)
    return _built(_entry_labelled(label, billions), quant)


@cache
def gpu_machine(
    names: tuple[str, ...], gb_per_s: str, backend: str, ram_gb_per_s: str, os: str, cpu: str = ""
) -> Machine:
    """``gb_per_s``: the peak that the collector states, where the name leaves it open (laptops, variants)."""
    names = tuple(_card(name) for name in names)
    machine = _simulated(names, None, ram_gb_per_s) or _simulated(names, "128GiB", ram_gb_per_s)
    if machine is None:
        raise Unusable("card not in the catalogue")
    gpus = tuple(_as_measured(gpu, gb_per_s, backend) for gpu in machine.gpus)
    return replace(machine, gpus=gpus, os=os or machine.os, cpu=_cpu(cpu))


@cache
def cpu_machine(ram_gb_per_s: str, os: str, cpu: str = "") -> Machine:
    if not ram_gb_per_s:
        raise Unusable("RAM bandwidth not known")
    machine = simulate_machine(["none"], "64GiB", str(float(ram_gb_per_s)), None, lookup_gpu)
    return replace(machine, os=os or machine.os, cpu=_cpu(cpu))


def _card(text: str) -> str:
    return next((name for part, name in _CARDS.items() if text.startswith(part)), text)


def _cpu(text: str) -> Cpu:
    return next((cpu for part, cpu in _CPUS.items() if part in text), Cpu(text or None, None, None))


def os_name(text: str) -> str:
    """``windows``, ``macos``, ``linux`` or empty."""
    lower = text.lower()
    known = {"win": "windows", "mac": "macos", "darwin": "macos", "linux": "linux", "ubuntu": "linux"}
    return next((name for word, name in known.items() if word in lower), "linux" if lower else "")


def _entry_named(name: str) -> CatalogModel:
    for spelling in (name, name.split("/")[-1]):
        try:
            return find_model(spelling)
        except LlmfitError:
            continue
    raise Unusable("model not in the catalogue")


def _entry_labelled(label: str, billions: float) -> CatalogModel:
    first = label.split()[0]
    near = [
        (abs(entry.parameters.text / 1e9 / billions - 1), entry)
        for entry in list_models()
        if billions and entry.architecture in _ALIKE.get(first, (first,))
    ]
    best = min(near, key=lambda one: one[0], default=None)
    if best is not None and best[0] <= SAME_PARAMETERS:
        return best[1]
    name = first.removesuffix("-QAT")
    return _entry_named(_TUNED.get(name, name))


def _built(entry: CatalogModel, quant: str) -> tuple[Model, WeightTable]:
    try:
        model = build_model(entry, quant)
    except LlmfitError:
        raise Unusable("file type or model not modelled") from None
    return model, weight_table(model.shape, model.tensors)


def _simulated(names: tuple[str, ...], ram: str | None, ram_gb_per_s: str) -> Machine | None:
    """An integrated GPU needs the size of its RAM, a chip sold with its memory may not be given another."""
    try:
        return simulate_machine(list(names), ram, ram_gb_per_s or None, None, lookup_gpu)
    except LlmfitError:
        return None


def _as_measured(gpu: Gpu, gb_per_s: str, backend: str) -> Gpu:
    for name in ("vulkan", "rocm", "cuda", "sycl", "metal"):
        if name in backend and not (name == "cuda" and gpu.vendor == "amd"):
            gpu = replace(gpu, backend=name)
            break
    if gpu.bandwidth_bytes_per_s is None and gb_per_s:
        gpu = replace(gpu, bandwidth_bytes_per_s=round(float(gb_per_s) * 1e9))
    if gpu.bandwidth_bytes_per_s is None:
        raise Unusable("bandwidth not known")
    return gpu
