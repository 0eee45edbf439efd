"""Prefill as a sum of times: what reading a prompt multiplies, reads and copies, ubatch after ubatch.

A prompt is cut into ubatches (llama_context::decode, src/llama-context.cpp). Each multiplies its tokens with
every active weight, reads every weight once, of experts those that its tokens touch, and copies what lies in
RAM to the first GPU (op offload: from 32 tokens on, ggml_backend_sched_backend_id_from_cur in
ggml/src/ggml-backend.cpp and offload_op of the backends; of experts only those used,
ggml_backend_sched_compute_splits). The output head is computed for the last token alone and not counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llmfit.advisor.hardware.machine import Gpu, Machine
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.model.shape import LayerKind, ModelShape
from llmfit.advisor.speed.decode import DecodePlan
from llmfit.advisor.speed.prefill_constants import CONSTANTS, PrefillConstants
from llmfit.advisor.speed.prefill_rates import (
    FLOP_PER_PARAMETER,
    CardRates,
    card_rates,
    copy_bytes_per_s,
    host_flops,
    link_bytes_per_s,
    matrix_s,
    typed,
)
from llmfit.advisor.speed.reads import F32_BYTES, CacheReads, DecodeReads, PlaceReads, Role
from llmfit.advisor.speed.terms import Cause, StepTime, Term

RAM = "RAM"
MIN_OFFLOAD_TOKENS = 32
"""Smaller ubatches are left to the CPU (op_offload_min_batch_size, ggml-cuda.cu and the other backends)."""
STATE_FLOP = 8
"""Operations for each element of a recurrent state and token: decay, read, difference, update."""
F16_BYTES = 2


@dataclass(frozen=True, slots=True)
class Chunks:
    """A prompt cut into ubatches: ``n_full`` of ``ubatch_tokens`` and a rest."""

    prompt_tokens: int
    depth_tokens: int
    n_ubatches: int
    touched: float
    """Ubatches, each counted as the share of the experts that its tokens touch."""

    def cells(self, window_tokens: int = 0) -> float:
        """Cached tokens that all tokens of the prompt look at, each at those before it and itself."""
        n, start = self.prompt_tokens, self.depth_tokens
        if window_tokens:
            growing = min(n, max(0, window_tokens - start))
            return growing * start + growing * (growing + 1) / 2 + (n - growing) * window_tokens
        return n * start + n * (n + 1) / 2

    @property
    def cache_reads_tokens(self) -> float:
        """Length of the cache at each ubatch, added up."""
        return self.n_ubatches * (self.depth_tokens + self.prompt_tokens / 2)


@dataclass(frozen=True, slots=True)
class Cost:
    """One summand of a place: seconds a token, an ubatch, an ubatch that touches all experts, a cell.

    ``*_amount`` are what the term shows: operations or bytes of the same.
    """

    what: str
    where: str
    cause: Cause
    token_s: float = 0.0
    ubatch_s: float = 0.0
    touch_s: float = 0.0
    cell_s: float = 0.0
    window_cell_s: float = 0.0
    cache_token_s: float = 0.0
    per_s: float | None = None
    """Operations or bytes a second, where one rate holds."""
    unit: str = "FLOP"

    def term(self, chunks: Chunks, window_tokens: int) -> Term:
        time_s = (
            self.token_s * chunks.prompt_tokens
            + self.ubatch_s * chunks.n_ubatches
            + self.touch_s * chunks.touched
            + self.cache_token_s * chunks.cache_reads_tokens
        )
        if self.cell_s:
            time_s += self.cell_s * chunks.cells()
        if self.window_cell_s:
            time_s += self.window_cell_s * chunks.cells(window_tokens)
        amount = None if self.per_s is None else time_s * self.per_s
        return Term(self.what, self.where, self.cause, time_s, amount, self.per_s, self.unit)


@dataclass(frozen=True, slots=True)
class Floor:
    """What no device can beat: operations over its peak rate, bytes over its peak bandwidth or link."""

    token_s: float = 0.0
    ubatch_s: float = 0.0
    touch_s: float = 0.0
    copy_ubatch_s: float = 0.0
    copy_touch_s: float = 0.0

    def time_s(self, chunks: Chunks) -> float:
        return max(
            self.token_s * chunks.prompt_tokens,
            self.ubatch_s * chunks.n_ubatches + self.touch_s * chunks.touched,
            self.copy_ubatch_s * chunks.n_ubatches + self.copy_touch_s * chunks.touched,
        )


@dataclass(frozen=True, slots=True)
class Stage:
    """What one device does of every ubatch."""

    costs: tuple[Cost, ...]
    floor: Floor


@dataclass(frozen=True, slots=True)
class PrefillPlan:
    """The prompts of one placement: made once, asked for every length and depth.

    ``stages`` are the GPUs in order or the CPU alone; ``overlap_share`` is the part of the time that several
    GPUs hide by working on different ubatches (0 without a pipeline).
    """

    stages: tuple[Stage, ...]
    window_tokens: int
    ubatch_tokens: int
    expert_share: float
    """Experts of a layer that one token uses, of all: 1 without experts."""
    overlap_share: float
    is_guessed: bool
    """The rate of a card is not known: it was taken from its bandwidth."""
    is_alone: bool
    """Nothing but the CPU takes part."""
    is_offloaded: bool
    """A part of the layers' weights lies in RAM and is copied."""

    def prompt(self, prompt_tokens: int, depth_tokens: int = 0) -> StepTime:
        """The time until the last of ``prompt_tokens`` is in the cache, after ``depth_tokens`` that were."""
        chunks = self._chunks(prompt_tokens, depth_tokens)
        terms = [[cost.term(chunks, self.window_tokens) for cost in stage.costs] for stage in self.stages]
        floors = [stage.floor.time_s(chunks) for stage in self.stages]
        if self.overlap_share and prompt_tokens > self.ubatch_tokens:
            return self._overlapped(terms, floors, prompt_tokens)
        return StepTime(tuple(term for stage in terms for term in stage), sum(floors))

    def _overlapped(self, terms: list[list[Term]], floors: list[float], prompt_tokens: int) -> StepTime:
        """While a GPU works on one ubatch, the one before it works on the next: only the slowest counts,
        except for the first ubatch on its way through."""
        times = [sum(term.time_s for term in stage) for stage in terms]
        total = sum(times)
        hidden = self.overlap_share * (1 - self.ubatch_tokens / prompt_tokens) * (total - max(times))
        kept = 1 - hidden / total if total else 1.0
        shown = tuple(
            Term(
                term.what,
                term.where,
                term.cause,
                term.time_s * kept,
                term.amount,
                None if term.rate_per_s is None else term.rate_per_s / kept,
                term.unit,
            )
            for stage in terms
            for term in stage
        )
        return StepTime(shown, max(floors))

    def _chunks(self, prompt_tokens: int, depth_tokens: int) -> Chunks:
        n_full, rest = divmod(prompt_tokens, self.ubatch_tokens)
        untouched = 1 - self.expert_share
        touched = n_full * (1 - untouched**self.ubatch_tokens) + (1 - untouched**rest)
        return Chunks(prompt_tokens, depth_tokens, n_full + bool(rest), touched)


