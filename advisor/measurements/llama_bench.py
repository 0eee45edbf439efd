"""llama-bench's output (``-o json`` and ``-o jsonl``) as measurements.

Fields: ``test::get_fields`` of tools/llama-bench/llama-bench.cpp (llama.cpp b11434; older builds lack some).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isfinite, nan

from llmfit.advisor.hardware.machine import Gpu, Machine
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.model.quantization import CACHE_TYPES
from llmfit.advisor.speed.calibration.factors import DECODE, PREFILL
from llmfit.advisor.speed.calibration.measurement import CPU_BACKEND, Measurement, machine_key, whole_model
from llmfit.advisor.text import clean_text

SOURCE = "llama-bench"
MAX_ROWS = 10_000
MAX_PATH_CHARACTERS = 4096
MAX_WHOLE = 2**50
"""No count of the output is near it."""
MAX_DIGITS = 20
_BACKENDS = {"MTL": "metal", "METAL": "metal", "HIP": "rocm"}
"""Names of llama.cpp's registered backends (GGML_METAL_NAME …) that differ from llmfit's."""
_NO_GPU_BACKENDS = frozenset({"CPU", "BLAS"})
_NAME_NOISE = frozenset(
    {"nvidia", "amd", "intel", "apple", "geforce", "radeon", "graphics", "r", "tm", "gpu", "cpu", "core"}
)
_VARIANTS = frozenset(
    {"ti", "super", "laptop", "mobile", "max", "pro", "ultra", "xt", "xtx", "gre", "q", "d"}
)
"""Words that tell two parts of one number apart: an RTX 3090 and an RTX 3090 Ti."""


_OBJECT = re.compile(r'\{\s*"')
"""The start of a JSON object, which a brace in a driver's warning is not."""


class NotUnderstoodError(Exception):
    """Why a row is no measurement: one clause."""


@dataclass(frozen=True, slots=True)
class BenchRow:
    """One object of the output, its texts made printable. ``None``: this build does not tell."""

    number: int
    """From 1, in the order of the file."""
    fields: Mapping[str, object]

    def text(self, name: str, default: str = "") -> str:
        value = self.fields.get(name)
        limit = MAX_PATH_CHARACTERS if name == "model_filename" else 500
        return clean_text(value, limit) if isinstance(value, str) else default

    def whole(self, name: str, default: int | None = None) -> int | None:
        value = self.fields.get(name)
        if isinstance(value, bool):
            return int(value)
        if isinstance(value, float) and isfinite(value):
            value = int(value)
        return value if isinstance(value, int) and abs(value) < MAX_WHOLE else default

    def count(self, name: str, default: int) -> int:
        """Raises NotUnderstoodError below 0."""
        value = self.whole(name, default)
        if value is None or value < 0:
            raise NotUnderstoodError(f"{name} is not a count")
        return value

    def positive(self, name: str) -> int | None:
        value = self.whole(name)
        return value if value is not None and value > 0 else None

    def number_of(self, name: str) -> float:
        value = self.fields.get(name)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else nan

    @property
    def model_path(self) -> str:
        """As it was given to llama-bench, unchanged."""
        value = self.fields.get("model_filename")
        return value[:MAX_PATH_CHARACTERS] if isinstance(value, str) else ""

    @property
    def name(self) -> str:
        """``tiny.gguf pp512 @ d4096`` for people."""
        file = re.split(r"[/\\]", self.text("model_filename"))[-1] or self.text("model_type", "?")
        prompt, output, depth = (self.whole(f"n_{part}", 0) for part in ("prompt", "gen", "depth"))
        tests = [f"pp{prompt}"] * bool(prompt) + [f"tg{output}"] * bool(output)
        return f"{file} {'+'.join(tests) or 'no test'}" + (f" @ d{depth}" if depth else "")


@dataclass(frozen=True, slots=True)
class KnownModel:
    """The model that a row measured, found in the catalogue or on this disk."""

    id: str
    quantization: str
    file_bytes: int
    family: str
    n_layer_all: int
    path: str | None = None


@dataclass(frozen=True, slots=True)
class BenchOutput:
    """``n_broken`` rows are cut off, or no JSON; ``has_more``: than MAX_ROWS, and they were not read."""

    rows: tuple[BenchRow, ...]
    n_broken: int = 0
    has_more: bool = False


