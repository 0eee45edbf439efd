"""What to add to a computer, or put in its place, so that it runs a model at a speed: with each gain.

Added cards work beside the old ones: llama.cpp splits by layers, and ``judge`` judges mixed machines. Cards
of another maker are not proposed: one llama.cpp build for both is the exception.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from llmfit.advisor.errors import LlmfitError
from llmfit.advisor.hardware.machine import Gpu, Machine
from llmfit.advisor.hardware.offers import CardOffer
from llmfit.advisor.hardware.simulate import simulate_machine
from llmfit.advisor.recommend.judgement import FITS_GPU, VERDICT_ORDER, Judgement
from llmfit.advisor.recommend.plan.bounds import ModelBytes
from llmfit.advisor.recommend.plan.candidates import (
    SPARE_RAM_BYTES,
    USABLE_SHARE,
    in_budget,
    spec_of,
    worthwhile,
)
from llmfit.advisor.recommend.plan.search import cautions_of, price_key
from llmfit.advisor.recommend.plan.values import HostCosts, Question, short_name
from llmfit.advisor.recommend.search import judge
from llmfit.advisor.units import GIB

ADD_SAME, ADD, REPLACE, ADD_RAM, ADD_BOTH = "add_same", "add", "replace", "add_ram", "add_card_and_ram"
KINDS = (ADD_SAME, ADD, REPLACE, ADD_RAM, ADD_BOTH)
NOTICEABLE_GAIN = 1.15
"""Less is within the doubt of the estimate."""
MAX_NEAREST_JUDGED = 4
"""Of a kind, those with the highest bounds: a bound is no speed, but what is far below is not near."""
MUCH_FASTER = 1.25
"""A dearer change of the same kind must be so much faster than every cheaper one."""
RAM_STEPS_BYTES = tuple(size * GIB for size in (32, 64, 128, 192, 256, 384, 512, 768))
UNKNOWN_RAM_BYTES_PER_S = 1e12
"""Rules nothing out."""
SPARE_SHARE = 0.93
"""What a system shows of the RAM that is built in, at least."""


@dataclass(frozen=True, slots=True)
class Change:
    """A machine after something was bought; ``price_usd`` is of that, and old parts are worth nothing."""

    kind: str
    text: str
    card: CardOffer | None
    n_added: int
    ram_bytes: int | None
    machine: Machine
    price_usd: float | None
    watts_more: float | None


@dataclass(frozen=True, slots=True)
class Gain:
    """A change with what it brings. ``before`` is the same for all."""

    change: Change
    before: Judgement
    after: Judgement
    reaches_target: bool
    cautions: tuple[str, ...]

    @property
    def tok_s(self) -> float:
        return decode_tok_s(self.after) or 0.0


@dataclass(frozen=True, slots=True)
class Upgrade:
    """``gains`` reach the target, the cheapest first; ``nearest``, where none does, gain the most."""

    now: Judgement
    is_enough: bool
    gains: tuple[Gain, ...]
    nearest: tuple[Gain, ...]


def decode_tok_s(judgement: Judgement) -> float | None:
    return None if judgement.speed is None else judgement.speed.decode_tok_s.expected


def plan_upgrade(question: Question, machine: Machine, now: Judgement) -> Upgrade:
    """What makes ``machine`` reach the target; ``now`` is what it does today, with the same request."""
    reached = decode_tok_s(now) or 0.0
    if now.fits and reached >= question.target_tok_s:
        return Upgrade(now, is_enough=True, gains=(), nearest=())
    size = ModelBytes.of(question.model)
    gains: dict[str, list[Gain]] = {}
    too_slow: list[Change] = []
    changes = (
        change
        for change in changes_of(question, machine, now)
        if in_budget(change.price_usd, question.budget_usd)
    )
    for change in sorted(changes, key=lambda one: price_key(one.price_usd)):
        kept = gains.setdefault(change.kind, [])
        bound = _bound_tok_s(change.machine, size)
        if bound < question.target_tok_s:
            too_slow.append(change)
        elif change.price_usd is None and any(gains.values()):
            continue
        elif all(bound >= other.tok_s * MUCH_FASTER for other in kept):
            gain = _gain(question, change, now)
            if gain is None or not _is_gain(gain):
                continue
            if not gain.reaches_target:
                too_slow.append(change)
            elif all(gain.tok_s >= other.tok_s * MUCH_FASTER for other in _rivals(gains, change.kind)):
                kept.append(gain)
    found = sorted((gain for kept in gains.values() for gain in kept), key=_by_price)
    nearest = () if found else tuple(_best_of_each_kind(question, too_slow, size, now))
    return Upgrade(now, is_enough=False, gains=tuple(found), nearest=nearest)


def _rivals(gains: Mapping[str, Sequence[Gain]], kind: str) -> Iterator[Gain]:
    """Gains of the same kind; cards with RAM compete with every simpler change, too."""
    for other, found in gains.items():
        if kind in (other, ADD_BOTH):
            yield from found


def _bound_tok_s(machine: Machine, size: ModelBytes) -> float:
    """No estimate is faster; 0 where the weights have no room at all."""
    vram_bytes = sum(gpu.usable_bytes or 0 for gpu in machine.gpus)
    if size.in_ram_bytes(vram_bytes) > (machine.memory.capacity_bytes or 0):
        return 0.0
    ram_bytes_per_s = machine.memory.bandwidth_bytes_per_s or UNKNOWN_RAM_BYTES_PER_S
    gpu_bytes_per_s = max((gpu.bandwidth_bytes_per_s or 0 for gpu in machine.gpus), default=0)
    return 1 / size.seconds(vram_bytes, gpu_bytes_per_s or ram_bytes_per_s, ram_bytes_per_s)


def changes_of(question: Question, machine: Machine, now: Judgement) -> Iterator[Change]:
    """Everything worth judging: one or two cards more, other cards, more RAM."""
    if any(gpu.unified_memory for gpu in machine.gpus):
        return
    offers = {(card.facts.id, card.memory_bytes): card for card in question.cards}
    for card in _addable(machine, list(offers.values())):
        for count in (1, 2):
            yield _with_cards(question, machine, card, count, keep=True)
    if machine.gpus:
        for card in worthwhile(question.cards):
            for count in (1, 2):
                yield _with_cards(question, machine, card, count, keep=False)
    if now.verdict != FITS_GPU:
        yield from _with_more_ram(machine, question.costs)
    if not now.fits:
        yield from _with_both(question, machine)


def _addable(machine: Machine, cards: Sequence[CardOffer]) -> list[CardOffer]:
    """The card that is there, first, and worthwhile ones of the same maker; without a GPU those of all."""
    own = {gpu.catalog_id for gpu in machine.gpus}
    vendors = {gpu.vendor for gpu in machine.gpus}
    same = [card for card in cards if card.facts.id in own]
    others = [card for card in worthwhile(cards) if not vendors or card.facts.vendor in vendors]
    return [*same, *(card for card in others if card not in same)]


def _with_cards(question: Question, machine: Machine, card: CardOffer, count: int, *, keep: bool) -> Change:
    added = simulate_machine([spec_of(card, count)], "64GiB", None, None, question.lookup).gpus
    gpus = (*machine.gpus, *added) if keep else added
    numbered = tuple(replace(gpu, index=index) for index, gpu in enumerate(gpus))
    return Change(
        kind=_kind(machine, card) if keep else REPLACE,
        text=_card_text(machine, card, count, keep=keep),
        card=card,
        n_added=count,
        ram_bytes=None,
        machine=_changed(replace(machine, gpus=numbered)),
        price_usd=None if card.price is None else float(card.price.usd * count),
        watts_more=_watts_more(machine.gpus if not keep else (), card, count),
    )


def _changed(machine: Machine) -> Machine:
    """Nobody looked at a computer like this: what was measured on the old one does not hold."""
    return replace(machine, simulated=True, described_by=machine.described_by or "--upgrade")


def _kind(machine: Machine, card: CardOffer) -> str:
    return ADD_SAME if any(gpu.catalog_id == card.facts.id for gpu in machine.gpus) else ADD


def _card_text(machine: Machine, card: CardOffer, count: int, *, keep: bool) -> str:
    name = short_name(card)
    if not keep:
        old = "the card" if len(machine.gpus) == 1 else "the cards"
        return f"replace {old} by {name if count == 1 else f'{count}x {name}'}"
    n_own = sum(gpu.catalog_id == card.facts.id for gpu in machine.gpus)
    if n_own == 1 and count == 1:
        return f"add a second {name}"
    more = "more " if n_own else ""
    return f"add {'one' if count == 1 else 'two'} {more}{name}"


def _watts_more(removed: Sequence[Gpu], card: CardOffer, count: int) -> float | None:
    each = card.facts.power_limit_w
    if each is None or any(gpu.power_limit_w is None for gpu in removed):
        return None
    return each * count - sum(gpu.power_limit_w or 0.0 for gpu in removed)


def _with_more_ram(machine: Machine, costs: HostCosts) -> Iterator[Change]:
    """The next sizes, at the bandwidth of today: new modules may run slower or faster."""
    own = machine.memory.capacity_bytes
    if own is None:
        return
    for size_bytes in RAM_STEPS_BYTES:
        if size_bytes * SPARE_SHARE <= own:
            continue
        memory = replace(machine.memory, total_bytes=size_bytes, available_bytes=size_bytes, limit_bytes=None)
        yield Change(
            kind=ADD_RAM,
            text=f"RAM of {size_bytes // GIB} GiB",
            card=None,
            n_added=0,
            ram_bytes=size_bytes,
            machine=_changed(replace(machine, memory=memory)),
            price_usd=size_bytes / GIB * costs.ram_usd_per_gb,
            watts_more=None,
        )


def _with_both(question: Question, machine: Machine) -> Iterator[Change]:
    """One or two cards, and the least RAM that holds what they do not."""
    size = ModelBytes.of(question.model)
    for card in _addable(machine, question.cards):
        for count in (1, 2):
            added = _with_cards(question, machine, card, count, keep=True)
            vram_bytes = sum(gpu.usable_bytes or 0 for gpu in added.machine.gpus)
            needed = size.in_ram_bytes(round(vram_bytes * USABLE_SHARE)) + SPARE_RAM_BYTES
            for more in _with_more_ram(added.machine, question.costs):
                if added.price_usd is not None and (more.ram_bytes or 0) >= needed:
                    yield replace(
                        added,
                        kind=ADD_BOTH,
                        text=f"{added.text} and {more.text}",
                        ram_bytes=more.ram_bytes,
                        machine=more.machine,
                        price_usd=added.price_usd + (more.price_usd or 0.0),
                    )
                    break


def _gain(question: Question, change: Change, now: Judgement) -> Gain | None:
    try:
        after = judge(question.model, change.machine, question.request, remedies=False)
    except LlmfitError:
        return None
    reached = decode_tok_s(after)
    if not after.fits or reached is None:
        return None
    n_cards = len(change.machine.gpus)
    watts = sum(gpu.power_limit_w or 0.0 for gpu in change.machine.gpus)
    cautions = tuple(cautions_of(n_cards, watts)) if change.kind != ADD_RAM else ()
    return Gain(change, now, after, reached >= question.target_tok_s, cautions)


def _is_gain(gain: Gain) -> bool:
    before = decode_tok_s(gain.before)
    if before is None or not gain.before.fits:
        return True
    better = VERDICT_ORDER[gain.after.verdict] < VERDICT_ORDER[gain.before.verdict]
    return better or gain.tok_s >= before * NOTICEABLE_GAIN


def _by_price(gain: Gain) -> tuple[bool, float]:
    return price_key(gain.change.price_usd)


def _best_of_each_kind(
    question: Question, changes: Sequence[Change], size: ModelBytes, now: Judgement
) -> Iterator[Gain]:
    """Of each kind the cheapest of those that are about as fast as the fastest; they miss the target."""
    for kind in KINDS:
        of_kind = [change for change in changes if change.kind == kind and change.price_usd is not None]
        by_bound = sorted(of_kind, key=lambda change: -_bound_tok_s(change.machine, size))
        by_card: dict[object, Change] = {}
        for change in by_bound:
            by_card.setdefault(change.ram_bytes if change.card is None else change.card.facts.id, change)
        found = [_gain(question, change, now) for change in list(by_card.values())[:MAX_NEAREST_JUDGED]]
        gains = [gain for gain in found if gain is not None and _is_gain(gain)]
        fastest_tok_s = max((gain.tok_s for gain in gains), default=0.0)
        near = [gain for gain in gains if gain.tok_s * NOTICEABLE_GAIN >= fastest_tok_s]
        if near:
            yield min(near, key=_by_price)


__all__ = [
    "ADD",
    "ADD_BOTH",
    "ADD_RAM",
    "ADD_SAME",
    "KINDS",
    "REPLACE",
    "Change",
    "Gain",
    "Upgrade",
    "decode_tok_s",
    "plan_upgrade",
]
