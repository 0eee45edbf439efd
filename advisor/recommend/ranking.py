"""Across models: which few are worth running on this machine, by evidence of quality first.

Ranking key: the lower end of the 80 % interval of a model's ability for the use, minus the loss of its file
type. A model without direct evidence (grade D or E) never comes first while one with evidence fits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from llmfit.advisor.errors import LlmfitError
from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.memory.fitting import largest_context
from llmfit.advisor.memory.settings import ALL_LAYERS
from llmfit.advisor.memory.weights import weight_table
from llmfit.advisor.model.model import Model
from llmfit.advisor.recommend.judgement import DOES_NOT_FIT, FITS_GPU, Judgement
from llmfit.advisor.recommend.request import Request
from llmfit.advisor.recommend.search import judge
from llmfit.advisor.units import GIB

COMFORTABLE_TOK_S = 8.0
"""Slower than a person reads: proposed only where nothing faster fits."""
QUICK_TOK_S = 30.0
"""Fast enough that agents and long answers do not feel slow: the aim of the balanced pick."""
TIE_POINTS = 6.0
"""Ability differences below this are noise (same-size pairs: the better one wins 6 of 10 times)."""
RESERVE_BYTES_PER_GPU = GIB
"""Roughly what driver, compute buffer and a small cache take: only used to skip what cannot fit."""

QUANT_LADDER = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K")
"""File types in falling quality; every publisher of GGUF files has them."""


@dataclass(frozen=True, slots=True)
class Quality:
    """An ability for one use on a scale of 0 to 100, with its 80 % interval and the grade of its evidence."""

    score: float
    low: float
    high: float
    grade: str
    basis: str
    sources: tuple[str, ...] = ()

    @property
    def has_evidence(self) -> bool:
        return self.grade in ("A", "B", "C")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model of the catalogue, before any file type is chosen; ``build`` lays it out in one."""

    model_id: str
    family: str
    n_parameters: int
    n_active_parameters: int | None
    context_train_tokens: int
    quality: Quality
    is_moe: bool
    native_quant: str | None
    """The type it was published in where that is a small one (gpt-oss: MXFP4); other types gain nothing."""
    build: Callable[[str], Model]


@dataclass(frozen=True, slots=True)
class Goal:
    """What the list is for. ``loss_points`` is what a file type costs on the ability scale."""

    use_case: str
    loss_points: Callable[[str, Candidate], float]
    bits_per_weight: Callable[[str], float]
    context_tokens: int | None = None
    min_tok_s: float | None = None
    limit: int = 5


@dataclass(frozen=True, slots=True)
class Recommendation:
    purpose: str
    why: tuple[str, ...]
    quality: Quality
    judgement: Judgement


BEST_QUALITY = "best quality"
FASTEST = "fastest"
LONGEST_CONTEXT = "longest context"
BALANCED = "balanced"
ALTERNATIVE = "alternative"


@dataclass(frozen=True, slots=True)
class _Option:
    candidate: Candidate
    quant: str
    key: float
    on_gpu: bool


_Pick = tuple[_Option, Judgement]


def recommend(candidates: Sequence[Candidate], machine: Machine, goal: Goal) -> tuple[Recommendation, ...]:
    """The best ``goal.limit`` models, one a family, each with its purpose; best quality first."""
    floor_tok_s = goal.min_tok_s or COMFORTABLE_TOK_S
    picks = _judged(_options(candidates, machine, goal), machine, goal, floor_tok_s)
    if not picks and goal.min_tok_s is None:
        picks = _judged(_options(candidates, machine, goal), machine, goal, 0.0)
    return _with_purposes(picks, goal)


def _options(candidates: Iterable[Candidate], machine: Machine, goal: Goal) -> list[_Option]:
    """Every (model, file type) that is small enough, by falling key, those with evidence first."""
    vram_bytes = sum(max(0, (gpu.vram_free_bytes or 0) - RESERVE_BYTES_PER_GPU) for gpu in machine.gpus)
    ram_bytes = machine.memory.available_bytes or 0
    if any(gpu.unified_memory for gpu in machine.gpus):
        ram_bytes = 0
    options = []
    for candidate in candidates:
        for quant in (candidate.native_quant,) if candidate.native_quant else QUANT_LADDER:
            size_bytes = candidate.n_parameters * goal.bits_per_weight(quant) / 8
            on_gpu = size_bytes <= vram_bytes
            if size_bytes > vram_bytes + ram_bytes:
                continue
            key = candidate.quality.low - goal.loss_points(quant, candidate)
            options.append(_Option(candidate, quant, key, on_gpu))
            if on_gpu:
                break  # a smaller file type of the same model would only lose quality
    return sorted(options, key=lambda o: (not o.candidate.quality.has_evidence, -o.key, o.candidate.model_id))


