"""What a plan is asked and what it answers, as frozen values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llmfit.advisor.hardware.machine import GpuLookup
from llmfit.advisor.hardware.offers import BoxOffer, CardOffer, Price
from llmfit.advisor.model.model import Model
from llmfit.advisor.recommend.judgement import Judgement
from llmfit.advisor.recommend.plan.hosts import HOSTS, RAM_BESIDE_CARDS_BYTES, Host, RamFit
from llmfit.advisor.recommend.request import Request
from llmfit.advisor.units import GIB

CARDS = "cards"
CARDS_AND_RAM = "cards_and_ram"
BOX = "whole_machine"
CARDS_ONLY = "cards only"
CARDS_AND_MORE_RAM = "cards and RAM"
RAM_ONLY = "RAM only"
WHOLE_MACHINE = "whole machine"
RAM_USD_PER_GB = 14.0
"""The middle of 12 to 16 USD a GB, Framework's own prices of DDR5 modules in February 2026
(tomshw.it 2026-02-13). Prices of RAM have moved by the month since; ``--ram-usd-per-gb`` states another."""
MANY_CARDS = 4
"""More do not sit in one case on one board: risers, a second power supply."""
MANY_WATTS = 1500
"""What a household circuit carries for hours: 80 % of 15 A at 120 V are 1,440 W (US National Electrical Code,
210.19 and 210.20; recalled, not read again)."""
COUNTS = (1, 2, 3, 4, 5, 6, 7, 8)
"""How many cards of one kind are tried where they hold everything."""
COUNTS_WITH_RAM = (1, 2, 4)
"""Beside weights in RAM: of more cards each brings less."""
OLDEST_RELEASE = "2020"
"""Older cards are proposed only where the user names them: they are sold used alone, and the makers' current
toolkits leave them (CUDA 13 has no code for compute capabilities below 7.5)."""


@dataclass(frozen=True, slots=True)
class HostCosts:
    """What cards need around them. ``host_usd``: a computer with RAM_BESIDE_CARDS_BYTES and without cards;
    None leaves it out of every price. More RAM than that is always counted."""

    ram_usd_per_gb: float = RAM_USD_PER_GB
    host_usd: float | None = None

    def ram_usd(self, size_bytes: int) -> float:
        """Of what is above RAM_BESIDE_CARDS_BYTES; modules are sold in GiB under the name GB."""
        return max(0, size_bytes - RAM_BESIDE_CARDS_BYTES) / GIB * self.ram_usd_per_gb


@dataclass(frozen=True, slots=True)
class Question:
    """``request`` has its context fixed. ``target_tok_s`` is compared with the expected decode speed."""

    model: Model
    request: Request
    target_tok_s: float
    cards: tuple[CardOffer, ...]
    boxes: tuple[BoxOffer, ...]
    lookup: GpuLookup
    hosts: tuple[Host, ...] = HOSTS
    costs: HostCosts = HostCosts()
    budget_usd: float | None = None
    names_hardware: bool = False
    """The user named the cards and computers: none was left out for them."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """Hardware before it is judged. ``host`` is None for a whole computer."""

    kind: str
    n_cards: int
    card: CardOffer | None = None
    box: BoxOffer | None = None
    host: Host | None = None
    ram: RamFit | None = None
    costs: HostCosts = HostCosts()

    @property
    def group(self) -> str:
        """Within it prices mean the same thing."""
        if self.box is not None or self.host is None:
            return BOX
        return self.kind if self.kind == CARDS else f"{self.kind}:{self.host.id}"

    @property
    def price(self) -> Price | None:
        """Of one card or of the computer."""
        if self.box is not None:
            return self.box.price
        return None if self.card is None else self.card.price

    @property
    def price_usd(self) -> float | None:
        """Of everything that ``price_of`` names; None where one of the parts is not known."""
        if self.box is not None:
            return None if self.box.price is None else float(self.box.price.usd)
        cards_usd = self.cards_usd
        return None if cards_usd is None else cards_usd + self.ram_usd + (self.costs.host_usd or 0.0)

    @property
    def cards_usd(self) -> float | None:
        if self.card is None:
            return 0.0
        return None if self.card.price is None else float(self.card.price.usd * self.n_cards)

    @property
    def ram_usd(self) -> float:
        return 0.0 if self.ram is None else self.costs.ram_usd(self.ram.size_bytes)

    @property
    def price_of(self) -> str:
        if self.box is not None or self.costs.host_usd is not None:
            return WHOLE_MACHINE
        if self.card is None:
            return RAM_ONLY
        return CARDS_AND_MORE_RAM if self.ram_usd else CARDS_ONLY

    @property
    def hardware_id(self) -> str:
        """One row of an answer for each."""
        if self.box is not None:
            return self.box.facts.id
        return "" if self.card is None else f"{self.card.facts.id} {self.card.memory_bytes}"

    @property
    def name(self) -> str:
        if self.box is not None:
            return self.box.name
        if self.card is None:
            return "no card"
        name = short_name(self.card)
        return name if self.n_cards == 1 else f"{self.n_cards}x {name}"


def short_name(card: CardOffer) -> str:
    """Without the maker's words: ``RTX 3090``, ``RTX PRO 6000``; llmfit understands it after --gpu."""
    name = card.facts.name
    for words in ("GeForce ", "Radeon ", " Blackwell", " Generation"):
        name = name.replace(words, "")
    if len(card.facts.memory_bytes_options) > 1:
        name = f"{name} {card.memory_bytes // 2**30} GB"
    return name


@dataclass(frozen=True, slots=True)
class Option:
    """Hardware that runs it. ``tdp_w`` is the cards' rated power, or what the whole computer draws."""

    candidate: Candidate
    judgement: Judgement
    reaches_target: bool
    tdp_w: float | None
    cautions: tuple[str, ...]

    @property
    def decode_tok_s(self) -> float:
        speed = self.judgement.speed
        return 0.0 if speed is None else speed.decode_tok_s.expected

    @property
    def prefill_tok_s(self) -> float | None:
        speed = self.judgement.speed
        return None if speed is None or speed.prefill is None else speed.prefill.tok_s.expected


@dataclass(frozen=True, slots=True)
class Cheaper:
    """What a smaller file type or a shorter context would make of the cheapest option of a group."""

    text: str
    change: tuple[tuple[str, object], ...]
    before: Option
    after: Option


@dataclass(frozen=True, slots=True)
class Plan:
    """``options`` reach the target, the cheapest first, those without a price last.

    Where ``options`` is empty, ``nearest`` are what comes closest; else they are the fastest cheaper ones
    that miss the target.
    """

    question: Question
    options: tuple[Option, ...]
    nearest: tuple[Option, ...]
    n_judged: int


Variants = Callable[[str], Model]
"""The same model in another file type."""