def time_to_first_token_s(
    prefill: PrefillPlan,
    decode: DecodePlan,
    prompt_tokens: int,
    depth_tokens: int = 0,
    cache_type_k: str = "f16",
    cache_type_v: str = "f16",
) -> float:
    """Seconds from a prompt to its first answered token, for one stream, everything loaded: the prompt, and
    one step that computes the output head."""
    step = decode.step(depth_tokens + prompt_tokens, cache_type_k, cache_type_v)
    return prefill.prompt(prompt_tokens, depth_tokens).total_s + step.total_s


def plan_prefill(
    shape: ModelShape,
    reads: DecodeReads,
    gpus: Sequence[Gpu],
    machine: Machine,
    settings: LaunchSettings,
    constants: PrefillConstants = CONSTANTS,
) -> PrefillPlan | None:
    """What prompts cost in one placement; ``gpus`` are those of ``reads.gpus`` in order.

    ``None`` where nothing is known that the speed could follow from: neither rate nor bandwidth of a GPU that
    takes part, neither cores nor RAM bandwidth for what the CPU does.
    """
    cards = [card_rates(gpu, constants) for gpu in gpus]
    rates = [card for card in cards if card is not None]
    if len(rates) < len(cards):
        return None
    parts = _Parts(shape, reads, constants)
    copied = bool(gpus) and settings.op_offload and settings.ubatch >= MIN_OFFLOAD_TOKENS
    stages = []
    for i, (place, card) in enumerate(zip(reads.gpus, rates, strict=True)):
        costs = list(parts.gpu_costs(place, card))
        floor = parts.gpu_floor(place, card)
        if i == 0 and copied and reads.host.is_used:
            rate = copy_bytes_per_s(gpus[0], machine, constants)
            costs += parts.copied_costs(reads.host, card, rate, settings.kv_offload)
            floor = parts.copied_floor(floor, reads.host, card, link_bytes_per_s(gpus[0]))
        stages.append(Stage(tuple(costs), floor))
    if (reads.host.is_used and not copied) or (not settings.kv_offload and shape.n_layer):
        host = parts.host_stage(reads.host, machine, with_weights=not copied)
        if host is None:
            return None
        stages.append(host)
    busy = [stage for stage in stages if stage.costs]
    used = sum(place.is_used for place in reads.gpus)
    piped = used > 1 and not reads.host.weight_bytes(Role.DENSE, Role.EXPERT) and _may_pipeline(settings)
    return PrefillPlan(
        stages=tuple(busy),
        window_tokens=shape.window_tokens,
        ubatch_tokens=max(1, min(settings.ubatch, settings.batch)),
        expert_share=shape.n_expert_used / shape.n_expert if shape.n_expert else 1.0,
        overlap_share=constants.pipeline_share if piped else 0.0,
        is_guessed=any(card.is_guessed for card in rates),
        is_alone=not used,
        is_offloaded=bool(used and reads.host.weight_bytes(Role.DENSE, Role.EXPERT)),
    )


