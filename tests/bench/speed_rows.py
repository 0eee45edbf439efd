"""Measured speeds as questions to the estimator: which model, on which machine, placed how, how deep.

Reads tests/data/speed_*.csv.gz and decode_developers.csv (see speed.md there). A row is left out, and
counted with its reason, where the model, its file type or the card is not in the catalogue, or where nobody
tells what was placed where.
"""

from __future__ import annotations

import csv
import gzip
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.memory.settings import ALL_LAYERS, LaunchSettings
from llmfit.advisor.memory.weights import WeightTable
from llmfit.advisor.model.model import Model
from tests.bench.speed_names import (
    Unusable,
    cpu_machine,
    file_type_of,
    gpu_machine,
    model_labelled,
    model_named,
    os_name,
)

DATA = Path(__file__).parents[1] / "data"
SAME_FILE = 0.25
"""Another mix of the same name may be this much larger or smaller; what it reads is scaled by it."""
DEEP_TOKENS = 9000
INTEGRATED = "CPU and iGPU"
"""Layers on both, one RAM for both: says little of offload to a card of its own."""
RIG_RAM_GB_PER_S = {
    ("Quadro RTX 5000 16GB", "DDR5-4000 JEDEC"): "64.0",
    ("Quadro RTX 5000 16GB", "DDR5-4800"): "76.8",
    ("RTX 4070 Laptop", "64 GB (type not stated)"): "89.6",
    ("Radeon AI PRO R9700", "126 GiB"): "89.6",
    ("", "8GB DDR3L-1600"): "25.6",
    ("", "12ch DDR5 460.8 GB/s"): "460.8",
    ("", "DDR5 dual channel"): "83.2",
}
"""Peak of the RAM of the llama-bench rigs by card and what was printed of it: two channels where only the
size was told. The first two and the last but one are told; the laptop's and the R9700's are assumed to be
DDR5-5600, the last to be DDR5-5200 (the CPU's own rating)."""
RATED_RAM_GB_PER_S = {"Core i9-9900T": "42.7", "Core i3-1315U (Framework 12)": "41.6"}
"""By CPU where nothing was printed of the RAM: what the CPU is rated for (Intel ARK: DDR4-2666, DDR5-5200),
on two channels and in a laptop that has one slot. The other rigs that print nothing (GTX 1070, V620, gfx1030,
RTX 5090, RTX 5070 Ti + 5060 Ti; boards with a CIX P1 or a Qualcomm QCS, a Xeon 8358) are left out: their
boards take RAM of several speeds and widths."""
BACKEND_TOLD = {"community:1785427599": "vulkan"}
"""By submission, where the table is silent and the submission says it (its pull request: GGML_VULKAN=ON)."""
_REPOSITORY = re.compile(r"https://github\.com/([^/]+/[^/]+)/blob/")
_TEST = re.compile(r"(tg|pp)(\d+)?(?: @ d(\d+))?$")
_LAYERS_OF_EXPERTS = re.compile(r"ot: experts of (\d+) layers on CPU|^(\d+)$")


@dataclass(frozen=True, slots=True)
class SpeedRow:
    """One measurement of one speed and everything needed to estimate it.

    ``kind`` is ``decode`` or ``prefill``; ``prompt_tokens`` is the prompt whose prefill was timed. ``scale``
    is the size of the measured file over the one that is laid out here. ``group`` is the class it is scored
    in; ``device`` the cards' catalogue ids, whatever the backend; ``user`` who measured it. ``engine`` is
    ``llamacpp``, ``ollama``, ``lmstudio`` or ``llama-bench``; ``timing`` what was timed.
    """

    source: str
    device: str
    user: str
    model: Model
    weights: WeightTable
    machine: Machine
    settings: LaunchSettings
    kind: str
    depth_tokens: int
    prompt_tokens: int
    tok_s: float
    group: str
    scale: float = 1.0
    engine: str = "llama-bench"
    timing: str = "llama-bench"

    @property
    def on_gpus(self) -> bool:
        """Everything is on the GPUs."""
        return self.group not in ("dense offload", "MoE offload", "CPU only", INTEGRATED)


