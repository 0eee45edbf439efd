"""What would make it fit, cheapest change first, each with the bytes it saves and what it leads to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from llmfit.advisor.errors import LlmfitError
from llmfit.advisor.hardware.machine import Gpu, Machine
from llmfit.advisor.memory.fitting import Layout, find_layout
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.model.model import Model
from llmfit.advisor.model.quantization import TENSOR_TYPES, file_type
from llmfit.advisor.recommend.judgement import DOES_NOT_FIT, FITS_CPU, FITS_GPU, FITS_OFFLOAD, Judgement, Remedy
from llmfit.advisor.recommend.request import Request
from llmfit.advisor.speed.estimate import estimate_speed
from llmfit.advisor.units import format_context, format_gib

SMALLER_FILE_TYPES = ("Q6_K", "Q5_K_M", "Q4_K_M", "IQ4_XS", "Q3_K_M", "IQ3_XXS", "Q2_K", "IQ2_XXS")
CONTEXT_LADDER = (131072, 65536, 32768, 16384, 8192, 4096)

_ORDER = {FITS_GPU: 0, FITS_OFFLOAD: 1, FITS_CPU: 2, DOES_NOT_FIT: 3}
_OUTCOME = {
    FITS_GPU: "then it fits on the GPU",
    FITS_OFFLOAD: "then it runs with weights in system RAM",
    FITS_CPU: "then it runs on the CPU",
    DOES_NOT_FIT: "still too large",
}


def find_remedies(
    judgement: Judgement, request: Request, variants: Callable[[str], Model] | None = None
) -> tuple[Remedy, ...]:
    """Changes that lead to a better verdict, or for what does not fit at all, those that save most.

    ``variants`` builds the same model in another file type; without it only settings are changed.
    """
    remedies = [*_setting_remedies(judgement, request), *_closing_remedies(judgement, request)]
    if variants is not None:
        remedies += _file_type_remedies(judgement, request, variants)
    better = [remedy for remedy in remedies if _ORDER[remedy.verdict] < _ORDER[judgement.verdict]]
    return tuple(better or [remedy for remedy in remedies if remedy.saves_bytes > 0])


def _setting_remedies(judgement: Judgement, request: Request) -> Iterator[Remedy]:
    settings = judgement.settings
    for cache_type in ("q8_0", "q4_0"):
        if settings.flash_attn and _is_larger_cache(settings.cache_type_k, cache_type):
            changed = replace(settings, cache_type_k=cache_type, cache_type_v=cache_type)
            change = (("cache_type_k", cache_type), ("cache_type_v", cache_type))
            yield from _tried(judgement, request, changed, change, f"KV cache in {cache_type}")
    if settings.parallel > 1:
        changed = replace(settings, parallel=1, kv_unified=False)
        yield from _tried(judgement, request, changed, (("parallel", 1),), "one slot")
    if settings.ubatch > 512:
        yield from _tried(judgement, request, replace(settings, ubatch=512), (("ubatch", 512),), "micro-batch 512")
    for tokens in CONTEXT_LADDER:
        if tokens < settings.context_tokens:
            changed = replace(settings, context_tokens=tokens)
            yield from _tried(
                judgement, request, changed, (("context", tokens),), f"context {format_context(tokens)}"
            )


def _tried(
    judgement: Judgement, request: Request, settings: LaunchSettings, change: tuple[tuple[str, object], ...], name: str
) -> Iterator[Remedy]:
    """One remedy if llama.cpp would accept it; placement is searched anew unless the user fixed it."""
    try:
        layout = find_layout(judgement.model, judgement.machine, _reopened(settings, request), request.fixed)
    except LlmfitError:
        return
    yield _remedy(judgement, judgement.model, judgement.machine, layout, change, name, request)


def _reopened(settings: LaunchSettings, request: Request) -> LaunchSettings:
    """The settings with placement as the user gave it, so that the search may place differently."""
    base = request.base_settings(settings.context_tokens)
    return replace(
        base,
        cache_type_k=settings.cache_type_k,
        cache_type_v=settings.cache_type_v,
        parallel=settings.parallel,
        kv_unified=settings.kv_unified,
        ubatch=settings.ubatch,
    )


def _file_type_remedies(
    judgement: Judgement, request: Request, variants: Callable[[str], Model]
) -> Iterator[Remedy]:
    """The largest smaller file type for each better verdict."""
    reached = _ORDER[judgement.verdict]
    for name in _smaller_file_types(judgement.model):
        if reached == 0:
            return
        try:
            model = variants(name)
            layout = find_layout(
                model, judgement.machine, _reopened(judgement.settings, request), request.fixed
            )
        except LlmfitError:
            continue
        smallest = name == SMALLER_FILE_TYPES[-1]
        if _ORDER[layout.verdict] < reached or smallest:
            reached = min(reached, _ORDER[layout.verdict])
            yield _remedy(
                judgement, model, judgement.machine, layout, (("quant", name),), f"file type {name}", request
            )


def _smaller_file_types(model: Model) -> Iterator[str]:
    """Names below this model's own size, in falling size."""
    own_bits = sum(tensor.n_bytes for tensor in model.tensors) * 8 / model.n_parameters
    for name in SMALLER_FILE_TYPES:
        if TENSOR_TYPES[file_type(name).base_type].bits_per_weight < own_bits - 0.5:
            yield name


