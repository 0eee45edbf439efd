"""judge(): one model on one machine, every open setting chosen, and said why.

The one function behind ``estimate``, ``command``, ``recommend`` and the app.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from llmfit.advisor.errors import LlmfitError
from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.memory.fitting import Layout, find_gpu_layout, find_layout
from llmfit.advisor.memory.fitting_literal import layout_as_given
from llmfit.advisor.memory.kv_cache import CONTEXT_PADDING_TOKENS
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.memory.weights import WeightTable, weight_table
from llmfit.advisor.model.model import Model
from llmfit.advisor.recommend.cache_advice import cache_types_worth_trying
from llmfit.advisor.recommend.command import server_argv
from llmfit.advisor.recommend.judgement import (
    DOES_NOT_FIT,
    FITS_CPU,
    FITS_GPU,
    FITS_OFFLOAD,
    VERDICT_ORDER,
    VERDICT_PHRASE,
    Judgement,
    Warning,
)
from llmfit.advisor.recommend.ladders import (
    DEFAULT_CONTEXT_TOKENS,
    DEFAULTS,
    SAVING_CACHE_TYPE,
    shorter_contexts,
)
from llmfit.advisor.recommend.request import Request
from llmfit.advisor.recommend.warnings import find_warnings, without_refused
from llmfit.advisor.speed.estimate import plan_speed
from llmfit.advisor.units import format_context, pad

if TYPE_CHECKING:
    from llmfit.advisor.speed.calibration.machine_speeds import MachineSpeeds

Variants = Callable[[str], Model]
"""The same model in another file type."""


def judge(
    model: Model,
    machine: Machine,
    request: Request,
    variants: Variants | None = None,
    remedies: bool = True,
    speeds: MachineSpeeds | None = None,
) -> Judgement:
    """Chooses what ``request`` leaves open and judges the result.

    ``variants`` lets the remedies try other file types of the same model; without it they stay with this
    file. ``speeds`` is what was measured on this machine. Raises NotModelledError where llama.cpp's rules for
    the model are not known, UsageError for settings that llama.cpp would refuse (but for speculation without
    MTP blocks, which is left out with a warning).
    """
    request, left_out = without_refused(model, request)
    weights = weight_table(model.shape, model.tensors, load_mtp=request.loads_mtp)
    case = _Case(model, weights, machine, request, speeds, left_out)
    judgement = case.judgement(*(case.on_gpus() or case.anywhere()))
    if remedies and judgement.verdict != FITS_GPU:
        from llmfit.advisor.recommend.remedies import find_remedies  # half of all answers need none

        judgement = replace(judgement, remedies=find_remedies(judgement, weights, request, variants, speeds))
    return judgement


def default_context(model: Model) -> int:
    """What is planned for when nobody says: 32K, or all that the model was trained for."""
    return min(DEFAULT_CONTEXT_TOKENS, model.shape.context_train_tokens or DEFAULT_CONTEXT_TOKENS)


def judge_on_gpus(
    model: Model, machine: Machine, request: Request, speeds: MachineSpeeds | None = None
) -> Judgement | None:
    """``judge`` where everything stays on the GPUs, else None: many times faster where it does not.

    Raises as ``judge`` does.
    """
    request, left_out = without_refused(model, request)
    weights = weight_table(model.shape, model.tensors, load_mtp=request.loads_mtp)
    case = _Case(model, weights, machine, request, speeds, left_out)
    chosen = case.on_gpus()
    return None if chosen is None else case.judgement(*chosen)


@dataclass(frozen=True, slots=True)
class _Case:
    """One question: a model on a machine, with what the user fixed."""

    model: Model
    weights: WeightTable
    machine: Machine
    request: Request
    speeds: MachineSpeeds | None
    left_out: tuple[Warning, ...]

    @property
    def is_placed(self) -> bool:
        """A user who fixes the GPU layers has placed the model: llama.cpp's own rule says what follows."""
        return self.request.gpu_layers is not None and not self.request.search_experts

    def layout(self, context_tokens: int, cache_type: str) -> Layout:
        """The best placement for one context and, where the user did not fix it, one cache type."""
        settings = self._settings(context_tokens, cache_type)
        if self.is_placed:
            return layout_as_given(self.model.shape, self.weights, self.machine, settings)
        return find_layout(self.model.shape, self.weights, self.machine, settings, self.request.fixed)

    def on_gpus(self) -> tuple[Layout, tuple[str, ...]] | None:
        """The first open choice that is wholly on the GPUs, and why it is not the first of all."""
        choices = _open_choices(self.model, self.request)
        for context_tokens, cache_type in choices:
            try:
                layout = self._gpu_layout(context_tokens, cache_type)
            except LlmfitError:
                if (context_tokens, cache_type) == choices[0]:
                    raise
                continue  # this model refuses a quantised cache; f16 has been judged
            if layout is not None:
                return layout, self._choice_reasons(choices[0], layout, "does not stay on the GPUs")
        return None

    def anywhere(self) -> tuple[Layout, tuple[str, ...]]:
        """The open choice with the best verdict; the first one unless another has a better one."""
        choices = _open_choices(self.model, self.request)
        first = best = self.layout(*choices[0])
        reachable = VERDICT_ORDER[FITS_OFFLOAD if self.machine.gpus else FITS_CPU]
        # A shorter context or a smaller cache type saves no more than that.
        saveable_bytes = first.memory.kv_cache_bytes + first.memory.compute_bytes
        for choice in choices[1:]:
            if VERDICT_ORDER[best.verdict] <= reachable or first.shortfall_bytes > saveable_bytes:
                break
            try:
                layout = self.layout(*choice)
            except LlmfitError:
                continue
            if VERDICT_ORDER[layout.verdict] < VERDICT_ORDER[best.verdict]:
                best = layout
        return best, self._choice_reasons(choices[0], best, VERDICT_PHRASE[first.verdict])

    def judgement(self, layout: Layout, reasons: tuple[str, ...]) -> Judgement:
        """Everything that follows from a placement, without remedies."""
        model, machine, settings = self.model, self.machine, layout.settings
        runs = layout.verdict != DOES_NOT_FIT
        plan = plan_speed(model, self.weights, machine, settings, self.speeds) if runs else None
        return Judgement(
            model=model,
            machine=machine,
            settings=settings,
            memory=layout.memory,
            verdict=layout.verdict,
            shortfall_bytes=layout.shortfall_bytes,
            speed=None if plan is None else plan.estimate(*self.request.speed_question),
            speed_plan=plan,
            reasons=(*layout.reasons, *reasons),
            warnings=(*find_warnings(model, machine, settings, runs), *self.left_out),
            remedies=(),
            argv=server_argv(settings, model.launch_args, machine, model.pooling) if runs else None,
        )

    def _choice_reasons(self, first: tuple[int, str], chosen: Layout, outcome: str) -> tuple[str, ...]:
        """Why the chosen context and cache type are not the first ones, which led to ``outcome``."""
        tokens, cache_type = first
        settings = chosen.settings
        reasons = []
        if self.request.cache_type_k is None and settings.cache_type_k != cache_type:
            reasons.append(f"KV cache in {settings.cache_type_k}: with {cache_type} it {outcome}.")
        if settings.context_tokens != tokens:
            shorter = format_context(settings.context_tokens)
            reasons.append(f"Context {shorter}: at {format_context(tokens)} in {cache_type} it {outcome}.")
        return tuple(reasons)

    def _gpu_layout(self, context_tokens: int, cache_type: str) -> Layout | None:
        if self.is_placed:
            layout = self.layout(context_tokens, cache_type)
            return layout if layout.verdict == FITS_GPU else None
        settings = self._settings(context_tokens, cache_type)
        return find_gpu_layout(self.model.shape, self.weights, self.machine, settings, self.request.fixed)

    def _settings(self, context_tokens: int, cache_type: str) -> LaunchSettings:
        settings = self.request.base_settings(context_tokens)
        if self.request.cache_type_k is not None:
            return settings
        return replace(
            settings, cache_type_k=cache_type, cache_type_v=self.request.cache_type_v or cache_type
        )


