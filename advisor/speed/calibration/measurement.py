"""A measured speed, when it may be believed, and when it is exactly what is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from statistics import median

from llmfit.advisor.hardware.fingerprint import machine_fingerprint
from llmfit.advisor.hardware.machine import Gpu, Machine
from llmfit.advisor.memory.settings import ALL_LAYERS, LaunchSettings
from llmfit.advisor.speed.calibration.factors import DECODE, PREFILL, REPEAT_NOISE_SHARE
from llmfit.advisor.speed.decode.host import n_working_cores
from llmfit.advisor.text import clean_text
from llmfit.advisor.units import GB, MIB

BOUND_GRACE = 1.02
"""Clocks of memory differ by a little from the data sheet."""
MAX_SPREAD_SHARE = 0.15
"""Standard deviation over mean of the repeats; the collectors of llama-bench tables call more ``noisy``."""
SAME_DEPTH_SHARE = 0.05
SAME_DEPTH_TOKENS = 64
SAME_FILE_SHARE = 0.02
"""A header with its vocabulary takes up to 1.5 % of a file."""
MIN_FILE_BYTES = 128 * MIB
"""A smaller model lies in the caches of the chips (L2 of a GB202: 128 MiB) and says nothing of the memory."""
THREADS_APART = 2
"""llama.cpp run with so many times more or fewer threads than it takes by itself is another machine."""
CPU_BACKEND = "cpu"


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measured speed and everything that it depends on.

    Of ``settings`` only what moves speed is compared: see ``same_settings``. ``depth_tokens`` is the mean
    number of tokens in the cache while it was measured, ``prompt_tokens`` (of prefill) the prompt that was
    timed. ``spread_share`` is the standard deviation of the repeats over their mean, ``None`` where it was
    run once. ``other_load``: another program used the card meanwhile, ``None`` where nobody looked.
    """

    machine_key: str
    backend: str
    """As ``Gpu.backend``, or CPU_BACKEND."""
    model_id: str
    quantization: str
    file_bytes: int
    family: str
    """The architecture as llama.cpp calls it."""
    settings: LaunchSettings
    kind: str
    depth_tokens: int
    prompt_tokens: int
    tok_s: float
    measured_at: str
    """``2026-11-22T11:26:19Z``."""
    source: str
    """``llama-bench``, ``llmfit bench`` or ``watched``."""
    n_repeats: int = 1
    spread_share: float | None = None
    build: int | None = None
    n_threads: int | None = None
    other_load: bool | None = None
    speculative: bool = False
    n_streams: int = 1
    """Slots that were answering at once."""
    model_path: str | None = None
    """The file that was measured, where it lay on this computer."""

    @property
    def measured_s(self) -> float:
        """Seconds of one step: a decoded token, or the whole prompt. ``tok_s`` must be above 0."""
        return (self.prompt_tokens if self.kind == PREFILL else 1) / self.tok_s


@dataclass(frozen=True, slots=True)
class MeasuredSpeed:
    """What was measured of exactly this; ``low`` and ``high`` from how far the runs differ."""

    low_tok_s: float
    tok_s: float
    high_tok_s: float
    n_measurements: int
    measured_at: str
    """Of the last of them."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The speed that is asked for. ``model_path`` is the file where a file is asked about."""

    machine_key: str
    backend: str
    model_id: str
    quantization: str
    file_bytes: int
    family: str
    settings: LaunchSettings
    kind: str = DECODE
    depth_tokens: int = 0
    prompt_tokens: int = 0
    model_path: str | None = None


# ---------------------------------------------------------------- the machine


def machine_key(machine: Machine) -> str:
    """What measurements are kept under: the parts that decide speed, nothing private, no driver.

    The GPUs by name, peak bandwidth, cores and share of a card, then what ``machine_fingerprint`` tells of
    CPU and RAM. A change of any is another machine.
    """
    gpus = [_gpu_key(gpu) for gpu in machine.gpus] or ["no GPU"]
    return "; ".join((*gpus, machine_fingerprint(machine)))


