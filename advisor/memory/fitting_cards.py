"""The cards of a search: which it may use, in which order, and what the driver takes there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from llmfit.advisor.errors import UsageError
from llmfit.advisor.memory.fitting_budget import CardBudget
from llmfit.advisor.memory.overhead import driver_overhead
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.units import GIB

WORKING_BYTES = GIB
"""A program that holds this much of a card works on it (a model, a game); those of a desktop hold less."""


def allowed_cards(
    cards: tuple[CardBudget, ...], base: LaunchSettings, fixed: frozenset[str]
) -> tuple[CardBudget, ...]:
    """The cards that the user's own ``devices`` or ``tensor_split`` leave. Raises UsageError for too many."""
    if "devices" in fixed:
        cards = tuple(card for card in cards if card.index in base.devices)
    if "tensor_split" not in fixed or base.tensor_split is None:
        return cards
    n_shares = len(base.tensor_split)
    if n_shares > len(cards):
        raise UsageError("tensor split", f"{n_shares} proportions for {len(cards)} usable GPUs")
    return cards[:n_shares]


def least_bytes(cards: Iterable[CardBudget]) -> list[int]:
    return [driver_bytes(card) for card in cards]


def driver_bytes(card: CardBudget) -> int:
    """What is needed on a card before llama.cpp allocates anything there."""
    overhead = driver_overhead(card.gpu.backend)
    return overhead.expected_bytes + overhead.doubt_bytes


def fastest_first(cards: Sequence[CardBudget]) -> list[CardBudget]:
    """By memory bandwidth where it is known of all; of equally fast cards the one with least room first, but
    one that another program works on last: it would share the card's bandwidth as well."""
    bandwidths = [card.gpu.bandwidth_bytes_per_s for card in cards]
    comparable = None not in bandwidths
    return sorted(
        cards,
        key=lambda card: (
            -(card.gpu.bandwidth_bytes_per_s or 0) if comparable else 0,
            any((process.vram_bytes or 0) >= WORKING_BYTES for process in card.gpu.processes),
            card.budget_bytes,
            card.index,
        ),
    )
