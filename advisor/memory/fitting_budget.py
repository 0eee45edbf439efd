"""What a placement may take of each card and of RAM, and how much of it is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llmfit.advisor.hardware.machine import Gpu, Machine, Memory
from llmfit.advisor.memory.breakdown import DeviceMemory, MemoryEstimate
from llmfit.advisor.units import GIB, format_gib

RAM_RESERVE_BYTES = GIB
"""Left free of what is available in RAM, so that the system does not swap. A choice, not a measurement."""


@dataclass(frozen=True, slots=True)
class CardBudget:
    """A card that a placement may use and what it may take there: what is free."""

    gpu: Gpu
    budget_bytes: int

    @property
    def index(self) -> int:
        return self.gpu.index

    @property
    def label(self) -> str:
        return f"GPU{self.gpu.index}"

    @property
    def held_bytes(self) -> int:
        """What other programs hold, as far as total and free are known; not what the driver keeps."""
        total = self.gpu.vram_total_bytes
        if total is None:
            return 0
        return max(0, total - (self.gpu.vram_reserved_bytes or 0) - self.budget_bytes)


@dataclass(frozen=True, slots=True)
class Budgets:
    """``cards`` in the machine's order. ``ram_bytes`` is ``None`` where nothing is known of RAM."""

    cards: tuple[CardBudget, ...]
    ram_bytes: int | None
    notes: tuple[str, ...]

    @property
    def by_index(self) -> Mapping[int, CardBudget]:
        return {card.index: card for card in self.cards}

    def shortfall_bytes(self, memory: MemoryEstimate) -> int:
        """What is missing on the cards and in RAM together; memory that they share is counted once."""
        cards = sum(self.card_shortfall_bytes(device) for device in memory.gpus)
        return cards + self.ram_shortfall_bytes(memory)

    def card_shortfall_bytes(self, device: DeviceMemory) -> int:
        card = self.by_index.get(-1 if device.gpu_index is None else device.gpu_index)
        return max(0, device.required_bytes - (card.budget_bytes if card else 0))

    def ram_shortfall_bytes(self, memory: MemoryEstimate) -> int:
        """What is missing in RAM, of which unified GPUs take what is not already missing on them."""
        left_bytes = self.ram_left_bytes(memory)
        return 0 if left_bytes is None else max(0, -left_bytes)

    def ram_left_bytes(self, memory: MemoryEstimate) -> int | None:
        """What stays free in RAM beyond the reserve, negative where it is not enough."""
        if self.ram_bytes is None:
            return None
        taken = memory.host.required_bytes
        for device in memory.gpus:
            card = self.by_index.get(-1 if device.gpu_index is None else device.gpu_index)
            if card is not None and card.gpu.unified_memory:
                taken += min(device.required_bytes, card.budget_bytes)
        return self.ram_bytes - taken


def machine_budgets(machine: Machine) -> Budgets:
    """The cards llama.cpp would use together, and what is free on them and in RAM.

    Integrated GPUs take part only where there is no other (llama_prepare_model_devices, src/llama.cpp), and
    one llama-server speaks to one backend: the one with the most memory, of equal ones the first card's.
    Slices of cards (MIG) are never put together: drivers before 570 show a program no more than one (NVIDIA
    MIG user guide, CUDA device enumeration), and layers split over slices of one card would share its
    bandwidth anyway.
    """
    notes: list[str] = []
    known = [card for gpu in machine.gpus if (card := _card(gpu, notes)) is not None]
    own_memory = [card for card in known if not card.gpu.unified_memory]
    notes += [
        f"{card.label} ({card.gpu.name}) shares the system's RAM and is left out."
        for card in known
        if own_memory and card not in own_memory
    ]
    known = _without_other_slices(own_memory or known, notes)
    backends = dict.fromkeys(card.gpu.backend for card in known)  # in order: of equal ones the first card's
    if len(backends) > 1:
        largest = max(
            backends, key=lambda name: sum(card.budget_bytes for card in known if card.gpu.backend == name)
        )
        notes += [
            f"{card.label} ({card.gpu.name}) is left out: it needs another llama.cpp backend than {largest}."
            for card in known
            if card.gpu.backend != largest
        ]
        known = [card for card in known if card.gpu.backend == largest]
    return Budgets(tuple(known), _ram_budget(machine.memory, notes), tuple(notes))


def _without_other_slices(cards: list[CardBudget], notes: list[str]) -> list[CardBudget]:
    """The whole cards, or the one slice with the most free memory where that is more."""
    slices = [card for card in cards if card.gpu.partition is not None]
    if not slices:
        return cards
    whole = [card for card in cards if card.gpu.partition is None]
    largest = max(slices, key=lambda card: card.budget_bytes)
    kept = whole if sum(card.budget_bytes for card in whole) > largest.budget_bytes else [largest]
    notes += [
        f"{card.label} ({card.gpu.name}) is left out: one slice of a card is planned for, alone."
        for card in cards
        if card not in kept
    ]
    return kept


def _card(gpu: Gpu, notes: list[str]) -> CardBudget | None:
    if gpu.usable_bytes is None:
        notes.append(f"GPU{gpu.index} ({gpu.name}) is left out: its memory is not known.")
        return None
    if gpu.vram_free_bytes is None:
        notes.append(
            f"How much of GPU{gpu.index} ({gpu.name}) is free is not known: "
            f"planned with {format_gib(gpu.usable_bytes)}, as if nothing else held any."
        )
    return CardBudget(gpu, gpu.usable_bytes)


def _ram_budget(memory: Memory, notes: list[str]) -> int | None:
    sizes = [size for size in (memory.available_bytes, memory.capacity_bytes) if size is not None]
    if not sizes:
        notes.append("How much RAM there is is not known: what lies in RAM was not checked.")
        return None
    if memory.available_bytes is None:
        notes.append("How much RAM is free is not known: planned with all of it.")
    return max(0, min(sizes) - RAM_RESERVE_BYTES)