def _closing_remedies(judgement: Judgement, request: Request) -> Iterator[Remedy]:
    """What closing the programs that hold VRAM would bring, largest first, one more at a time."""
    holders = [
        (process.vram_bytes, process.name, gpu.index)
        for gpu in judgement.machine.gpus
        for process in gpu.processes
        if process.vram_bytes
    ]
    holders.sort(reverse=True)
    closed: list[str] = []
    machine = judgement.machine
    for vram_bytes, name, gpu_index in holders:
        closed.append(f"{name} ({format_gib(vram_bytes)})")
        machine = _with_free(machine, gpu_index, vram_bytes)
        try:
            layout = find_layout(judgement.model, machine, _reopened(judgement.settings, request), request.fixed)
        except LlmfitError:
            return
        if _ORDER[layout.verdict] < _ORDER[judgement.verdict]:
            change = (("vram_free", [gpu.vram_free_bytes for gpu in machine.gpus]),)
            yield _remedy(
                judgement, judgement.model, machine, layout, change, f"closing {' and '.join(closed)}", request
            )
            return


def _with_free(machine: Machine, gpu_index: int, more_bytes: int) -> Machine:
    def freed(gpu: Gpu) -> Gpu:
        if gpu.index != gpu_index or gpu.vram_free_bytes is None:
            return gpu
        free_bytes = gpu.vram_free_bytes + more_bytes
        return replace(gpu, vram_free_bytes=min(free_bytes, gpu.vram_total_bytes or free_bytes))

    return replace(machine, gpus=tuple(freed(gpu) for gpu in machine.gpus))


def _remedy(
    judgement: Judgement,
    model: Model,
    machine: Machine,
    layout: Layout,
    change: tuple[tuple[str, object], ...],
    name: str,
    request: Request,
) -> Remedy:
    saves_bytes = judgement.memory.total_bytes - layout.memory.total_bytes
    runs = layout.verdict != DOES_NOT_FIT
    speed = estimate_speed(model, machine, layout.settings, request.depth_tokens) if runs else None
    saving = f" saves {format_gib(saves_bytes)}" if saves_bytes > 0 else ""
    missing = f", {format_gib(layout.shortfall_bytes)} short" if layout.shortfall_bytes else ""
    return Remedy(
        text=f"{name}{saving}: {_OUTCOME[layout.verdict]}{missing}",
        change=change,
        saves_bytes=max(0, saves_bytes),
        verdict=layout.verdict,
        decode_tok_s=speed.decode_tok_s.expected if speed else None,
    )


def _is_larger_cache(current: str, smaller: str) -> bool:
    order = ("f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")
    return order.index(current) < order.index(smaller) and current not in ("q4_0", "iq4_nl")
