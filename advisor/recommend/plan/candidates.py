"""Every piece of hardware that a plan may judge, and the machine that stands for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.hardware.offers import CardOffer
from llmfit.advisor.hardware.simulate import simulate_machine
from llmfit.advisor.recommend.plan.bounds import ModelBytes, may_hold, vram_bytes
from llmfit.advisor.recommend.plan.hosts import RAM_BESIDE_CARDS_BYTES, Host
from llmfit.advisor.recommend.plan.values import (
    BOX,
    CARDS,
    CARDS_AND_RAM,
    COUNTS,
    COUNTS_WITH_RAM,
    OLDEST_RELEASE,
    Candidate,
    Question,
)
from llmfit.advisor.units import GIB

USABLE_SHARE = 0.9
"""Of VRAM, what weights surely get: the rest is for cache and buffers. Only sizes the first RAM tried."""
SPARE_RAM_BYTES = 4 * GIB
"""System, server and buffers in RAM. Only sizes the first RAM tried."""


def candidates_of(question: Question, size: ModelBytes) -> dict[str, list[Candidate]]:
    """By group, the cheapest first and those without a price last; what arithmetic rules out is left out."""
    found = [
        *_boxes(question),
        *(candidate for card in question.cards for candidate in _cards(question, card)),
        *(candidate for host in question.hosts for candidate in _with_ram(question, host, size)),
    ]
    groups: dict[str, list[Candidate]] = {}
    for candidate in sorted(found, key=by_price):
        if candidate.kind == CARDS_AND_RAM and candidate.price_usd is None:
            continue  # of prices that are not known those of the simpler kinds are enough
        if may_hold(candidate, size) and in_budget(candidate.price_usd, question.budget_usd):
            groups.setdefault(candidate.group, []).append(candidate)
    return groups


def worthwhile(cards: Sequence[CardOffer]) -> list[CardOffer]:
    """What is proposed where nobody names a card: not too old, and beaten by no other of the same maker.

    A card beats another at no higher price with no less memory and bandwidth; those without a price are
    compared among themselves.
    """
    recent = [card for card in cards if (card.released or OLDEST_RELEASE) >= OLDEST_RELEASE]
    return [card for card in recent if not any(_beats(other, card) for other in recent if other is not card)]


def _beats(other: CardOffer, card: CardOffer) -> bool:
    if other.facts.vendor != card.facts.vendor or (other.price is None) != (card.price is None):
        return False
    mine, theirs = _worth(card), _worth(other)
    if mine == theirs:  # of equals the one with the smaller id
        return other.facts.id < card.facts.id
    return all(their >= my for my, their in zip(mine, theirs, strict=True))


def _worth(card: CardOffer) -> tuple[float, float, float]:
    price = -float(card.price.usd) if card.price else 0.0
    return price, card.memory_bytes, card.facts.bandwidth_bytes_per_s or 0


def machine_of(candidate: Candidate, question: Question) -> Machine:
    """The simulated machine. Raises UsageError for what cannot be simulated."""
    if candidate.box is not None:
        spec = f"{candidate.box.facts.id} {candidate.box.memory_bytes // GIB}GB"
        return simulate_machine([spec], None, None, None, question.lookup)
    specs = ["none"]
    if candidate.card is not None:
        specs = [spec_of(candidate.card, candidate.n_cards)]
    machine = simulate_machine(specs, "64GiB", None, None, question.lookup)
    if candidate.host is None or candidate.ram is None:
        return machine
    return candidate.host.with_ram(machine, candidate.ram)


def spec_of(card: CardOffer, count: int) -> str:
    """As ``--gpu`` takes it: by its id, with its memory where there is a choice."""
    sized = len(card.facts.memory_bytes_options) > 1
    return f"{count}x {card.facts.id}" + (f" {card.memory_bytes // GIB}GB" if sized else "")


def larger_ram(candidate: Candidate) -> Candidate | None:
    """The same with the next size of RAM that its host takes."""
    if candidate.host is None or candidate.ram is None:
        return None
    ram = candidate.host.ram_at_least(candidate.ram.size_bytes + 1)
    return None if ram is None else replace(candidate, ram=ram)


def _boxes(question: Question) -> Iterator[Candidate]:
    for box in question.boxes:
        yield Candidate(BOX, 1, box=box)


def _cards(question: Question, card: CardOffer) -> Iterator[Candidate]:
    if not question.hosts:
        return
    host = question.hosts[0]
    ram = host.ram_at_least(RAM_BESIDE_CARDS_BYTES) or host.ram_fits[-1]
    for count in COUNTS:
        yield Candidate(CARDS, count, card=card, host=host, ram=ram, costs=question.costs)


def _with_ram(question: Question, host: Host, size: ModelBytes) -> Iterator[Candidate]:
    for candidate in _hosted(question, host):
        room = round(vram_bytes(candidate) * USABLE_SHARE)
        ram = host.ram_at_least(size.in_ram_bytes(room) + SPARE_RAM_BYTES)
        if ram is not None and size.in_ram_bytes(vram_bytes(candidate)):
            yield replace(candidate, ram=ram)


def _hosted(question: Question, host: Host) -> Iterator[Candidate]:
    yield Candidate(CARDS_AND_RAM, 0, host=host, costs=question.costs)
    for card in question.cards:
        for count in COUNTS_WITH_RAM:
            if count <= host.max_cards:
                yield Candidate(CARDS_AND_RAM, count, card=card, host=host, costs=question.costs)


def by_price(candidate: Candidate) -> tuple[bool, float, int]:
    """Without a price last, those in the catalogue's order."""
    price = candidate.price_usd
    return price is None, price or 0.0, 0 if price is None else candidate.n_cards


def in_budget(price_usd: float | None, budget_usd: float | None) -> bool:
    """A price that is not known is in no budget."""
    return budget_usd is None or (price_usd is not None and price_usd <= budget_usd)


__all__ = [
    "by_price",
    "candidates_of",
    "in_budget",
    "larger_ram",
    "machine_of",
    "spec_of",
    "worthwhile",
]