def read_rows(left_out: Counter[str], kind: str = "decode") -> Iterator[SpeedRow]:
    """Every row of one kind that can be asked about; ``left_out`` counts the reasons of the others."""
    for read, name in ((_measured, "speed_measured"), (_llama_bench, "speed_llama_bench")):
        with gzip.open(DATA / f"{name}.csv.gz", "rt", encoding="utf-8", newline="") as file:
            for fields in csv.DictReader(file):
                yield from _usable(read, fields, kind, left_out)
    if kind == "decode":
        yield from read_developers(left_out)


def read_developers(left_out: Counter[str]) -> Iterator[SpeedRow]:
    """Decode rows of tables in llama.cpp's pull requests and of people with uncommon cards."""
    with (DATA / "decode_developers.csv").open(encoding="utf-8", newline="") as plain:
        for fields in csv.DictReader(plain):
            yield from _usable(_developers, fields, "decode", left_out)


def _usable(
    read: Callable[[Mapping[str, str], str], SpeedRow],
    fields: Mapping[str, str],
    kind: str,
    left_out: Counter[str],
) -> Iterator[SpeedRow]:
    try:
        yield read(fields, kind)
    except Unusable as reason:
        left_out[str(reason)] += 1


def _measured(fields: Mapping[str, str], kind: str) -> SpeedRow:
    if fields["row_class"] != "clean" or fields["speculative"] == "True":
        raise Unusable("not clean")
    if kind == "prefill" and (not fields["pp_tok_s"] or fields["timing_basis"] != "llama-bench"):
        raise Unusable("prefill not measured by llama-bench")
    model, weights = model_named(fields["model"], file_type_of(fields["quant"]))
    machine = _measured_machine(fields)
    settings = _measured_settings(fields, machine, model)
    depth = _measured_depth(fields, kind)
    by_both = fields["placement"] == "igpu_partial"
    return SpeedRow(
        source="measured",
        device=_device(machine, fields["cpu"]),
        user=fields["user"] or fields["source_id"].rpartition(":")[0] or fields["gpu_name"],
        model=model,
        weights=weights,
        machine=machine,
        settings=settings,
        kind=kind,
        depth_tokens=depth,
        prompt_tokens=int(float(fields["prompt_tokens"] or 0)),
        tok_s=float(fields["tg_tok_s" if kind == "decode" else "pp_tok_s"]),
        group=INTEGRATED if by_both else _group(machine, model, depth, settings),
        engine=fields["engine"],
        timing=fields["timing_basis"],
    )


def _measured_depth(fields: Mapping[str, str], kind: str) -> int:
    """The collector's depth is that of the middle of the output. A prompt starts at what ``-d`` filled, else
    at nothing."""
    depth = int(float(fields["depth"] or 0))
    if kind == "decode":
        return depth
    half_output = int(float(fields["output_tokens"] or 0)) // 2
    return max(0, depth - half_output) if fields["depth_source"] == "-d" else 0


def _measured_machine(fields: Mapping[str, str]) -> Machine:
    ram, os = fields["ddr_bw_theoretical"], os_name(fields["os"])
    if fields["placement"] == "cpu":
        return cpu_machine(ram, os, fields["cpu"])
    count = int(float(fields["gpu_count"] or 1))
    names = (fields["gpu_name"],) * count
    submission = ":".join(fields["source_id"].split(":")[:2])
    backend = fields["backend"] or BACKEND_TOLD.get(submission, "")
    return gpu_machine(names, fields["gpu_bw"], backend, ram, os, fields["cpu"])


