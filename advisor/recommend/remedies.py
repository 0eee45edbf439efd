"""What would make it fit, cheapest change first, each with the bytes it saves and what it leads to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from llmfit.advisor.errors import LlmfitError
from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.hardware.what_if import held_by_program, programs_text, without_programs
from llmfit.advisor.memory.fitting import Layout, find_layout
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.memory.weights import WeightTable, weight_table
from llmfit.advisor.model.model import Model
from llmfit.advisor.model.quantization import TENSOR_TYPES, file_type
from llmfit.advisor.recommend.cache_advice import cache_types_worth_trying
from llmfit.advisor.recommend.judgement import (
    DOES_NOT_FIT,
    VERDICT_ORDER,
    VERDICT_PHRASE,
    Judgement,
    Remedy,
)
from llmfit.advisor.recommend.ladders import (
    DEFAULTS,
    HEAVY_LOSS_FILE_TYPES,
    SAVING_CACHE_TYPE,
    SHORT_CONTEXT_TOKENS,
    SMALLER_FILE_TYPES,
    shorter_contexts,
)
from llmfit.advisor.recommend.request import Request
from llmfit.advisor.speed.estimate import SpeedEstimate, estimate_speed
from llmfit.advisor.units import format_context, format_gib

if TYPE_CHECKING:
    from llmfit.advisor.speed.calibration.machine_speeds import MachineSpeeds

ROUNDING_BITS = 0.5
"""File types whose base is closer to the model's bits per weight than this are not smaller in earnest."""
NOTICEABLY_FASTER = 1.15
"""Less is within the doubt of the estimate."""
NOTICEABLE_SHARE = 0.05
"""Of what is missing: a change that brings less is not worth naming."""

Change = tuple[tuple[str, object], ...]


@dataclass(frozen=True, slots=True)
class _Case:
    """What is to be remedied, and how to try a change on it."""

    judgement: Judgement
    weights: WeightTable
    request: Request
    speeds: MachineSpeeds | None

    @property
    def settings_can_help(self) -> bool:
        """A setting saves cache and compute buffers at most: not where more than all of them is missing."""
        memory = self.judgement.memory
        return self.judgement.shortfall_bytes < memory.kv_cache_bytes + memory.compute_bytes

    def has_room_for(self, file_type_name: str) -> bool:
        """Whether the weights alone, in another file type, could lie somewhere on this machine."""
        machine, model = self.judgement.machine, self.judgement.model
        parts = [gpu.vram_free_bytes for gpu in machine.gpus if not gpu.unified_memory]
        parts.append(machine.memory.available_bytes)
        known = [part for part in parts if part is not None]
        size_bytes = model.n_parameters * _base_bits(file_type_name) / 8
        return len(known) < len(parts) or size_bytes < sum(known)

    def reopened(self, **changes: object) -> LaunchSettings:
        """The judged settings with ``changes``, placement open again except for what the user fixed."""
        judged = self.judgement.settings
        base = self.request.base_settings(judged.context_tokens)
        kept = replace(
            base,
            cache_type_k=judged.cache_type_k,
            cache_type_v=judged.cache_type_v,
            parallel=judged.parallel,
            kv_unified=judged.kv_unified,
            ubatch=judged.ubatch,
        )
        return replace(kept, **changes)  # type: ignore[arg-type]

    def tried(
        self,
        name: str,
        change: Change,
        settings: LaunchSettings,
        model: Model | None = None,
        weights: WeightTable | None = None,
        machine: Machine | None = None,
    ) -> Remedy | None:
        """The remedy that this change is; ``None`` where llama.cpp would refuse it."""
        model = model or self.judgement.model
        machine = machine or self.judgement.machine
        weights = weights or self.weights
        try:
            layout = find_layout(model.shape, weights, machine, settings, self.request.fixed)
            speed = None
            if layout.fits:
                asked = self.request.speed_question
                speed = estimate_speed(model, weights, machine, layout.settings, *asked, speeds=self.speeds)
            return self._remedy(name, change, layout, speed)
        except LlmfitError:
            return None

    def _remedy(self, name: str, change: Change, layout: Layout, speed: SpeedEstimate | None) -> Remedy:
        saves_bytes = self.judgement.memory.total_bytes - layout.memory.total_bytes
        saving = f" saves {format_gib(saves_bytes)}" if saves_bytes > 0 else ""
        then = "then" if layout.fits else "even then"
        missing = f", {format_gib(layout.shortfall_bytes)} short" if layout.shortfall_bytes else ""
        return Remedy(
            text=f"{name}{saving}: {then} it {VERDICT_PHRASE[layout.verdict]}{missing}",
            change=change,
            saves_bytes=max(0, saves_bytes),
            verdict=layout.verdict,
            decode_tok_s=speed.decode_tok_s.expected if speed else None,
            shortfall_bytes=layout.shortfall_bytes,
        )


