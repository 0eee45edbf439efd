"""judge(): one model on one machine, every open setting chosen, and said why.

The one function behind ``estimate``, ``command``, ``recommend`` and the app.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from llmfit.advisor.errors import LlmfitError
from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.memory.fitting import Layout, find_layout
from llmfit.advisor.memory.fitting_literal import layout_as_given
from llmfit.advisor.memory.weights import WeightTable, weight_table
from llmfit.advisor.model.model import Model
from llmfit.advisor.recommend.command import server_argv
from llmfit.advisor.recommend.judgement import (
    DOES_NOT_FIT,
    FITS_CPU,
    FITS_GPU,
    FITS_OFFLOAD,
    VERDICT_ORDER,
    Judgement,
)
from llmfit.advisor.recommend.remedies import find_remedies
from llmfit.advisor.recommend.request import DEFAULT_CONTEXT_TOKENS, Request
from llmfit.advisor.recommend.warnings import find_warnings
from llmfit.advisor.speed.estimate import estimate_speed
from llmfit.advisor.units import format_context

SHORTER_CONTEXTS = (16384, 8192, 4096)
"""Tried when the context is the advisor's choice and the default does not fit on the GPUs."""

Variants = Callable[[str], Model]
"""The same model in another file type."""


def judge(
    model: Model, machine: Machine, request: Request, variants: Variants | None = None, remedies: bool = True
) -> Judgement:
    """Chooses what ``request`` leaves open and judges the result.

    ``variants`` lets the remedies try other file types of the same model; without it they stay with this
    file. Raises NotModelledError where llama.cpp's rules for the model are not known, UsageError for settings
    that llama.cpp would refuse.
    """
    weights = weight_table(model.shape, model.tensors, load_mtp=request.loads_mtp)
    layout, reasons = _choose(model, weights, machine, request)
    runs = layout.verdict != DOES_NOT_FIT
    speed = estimate_speed(model, weights, machine, layout.settings, request.depth_tokens) if runs else None
    argv = server_argv(layout.settings, model.launch_args, machine) if runs else None
    judgement = Judgement(
        model=model,
        machine=machine,
        settings=layout.settings,
        memory=layout.memory,
        verdict=layout.verdict,
        shortfall_bytes=layout.shortfall_bytes,
        speed=speed,
        reasons=(*layout.reasons, *reasons),
        warnings=find_warnings(model, machine, layout.settings, runs),
        remedies=(),
        argv=argv,
    )
    if remedies and layout.verdict != FITS_GPU:
        judgement = replace(judgement, remedies=find_remedies(judgement, weights, request, variants))
    return judgement


def default_context(model: Model) -> int:
    """What is planned for when nobody says: 32K, or all that the model was trained for."""
    return min(DEFAULT_CONTEXT_TOKENS, model.shape.context_train_tokens or DEFAULT_CONTEXT_TOKENS)


def layout_for(
    model: Model,
    weights: WeightTable,
    machine: Machine,
    request: Request,
    context_tokens: int,
    cache_type: str = "f16",
) -> Layout:
    """The best placement for one context and, where the user did not fix it, one cache type.

    A user who fixes the number of GPU layers has placed the model: llama.cpp's own rule says what follows.
    """
    settings = request.base_settings(context_tokens)
    if request.cache_type_k is None:
        settings = replace(settings, cache_type_k=cache_type, cache_type_v=request.cache_type_v or cache_type)
    if request.gpu_layers is not None and not request.search_experts:
        return layout_as_given(model.shape, weights, machine, settings)
    return find_layout(model.shape, weights, machine, settings, request.fixed)


def _choose(
    model: Model, weights: WeightTable, machine: Machine, request: Request
) -> tuple[Layout, tuple[str, ...]]:
    """The first configuration that is wholly on the GPUs, else the best of the default context."""
    choices = _open_choices(model, machine, request)
    first = best = layout_for(model, weights, machine, request, *next(choices))
    for context_tokens, cache_type in choices:
        if best.verdict == FITS_GPU or _is_hopeless(best, weights):
            break
        try:
            layout = layout_for(model, weights, machine, request, context_tokens, cache_type)
        except LlmfitError:
            continue  # this model refuses a quantised cache; f16 has been judged
        if VERDICT_ORDER[layout.verdict] < VERDICT_ORDER[best.verdict]:
            best = layout
    return best, _choice_reasons(first, best)


def _is_hopeless(layout: Layout, weights: WeightTable) -> bool:
    """More is missing than cache and compute take together, so that a smaller cache cannot help."""
    memory = layout.memory
    savable_bytes = memory.kv_cache_bytes + memory.compute_bytes
    if layout.verdict == DOES_NOT_FIT:
        return layout.shortfall_bytes > savable_bytes
    return memory.host.weights_bytes - weights.input_host_bytes > savable_bytes


def _open_choices(model: Model, machine: Machine, request: Request) -> Iterator[tuple[int, str]]:
    """(context, cache type) in order of preference; the first is what is judged when nothing is gained."""
    start = request.context_tokens or default_context(model)
    contexts = [start]
    if request.context_tokens is None:
        contexts += [tokens for tokens in SHORTER_CONTEXTS if tokens < start]
    cache_types = ["f16"]
    if request.cache_type_k is None and request.cache_type_v is None and request.flash_attn is not False:
        cache_types.append("q8_0")
    for tokens in contexts:
        for cache_type in cache_types:
            yield tokens, cache_type


def _choice_reasons(first: Layout, chosen: Layout) -> tuple[str, ...]:
    if chosen is first:
        return ()
    reasons = []
    old, new = first.settings, chosen.settings
    outcome = _outcome(first)
    if new.cache_type_k != old.cache_type_k:
        reasons.append(f"KV cache in {new.cache_type_k}: with {old.cache_type_k} it {outcome}.")
    if new.context_tokens != old.context_tokens:
        reasons.append(
            f"Context {format_context(new.context_tokens)}: "
            f"at {format_context(old.context_tokens)} with an {old.cache_type_k} cache it {outcome}."
        )
    return tuple(reasons)


def _outcome(layout: Layout) -> str:
    return {
        FITS_GPU: "fits on the GPUs",
        FITS_OFFLOAD: "needs weights in system RAM",
        FITS_CPU: "runs on the CPU only",
        DOES_NOT_FIT: "does not fit",
    }[layout.verdict]


__all__ = ["Variants", "default_context", "judge", "layout_for"]