def _measured_settings(fields: Mapping[str, str], machine: Machine, model: Model) -> LaunchSettings:
    placement = fields["placement"]
    if placement == "cpu":
        return _settings(machine, 0)
    cache_type = {"q8_0": "q8_0", "q4_0": "q4_0"}.get(fields["kv_cache_type"], "f16")
    if placement in ("full_gpu", "unified_gpu", "igpu"):
        return _settings(machine, ALL_LAYERS, cache_type=cache_type)
    if placement == "partial" and "overflow" in fields["notes"]:
        raise Unusable("spilled over by the driver")
    n_cpu_moe, layers = fields["n_cpu_moe"], fields["ngl"]
    if placement == "partial" and (n_cpu_moe or layers):
        if machine.memory.bandwidth_bytes_per_s is None:
            raise Unusable("RAM bandwidth not known")
        return _settings(
            machine, int(float(layers or ALL_LAYERS)), int(float(n_cpu_moe or 0)), cache_type=cache_type
        )
    if placement == "igpu_partial" and fields["gpu_layer_frac"]:
        n_layers = round(float(fields["gpu_layer_frac"]) * (model.shape.n_layer + 1))
        return _settings(machine, n_layers, cache_type=cache_type)
    raise Unusable(f"placement {placement or 'not told'}")


def _llama_bench(fields: Mapping[str, str], kind: str) -> SpeedRow:
    if fields["flag"]:
        raise Unusable("flagged")
    test = _TEST.match(fields["test"])
    if test is None or (test[1] == "tg") != (kind == "decode"):
        raise Unusable("another test")
    if fields["split_mode_ts"] == "sm=tensor":
        raise Unusable("tensor split")
    quant = file_type_of(fields["quant"])
    model, weights = model_labelled(fields["model"], float(fields["params_b"] or 0), quant)
    machine = _llama_bench_machine(fields)
    depth = int(float(fields["depth"] or 0))
    size_bytes = float(fields["model_size_gib"] or 0) * 2**30
    scale = size_bytes / sum(tensor.n_bytes for tensor in model.tensors)
    if abs(scale - 1) > SAME_FILE:
        raise Unusable("file of another size")
    settings = _llama_bench_settings(fields, machine, model)
    return SpeedRow(
        source="llama-bench",
        device=_device(machine, fields["cpu"]),
        user=_owner(fields["source_url"]),
        model=model,
        weights=weights,
        machine=machine,
        settings=settings,
        kind=kind,
        depth_tokens=depth,
        prompt_tokens=int(test[2] or 512) if kind == "prefill" else 0,
        tok_s=float(fields["tok_s"]),
        group=_group(machine, model, depth, settings),
        scale=scale,
    )


def _developers(fields: Mapping[str, str], kind: str) -> SpeedRow:
    """Everything is on the cards; a table that prints no size is of the file that is laid out here."""
    model, weights = model_labelled(
        fields["model"], float(fields["params_b"] or 0), file_type_of(fields["quant"])
    )
    laid_out_bytes = sum(tensor.n_bytes for tensor in model.tensors)
    scale = float(fields["model_size_gib"]) * 2**30 / laid_out_bytes if fields["model_size_gib"] else 1.0
    if abs(scale - 1) > SAME_FILE:
        raise Unusable("file of another size")
    names = (fields["gpu_name"],) * int(fields["gpu_count"])
    machine = gpu_machine(names, "", fields["backend"], "", "")
    settings = _settings(machine, ALL_LAYERS, flash_attn=fields["fa"] != "0")
    depth, served = int(fields["depth"]), fields["test"] == "server"
    return SpeedRow(
        source="developers",
        device=_device(machine, ""),
        user=fields["user"],
        model=model,
        weights=weights,
        machine=machine,
        settings=settings,
        kind=kind,
        depth_tokens=depth,
        prompt_tokens=0,
        tok_s=float(fields["tok_s"]),
        group=_group(machine, model, depth, settings),
        scale=scale,
        engine="llamacpp" if served else "llama-bench",
        timing="server" if served else "llama-bench",
    )