def find_remedies(
    judgement: Judgement,
    weights: WeightTable,
    request: Request,
    variants: Callable[[str], Model] | None = None,
    speeds: MachineSpeeds | None = None,
) -> tuple[Remedy, ...]:
    """Changes that lead to a better verdict, the cheapest first.

    Where no single one does: for what does not fit, all savings together or, if that is not enough, what
    comes nearest; for what runs, what makes it faster. ``variants`` builds the same model in another file
    type; without it only settings are changed.
    """
    case = _Case(judgement, weights, request, speeds)
    remedies = [*_closing_remedies(case), *_placement_remedies(case), *_setting_remedies(case)]
    if variants is not None:
        remedies += _file_type_remedies(case, variants)
    reached = VERDICT_ORDER[judgement.verdict]
    better = [remedy for remedy in remedies if VERDICT_ORDER[remedy.verdict] < reached]
    if better:
        return tuple(better)
    if judgement.fits:
        return _faster(judgement, remedies)
    together = _together(case, variants)
    return (
        (together,) if together is not None and together.verdict != DOES_NOT_FIT else _nearest(case, remedies)
    )


def _faster(judgement: Judgement, remedies: Sequence[Remedy]) -> tuple[Remedy, ...]:
    """The changes that bring noticeably more speed at the same verdict, the fastest of each kind."""
    if judgement.speed is None:
        return ()
    floor = judgement.speed.decode_tok_s.expected * NOTICEABLY_FASTER
    faster = [remedy for remedy in remedies if (remedy.decode_tok_s or 0.0) >= floor]
    return _best_of_each_kind(faster, lambda remedy: -(remedy.decode_tok_s or 0.0))


def _nearest(case: _Case, remedies: Sequence[Remedy]) -> tuple[Remedy, ...]:
    """What leaves noticeably less missing, the least first."""
    most_bytes = case.judgement.shortfall_bytes * (1 - NOTICEABLE_SHARE)
    nearer = [remedy for remedy in remedies if remedy.shortfall_bytes <= most_bytes]
    return _best_of_each_kind(nearer, lambda remedy: remedy.shortfall_bytes)


def _best_of_each_kind(remedies: Sequence[Remedy], key: Callable[[Remedy], float]) -> tuple[Remedy, ...]:
    """One remedy for each setting that is changed, the lowest ``key`` first."""
    best: dict[tuple[str, ...], Remedy] = {}
    for remedy in sorted(remedies, key=key):
        best.setdefault(tuple(name for name, _ in remedy.change), remedy)
    return tuple(best.values())


def _together(case: _Case, variants: Callable[[str], Model] | None) -> Remedy | None:
    """Everything that saves at once: the largest smaller file type that fits with a short q8_0 cache."""
    settings = case.judgement.settings
    change: dict[str, object] = {}
    if settings.context_tokens > SHORT_CONTEXT_TOKENS >= case.request.filled_tokens:
        change["context"] = SHORT_CONTEXT_TOKENS
    if SAVING_CACHE_TYPE in _smaller_cache_types(case):
        change |= {"cache_type_k": SAVING_CACHE_TYPE, "cache_type_v": SAVING_CACHE_TYPE}
    if settings.parallel > 1:
        change["parallel"] = 1
    renamed = {("context_tokens" if name == "context" else name): value for name, value in change.items()}
    changed = case.reopened(**renamed)
    said = [f"context {format_context(changed.context_tokens)}", f"KV cache in {changed.cache_type_k}"]
    remedy = None
    for name in _smaller_file_types(case.judgement.model) if variants is not None else ():
        if not case.has_room_for(name):
            continue
        try:
            model = variants(name) if variants is not None else case.judgement.model
        except LlmfitError:
            continue
        weights = weight_table(model.shape, model.tensors, load_mtp=case.request.loads_mtp)
        text = ", ".join((_file_type_text(name), *said)) + " together"
        remedy = case.tried(text, (("quant", name), *change.items()), changed, model, weights)
        if remedy is not None and remedy.verdict != DOES_NOT_FIT:
            return remedy
    return remedy