def _judged(options: Sequence[_Option], machine: Machine, goal: Goal, floor_tok_s: float) -> list[_Pick]:
    """The first options that run fast enough, one a family."""
    request = Request(context_tokens=goal.context_tokens)
    picks: list[_Pick] = []
    families: set[str] = set()
    has_gpu = bool(machine.gpus)
    for option in options:
        if len(picks) >= goal.limit:
            break
        candidate = option.candidate
        if candidate.family in families:
            continue
        if goal.context_tokens is not None and 0 < candidate.context_train_tokens < goal.context_tokens:
            continue
        if not option.on_gpu and has_gpu and not candidate.is_moe:
            continue  # a dense model that spills is slower than the next smaller one that does not
        judgement = _try(candidate, option.quant, machine, request)
        if judgement is None or _decode_tok_s(judgement) < floor_tok_s:
            continue
        families.add(candidate.family)
        picks.append((option, judgement))
    return picks


def _try(candidate: Candidate, quant: str, machine: Machine, request: Request) -> Judgement | None:
    """None where it does not fit or is not modelled: such a model is simply not proposed."""
    try:
        judgement = judge(candidate.build(quant), machine, request, remedies=False)
    except LlmfitError:
        return None
    return None if judgement.verdict == DOES_NOT_FIT else judgement


def _decode_tok_s(judgement: Judgement) -> float:
    return judgement.speed.decode_tok_s.expected if judgement.speed else 0.0


def _with_purposes(picks: Sequence[_Pick], goal: Goal) -> tuple[Recommendation, ...]:
    """Names what each pick is best for; a pick that is best at nothing is an alternative."""
    purposes = dict(_purposes(picks))
    recommendations = []
    for number, (option, judgement) in enumerate(picks):
        purpose = purposes.get(number, ALTERNATIVE)
        if purpose == LONGEST_CONTEXT and goal.context_tokens is None:
            judgement = _with_longest_context(judgement)
        why = tuple(_why(option, judgement, picks[0][0]))
        recommendations.append(Recommendation(purpose, why, option.candidate.quality, judgement))
    return tuple(recommendations)


def _purposes(picks: Sequence[_Pick]) -> Iterator[tuple[int, str]]:
    """(position, purpose): the first is the best; any other purpose goes to a pick that beats it there."""
    if not picks:
        return
    taken = {0}
    yield 0, BEST_QUALITY
    measures: tuple[tuple[str, Callable[[_Pick], float]], ...] = (
        (FASTEST, lambda pick: _decode_tok_s(pick[1])),
        (LONGEST_CONTEXT, lambda pick: _reachable_context(pick[1])),
        (BALANCED, lambda pick: pick[0].key if _decode_tok_s(pick[1]) >= QUICK_TOK_S else -1.0),
    )
    for purpose, measure in measures:
        values = [measure(pick) for pick in picks]
        best = max(range(len(picks)), key=lambda number: values[number])
        if best not in taken and values[best] > values[0]:
            taken.add(best)
            yield best, purpose


def _reachable_context(judgement: Judgement) -> float:
    """About how many tokens of cache the free room of the cards would hold, capped by training."""
    cache_bytes = max(1, judgement.memory.kv_cache_bytes)
    room_bytes = sum(max(0, (gpu.free_bytes or 0) - gpu.required_bytes) for gpu in judgement.memory.gpus)
    tokens = judgement.settings.context_tokens * (1 + room_bytes / cache_bytes)
    return min(tokens, judgement.model.shape.context_train_tokens or tokens)


def _with_longest_context(judgement: Judgement) -> Judgement:
    """The same model with all the context that gets the same verdict."""
    model, machine = judgement.model, judgement.machine
    tokens = largest_context(
        model.shape,
        weight_table(model.shape, model.tensors),
        machine,
        replace(judgement.settings, devices=(), gpu_layers=ALL_LAYERS, tensor_split=None),
        frozenset({"cache_type_k", "cache_type_v"}),
        (judgement.verdict,),
    )
    if tokens <= judgement.settings.context_tokens:
        return judgement
    cache_type = judgement.settings.cache_type_k
    longer = judge(model, machine, Request(context_tokens=tokens, cache_type_k=cache_type), remedies=False)
    return replace(longer, reasons=(*longer.reasons, f"{tokens} tokens of context are the most that fit."))


def _why(option: _Option, judgement: Judgement, best: _Option) -> Iterator[str]:
    quality = option.candidate.quality
    if quality.has_evidence:
        yield (
            f"Ability {quality.score:.0f} (80 % interval {quality.low:.0f} to {quality.high:.0f}, "
            f"evidence grade {quality.grade}: {quality.basis})."
        )
    else:
        yield f"No direct evidence of quality (grade {quality.grade}): ranked by size and family."
    if option is not best and best.key - option.key < TIE_POINTS:
        yield f"Within {TIE_POINTS:.0f} points of the first: a tie, let speed and context decide."
    if judgement.verdict == FITS_GPU:
        yield f"{option.quant} is the largest file type whose weights and cache stay on the GPU."
    yield from judgement.reasons