def read_output(text: str) -> BenchOutput:
    """Every JSON object in the text, whatever stands between them: an array, lines, warnings of a driver.

    An output that was cut off gives the rows before its end. The text is passed once: no row is inside
    another object, and nothing that llama-bench writes nests deeply.
    """
    decoder = json.JSONDecoder(parse_constant=lambda _: None, parse_int=_whole)
    rows: list[BenchRow] = []
    position, n_broken = 0, 0
    while (position := text.find("{", position)) >= 0:
        try:
            found, end = decoder.raw_decode(text, position)
        except json.JSONDecodeError as error:
            n_broken += _OBJECT.match(text, position) is not None
            position = max(position + 1, error.pos)
            continue
        except RecursionError:
            return BenchOutput(tuple(rows), n_broken + 1)
        position = end
        if "n_prompt" in found and "n_gen" in found:
            if len(rows) == MAX_ROWS:
                return BenchOutput(tuple(rows), n_broken, has_more=True)
            rows.append(BenchRow(len(rows) + 1, found))
    return BenchOutput(tuple(rows), n_broken)


def _whole(digits: str) -> int | None:
    """``None`` for what no count comes near, and Python would read slowly or not at all."""
    return int(digits) if len(digits) <= MAX_DIGITS else None


def measurement_of(row: BenchRow, model: KnownModel, machine: Machine) -> Measurement:
    """Raises NotUnderstoodError for a row that measured something else, or on another machine."""
    prompt, output, depth = (row.count(f"n_{part}", 0) for part in ("prompt", "gen", "depth"))
    if (prompt > 0) == (output > 0):
        raise NotUnderstoodError(
            "prompt and answer timed together" if prompt else "neither prompt nor answer"
        )
    if row.whole("embeddings", 0):
        raise NotUnderstoodError("embeddings, not text")
    if row.whole("fit_target", 0) or row.whole("fit_min_ctx", 0):
        raise NotUnderstoodError("with -fitt: the output does not tell what was placed where")
    tok_s, deviation = row.number_of("avg_ts"), row.number_of("stddev_ts")
    if not isfinite(tok_s) or tok_s <= 0:
        raise NotUnderstoodError("no speed in it")
    backend, gpus = _devices(row, machine)
    samples = row.fields.get("samples_ns")
    n_repeats = max(1, len(samples)) if isinstance(samples, list) else 1
    return Measurement(
        machine_key=machine_key(machine),
        backend=backend if gpus else CPU_BACKEND,
        model_id=model.id,
        quantization=model.quantization,
        file_bytes=model.file_bytes,
        family=model.family,
        settings=whole_model(_settings(row, gpus, prompt + output + depth), model.n_layer_all),
        kind=DECODE if output else PREFILL,
        # test_gen begins at the depth and ends n_gen tokens later; a prompt is counted from its start.
        depth_tokens=depth + output // 2,
        prompt_tokens=prompt,
        tok_s=tok_s,
        measured_at=row.text("test_time"),
        source=SOURCE,
        n_repeats=n_repeats,
        spread_share=min(deviation / tok_s, 1e9) if n_repeats > 1 and 0 <= deviation < inf else None,
        build=row.positive("build_number"),
        n_threads=row.positive("n_threads"),
        model_path=model.path,
    )


# ---------------------------------------------------------------- what ran where


def _devices(row: BenchRow, machine: Machine) -> tuple[str, tuple[Gpu, ...]]:
    """Backend and the GPUs that took part. Raises NotUnderstoodError where they are not of this machine."""
    names = [name.strip() for name in row.text("backends").split(",") if name.strip()]
    if "RPC" in names:
        raise NotUnderstoodError("a part of it ran on another computer (RPC)")
    _check_cpu(row, machine)
    chosen, on_gpu = row.text("devices", "auto"), [name for name in names if name not in _NO_GPU_BACKENDS]
    if chosen == "none" or not on_gpu:
        return CPU_BACKEND, ()
    gpus = _gpus_of_here(row, machine)
    backends = [_BACKENDS.get(name.upper(), name.lower()) for name in on_gpu]
    backend = next((gpu.backend for gpu in gpus if gpu.backend in backends), backends[0])
    if chosen != "auto":
        gpus = tuple(_named_gpu(name, gpus) for name in chosen.split("/"))
    if row.text("split_mode", "layer") == "none" and gpus:
        main = row.count("main_gpu", 0)
        if main >= len(gpus):
            raise NotUnderstoodError(f"main_gpu {main} of {len(gpus)}")
        gpus = (gpus[main],)
    return backend, gpus


