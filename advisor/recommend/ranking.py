"""Across models: which few are worth running on this machine, by evidence of quality first.

Ranking key: the lower end of the 80 % interval of a model's ability for the use, minus the loss of its file
type, minus what slowness weighs. A model without direct evidence (grade D or E) never comes first while one
with evidence fits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from llmfit.advisor.errors import LlmfitError
from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.memory.fitting import largest_context
from llmfit.advisor.memory.settings import ALL_LAYERS
from llmfit.advisor.memory.weights import weight_table
from llmfit.advisor.recommend.judgement import DOES_NOT_FIT, FITS_GPU, Judgement
from llmfit.advisor.recommend.ladders import DEFAULT_CONTEXT_TOKENS, LONG_CONTEXT_TOKENS
from llmfit.advisor.recommend.outlook import (
    QUICK_TOK_S,
    Candidate,
    Goal,
    Option,
    find_options,
)
from llmfit.advisor.recommend.quality import TIE_POINTS, Quality
from llmfit.advisor.recommend.request import Request
from llmfit.advisor.recommend.search import judge, judge_on_gpus
from llmfit.advisor.units import format_context

if TYPE_CHECKING:
    from llmfit.advisor.speed.calibration.machine_speeds import MachineSpeeds

COMFORTABLE_TOK_S = 8.0
"""Slower than a person reads: proposed only where nothing faster fits."""
WORTH_POINTS = 20.0
"""A model this far below the best loses to it 98 times in 100: not worth a row."""
FEW = 3
"""So many rows are shown even where only weak models fit."""
USUAL_LIMIT = 5
"""So many are chosen even where fewer are shown."""
CLEARLY = 1.5
"""How much faster or longer a pick must be than all before it to be named for that."""

BEST_QUALITY = "best quality"
FASTEST = "fastest"
LONGEST_CONTEXT = "longest context"
BALANCED = "balanced"
ALTERNATIVE = "alternative"


@dataclass(frozen=True, slots=True)
class Recommendation:
    purpose: str
    why: tuple[str, ...]
    quality: Quality
    judgement: Judgement


@dataclass(frozen=True, slots=True)
class _Pick:
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


def recommend(
    candidates: Sequence[Candidate], machine: Machine, goal: Goal, speeds: MachineSpeeds | None = None
) -> tuple[Recommendation, ...]:
    """The best ``goal.limit`` models, one a family, each with its purpose; best quality first.

    ``speeds`` is what was measured on this machine.
    """
    context_is_open = goal.context_tokens is None
    if goal.use_case == "long-context" and context_is_open:
        goal = replace(goal, context_tokens=LONG_CONTEXT_TOKENS)
    options = find_options(candidates, machine, goal)
    floors = (goal.min_tok_s,) if goal.min_tok_s is not None else (COMFORTABLE_TOK_S, 0.0)
    for floor_tok_s in floors:
        # A short list is the beginning of the longer one: what is chosen must not depend on where it is cut.
        at_least_usual = replace(goal, limit=max(goal.limit, USUAL_LIMIT))
        choice = _Choice(machine, at_least_usual, options, floor_tok_s, speeds)
        choice.fill()
        if choice.picks:
            return _described(choice.picks[: goal.limit], context_is_open, speeds)
    return ()


@dataclass(slots=True)
class _Choice:
    """The picks so far. ``options`` are in order of worth; a pick takes its whole family out."""

    machine: Machine
    goal: Goal
    options: Sequence[Option]
    floor_tok_s: float
    speeds: MachineSpeeds | None
    picks: list[_Pick] = field(default_factory=list)
    _families: set[str] = field(default_factory=set)
    _judged: dict[tuple[str, str], Judgement | None] = field(default_factory=dict)

    def fill(self) -> None:
        """The best, then what is clearly faster, then what is nearly as good, while there is room."""
        if not self._take(self.options):
            return
        best = self.picks[0]
        worth_it = [option for option in self.options if option.key >= best.option.key - WORTH_POINTS]
        sure = [option for option in worth_it if option.is_tested and self._speed_is_known(option)]
        if best.tok_s < 2 * QUICK_TOK_S:
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

    def _speed_is_known(self, option: Option) -> bool:
        return option.on_gpus or self.machine.memory.bandwidth_bytes_per_s is not None

    def _take(self, options: Iterable[Option]) -> bool:
        """Adds the first of ``options`` that fits and runs fast enough, of a family not yet picked."""
        if len(self.picks) >= self.goal.limit:
            return False
        for option in options:
            if option.candidate.family in self._families or option.rough_tok_s < self.floor_tok_s / 2:
                continue
            judgement = self._judgement(option)
            if judgement is None:
                continue
            pick = _Pick(option, judgement)
            must_be_known = self.goal.min_tok_s is not None
            if (pick.known_tok_s if must_be_known else pick.tok_s) >= self.floor_tok_s:
                self.picks.append(pick)
                self._families.add(option.candidate.family)
                return True
        return False

    def _judgement(self, option: Option) -> Judgement | None:
        """None where it does not fit or is not modelled: such a model is simply not proposed."""
        key = (option.candidate.model_id, option.quant)
        if key not in self._judged:
            try:
                self._judged[key] = self._judge(option)
            except LlmfitError:
                self._judged[key] = None
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
        judgement = judge(model, self.machine, request, remedies=False, speeds=self.speeds)
        return None if judgement.verdict == DOES_NOT_FIT else judgement


def _described(
    picks: Sequence[_Pick], context_is_open: bool, speeds: MachineSpeeds | None
) -> tuple[Recommendation, ...]:
    """Names what each pick is best for; a pick that is best at nothing is an alternative."""
    purposes = dict(_purposes(picks))
    recommendations = []
    for number, pick in enumerate(picks):
        purpose = purposes.get(number, ALTERNATIVE)
        judgement = pick.judgement
        if purpose == LONGEST_CONTEXT and context_is_open:
            judgement = _with_longest_context(judgement, speeds)
        why = tuple(_why(pick.option, judgement, picks[0].option))
        recommendations.append(Recommendation(purpose, why, pick.option.candidate.quality, judgement))
    return tuple(recommendations)


def _purposes(picks: Sequence[_Pick]) -> Iterator[tuple[int, str]]:
    """(position, purpose): the first is the best; any other purpose goes to a pick that clearly beats it.

    Balanced is what is quick and abler than the fastest.
    """
    taken, fastest = {0}, 0
    yield 0, BEST_QUALITY
    measures: tuple[tuple[str, Callable[[_Pick], float]], ...] = (
        (FASTEST, lambda pick: pick.known_tok_s),
        (LONGEST_CONTEXT, lambda pick: _reachable_context(pick.judgement)),
    )
    for purpose, measure in measures:
        values = [measure(pick) if pick.option.is_tested else 0.0 for pick in picks]
        best = max(range(len(picks)), key=lambda number: values[number])
        if best not in taken and values[best] >= CLEARLY * values[0]:
            taken.add(best)
            yield best, purpose
            if purpose == FASTEST:
                fastest = best
    for number, pick in enumerate(picks[:fastest]):
        if number not in taken and pick.known_tok_s >= max(QUICK_TOK_S, CLEARLY * picks[0].tok_s):
            yield number, BALANCED
            return


def _reachable_context(judgement: Judgement) -> float:
    """About how many tokens of cache the free room of the cards would hold, capped by training."""
    cache_bytes = max(1, judgement.memory.kv_cache_bytes)
    room_bytes = sum(max(0, (gpu.free_bytes or 0) - gpu.required_bytes) for gpu in judgement.memory.gpus)
    tokens = judgement.settings.context_tokens * (1 + room_bytes / cache_bytes)
    return min(tokens, judgement.model.shape.context_train_tokens or tokens)


def _with_longest_context(judgement: Judgement, speeds: MachineSpeeds | None) -> Judgement:
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
    request = Request(
        context_tokens=tokens,
        cache_type_k=judgement.settings.cache_type_k,
        projector_bytes=judgement.settings.projector_bytes or None,
    )
    longer = judge(model, machine, request, remedies=False, speeds=speeds)
    reason = f"{format_context(tokens)} of context is the most that fits, or all it was trained for."
    return replace(longer, reasons=(*longer.reasons, reason))


def _why(option: Option, judgement: Judgement, best: Option) -> Iterator[str]:
    quality = option.candidate.quality
    if quality.is_tested:
        yield (
            f"Ability {quality.score:.0f} of 100 (80 % interval {quality.low:.0f} to {quality.high:.0f}): "
            f"{quality.basis}."
        )
    else:
        yield f"No direct evidence of quality ({quality.basis}): ranked by size and family."
    if option is not best and option.is_tested and abs(best.key - option.key) < TIE_POINTS:
        yield f"Within {TIE_POINTS:.0f} points of the first: a tie, let speed and context decide."
    if option.candidate.native_quant == option.quant:
        yield f"{option.quant} is the type it was trained in: nothing is lost."
    else:
        yield f"{option.quant} costs {_points(option.loss_points)} of that."
    yield from judgement.reasons
    if judgement.verdict != FITS_GPU and judgement.speed is None:
        way = (
            "--ram-bandwidth states it"
            if judgement.machine.described_by is not None
            else "llmfit hardware --measure finds it"
        )
        yield f"How fast it is depends on the bandwidth of the RAM, which is not known: {way}."


def _points(points: float) -> str:
    """A loss is a judgement over measurements: no decimals."""
    return "less than a point" if points < 0.75 else f"about {points:.0f} point{'s' if points >= 1.5 else ''}"


__all__ = [
    "ALTERNATIVE",
    "BALANCED",
    "BEST_QUALITY",
    "FASTEST",
    "LONGEST_CONTEXT",
    "Candidate",
    "Goal",
    "Quality",
    "Recommendation",
    "recommend",
]