def _gpu_key(gpu: Gpu) -> str:
    peak = gpu.bandwidth_bytes_per_s
    parts = [clean_text(gpu.name), "? GB/s" if peak is None else f"{peak / GB:.0f} GB/s"]
    if gpu.gpu_cores is not None:
        parts.append(f"{gpu.gpu_cores} cores")
    if gpu.partition is not None:
        parts.append(f"{gpu.partition.memory_share:.3f} of its memory")
    return " ".join(parts)


def planned_backend(machine: Machine, settings: LaunchSettings) -> str:
    """The backend that a launch uses here: that of its first GPU, CPU_BACKEND without any."""
    used = machine.gpus_of(settings.devices)
    return used[0].backend if used else CPU_BACKEND


def usual_threads(machine: Machine) -> int | None:
    """How many llama.cpp takes by itself; ``None`` where nobody tells."""
    return n_working_cores(machine.cpu)


# ---------------------------------------------------------------- when to believe it


def why_not_used(
    measurement: Measurement, bound_tok_s: float | None, usual_threads: int | None = None
) -> str | None:
    """Why a measurement is kept and not used: one clause, or ``None`` for one that is good.

    ``bound_tok_s`` is what bytes over bandwidth allow; ``None``: not known, so nothing is said of it.
    ``usual_threads`` matters where the CPU takes part: leave it out where it does not.
    """
    one = measurement
    if not isfinite(one.tok_s) or one.tok_s <= 0:
        return "not a speed"
    if one.kind == PREFILL and one.prompt_tokens <= 0:
        return "the length of the prompt is not known"
    if one.file_bytes < MIN_FILE_BYTES:
        size = f"{one.file_bytes / MIB:.3g} MiB, {MIN_FILE_BYTES // MIB} MiB at least"
        return f"the model is so small ({size}) that it lies in the chip's cache"
    if one.speculative:
        return "with speculation: tokens that were guessed are no measure of the machine"
    if one.other_load:
        return "another program used the card meanwhile"
    if one.n_streams > 1:
        return f"{one.n_streams} slots were answering at once"
    if one.spread_share is not None and not one.spread_share <= MAX_SPREAD_SHARE:
        spread = f"{_percent(one.spread_share)} of the mean, {MAX_SPREAD_SHARE:.0%} at most"
        return f"its repeats differ too much ({spread})"
    if bound_tok_s is not None and one.tok_s > bound_tok_s * BOUND_GRACE:
        return (
            f"faster than this machine's memory allows ({bound_tok_s:.4g} tok/s at most): "
            "another card, another file, or speculation"
        )
    if one.n_threads and usual_threads and not _near_threads(one.n_threads, usual_threads):
        return f"with {one.n_threads} threads; llama.cpp takes {usual_threads} here"
    return None


def _percent(share: float) -> str:
    return f"{share:.0%}" if isfinite(share) else "?"


def _near_threads(n_threads: int, usual: int) -> bool:
    return usual <= n_threads * THREADS_APART and n_threads <= usual * THREADS_APART


# ---------------------------------------------------------------- exactly this


def find_measured(measurements: Iterable[Measurement], wanted: Wanted) -> MeasuredSpeed | None:
    """The median of those that measured exactly what is wanted; ``None`` without any.

    ``measurements`` are plausible ones: leave out those that ``why_not_used`` refuses.
    """
    same = [one for one in measurements if is_same(one, wanted)]
    if not same:
        return None
    speeds = [one.tok_s for one in same]
    middle = median(speeds)
    spreads = (one.spread_share for one in same if one.spread_share is not None)
    share = max(REPEAT_NOISE_SHARE, *spreads, *(abs(speed / middle - 1) for speed in speeds))
    return MeasuredSpeed(
        low_tok_s=middle * (1 - min(share, MAX_SPREAD_SHARE)),
        tok_s=middle,
        high_tok_s=middle * (1 + share),
        n_measurements=len(same),
        measured_at=max(one.measured_at for one in same),
    )