def _open_choices(model: Model, request: Request) -> list[tuple[int, str]]:
    """(context, cache type) in order of preference; the first is what is judged when nothing is gained."""
    start = request.context_tokens or max(
        default_context(model), pad(request.filled_tokens, CONTEXT_PADDING_TOKENS)
    )
    contexts = [start]
    if request.context_tokens is None:
        contexts += shorter_contexts(start, at_least_tokens=request.filled_tokens)
    choices = []
    for tokens in contexts:
        choices.append((tokens, DEFAULTS.cache_type_k))
        if may_quantise_cache(model, request, tokens):
            choices.append((tokens, SAVING_CACHE_TYPE))
    return choices


def may_quantise_cache(model: Model, request: Request, context_tokens: int) -> bool:
    """Unasked only where the model bears it and it saves something: see ``cache_advice``."""
    if request.cache_type_k is not None or request.cache_type_v is not None or request.flash_attn is False:
        return False
    try:
        advice = cache_types_worth_trying(model, request.base_settings(context_tokens))
    except LlmfitError:
        return False  # llama.cpp refuses these settings in f16, too, and that is what is said
    return SAVING_CACHE_TYPE in advice.types


__all__ = ["Variants", "default_context", "judge", "judge_on_gpus", "may_quantise_cache"]