def _placement_remedies(case: _Case) -> Iterator[Remedy]:
    """Letting the advisor place what the user placed."""
    if case.request.gpu_layers is None:
        return
    open_request = replace(
        case.request, gpu_layers=None, n_cpu_moe=None, tensor_split=None, override_tensor=None
    )
    free = replace(case, request=open_request)
    change: Change = (("gpu_layers", "auto"), ("n_cpu_moe", "auto"))
    remedy = free.tried("placement chosen by llmfit", change, free.reopened())
    if remedy is not None:
        yield remedy


def _setting_remedies(case: _Case) -> Iterator[Remedy]:
    settings = case.judgement.settings
    changes: list[tuple[str, Change, LaunchSettings]] = []
    for cache_type in _smaller_cache_types(case):
        change: Change = (("cache_type_k", cache_type), ("cache_type_v", cache_type))
        changes.append((f"KV cache in {cache_type}", change, case.reopened(**dict(change))))
    if settings.parallel > 1:
        changed = case.reopened(parallel=1, kv_unified=False)
        changes.append(("one slot", (("parallel", 1),), changed))
    usual = DEFAULTS.ubatch
    if settings.ubatch > usual:
        changes.append((f"micro-batch {usual}", (("ubatch", usual),), case.reopened(ubatch=usual)))
    for tokens in shorter_contexts(settings.context_tokens, at_least_tokens=case.request.filled_tokens):
        name = f"context {format_context(tokens)}"
        changes.append((name, (("context", tokens),), case.reopened(context_tokens=tokens)))
    reached = VERDICT_ORDER[case.judgement.verdict]
    if not case.settings_can_help:
        changes = changes[:1]
    for name, change, changed in changes:
        remedy = case.tried(name, change, changed)
        if remedy is None:
            continue
        yield remedy
        if "context" in dict(change) and VERDICT_ORDER[remedy.verdict] < reached:
            return  # shorter ones help as well, but cost more


def _file_type_remedies(case: _Case, variants: Callable[[str], Model]) -> Iterator[Remedy]:
    """The largest smaller file type for each better verdict; the smallest of all where none helps.

    What runs is not told to become much worse.
    """
    first = reached = VERDICT_ORDER[case.judgement.verdict]
    names = list(_smaller_file_types(case.judgement.model))
    if case.judgement.fits:
        names = [name for name in names if name not in HEAVY_LOSS_FILE_TYPES]
    for name in names:
        if reached == 0:
            return
        if name != names[-1] and not case.has_room_for(name):
            continue
        try:
            model = variants(name)
        except LlmfitError:
            continue
        weights = weight_table(model.shape, model.tensors, load_mtp=case.request.loads_mtp)
        remedy = case.tried(_file_type_text(name), (("quant", name),), case.reopened(), model, weights)
        if remedy is None:
            continue
        if VERDICT_ORDER[remedy.verdict] < reached or (reached == first and name == names[-1]):
            reached = min(reached, VERDICT_ORDER[remedy.verdict])
            yield remedy


def _file_type_text(name: str) -> str:
    return f"file type {name}" + (" (a heavy loss of ability)" if name in HEAVY_LOSS_FILE_TYPES else "")


def _smaller_file_types(model: Model) -> Iterator[str]:
    """Names below this model's own size, in falling size."""
    own_bits = sum(tensor.n_bytes for tensor in model.tensors) * 8 / max(1, model.n_parameters)
    for name in SMALLER_FILE_TYPES:
        if _base_bits(name) < own_bits - ROUNDING_BITS:
            yield name


def _base_bits(name: str) -> float:
    return TENSOR_TYPES[file_type(name).base_type].bits_per_weight


def _closing_remedies(case: _Case) -> Iterator[Remedy]:
    """What closing the programs that hold VRAM would bring, the largest first, one more at a time."""
    machine = case.judgement.machine
    closed: list[int] = []
    for _, pid in held_by_program(machine):
        closed.append(pid)
        freed = without_programs(machine, closed)
        change: Change = (("vram_free", [gpu.vram_free_bytes for gpu in freed.gpus]),)
        name = f"closing {programs_text(machine, closed)}"
        remedy = case.tried(name, change, case.reopened(), machine=freed)
        if remedy and VERDICT_ORDER[remedy.verdict] < VERDICT_ORDER[case.judgement.verdict]:
            yield remedy
            return


def _smaller_cache_types(case: _Case) -> tuple[str, ...]:
    """What is smaller than the judged cache type and worth trying for this model."""
    settings = case.judgement.settings
    if not settings.flash_attn:
        return ()
    advised = cache_types_worth_trying(case.judgement.model, settings).types
    return tuple(name for name in advised if _cache_bits(name) < _cache_bits(settings.cache_type_k))


def _cache_bits(cache_type: str) -> float:
    return TENSOR_TYPES[cache_type.upper()].bits_per_weight
