"""The inverse question: which hardware runs this model at this speed, the cheapest first.

Each candidate is a simulated machine that ``judge`` judges like any other: verdict, bytes and speed come from
the functions behind every other answer. Arithmetic decides only which candidates are judged (``bounds``).
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from llmfit.advisor.errors import LlmfitError
from llmfit.advisor.recommend.cost.boxes import whole_box
from llmfit.advisor.recommend.judgement import DOES_NOT_FIT, FITS_GPU, Judgement
from llmfit.advisor.recommend.plan.bounds import ModelBytes, bound_tok_s, rough_tok_s
from llmfit.advisor.recommend.plan.candidates import by_price, candidates_of, larger_ram, machine_of
from llmfit.advisor.recommend.plan.values import (
    BOX,
    CARDS,
    CARDS_AND_RAM,
    MANY_CARDS,
    MANY_WATTS,
    Candidate,
    Option,
    Plan,
    Question,
)
from llmfit.advisor.recommend.search import judge, judge_on_gpus

NOTICEABLY_FASTER = 1.25
"""A dearer option must decode so much faster than every cheaper one of its group, or have a better verdict,
need fewer cards or read prompts clearly faster: less is no idea of its own."""
CLEARLY_FASTER_PROMPTS = 2.0
ROUGH_DOUBT = 1.2
"""A candidate may reach so much more of its rough speed than the best one judged before it passes over."""
SAME_ROUGHLY = 1.0
"""Of the rough speed of one that was judged in vain: what promises no more is passed over."""
MAX_UNPRICED = 2
"""Of a group: they cannot be ordered by price, and a long list of them helps nobody."""
MAX_NEAREST = 4


def plan_hardware(question: Question) -> Plan:
    """Every option that reaches the target, by group; where there is none, what comes nearest.

    Raises the first LlmfitError of judging where no candidate could be judged at all.
    """
    size = ModelBytes.of(question.model)
    groups = candidates_of(question, size)
    searches = {name: _Search(question, size) for name in groups}
    options: list[Option] = []
    for name, candidates in groups.items():
        options += searches[name].run(candidates)
    judged = sum(search.n_judged for search in searches.values())
    if not judged:
        for search in searches.values():
            if search.error is not None:
                raise search.error
    if options:
        nearest = [near for name in groups for near in searches[name].nearest(groups[name])]
    else:
        nearest, more = _fastest(question, size, groups)
        judged += more
    options = _ordered(option for option in options if not _is_beaten(option, options))
    return Plan(question, tuple(options), tuple(nearest[:MAX_NEAREST]), judged)


def _is_beaten(option: Option, options: Sequence[Option]) -> bool:
    """By one of another group whose price is no higher though it is of more, and that is no slower.

    A whole computer's price covers the most, then that of cards beside any computer. More cards than its host
    takes are an effort that few cards and RAM spare, and what is withdrawn beats nothing that is sold.
    """
    candidate = option.candidate
    price_usd = candidate.price_usd
    if price_usd is None:
        return False
    n_cards = max(candidate.n_cards, 0 if candidate.host is None else candidate.host.max_cards)
    return any(
        _COVERS[other.candidate.kind] > _COVERS[candidate.kind]
        and other.candidate.price_usd is not None
        and other.candidate.price_usd <= price_usd
        and other.candidate.n_cards <= n_cards
        and not (other.candidate.box is not None and other.candidate.box.withdrawn)
        and other.decode_tok_s >= option.decode_tok_s
        and (other.prefill_tok_s or 0.0) >= (option.prefill_tok_s or 0.0)
        for other in options
    )


_COVERS = {BOX: 2, CARDS: 1, CARDS_AND_RAM: 0}


def cheapest_option(question: Question, kind: str) -> Option | None:
    """The cheapest of a kind that reaches the target: the first one, so that little is judged."""
    size = ModelBytes.of(question.model)
    for candidates in candidates_of(question, size).values():
        if candidates[0].kind == kind:
            for option in _Search(question, size).options(candidates):
                return option if option.candidate.price_usd is not None else None
    return None


def _fastest(
    question: Question, size: ModelBytes, groups: dict[str, list[Candidate]]
) -> tuple[list[Option], int]:
    """Of each group what decodes fastest, though it misses the target."""
    found, judged = [], 0
    for candidates in groups.values():
        search = _Search(replace(question, target_tok_s=0.0), size)
        kept = search.run(candidates)
        judged += search.n_judged
        if kept:
            found.append(replace(max(kept, key=lambda option: option.decode_tok_s), reaches_target=False))
    return sorted(found, key=lambda option: -option.decode_tok_s), judged


def _ordered(options: Iterable[Option]) -> list[Option]:
    """The cheapest first; without a price last."""
    return sorted(options, key=lambda option: price_key(option.candidate.price_usd))


def price_key(price_usd: float | None) -> tuple[bool, float]:
    return price_usd is None, price_usd or 0.0


@dataclass(slots=True)
class _Search:
    """One group in the order of price. A candidate is kept if it adds something to the cheaper ones."""

    question: Question
    size: ModelBytes
    kept: list[Option] = field(default_factory=list)
    done: set[str] = field(default_factory=set)
    best_share: float = 0.0
    """Of its rough speed, the most that a judged candidate reached."""
    in_vain: list[Candidate] = field(default_factory=list)
    """Judged with weights in RAM, and added nothing."""
    n_judged: int = 0
    error: LlmfitError | None = None

    def run(self, candidates: Sequence[Candidate]) -> list[Option]:
        return list(self.options(candidates))

    def options(self, candidates: Sequence[Candidate]) -> Iterator[Option]:
        unpriced = 0
        queue = [(by_price(candidate), place, candidate) for place, candidate in enumerate(candidates)]
        heapq.heapify(queue)
        while queue:
            candidate = heapq.heappop(queue)[2]
            if candidate.price_usd is None and unpriced >= MAX_UNPRICED:
                return
            if not self._is_promising(candidate):
                continue
            option = self.judged(candidate)
            if isinstance(option, Candidate):  # it needs more RAM, which has its price
                heapq.heappush(queue, (by_price(option), len(candidates) + self.n_judged, option))
            elif option is None:
                continue
            elif not option.reaches_target:
                if candidate.kind == CARDS_AND_RAM:
                    self.in_vain.append(candidate)
                else:
                    self.done.add(candidate.hardware_id)  # more of the same cards are no faster
            elif not self._adds(option):
                self.in_vain.append(candidate)
            else:
                unpriced += candidate.price_usd is None
                self.kept.append(option)
                self.done.add(candidate.hardware_id)
                yield option

    def nearest(self, candidates: Sequence[Candidate]) -> list[Option]:
        """The fastest that is cheaper than every option of this group and misses the target."""
        if not self.kept or self.kept[0].candidate.price_usd is None:
            return []
        limit_usd = self.kept[0].candidate.price_usd
        cheaper = [one for one in candidates if one.price_usd is not None and one.price_usd < limit_usd]
        for candidate in sorted(cheaper, key=lambda one: -rough_tok_s(one, self.size))[:2]:
            option = self.judged(candidate)
            if isinstance(option, Option) and not option.reaches_target:
                return [option]
        return []

    def judged(self, candidate: Candidate) -> Option | Candidate | None:
        """The same with more RAM where it has too little; None where it does not run as its kind says, or
        where no speed is known."""
        judgement = self._judgement(candidate)
        if judgement is None:
            return None
        if judgement.speed is None:
            return larger_ram(candidate) if candidate.kind == CARDS_AND_RAM else None
        if candidate.kind == CARDS_AND_RAM and judgement.verdict == FITS_GPU:
            return None
        reached = judgement.speed.decode_tok_s.expected / rough_tok_s(candidate, self.size)
        self.best_share = max(self.best_share, reached)
        return _option(candidate, judgement, self.question.target_tok_s)

    def _judgement(self, candidate: Candidate) -> Judgement | None:
        model, request = self.question.model, self.question.request
        try:
            machine = machine_of(candidate, self.question)
            self.n_judged += 1
            if candidate.kind == CARDS:
                return judge_on_gpus(model, machine, request)
            return judge(model, machine, request, remedies=False)
        except LlmfitError as error:
            self.n_judged -= 1
            self.error = self.error or error
            return None

    def _is_promising(self, candidate: Candidate) -> bool:
        if candidate.hardware_id in self.done:
            return False
        bound = bound_tok_s(candidate, self.size)
        if bound <= 0 or bound < self.question.target_tok_s:
            return False
        share = min(1.0, self.best_share * ROUGH_DOUBT) if self.best_share else 1.0
        rough = rough_tok_s(candidate, self.size) * share
        if rough < self.question.target_tok_s:
            return False
        if any(self._promises_no_more(candidate, one) for one in self.in_vain):
            return False
        flops = _flops(candidate)
        return not any(
            self._compares(option, candidate)
            and (candidate.kind != BOX or option.judgement.verdict == FITS_GPU)
            and rough < option.decode_tok_s * NOTICEABLY_FASTER
            and (candidate.kind == CARDS_AND_RAM or flops < _flops(option.candidate) * CLEARLY_FASTER_PROMPTS)
            for option in self.kept
        )

    def _promises_no_more(self, candidate: Candidate, other: Candidate) -> bool:
        """Than one of the same maker that was cheaper and judged in vain."""
        if candidate.kind != CARDS_AND_RAM:
            return False
        rough, others = rough_tok_s(candidate, self.size), rough_tok_s(other, self.size)
        same_maker = _vendor(candidate) == _vendor(other) and other.n_cards <= candidate.n_cards
        return same_maker and rough <= others * SAME_ROUGHLY

    def _adds(self, option: Option) -> bool:
        prefill = option.prefill_tok_s or 0.0
        return not any(
            self._compares(other, option.candidate)
            and not _has_better_verdict(option, other)
            and option.decode_tok_s < other.decode_tok_s * NOTICEABLY_FASTER
            and prefill < (other.prefill_tok_s or math.inf) * CLEARLY_FASTER_PROMPTS
            for other in self.kept
        )

    @staticmethod
    def _compares(option: Option, candidate: Candidate) -> bool:
        """Whether a kept option makes ``candidate`` needless unless it is faster: it needs no more cards."""
        both_priced = (option.candidate.price_usd is None) == (candidate.price_usd is None)
        return both_priced and option.candidate.n_cards <= candidate.n_cards


def _has_better_verdict(option: Option, other: Option) -> bool:
    """Wholly on the GPU, at no lower speed."""
    better = option.judgement.verdict == FITS_GPU != other.judgement.verdict
    return better and option.decode_tok_s >= other.decode_tok_s


def _vendor(candidate: Candidate) -> str:
    return "" if candidate.card is None else candidate.card.facts.vendor


def _flops(candidate: Candidate) -> float:
    sold = candidate.box or candidate.card
    return 0.0 if sold is None else float(sold.facts.fp16_flops or 0)


def _option(candidate: Candidate, judgement: Judgement, target_tok_s: float) -> Option | None:
    if judgement.verdict == DOES_NOT_FIT or judgement.speed is None:
        return None
    watts = rated_watts(candidate)
    return Option(
        candidate=candidate,
        judgement=judgement,
        reaches_target=judgement.speed.decode_tok_s.expected >= target_tok_s,
        tdp_w=watts,
        cautions=tuple(cautions_of(candidate.n_cards, 0.0 if candidate.kind == BOX else watts)),
    )


def rated_watts(candidate: Candidate) -> float | None:
    """What the cards are rated at together; what a whole computer was seen to draw. None where unknown."""
    if candidate.box is not None:
        power = whole_box(candidate.box.facts.id)
        return None if power is None else power.watts.expected
    if candidate.card is None:
        return None
    each = candidate.card.facts.power_limit_w
    return None if each is None else each * candidate.n_cards


def cautions_of(n_cards: int, watts: float | None) -> Iterator[str]:
    if n_cards > MANY_CARDS:
        yield f"{n_cards} cards need a board with the slots, risers and more than one power supply"
    if watts is not None and watts > MANY_WATTS:
        yield f"{watts:.0f} W of cards alone is more than one household circuit carries for hours"


__all__ = ["cautions_of", "cheapest_option", "plan_hardware", "price_key", "rated_watts"]
