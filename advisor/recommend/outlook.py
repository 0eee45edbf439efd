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
from llmfit.advisor.recommend.quality import Quality
from llmfit.advisor.units import GB, GIB

QUICK_TOK_S = 30.0
"""Below this, agents and long answers begin to feel slow: speed starts to weigh against quality."""
SPEED_POINTS = 4.0
"""What each halving of the speed below QUICK_TOK_S weighs against ability points: less than a tie of 6."""
SPILL_POINTS = 2.0
"""What weights in RAM beside a GPU weigh: prompts are read many times slower, and speed is less certain."""
RESERVE_BYTES_PER_GPU = GIB
"""Roughly what driver, compute buffer and a small cache take."""
RESERVE_RAM_BYTES = 2 * GIB
ROUGH_RAM_BYTES_PER_S = 50 * GB
"""Two channels of DDR4-3200, to order what runs in RAM of unknown bandwidth; never shown."""
ROUGH_EFFICIENCY = 0.7
ROUGH_STEP_S = 2.5e-3
"""What a step costs besides reading: launches, synchronisation."""


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
    """The type it was published in where that is a small one (gpt-oss: MXFP4); other types gain nothing."""
    build: Callable[[str], Model]
    projector_bytes: int | None = None
    """What the vision projector's file takes, where the use needs it."""


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
class Option:
    """A model in a file type. ``key`` is its ability there, ``worth`` the key less what slowness weighs."""

    candidate: Candidate
    quant: str
    loss_points: float
    on_gpus: bool
    """Whether the weights alone would go on the GPUs."""
    spills: bool
    """Whether there are GPUs and the weights would not go on them."""
    rough_tok_s: float

    @property
    def key(self) -> float:
        return self.candidate.quality.low - self.loss_points

    @property
    def worth(self) -> float:
        return self.key - slowness_points(self.rough_tok_s) - SPILL_POINTS * self.spills

    @property
    def is_tested(self) -> bool:
        return self.candidate.quality.is_tested


def best_first(options: Iterable[Option]) -> list[Option]:
    """By worth, to half a point, then the newer; what has no evidence comes after all that has."""
    newest = sorted(options, key=lambda option: (option.candidate.model_id, option.quant))
    newest.sort(key=lambda option: option.candidate.released, reverse=True)
    return sorted(newest, key=lambda option: (not option.is_tested, -round(option.worth * 2)))


def slowness_points(tok_s: float) -> float:
    """What a speed weighs against ability points; nothing from QUICK_TOK_S on."""
    return SPEED_POINTS * max(0.0, math.log2(QUICK_TOK_S / max(tok_s, 1e-3)))


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
    """What the machine has for weights, and how fast it reads them."""

    vram_bytes: float
    ram_bytes: float
    vram_bytes_per_s: float
    ram_bytes_per_s: float

    @staticmethod
    def of(machine: Machine) -> _Room:
        gpus = machine.gpus
        free = (gpu.usable_bytes or 0 for gpu in gpus)
        speeds = [gpu.bandwidth_bytes_per_s for gpu in gpus if gpu.bandwidth_bytes_per_s]
        shared = any(gpu.unified_memory for gpu in gpus)
        available = machine.memory.available_bytes or machine.memory.capacity_bytes or 0
        return _Room(
            vram_bytes=sum(max(0, size - RESERVE_BYTES_PER_GPU) for size in free),
            ram_bytes=0 if shared else max(0, available - RESERVE_RAM_BYTES),
            vram_bytes_per_s=min(speeds, default=ROUGH_RAM_BYTES_PER_S),
            ram_bytes_per_s=machine.memory.bandwidth_bytes_per_s or ROUGH_RAM_BYTES_PER_S,
        )


def _options_of(candidate: Candidate, room: _Room, goal: Goal) -> Iterator[Option]:
    good_enough = False
    for quant in (candidate.native_quant,) if candidate.native_quant else QUANT_LADDER:
        if good_enough:
            return
        bytes_per_weight = goal.bits_per_weight(quant) / 8
        size_bytes = candidate.n_parameters * bytes_per_weight
        if size_bytes > room.vram_bytes + room.ram_bytes:
            continue
        on_gpus = size_bytes <= room.vram_bytes
        good_enough = quant == GOOD_ENOUGH and (on_gpus or candidate.is_moe or not room.vram_bytes)
        in_ram = max(0.0, 1 - room.vram_bytes / size_bytes)
        read_bytes = (candidate.n_active_parameters or candidate.n_parameters) * bytes_per_weight
        seconds_per_byte = (1 - in_ram) / room.vram_bytes_per_s + in_ram / room.ram_bytes_per_s
        yield Option(
            candidate,
            quant,
            goal.loss_points(quant, candidate),
            on_gpus=on_gpus,
            spills=room.vram_bytes > 0 and not on_gpus,
            rough_tok_s=1 / (read_bytes * seconds_per_byte / ROUGH_EFFICIENCY + ROUGH_STEP_S),
        )
