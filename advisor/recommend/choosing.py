"""Which options of the outlook become picks: judged one by one, each family once, the hardware used.

The first pick is the one worth most of those that no evidence can tell from the ablest (less than
``TIE_POINTS`` below it). No pick leaves more than half of the GPU memory empty where an abler model would
use it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from llmfit.advisor.errors import LlmfitError
from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.recommend.judgement import DOES_NOT_FIT, Judgement
from llmfit.advisor.recommend.ladders import DEFAULT_CONTEXT_TOKENS
from llmfit.advisor.recommend.micro_batch import in_larger_steps
from llmfit.advisor.recommend.outlook import SPILL_POINTS, Goal, Option, slowness_points
from llmfit.advisor.recommend.quality import TIE_POINTS
from llmfit.advisor.recommend.request import Request
from llmfit.advisor.recommend.search import judge, judge_on_gpus

if TYPE_CHECKING:
    from llmfit.advisor.speed.calibration.machine_speeds import MachineSpeeds

WORTH_POINTS = 20.0
"""A model this far below the best loses to it 98 times in 100: not worth a row."""
FEW = 3
"""So many rows are shown even where only weak models fit."""
CLEARLY = 1.5
"""How much faster or longer a pick must be than all before it to be named for that."""
USED_SHARE = 0.5
"""Of the GPUs' free memory: a pick below it is weighed against abler models that use more."""
NEAR_POINTS = 1.0
"""Worths closer than this are the same: rough speeds, and what needs room, may move a pick so far."""
ROOMY_SHARE = 0.9
"""Of what the GPU may use of a memory that it shares with the system."""
ROOMY_SHARE_OF_RAM = 0.8
_ROUGHLY = 0.8
"""Rough sizes are off by less than this says."""

_ABILITIES: tuple[Callable[[Option], float], ...] = (
    lambda option: option.key,
    lambda option: option.candidate.quality.low,
    lambda option: option.candidate.quality.score,
)
"""In its file type, and of the model itself by the lower end and by the middle of its interval."""


@dataclass(frozen=True, slots=True)
class Pick:
    option: Option
    judgement: Judgement

    @property
    def known_tok_s(self) -> float:
        """Decode speed; 0 where a bandwidth is not known: such a pick is best at no speed."""
        speed = self.judgement.speed
        return 0.0 if speed is None else speed.decode_tok_s.expected

    @property
    def tok_s(self) -> float:
        """Decode speed; where a bandwidth is not known, the rough one that ordered the options."""
        return self.known_tok_s or self.option.rough_tok_s

    @property
    def gpu_bytes(self) -> int:
        return sum(device.total_bytes for device in self.judgement.memory.gpus)