def _may_pipeline(settings: LaunchSettings) -> bool:
    """llama.cpp keeps several ubatches on their way only where nothing is overridden and the cache is on the
    GPUs (llama_context::llama_context, src/llama-context.cpp: pipeline_parallel)."""
    return settings.kv_offload and not settings.n_cpu_moe and not settings.override_tensor


@dataclass(frozen=True, slots=True)
class _Parts:
    """What the places of one model cost."""

    shape: ModelShape
    reads: DecodeReads
    constants: PrefillConstants

    def gpu_costs(self, place: PlaceReads, card: CardRates) -> Iterator[Cost]:
        """What a GPU does with the weights and the cache that it holds."""
        yield from self._matrices(place, card)
        yield from self._weight_reads(place, card)
        yield from self._attention(place.cache, card, card.label)
        layers = place.n_layers + self.constants.expert_layers * place.n_expert_layers
        layers += self.constants.state_layers * self._state_layers(place.cache)
        if layers:
            each_s = card.kernels.layer_s
            yield Cost("layers", card.label, Cause.LAUNCH, ubatch_s=layers * each_s)

    def copied_costs(
        self, host: PlaceReads, card: CardRates, copy_bytes_per_s: float, kv_offload: bool
    ) -> Iterator[Cost]:
        """What the first GPU does with weights that lie in RAM, and their way there."""
        yield from self._matrices(host, card)
        dense, experts = host.weight_bytes(Role.DENSE), self._all_experts(host.weight_bytes(Role.EXPERT))
        cache_bytes = 0.0
        if kv_offload:
            yield from self._attention(host.cache, card, card.label)
            cache = host.cache
            cache_bytes = F16_BYTES * float(cache.full_k_elements + cache.full_v_elements)
        if dense or experts or cache_bytes:
            yield Cost(
                "weights from RAM",
                f"RAM to {card.label}",
                Cause.PCIE,
                ubatch_s=dense / copy_bytes_per_s,
                touch_s=experts / copy_bytes_per_s,
                cache_token_s=cache_bytes / copy_bytes_per_s,
                per_s=copy_bytes_per_s,
                unit="B",
            )
        layers = host.n_layers + self.constants.expert_layers * host.n_expert_layers
        if layers:
            yield Cost("layers in RAM", card.label, Cause.LAUNCH, ubatch_s=layers * card.kernels.layer_s)

    def host_stage(self, host: PlaceReads, machine: Machine, *, with_weights: bool) -> Stage | None:
        """What the CPU multiplies; ``None`` where its speed is not known."""
        flops = host_flops(machine, self.constants)
        ram = machine.memory.bandwidth_bytes_per_s
        if flops is None:
            return None
        dense = host.n_parameters(Role.DENSE) if with_weights else 0.0
        experts = host.n_parameters(Role.EXPERT) if with_weights else 0.0
        costs = [
            Cost(what, RAM, Cause.COMPUTE, token_s=FLOP_PER_PARAMETER * n / flops, per_s=flops)
            for what, n in ((Role.DENSE.value, dense), (Role.EXPERT.value, experts))
            if n
        ]
        cell, window_cell = self._cell_flop(host.cache)
        state = STATE_FLOP * host.cache.state_bytes / F32_BYTES
        if cell or window_cell or state:
            costs.append(
                Cost(
                    "attention",
                    RAM,
                    Cause.COMPUTE,
                    token_s=state / flops,
                    cell_s=cell / flops,
                    window_cell_s=window_cell / flops,
                    per_s=flops,
                )
            )
        if not with_weights or ram is None:
            return Stage(tuple(costs), Floor())
        dense_bytes = host.weight_bytes(Role.DENSE)
        expert_bytes = self._all_experts(host.weight_bytes(Role.EXPERT))
        peak = float(max(ram, machine.memory.peak_bandwidth_bytes_per_s or 0))
        costs.append(
            Cost(
                "weights",
                RAM,
                Cause.SYSTEM_MEMORY,
                ubatch_s=dense_bytes / ram,
                touch_s=expert_bytes / ram,
                per_s=float(ram),
                unit="B",
            )
        )
        return Stage(tuple(costs), Floor(ubatch_s=dense_bytes / peak, touch_s=expert_bytes / peak))

    def gpu_floor(self, place: PlaceReads, card: CardRates) -> Floor:
        flop = FLOP_PER_PARAMETER * place.n_parameters(Role.DENSE, Role.EXPERT)
        experts = self._all_experts(place.weight_bytes(Role.EXPERT))
        return Floor(
            token_s=flop / card.peak_flops,
            ubatch_s=place.weight_bytes(Role.DENSE) / card.bytes_per_s,
            touch_s=experts / card.bytes_per_s,
        )

    def copied_floor(self, floor: Floor, host: PlaceReads, card: CardRates, link_bytes_per_s: float) -> Floor:
        flop = FLOP_PER_PARAMETER * host.n_parameters(Role.DENSE, Role.EXPERT)
        return Floor(
            token_s=floor.token_s + flop / card.peak_flops,
            ubatch_s=floor.ubatch_s,
            touch_s=floor.touch_s,
            copy_ubatch_s=host.weight_bytes(Role.DENSE) / link_bytes_per_s,
            copy_touch_s=self._all_experts(host.weight_bytes(Role.EXPERT)) / link_bytes_per_s,
        )

    def _matrices(self, place: PlaceReads, card: CardRates) -> Iterator[Cost]:
        dense = typed(place, Role.DENSE)
        if dense:
            seconds = matrix_s(dense, card)
            flop = FLOP_PER_PARAMETER * place.n_parameters(Role.DENSE)
            yield Cost(Role.DENSE.value, card.label, Cause.COMPUTE, token_s=seconds, per_s=flop / seconds)
        experts = typed(place, Role.EXPERT)
        if experts:
            seconds = matrix_s(experts, card) / card.kernels.expert_factor
            flop = FLOP_PER_PARAMETER * place.n_parameters(Role.EXPERT)
            yield Cost(
                Role.EXPERT.value,
                card.label,
                Cause.COMPUTE,
                token_s=seconds,
                touch_s=self._all_experts(seconds) * card.kernels.pad_tokens,
                per_s=flop / seconds,
            )

    def _weight_reads(self, place: PlaceReads, card: CardRates) -> Iterator[Cost]:
        dense, experts = place.weight_bytes(Role.DENSE), self._all_experts(place.weight_bytes(Role.EXPERT))
        rate = card.bytes_per_s * self.constants.weight_read_share
        if dense or experts:
            yield Cost(
                "weights",
                card.label,
                Cause.GPU_MEMORY,
                ubatch_s=dense / rate,
                touch_s=experts / rate,
                per_s=rate,
                unit="B",
            )

    def _attention(self, cache: CacheReads, card: CardRates, where: str) -> Iterator[Cost]:
        cell, window_cell = self._cell_flop(cache)
        rate = card.attention_flops
        if cell or window_cell:
            yield Cost(
                "attention",
                where,
                Cause.COMPUTE,
                cell_s=cell / rate,
                window_cell_s=window_cell / rate,
                per_s=rate,
            )
        if cache.state_bytes:
            flop, rate = STATE_FLOP * cache.state_bytes / F32_BYTES, card.state_flops
            yield Cost("recurrence", where, Cause.COMPUTE, token_s=flop / rate, per_s=rate)

    def _cell_flop(self, cache: CacheReads) -> tuple[float, float]:
        """Operations for one token looking at one cached token: in the layers here that see all of the cache,
        and in those with a window. Each head multiplies a row of K and one of V."""
        full, window = _attention_flop(self.shape)
        caches = [place.cache for place in self.reads.places]
        all_full = sum(one.full_k_elements for one in caches)
        all_window = sum(one.window_k_elements for one in caches)
        return (
            full * cache.full_k_elements / all_full if all_full else 0.0,
            window * cache.window_k_elements / all_window if all_window else 0.0,
        )

    def _state_layers(self, cache: CacheReads) -> float:
        elements = self.shape.recurrent_elements
        return cache.state_bytes / (F32_BYTES * elements) if elements else 0.0

    def _all_experts(self, active: float) -> float:
        """From what one token uses of the experts to all of them."""
        return active * self.shape.n_expert / self.shape.n_expert_used if self.shape.n_expert_used else active


def _attention_flop(shape: ModelShape) -> tuple[float, float]:
    full = window = 0.0
    for layer in range(shape.n_layer):
        if not shape.has_attention(layer):
            continue
        flop = 2.0 * shape.n_head[layer] * (shape.head_dim_k[layer] + shape.head_dim_v[layer])
        if shape.kinds[layer] is LayerKind.SWA and shape.window_tokens:
            window += flop
        else:
            full += flop
    return full, window