def is_same(measurement: Measurement, wanted: Wanted) -> bool:
    """Whether it measured what is wanted: machine, backend, file, settings that move speed, depth."""
    one = measurement
    return (
        one.machine_key == wanted.machine_key
        and one.backend == wanted.backend
        and one.kind == wanted.kind
        and _same_file(one, wanted)
        and same_settings(one.settings, wanted.settings, wanted.kind)
        and _near(one.depth_tokens, wanted.depth_tokens)
        and (wanted.kind != PREFILL or _near(one.prompt_tokens, wanted.prompt_tokens))
    )


def same_settings(one: LaunchSettings, other: LaunchSettings, kind: str) -> bool:
    """Whether two launches are equally fast: the size of the context and of a batch do not move decode."""
    return _speed_key(one, kind) == _speed_key(other, kind)


def _speed_key(settings: LaunchSettings, kind: str) -> tuple[object, ...]:
    on_gpus = bool(settings.devices)
    key: tuple[object, ...] = (
        settings.devices if settings.gpu_layers or (kind == PREFILL and settings.op_offload) else (),
        settings.cache_type_k,
        settings.cache_type_v,
        settings.flash_attn,
        # Without a GPU these change nothing, whatever llama-bench was told or took by itself.
        settings.gpu_layers if on_gpus else 0,
        settings.n_cpu_moe if on_gpus else 0,
        settings.tensor_split if len(settings.devices) > 1 else None,
        settings.split_mode if len(settings.devices) > 1 else None,
        settings.override_tensor,
        settings.kv_offload and on_gpus,
    )
    return key if kind == DECODE else (*key, settings.batch, settings.ubatch, settings.op_offload and on_gpus)


def whole_model(settings: LaunchSettings, n_layer_all: int) -> LaunchSettings:
    """``settings`` with one way of saying that every layer is on the GPUs, or that all experts are in RAM.

    Without a GPU every layer is in RAM, whatever was asked for.
    """
    if not settings.devices:
        return replace(settings, gpu_layers=0, n_cpu_moe=0)
    if settings.gpu_layers < 0 or settings.gpu_layers > n_layer_all:
        settings = replace(settings, gpu_layers=ALL_LAYERS)
    if settings.n_cpu_moe >= n_layer_all:
        settings = replace(settings, n_cpu_moe=ALL_LAYERS)
    return settings


def of_one_configuration(measurements: Sequence[Measurement]) -> list[list[Measurement]]:
    """``measurements`` in groups that measured the same: ten repeats of one run say no more than one."""
    groups: list[list[Measurement]] = []
    for one in measurements:
        for group in groups:
            if is_same(one, _wanted_like(group[0])):
                group.append(one)
                break
        else:
            groups.append([one])
    return groups


def _wanted_like(one: Measurement) -> Wanted:
    return Wanted(
        machine_key=one.machine_key,
        backend=one.backend,
        model_id=one.model_id,
        quantization=one.quantization,
        file_bytes=one.file_bytes,
        family=one.family,
        settings=one.settings,
        kind=one.kind,
        depth_tokens=one.depth_tokens,
        prompt_tokens=one.prompt_tokens,
        model_path=one.model_path,
    )


def _same_file(one: Measurement, wanted: Wanted) -> bool:
    """One file may be asked for by path or by catalogue name; another tuning of it is as fast."""
    if one.quantization != wanted.quantization or one.family != wanted.family:
        return False
    if one.model_path is not None and one.model_path == wanted.model_path:
        return True
    if one.model_id != wanted.model_id:
        return one.file_bytes == wanted.file_bytes
    return abs(one.file_bytes - wanted.file_bytes) <= SAME_FILE_SHARE * wanted.file_bytes


def _near(one: int, other: int) -> bool:
    return abs(one - other) <= max(SAME_DEPTH_TOKENS, SAME_DEPTH_SHARE * other)