@dataclass
class Choice:
    """The picks so far. ``options`` are in order of worth; a pick takes its whole family out."""

    machine: Machine
    goal: Goal
    options: Sequence[Option]
    floor_tok_s: float
    speeds: MachineSpeeds | None
    picks: list[Pick] = field(default_factory=list)
    passed_over: Pick | None = None
    """The ablest, where another of the same rank was taken first."""
    _families: set[str] = field(default_factory=set)
    _judged: dict[tuple[str, str], Pick | None] = field(default_factory=dict)

    def fill(self) -> None:
        """The best, then what is clearly faster, then what is nearly as good, while there is room."""
        if not (self._take_first() or self._take(self.options)):
            return
        best = self.picks[0]
        ablest = self.passed_over or best
        least = ablest.option.candidate.quality.low - WORTH_POINTS
        worth_it = [option for option in self.options if option.candidate.quality.low >= least]
        sure = [option for option in worth_it if option.is_tested and self._speed_is_known(option)]
        quick_tok_s = self.goal.need.quick_tok_s
        if best.tok_s < 2 * quick_tok_s:
            self._take(option for option in sure if option.rough_tok_s >= 2 * best.tok_s)
        by_speed = sorted(sure, key=lambda option: -option.rough_tok_s)
        quickest = max(pick.tok_s for pick in self.picks)
        self._take(option for option in by_speed if option.rough_tok_s >= CLEARLY * quickest)
        while self._take(worth_it):
            pass
        while len(self.picks) < FEW and self._take(self.options):
            pass
        order = {option: place for place, option in enumerate(self.options)}
        self.picks[1:] = sorted(self.picks[1:], key=lambda pick: order[pick.option])

    @cached_property
    def gpu_bytes(self) -> int:
        """Free memory of all GPUs."""
        return sum(gpu.usable_bytes or 0 for gpu in self.machine.gpus)

    @cached_property
    def rivals(self) -> tuple[Pick, ...]:
        """Of the tested that run and use the GPUs' memory: the ablest by each way to compare."""
        least_bytes = USED_SHARE * self.gpu_bytes
        large = [
            one for one in self.options if one.is_tested and one.rough_gpu_bytes >= _ROUGHLY * least_bytes
        ]
        found = []
        for ability in _ABILITIES:
            ablest_first = sorted(large, key=ability, reverse=True)
            running = (pick for pick in self._running(ablest_first) if pick.gpu_bytes >= least_bytes)
            found += [pick for pick in [next(running, None)] if pick is not None]
        return tuple(found)

    def _take_first(self) -> bool:
        ablest = next(self._running(self._ablest_first()), None)
        if ablest is None:
            return False
        ties = [
            option
            for option in self.options
            if option.is_tested and option.key > ablest.option.key - TIE_POINTS
        ]
        best = self._most_worth(ties)
        if best is None:
            return False
        self._add(best)
        self.passed_over = None if best is ablest else ablest
        return True

    def _most_worth(self, options: Iterable[Option]) -> Pick | None:
        """By the speeds that were judged.

        Rough speeds of one machine err alike: what the last judged one makes of them says which others could
        be worth more and are judged, too. Of models of one size in one file type the abler is enough.
        Of those worth about the same, one that leaves room in a memory that others share.
        """
        found: list[tuple[float, Pick]] = []
        most, err = -math.inf, 1.0
        ablest: dict[tuple[int, str], float] = {}
        for option in options:
            need = self.goal.need_for(option.candidate.quality)
            rough = slowness_points(need, option.rough_tok_s)
            hoped = option.worth + rough - slowness_points(need, option.rough_tok_s * err)
            size = option.candidate.n_parameters, option.quant
            if hoped <= most - NEAR_POINTS or ablest.get(size, -math.inf) >= option.key:
                continue
            for pick in self._running([option]):
                worth, err = self._worth(pick), pick.tok_s / option.rough_tok_s
                ablest[size] = option.key
                if not self._is_wasteful(pick):
                    found.append((worth, pick))
                    most = max(most, worth)
        near = [one for one in found if one[0] > most - NEAR_POINTS]
        best = max(near, key=lambda one: (self._leaves_room(one[1]), one[0]), default=None)
        return None if best is None else best[1]

    def _leaves_room(self, pick: Pick) -> bool:
        """What fills a memory that the system shares leaves nothing for others."""
        memory = self.machine.memory
        if not self.machine.gpus:
            room_bytes = memory.available_bytes or memory.capacity_bytes
            return not room_bytes or pick.judgement.memory.total_bytes <= ROOMY_SHARE_OF_RAM * room_bytes
        shares = any(gpu.unified_memory for gpu in self.machine.gpus)
        return not shares or pick.gpu_bytes <= ROOMY_SHARE * self.gpu_bytes

    def _worth(self, pick: Pick) -> float:
        speed, option = pick.judgement.speed_plan, pick.option
        if speed is None:
            return option.worth
        need = self.goal.need_for(option.candidate.quality)
        prefill = speed.estimate(0, need.prompt_tokens).prefill
        prompt_s = 0.0 if prefill is None else prefill.first_token_s
        points = slowness_points(need, pick.known_tok_s, prompt_s) + SPILL_POINTS * option.spills
        return option.key - points

    def _add(self, pick: Pick) -> None:
        self.picks.append(pick)
        self._families.add(pick.option.candidate.family)

    def _ablest_first(self) -> list[Option]:
        return sorted((option for option in self.options if option.is_tested), key=lambda one: -one.key)

    def _take(self, options: Iterable[Option]) -> bool:
        """Adds the first of ``options`` that runs, of a family not yet picked, and wastes no hardware."""
        if len(self.picks) >= self.goal.limit:
            return False
        new = (option for option in options if option.candidate.family not in self._families)
        for pick in self._running(option for option in new if not self._is_surely_wasteful(option)):
            if not self._is_wasteful(pick):
                self._add(pick)
                return True
        return False

    def _is_surely_wasteful(self, option: Option) -> bool:
        """Without judging it: far too small, and a rival is abler."""
        much_bytes = _ROUGHLY * USED_SHARE * self.gpu_bytes
        return option.rough_gpu_bytes < much_bytes and self._has_abler_rival(option)

    def _is_wasteful(self, pick: Pick) -> bool:
        return pick.gpu_bytes < USED_SHARE * self.gpu_bytes and self._has_abler_rival(pick.option)

    def _has_abler_rival(self, option: Option) -> bool:
        return any(ability(rival.option) > ability(option) for rival in self.rivals for ability in _ABILITIES)

    def _running(self, options: Iterable[Option]) -> Iterator[Pick]:
        """Those that fit and are fast enough, judged as they are asked for."""
        must_be_known = self.goal.min_tok_s is not None
        for option in options:
            if option.hoped_tok_s < self.floor_tok_s:
                continue
            pick = self._judgement(option)
            if pick and (pick.known_tok_s if must_be_known else pick.tok_s) >= self.floor_tok_s:
                yield pick

    def _speed_is_known(self, option: Option) -> bool:
        return option.on_gpus or self.machine.memory.bandwidth_bytes_per_s is not None

    def _judgement(self, option: Option) -> Pick | None:
        """None where it does not fit or is not modelled: such a model is simply not proposed."""
        key = (option.candidate.model_id, option.quant)
        if key not in self._judged:
            try:
                judgement = self._judge(option)
            except LlmfitError:
                judgement = None
            self._judged[key] = None if judgement is None else Pick(option, judgement)
        return self._judged[key]

    def _judge(self, option: Option) -> Judgement | None:
        candidate = option.candidate
        tokens = self.goal.context_tokens or DEFAULT_CONTEXT_TOKENS
        if self.goal.context_tokens is None and candidate.context_train_tokens:
            tokens = min(tokens, candidate.context_train_tokens)
        request = Request(context_tokens=tokens, projector_bytes=candidate.projector_bytes)
        model = candidate.build(option.quant)
        if option.on_gpus:
            return judge_on_gpus(model, self.machine, request, self.speeds)
        judgement = in_larger_steps(model, self.machine, request, self.speeds)
        if judgement is None:
            judgement = judge(model, self.machine, request, remedies=False, speeds=self.speeds)
        return None if judgement.verdict == DOES_NOT_FIT else judgement
