"""The tables of the article: file types, contexts × cache types, decode against depth, prompts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from llmfit.advisor.errors import LlmfitError
from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.memory.fitting import FITS_GPU, largest_context
from llmfit.advisor.memory.weights import weight_table
from llmfit.advisor.model.model import Model
from llmfit.advisor.recommend.article.values import (
    ContextLadder,
    DepthPoint,
    LadderCell,
    LadderColumn,
    PromptRow,
    QuantRow,
)
from llmfit.advisor.recommend.cache_advice import CacheAdvice, cache_types_worth_trying
from llmfit.advisor.recommend.judgement import Judgement
from llmfit.advisor.recommend.ladders import CONTEXT_LADDER, DEFAULTS, SMALLER_CACHE_TYPES
from llmfit.advisor.recommend.quality import Loss, QualityFacts, ReducedQuality, reduced
from llmfit.advisor.recommend.request import Request
from llmfit.advisor.recommend.search import Variants, judge

if TYPE_CHECKING:
    from llmfit.advisor.speed.calibration.machine_speeds import MachineSpeeds

LISTED_FILE_TYPES = (
    "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q4_K_M", "Q4_K_S", "IQ4_NL", "IQ4_XS", "Q3_K_L", "Q3_K_M",
    "IQ3_M", "Q3_K_S", "IQ3_XS", "IQ3_XXS", "Q2_K", "IQ2_M", "IQ2_S", "IQ2_XS", "IQ2_XXS",
)  # fmt: skip
"""What publishers offer. Left out: F32 and F16 (larger than or as large as BF16, not better), the older Q4_0
to Q5_1 (larger than K types that lose as little), and what is below two bits."""
LADDER_CACHE_TYPES = (DEFAULTS.cache_type_k, *SMALLER_CACHE_TYPES)
DEPTHS_TOKENS = (0, 4096, 8192, 16384, 32768, 65536, 131072)
PROMPTS_TOKENS = (1024, 8192, 32768)
SEARCH_STEP_TOKENS = 8192


@dataclass(frozen=True, slots=True)
class Case:
    """One model on one machine with what the user fixed; ``request.context_tokens`` is fixed here."""

    machine: Machine
    request: Request
    facts: QualityFacts
    speeds: MachineSpeeds | None = None

    def judged(self, model: Model) -> Judgement:
        """Without remedies. Raises as ``judge``."""
        return judge(model, self.machine, self.request, remedies=False, speeds=self.speeds)


# ---------------------------------------------------------------- file types


def quant_rows(
    case: Case, asked: Judgement, build: Variants | None, native_quant: str | None = None
) -> tuple[QuantRow, ...]:
    """A row for each file type worth listing, the largest first; ``asked`` is one of them.

    Without ``build``, for a model that has but one file type, there is one row.
    """
    judgements = {asked.model.quantization: asked}
    if build is not None:
        for quant in LISTED_FILE_TYPES:
            if quant not in judgements:
                try:
                    judgements[quant] = case.judged(build(quant))
                except LlmfitError:
                    continue  # a file type that llama-quantize cannot make of this model
    rows = (_quant_row(judgement, case.facts, native_quant) for judgement in judgements.values())
    return tuple(sorted(rows, key=lambda row: -row.weights_bytes))


def _quant_row(judgement: Judgement, facts: QualityFacts, native_quant: str | None) -> QuantRow:
    model = judgement.model
    return QuantRow(
        quant=model.quantization,
        weights_bytes=judgement.memory.weights_bytes,
        file_bytes=model.file_bytes,
        judgement=judgement,
        loss=facts.file_type_loss(model.quantization),
        quality=quality_after_losses(judgement, facts),
        is_native=model.quantization == native_quant,
    )


def _losses(judgement: Judgement, facts: QualityFacts) -> list[Loss] | None:
    """Of the file type and of the cache; ``None`` where nobody measured one of them."""
    settings = judgement.settings
    losses = (
        facts.file_type_loss(judgement.model.quantization),
        facts.cache_loss(settings.cache_type_k, settings.cache_type_v),
    )
    known = [loss for loss in losses if loss is not None]
    return known if len(known) == len(losses) else None


def quality_after_losses(judgement: Judgement, facts: QualityFacts) -> ReducedQuality | None:
    """The ability that is left in this file type with these cache types; ``None`` where nobody knows."""
    losses = _losses(judgement, facts)
    return None if facts.quality is None or losses is None else reduced(facts.quality, *losses)


def loss_of(judgement: Judgement, facts: QualityFacts) -> Loss | None:
    """What file type and cache types cost together; ``None`` where nobody knows."""
    losses = _losses(judgement, facts)
    if losses is None:
        return None
    basis = "; ".join(loss.basis for loss in losses if loss.points)
    return Loss(
        sum(loss.points for loss in losses),
        sum(loss.low_points for loss in losses),
        sum(loss.high_points for loss in losses),
        basis or losses[0].basis,
    )


# ---------------------------------------------------------------- contexts


def context_ladder(case: Case, model: Model) -> ContextLadder:
    """Every context of the ladder that the model was trained for, with every cache type it takes."""
    contexts = ladder_contexts(model.shape.context_train_tokens, case.request.context_tokens or 0)
    advice = cache_types_worth_trying(model)
    columns = (
        _ladder_column(case, model, cache_type, contexts, advice) for cache_type in _cache_types(case.request)
    )
    return ContextLadder(model.quantization, contexts, tuple(column for column in columns if column), advice)


def ladder_contexts(trained_tokens: int, asked_tokens: int = 0) -> tuple[int, ...]:
    """4K, 8K … doubling up to what the model was trained for, that itself, and the asked one."""
    most = trained_tokens or CONTEXT_LADDER[-1]
    steps = {tokens for tokens in (most, asked_tokens) if tokens}
    tokens = CONTEXT_LADDER[0]
    while tokens < most:
        steps.add(tokens)
        tokens *= 2
    return tuple(sorted(steps))


def _cache_types(request: Request) -> tuple[str, ...]:
    asked = (request.cache_type_k,) if request.cache_type_k is not None else ()
    return tuple(dict.fromkeys((*LADDER_CACHE_TYPES, *asked)))


def _ladder_column(
    case: Case, model: Model, cache_type: str, contexts: Sequence[int], advice: CacheAdvice
) -> LadderColumn | None:
    """``None`` where llama.cpp refuses this cache type with this model or these settings."""
    request = replace(
        case.request,
        cache_type_k=cache_type,
        cache_type_v=cache_type,
        depth_tokens=0,
        prompt_tokens=None,
    )
    try:
        cells = [_ladder_cell(case, model, replace(request, context_tokens=tokens)) for tokens in contexts]
        on_gpus = _largest_on_gpus(case, model, request, cells)
        running = _largest_running(case, model, request, cells)
    except LlmfitError:
        return None
    return LadderColumn(
        cache_type,
        tuple(cells),
        on_gpus,
        running,
        case.facts.cache_loss(cache_type, cache_type),
        advice.allows(cache_type, cache_type),
    )


def _ladder_cell(case: Case, model: Model, request: Request) -> LadderCell:
    judgement = judge(model, case.machine, request, remedies=False, speeds=case.speeds)
    memory = judgement.memory
    return LadderCell(
        context_tokens=judgement.settings.context_tokens,
        cache_type=judgement.settings.cache_type_k,
        kv_cache_bytes=memory.kv_cache_bytes,
        total_bytes=memory.total_bytes,
        verdict=judgement.verdict,
        shortfall_bytes=judgement.shortfall_bytes,
    )


def _largest_on_gpus(case: Case, model: Model, request: Request, cells: Sequence[LadderCell]) -> int:
    """The largest context that stays on the GPUs; searched only where the cells differ."""
    holding = [cell.context_tokens for cell in cells if cell.verdict == FITS_GPU]
    if not holding or cells[-1].verdict == FITS_GPU:
        return max(holding, default=0)
    weights = weight_table(model.shape, model.tensors, load_mtp=request.loads_mtp)
    base = request.base_settings(holding[-1])
    return max(
        holding[-1], largest_context(model.shape, weights, case.machine, base, request.fixed, (FITS_GPU,))
    )


def _largest_running(case: Case, model: Model, request: Request, cells: Sequence[LadderCell]) -> int:
    """The largest context that runs at all, to SEARCH_STEP_TOKENS: each trial with weights in RAM takes tens
    of milliseconds, and nobody plans such a launch to the token."""
    holding = [cell.context_tokens for cell in cells if cell.fits]
    if not holding or cells[-1].fits:
        return max(holding, default=0)
    failing = min(cell.context_tokens for cell in cells if cell.context_tokens > holding[-1])
    low, high = holding[-1] // SEARCH_STEP_TOKENS, -(-failing // SEARCH_STEP_TOKENS)
    while high - low > 1:
        middle = (low + high) // 2
        tokens = middle * SEARCH_STEP_TOKENS
        fits = _ladder_cell(case, model, replace(request, context_tokens=tokens)).fits
        low, high = (middle, high) if fits else (low, middle)
    return max(holding[-1], low * SEARCH_STEP_TOKENS)


# ---------------------------------------------------------------- speeds


def depth_points(
    judgement: Judgement, depths_tokens: Sequence[int] = DEPTHS_TOKENS
) -> tuple[DepthPoint, ...]:
    """Decode at each depth that its context holds; empty where it does not run or no speed is known."""
    plan, context_tokens = judgement.speed_plan, judgement.settings.context_tokens
    if plan is None:
        return ()
    within = [depth for depth in depths_tokens if depth <= context_tokens]
    estimates = (plan.estimate(depth) for depth in dict.fromkeys((*within, context_tokens)))
    return tuple(DepthPoint(one.depth_tokens, one.decode_tok_s, one.basis) for one in estimates)


def prompt_rows(
    judgement: Judgement, prompts_tokens: Sequence[int] = PROMPTS_TOKENS
) -> tuple[PromptRow, ...]:
    """Each prompt that the context has room for; empty where it does not run or no speed is known."""
    return tuple(_prompt_rows(judgement, prompts_tokens))


def _prompt_rows(judgement: Judgement, prompts_tokens: Sequence[int]) -> Iterator[PromptRow]:
    plan = judgement.speed_plan
    for tokens in prompts_tokens:
        if plan is None or tokens > judgement.settings.context_tokens:
            return
        prefill = plan.estimate(0, tokens).prefill
        if prefill is not None:
            yield PromptRow(tokens, prefill.tok_s, prefill.first_token_s, prefill.basis)


__all__ = [
    "DEPTHS_TOKENS",
    "LISTED_FILE_TYPES",
    "PROMPTS_TOKENS",
    "SEARCH_STEP_TOKENS",
    "Case",
    "context_ladder",
    "depth_points",
    "ladder_contexts",
    "loss_of",
    "prompt_rows",
    "quality_after_losses",
    "quant_rows",
]
