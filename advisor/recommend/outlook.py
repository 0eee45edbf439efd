"""Options: every (model, file type) that may be worth judging, by what is known without laying it out.

Sizes and speeds here are rough and only decide what is judged, and in which order; every figure that is shown
comes from ``judge``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.model.model import Model
from llmfit.advisor.recommend.ladders import GOOD_ENOUGH, QUANT_LADDER
from llmfit.advisor.recommend.micro_batch import SPILLED_UBATCH
from llmfit.advisor.recommend.needs import Need, need_of, thinking_need
from llmfit.advisor.recommend.quality import Loss, Quality, QualityFacts, reduced
from llmfit.advisor.units import GB, GIB

SPEED_POINTS = 4.0
"""What each halving of the speed that a use asks for weighs against ability points: less than a tie of 6."""
FASTER_POINTS = 0.5
"""What each doubling above it is still worth, up to ``FASTER_DOUBLINGS``: more than a file type's noise."""
FASTER_DOUBLINGS = 2.0
PROMPT_POINTS = 2.0
"""What each doubling of the time that a use gives to its prompts weighs."""
SPILL_POINTS = 2.0
"""What weights in RAM beside a GPU weigh: prompts are read several times slower, speed is less certain."""
RESERVE_BYTES_PER_GPU = GIB
"""Roughly what driver, compute buffer and a small cache take."""
RESERVE_RAM_BYTES = 2 * GIB
ROUGH_RAM_BYTES_PER_S = 50 * GB
"""Two channels of DDR4-3200, to order what runs in RAM of unknown bandwidth; never shown."""
ROUGH_EFFICIENCY = 0.7
ROUGH_STEP_S = 2.5e-3
"""What a step costs besides reading: launches, synchronisation."""
ROUGH_LINK_BYTES_PER_S = 16 * GB
"""Experts in RAM cross the bus once a micro-batch while a prompt is read."""
ROUGH_PREFILL_SHARE = 0.3
"""Of the card's peak in fp16, while it reads a prompt."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model of the catalogue, before any file type is chosen; ``build`` lays it out in one."""

    model_id: str
    family: str
    """One of a family is proposed: generations of one line of models are one family."""
    n_parameters: int
    n_active_parameters: int | None
    context_train_tokens: int
    quality: Quality
    released: str
    """Date, or empty: of equals the newer one is proposed."""
    is_moe: bool
    native_quant: str | None
    """The type it was trained in where that is a small one (gpt-oss: MXFP4): nothing is lost in it."""
    only_quant: str | None
    """The one type worth taking: the native one, or that of the file that is all there is of it."""
    build: Callable[[str], Model]
    facts: Callable[[Model], QualityFacts]
    """What is known of its quality for the use, once it is laid out."""
    projector_bytes: int | None = None
    """What the vision projector's file takes, where the use needs it."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What the list is for. ``loss`` is what a file type costs on the ability scale."""

    use_case: str
    loss: Callable[[str, Candidate], Loss]
    bits_per_weight: Callable[[str], float]
    context_tokens: int | None = None
    min_tok_s: float | None = None
    limit: int = 5

    @property
    def need(self) -> Need:
        return need_of(self.use_case)

    def need_for(self, quality: Quality) -> Need:
        """What the use asks of a model: more of one that thinks before it answers."""
        return thinking_need(self.need) if quality.thinks else self.need


@dataclass(frozen=True, slots=True)
class Option:
    """A model in a file type. ``key`` is its ability there, ``worth`` the key less what slowness weighs."""

    candidate: Candidate
    quant: str
    key: float
    """The lower end of the 80 % interval of its ability less the loss of the file type."""
    on_gpus: bool
    """Whether the weights alone would go on the GPUs."""
    spills: bool
    """Whether there are GPUs and the weights would not go on them."""
    size_bytes: float
    """Of its weights, by the usual bits of the file type."""
    rough_gpu_bytes: float
    rough_tok_s: float
    slowness_points: float

    @property
    def worth(self) -> float:
        return self.key - self.slowness_points - SPILL_POINTS * self.spills

    @property
    def hoped_tok_s(self) -> float:
        """Hardly ever exceeded: those of experts in RAM may be half of what they are, others are not."""
        return self.rough_tok_s * (2.0 if self.candidate.is_moe else 1.2)

    @property
    def is_tested(self) -> bool:
        return self.candidate.quality.is_tested


def best_first(options: Iterable[Option]) -> list[Option]:
    """By worth, to half a point, then the newer, then the larger file type.

    What has no evidence comes after all that has.
    """
    newest = sorted(options, key=lambda option: (option.candidate.model_id, -option.size_bytes))
    newest.sort(key=lambda option: option.candidate.released, reverse=True)
    return sorted(newest, key=lambda option: (not option.is_tested, -round(option.worth * 2)))


