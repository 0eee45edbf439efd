"""Prefill as a sum of times: what reading a prompt multiplies, reads and copies, ubatch after ubatch.

A prompt is cut into ubatches (llama_context::decode, src/llama-context.cpp). Each multiplies its tokens with
every active weight, reads every weight once, of experts those that its tokens touch, and copies what lies in
RAM to the first GPU (op offload: from 32 tokens on, ggml_backend_sched_backend_id_from_cur in
ggml/src/ggml-backend.cpp and offload_op of the backends; of experts only those used,
ggml_backend_sched_compute_splits). The output head is computed for the last token alone and not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llmfit.advisor.hardware.machine import Gpu, Machine
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.model.shape import ModelShape
from llmfit.advisor.speed.prefill.constants import CONSTANTS, RANGES, Placement, PrefillConstants
from llmfit.advisor.speed.prefill.costs import PlaceCosts
from llmfit.advisor.speed.prefill.rates import CardRates, card_rates, copy_bytes_per_s, link_bytes_per_s
from llmfit.advisor.speed.prefill.stages import Chunks, Stage, chunks_of
from llmfit.advisor.speed.reads import DecodeReads, Role
from llmfit.advisor.speed.terms import StepTime, Term

MIN_OFFLOAD_TOKENS = 32
"""Smaller ubatches are left to the CPU (op_offload_min_batch_size, ggml-cuda.cu and the other backends)."""


@dataclass(frozen=True, slots=True)
class PrefillPlan:
    """The prompts of one placement: made once, asked for every length and depth.

    ``stages`` are the GPUs in order, then what the CPU does of every ubatch. ``copied`` is what the first GPU
    does with weights that lie in RAM, ``left_to_cpu`` the same work where a ubatch is too small to be copied
    for. ``overlap_share`` is the part of the time that several GPUs hide by working on different ubatches (0
    without a pipeline).
    """

    stages: tuple[Stage, ...]
    copied: Stage | None
    left_to_cpu: Stage | None
    window_tokens: int
    ubatch_tokens: int
    expert_share: float
    """Experts of a layer that one token uses, of all: 1 without experts."""
    overlap_share: float
    placement: Placement
    """The class of doubt."""

    def prompt(self, prompt_tokens: int, depth_tokens: int = 0) -> StepTime:
        """The time until the last of ``prompt_tokens`` is in the cache, after ``depth_tokens`` that were.

        The rate of a prompt is ``prompt_tokens`` over its ``total_s``.
        """
        chunks = chunks_of(prompt_tokens, depth_tokens, self.ubatch_tokens, self.expert_share)
        if self.overlap_share and prompt_tokens > self.ubatch_tokens:
            return self._overlapped(chunks)
        terms, bound_s = _summed(self.stages, chunks, self.window_tokens)
        if self.copied is not None:
            more, more_bound_s = self._with_ram(self.copied, chunks)
            terms += more
            bound_s += more_bound_s
        return StepTime(tuple(terms), bound_s)

    def prompt_s(self, prompt_tokens: int, depth_tokens: int = 0) -> float:
        """``prompt(…).total_s`` without the terms, in a tenth of the time: for tables."""
        rest = prompt_tokens % self.ubatch_tokens
        if self.left_to_cpu is not None and 0 < rest < MIN_OFFLOAD_TOKENS:
            return self.prompt(prompt_tokens, depth_tokens).total_s
        chunks = chunks_of(prompt_tokens, depth_tokens, self.ubatch_tokens, self.expert_share)
        stages = self.stages if self.copied is None else (*self.stages, self.copied)
        times = [stage.total.time_s(chunks, self.window_tokens) for stage in stages]
        floors = [stage.floor.time_s(chunks) for stage in stages]
        if self.overlap_share and prompt_tokens > self.ubatch_tokens:
            return max(*floors, sum(times) * self._kept(times, depth_tokens))
        return max(sum(floors), sum(times))

    def _kept(self, times: Sequence[float], depth_tokens: int) -> float:
        """The part of the stages' times that a pipeline does not hide: while a GPU works on one ubatch, the
        one before it works on the next. Only the slowest counts, but for the first ubatch on its way."""
        first = chunks_of(self.ubatch_tokens, depth_tokens, self.ubatch_tokens, self.expert_share)
        way = [stage.total.time_s(first, self.window_tokens) for stage in self.stages]
        waiting_s = (sum(times) - max(times)) - (sum(way) - max(way))
        return 1 - self.overlap_share * waiting_s / sum(times)

    def _with_ram(self, copied: Stage, chunks: Chunks) -> tuple[list[Term], float]:
        """The weights in RAM: copied for every ubatch, but for a last one that is too small. There what takes
        less time is shown, so that no prompt takes longer than one that has a token more."""
        plain = _summed((copied,), chunks, self.window_tokens)
        rest = chunks.prompt_tokens % self.ubatch_tokens
        if self.left_to_cpu is None or not 0 < rest < MIN_OFFLOAD_TOKENS:
            return plain
        whole = chunks.prompt_tokens - rest
        large = chunks_of(whole, chunks.depth_tokens, self.ubatch_tokens, self.expert_share)
        small = chunks_of(rest, chunks.depth_tokens + whole, self.ubatch_tokens, self.expert_share)
        terms, bound_s = _summed((copied,), large, self.window_tokens) if whole else ([], 0.0)
        more, more_bound_s = _summed((self.left_to_cpu,), small, self.window_tokens)
        split = (terms + more, bound_s + more_bound_s)
        return min(plain, split, key=lambda one: max(one[1], sum(term.time_s for term in one[0])))

    def _overlapped(self, chunks: Chunks) -> StepTime:
        each = [_summed((stage,), chunks, self.window_tokens) for stage in self.stages]
        times = [sum(term.time_s for term in terms) for terms, _ in each]
        kept = self._kept(times, chunks.depth_tokens)
        terms = tuple(term.scaled(kept) for terms, _ in each for term in terms)
        return StepTime(terms, max(bound_s for _, bound_s in each))


def _summed(stages: Sequence[Stage], chunks: Chunks, window_tokens: int) -> tuple[list[Term], float]:
    """The terms of some stages and their floors, one after the other."""
    terms = [cost.term(chunks, window_tokens) for stage in stages for cost in stage.costs]
    return terms, sum(stage.floor.time_s(chunks) for stage in stages)


def prefill_range(plan: PrefillPlan) -> tuple[float, float]:
    """Low and high as factors of the expected rate, between which four of five unseen cards lie."""
    return RANGES[plan.placement]


def plan_prefill(
    shape: ModelShape,
    reads: DecodeReads,
    gpus: Sequence[Gpu],
    machine: Machine,
    settings: LaunchSettings,
    constants: PrefillConstants = CONSTANTS,
) -> PrefillPlan | None:
    """What prompts cost in one placement; ``gpus`` are those of ``reads.gpus`` in order.

    ``None`` where nothing is known that the speed could follow from: no bandwidth of a GPU that takes part,
    neither cores nor RAM bandwidth for what the CPU does.
    """
    found = [card_rates(gpu, constants) for gpu in gpus]
    cards = [card for card in found if card is not None]
    if len(cards) < len(found):
        return None
    costs = PlaceCosts.of(shape, reads, constants)
    in_ram = bool(reads.host.weight_bytes(Role.DENSE, Role.EXPERT))
    stages = [costs.gpu_stage(place, card) for place, card in zip(reads.gpus, cards, strict=True)]
    ubatch_tokens = max(1, min(settings.ubatch, settings.batch))
    copied = left_to_cpu = None
    if in_ram and cards and settings.op_offload and ubatch_tokens >= MIN_OFFLOAD_TOKENS:
        rate, link = copy_bytes_per_s(gpus[0], machine, constants), link_bytes_per_s(gpus[0])
        copied = costs.copied_stage(cards[0], rate, link, with_cache=settings.kv_offload)
        left_to_cpu = costs.host_stage(machine, with_cache=settings.kv_offload)
    with_weights = in_ram and copied is None
    cpu_is_unknown = False
    if with_weights or (cards and not settings.kv_offload):
        on_cpu = costs.host_stage(machine, with_weights=with_weights)
        if on_cpu is None:
            return None
        stages.append(on_cpu)
        cpu_is_unknown = not machine.cpu.physical_cores
    used = [card for place, card in zip(reads.gpus, cards, strict=True) if place.is_used]
    piped = len(used) > 1 and not in_ram and _may_pipeline(settings)
    return PrefillPlan(
        stages=tuple(stage for stage in stages if stage.costs),
        copied=copied,
        left_to_cpu=left_to_cpu,
        window_tokens=shape.window_tokens,
        ubatch_tokens=ubatch_tokens,
        expert_share=shape.n_expert_used / shape.n_expert if shape.n_expert else 1.0,
        overlap_share=constants.pipeline_share if piped else 0.0,
        placement=Placement.UNKNOWN_CPU if cpu_is_unknown else _placement(used, in_ram),
    )


def _placement(used: Sequence[CardRates], in_ram: bool) -> Placement:
    if not used:
        return Placement.CPU
    if in_ram:
        return Placement.OFFLOAD
    if not all(card.is_known_class for card in used):
        return Placement.UNKNOWN_CARD
    return Placement.SEVERAL_GPUS if len(used) > 1 else Placement.ONE_GPU


def _may_pipeline(settings: LaunchSettings) -> bool:
    """llama.cpp keeps several ubatches on their way only where nothing is overridden and the cache is on the
    GPUs (llama_context::llama_context, src/llama-context.cpp: pipeline_parallel)."""
    return settings.kv_offload and not settings.n_cpu_moe and not settings.override_tensor