def _gpus_of_here(row: BenchRow, machine: Machine) -> tuple[Gpu, ...]:
    listed = [name.strip() for name in row.text("gpu_info").split(",") if name.strip()]
    if not machine.gpus:
        raise NotUnderstoodError(f"measured on {', '.join(listed) or 'a GPU'}; this machine has none")
    if listed and len(listed) != len(machine.gpus):
        have = len(machine.gpus)
        raise NotUnderstoodError(f"measured with {len(listed)} GPU(s); this machine has {have}")
    for name, gpu in zip(listed, machine.gpus, strict=False):
        if not _same_part(gpu.name, name):
            raise NotUnderstoodError(f"measured on {name}; this machine has {clean_text(gpu.name)}")
    return machine.gpus


def _check_cpu(row: BenchRow, machine: Machine) -> None:
    told, here = row.text("cpu_info"), machine.cpu.name
    if told and here and not _same_part(here, told):
        raise NotUnderstoodError(f"measured on {told}; this machine has {clean_text(here)}")


def _same_part(here: str, told: str) -> bool:
    """Whether two names mean one part: the same variant, and one's words with figures are in the other."""
    one, other = _key_words(here), _key_words(told)
    if one and other and one & _VARIANTS != other & _VARIANTS:
        return False
    numbered = [
        {word for word in words if any(character.isdigit() for character in word)} for words in (one, other)
    ]
    if numbered[0] and numbered[1]:
        return numbered[0] <= other or numbered[1] <= one
    return not one or not other or bool(one & other)


def _key_words(name: str) -> set[str]:
    found = set(re.findall(r"[a-z0-9]+", name.lower().split("@")[0].split("(radv")[0]))
    return found - _NAME_NOISE


def _named_gpu(name: str, gpus: tuple[Gpu, ...]) -> Gpu:
    """``CUDA1``: the second of the backend's devices."""
    match = re.fullmatch(r"[A-Za-z]+(\d{1,3})", name)
    position = int(match[1]) if match else -1
    if not 0 <= position < len(gpus):
        raise NotUnderstoodError(f"device {name} is not one of the {len(gpus)} here")
    return gpus[position]


def _settings(row: BenchRow, gpus: tuple[Gpu, ...], context_tokens: int) -> LaunchSettings:
    types = [row.text(f"type_{side}", "f16").lower() for side in "kv"]
    for cache_type in types:
        if cache_type not in CACHE_TYPES:
            raise NotUnderstoodError(f"cache type {cache_type or '?'} is not known")
    layers = row.whole("n_gpu_layers", -1)
    overrides = row.text("tensor_buft_overrides", "none")
    return LaunchSettings(
        context_tokens=context_tokens,
        devices=tuple(gpu.index for gpu in gpus),
        cache_type_k=types[0],
        cache_type_v=types[1],
        flash_attn=row.whole("flash_attn", -1) != 0,
        batch=row.count("n_batch", 2048),
        ubatch=row.count("n_ubatch", 512),
        gpu_layers=-1 if layers is None else layers,
        n_cpu_moe=row.count("n_cpu_moe", 0),
        tensor_split=_split(row.text("tensor_split"), len(gpus)),
        split_mode=row.text("split_mode", "layer"),
        override_tensor=() if overrides in ("none", "") else tuple(overrides.split(";")),
        kv_offload=not row.whole("no_kv_offload", 0),
        op_offload=not row.whole("no_op_offload", 0),
        repack=row.whole("repack", 1) != 0,
        outputs="tool",
    )


def _split(text: str, n_gpus: int) -> tuple[float, ...] | None:
    """``0.00`` is llama.cpp's own split; shares that are not told are 0."""
    try:
        shares = [float(part) for part in text.split("/")] if text else []
    except ValueError:
        raise NotUnderstoodError(f"tensor split {text}") from None
    if any(not isfinite(share) or share < 0 for share in shares):
        raise NotUnderstoodError(f"tensor split {text}")
    if not any(shares) or n_gpus < 2:
        return None
    return tuple((shares + [0.0] * n_gpus)[:n_gpus])