def slowness_points(need: Need, tok_s: float, prompt_s: float = 0.0) -> float:
    """What a decode speed and the time for the usual prompt weigh against ability points.

    Negative for what is faster than the use asks.
    """
    doublings = math.log2(max(tok_s, 1e-3) / need.quick_tok_s)
    points = -SPEED_POINTS * doublings if doublings < 0 else -FASTER_POINTS * min(doublings, FASTER_DOUBLINGS)
    return points + PROMPT_POINTS * max(0.0, math.log2(max(prompt_s, 1e-6) / need.patience_s))


def find_options(candidates: Iterable[Candidate], machine: Machine, goal: Goal) -> list[Option]:
    """Every option whose weights have room somewhere, the best first."""
    room = _Room.of(machine)
    found = (
        option
        for candidate in candidates
        if not 0 < candidate.context_train_tokens < (goal.context_tokens or 0)
        for option in _options_of(candidate, room, goal)
    )
    return best_first(found)


@dataclass(frozen=True, slots=True)
class _Room:
    """What the machine has for weights, and how fast it reads and multiplies them."""

    vram_bytes: float
    ram_bytes: float
    vram_bytes_per_s: float
    ram_bytes_per_s: float
    flops: float | None

    @staticmethod
    def of(machine: Machine) -> _Room:
        gpus = machine.gpus
        free = [gpu.usable_bytes or 0 for gpu in gpus]
        speeds = [gpu.bandwidth_bytes_per_s for gpu in gpus if gpu.bandwidth_bytes_per_s]
        flops = [gpu.fp16_flops for gpu in gpus if gpu.fp16_flops]
        available = machine.memory.available_bytes or machine.memory.capacity_bytes or 0
        # What a GPU takes of a shared memory is gone for the CPU, which may have the rest.
        shared = sum(size for gpu, size in zip(gpus, free, strict=True) if gpu.unified_memory)
        return _Room(
            vram_bytes=sum(max(0, size - RESERVE_BYTES_PER_GPU) for size in free),
            ram_bytes=max(0, available - shared - RESERVE_RAM_BYTES),
            vram_bytes_per_s=min(speeds, default=ROUGH_RAM_BYTES_PER_S),
            ram_bytes_per_s=machine.memory.bandwidth_bytes_per_s or ROUGH_RAM_BYTES_PER_S,
            flops=min(flops) if flops else None,
        )

    def rough_tok_s(self, read_bytes: float, in_ram_share: float) -> float:
        seconds_per_byte = (1 - in_ram_share) / self.vram_bytes_per_s + in_ram_share / self.ram_bytes_per_s
        return 1 / (read_bytes * seconds_per_byte / ROUGH_EFFICIENCY + ROUGH_STEP_S)

    def rough_prompt_s(self, n_tokens: int, n_active: int, in_ram_bytes: float) -> float:
        """0 without a GPU whose speed is known: then every model waits for the same CPU."""
        if not self.vram_bytes or self.flops is None:
            return 0.0
        multiply_s = n_tokens * 2 * n_active / (self.flops * ROUGH_PREFILL_SHARE)
        copies = math.ceil(n_tokens / SPILLED_UBATCH)
        return multiply_s + copies * in_ram_bytes / ROUGH_LINK_BYTES_PER_S


def _options_of(candidate: Candidate, room: _Room, goal: Goal) -> Iterator[Option]:
    good_enough = False
    need = goal.need_for(candidate.quality)
    n_active = candidate.n_active_parameters or candidate.n_parameters
    for quant in (candidate.only_quant,) if candidate.only_quant else QUANT_LADDER:
        if good_enough:
            return
        bytes_per_weight = goal.bits_per_weight(quant) / 8
        size_bytes = candidate.n_parameters * bytes_per_weight
        if size_bytes > room.vram_bytes + room.ram_bytes:
            continue
        on_gpus = size_bytes <= room.vram_bytes
        good_enough = quant == GOOD_ENOUGH and (on_gpus or candidate.is_moe or not room.vram_bytes)
        in_ram_share = max(0.0, 1 - room.vram_bytes / size_bytes)
        tok_s = room.rough_tok_s(n_active * bytes_per_weight, in_ram_share)
        prompt_s = room.rough_prompt_s(need.prompt_tokens, n_active, in_ram_share * size_bytes)
        yield Option(
            candidate,
            quant,
            key=reduced(candidate.quality, goal.loss(quant, candidate)).low,
            on_gpus=on_gpus,
            spills=room.vram_bytes > 0 and not on_gpus,
            size_bytes=size_bytes,
            rough_gpu_bytes=min(size_bytes, room.vram_bytes),
            rough_tok_s=tok_s,
            slowness_points=slowness_points(need, tok_s, prompt_s),
        )