def _llama_bench_machine(fields: Mapping[str, str]) -> Machine:
    printed = RIG_RAM_GB_PER_S.get((fields["gpu_name"], fields["ram"]), "")
    ram = printed or RATED_RAM_GB_PER_S.get(fields["cpu"], "")
    if fields["placement"] == "cpu":
        return cpu_machine(ram, "", fields["cpu"])
    names = [name.strip() for name in re.sub(r"\([^)]*\)", "", fields["gpu_name"]).split("+")]
    if len(names) == 1 and fields["placement"] == "multi-gpu":
        if not fields["gpu_count"].isdigit():
            raise Unusable("number of cards not told")
        names *= int(fields["gpu_count"])
    return gpu_machine(tuple(names), "", fields["backend"].lower(), ram, "", fields["cpu"])


def _llama_bench_settings(fields: Mapping[str, str], machine: Machine, model: Model) -> LaunchSettings:
    placement = fields["placement"]
    ubatch = int(float(fields["n_ubatch"] or 512))
    if "b=-b 256" in fields["notes"]:  # the batch is no column; a ubatch is no larger
        ubatch = min(ubatch, 256)
    flash = fields["fa"] != "0"
    if placement in ("gpu", "multi-gpu"):
        return _settings(machine, ALL_LAYERS, ubatch=ubatch, flash_attn=flash)
    if placement == "cpu":
        return _settings(machine, 0, ubatch=ubatch)
    layers = int(float(fields["ngl"] or ALL_LAYERS))
    if placement not in ("partial", "moe-offload"):
        raise Unusable(f"placement {placement}")
    if machine.memory.bandwidth_bytes_per_s is None:
        raise Unusable("RAM bandwidth not known")
    told = _LAYERS_OF_EXPERTS.search(fields["n_cpu_moe_ot"])
    if placement == "moe-offload" and told is None:
        raise Unusable("experts placed by a pattern")
    n_cpu_moe = int(told[1] or told[2]) if told else 0
    if "llama-fit-params" in fields["n_cpu_moe_ot"]:
        # It overrides the experts of layers that are on the GPU: those wholly in RAM come before them.
        n_cpu_moe += max(0, model.shape.n_layer + 1 - layers)
    return _settings(machine, layers, n_cpu_moe, ubatch=ubatch, flash_attn=flash)


def _settings(
    machine: Machine,
    gpu_layers: int,
    n_cpu_moe: int = 0,
    *,
    ubatch: int = 512,
    flash_attn: bool = True,
    cache_type: str = "f16",
) -> LaunchSettings:
    devices = tuple(gpu.index for gpu in machine.gpus) if gpu_layers else ()
    return LaunchSettings(
        context_tokens=4096,
        devices=devices,
        gpu_layers=gpu_layers,
        n_cpu_moe=n_cpu_moe,
        batch=max(2048, ubatch),
        ubatch=ubatch,
        flash_attn=flash_attn,
        cache_type_k=cache_type,
        cache_type_v=cache_type,
    )


def _owner(url: str) -> str:
    """Who measured it: of a file in a repository the repository, else the thread."""
    found = _REPOSITORY.match(url)
    return found[1] if found else url


def _device(machine: Machine, cpu: str) -> str:
    return " + ".join(gpu.catalog_id or gpu.name for gpu in machine.gpus) or f"CPU {cpu}"


def _group(machine: Machine, model: Model, depth_tokens: int, settings: LaunchSettings) -> str:
    if not settings.devices:
        return "CPU only"
    if settings.n_cpu_moe or settings.gpu_layers <= model.shape.n_layer:
        if machine.gpus[0].unified_memory:
            return INTEGRATED
        return "MoE offload" if model.shape.n_expert else "dense offload"
    if machine.gpus[0].vendor == "apple":
        return "Apple"
    if machine.gpus[0].catalog_id == "nvidia-gb10":
        return "GB10"
    if len(machine.gpus) > 1:
        return "several GPUs"
    if depth_tokens > DEEP_TOKENS:
        return "depth over 9K"
    return "MoE on one GPU" if model.shape.n_expert else "dense on one GPU"
