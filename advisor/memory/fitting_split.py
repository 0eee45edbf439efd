"""Which layers go to which card, and which experts to RAM: arithmetic on a table of bytes per layer.

A *slot* is what ``-ngl`` counts: the blocks of the model in order, then the output. llama.cpp gives the cards
contiguous runs of slots (llama-model.cpp, load_tensors); with ``-ts`` set to the number of slots of each card
the runs are exactly these, because the proportions are divided by the same number as the slot index.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

WAYS_TRIED = 8
"""Blocks looked at for the one that is split: enough to meet every mix of types (Q4_K_M alternates)."""


@dataclass(frozen=True, slots=True)
class PartialBlock:
    """A block some of whose expert tensors stay in RAM; ``override`` is the ``-ot`` that says so."""

    block: int
    ram_bytes: int
    override: str


@dataclass(frozen=True, slots=True)
class SlotCosts:
    """What each slot takes on the card that holds it.

    ``slot_bytes`` (weights and KV cache) with all experts; ``expert_bytes`` is the part of it that goes to
    RAM with the experts of that block; ``partials`` are the ways to leave only some of them there.
    """

    slot_bytes: tuple[int, ...]
    expert_bytes: tuple[int, ...]
    partials: tuple[tuple[PartialBlock, ...], ...]

    @property
    def n_slots(self) -> int:
        return len(self.slot_bytes)

    def ends(self, first_slot: int, n_cpu_moe: int) -> list[int]:
        """Running totals of the slots from ``first_slot`` on: entry i is the sum of the first i of them."""
        light = max(0, min(n_cpu_moe, self.n_slots) - first_slot)
        sizes = list(self.slot_bytes[first_slot:])
        sizes[:light] = [
            size - experts
            for size, experts in zip(sizes[:light], self.expert_bytes[first_slot:], strict=False)
        ]
        return list(accumulate(sizes, initial=0))


@dataclass(frozen=True, slots=True)
class Split:
    """A placement: ``counts`` slots on each card in order, after ``first_slot`` slots in RAM."""

    first_slot: int
    counts: tuple[int, ...]
    n_cpu_moe: int = 0
    partials: tuple[PartialBlock, ...] = ()

    def expert_ram_bytes(self, costs: SlotCosts) -> int:
        whole = sum(costs.expert_bytes[: self.n_cpu_moe])
        return whole + sum(partial.ram_bytes for partial in self.partials)

    def card_bytes(self, costs: SlotCosts) -> tuple[int, ...]:
        """What the slots of each card take there."""
        ends = costs.ends(self.first_slot, self.n_cpu_moe)
        borders = list(accumulate(self.counts, initial=0))
        sizes = [ends[stop] - ends[start] for start, stop in pairwise(borders)]
        for partial in self.partials:
            card = bisect_right(borders, partial.block - self.first_slot) - 1
            sizes[card] -= partial.ram_bytes
        return tuple(sizes)


@dataclass(frozen=True, slots=True)
class SplitSearch:
    """Finds splits over cards with ``budgets`` bytes each.

    Where the user fixed ``-ts``, ``fixed_counts`` says how many slots each card gets for a first slot.
    The methods take ``held``: what each card holds whatever its slots are (compute buffers, overhead,
    margin).
    """

    costs: SlotCosts
    budgets: tuple[int, ...]
    fixed_counts: Callable[[int], tuple[int, ...]] | None = None

    def balanced(self, held: Sequence[int], first_slot: int = 0, n_cpu_moe: int = 0) -> Split | None:
        """The split that keeps the fullest card as empty as possible, as a share of its budget."""
        best = self._fill(self._room(held), first_slot, n_cpu_moe)
        low, high = 0.0, 1.0
        for _ in range(10):
            if best is None or self.fixed_counts is not None:
                break
            middle = (low + high) / 2
            split = self._fill(self._room(held, middle), first_slot, n_cpu_moe)
            if split is None:
                low = middle
            else:
                best, high = split, middle
        return best

    def least_experts_in_ram(self, held: Sequence[int]) -> Split | None:
        """All slots on the cards, the fewest bytes of experts in RAM; None if all of them are too few."""
        room = self._room(held)
        found = (self._fewest_experts(room, first_partial) for first_partial in range(len(room) + 1))
        splits = [split for split in found if split is not None]
        return min(splits, key=lambda split: split.expert_ram_bytes(self.costs), default=None)

    def _fewest_experts(self, room: Sequence[int], first_partial: int) -> Split | None:
        n_slots = self.costs.n_slots
        start = self._first(n_slots, lambda n: self._fill(room, 0, n, first_partial) is not None)
        best: Split | None = None
        fewest = 0
        for n_cpu_moe in range(start, n_slots + 1):
            if best is not None and sum(self.costs.expert_bytes[:n_cpu_moe]) >= fewest:
                break
            split = self._fill(room, 0, n_cpu_moe, first_partial)
            if split is not None and (best is None or split.expert_ram_bytes(self.costs) < fewest):
                best, fewest = split, split.expert_ram_bytes(self.costs)
        return best

    def most_layers(self, held: Sequence[int], n_cpu_moe: int = 0) -> Split | None:
        """As many slots on the cards as their room allows, the first ones in RAM; None if not even one."""
        room = self._room(held)
        n_slots = self.costs.n_slots
        start = self._first(n_slots, lambda first: self._fill(room, first, n_cpu_moe) is not None)
        return self.balanced(held, start, n_cpu_moe) if start < n_slots else None

    def _room(self, held: Sequence[int], share: float = 1.0) -> list[int]:
        return [int(budget * share) - taken for budget, taken in zip(self.budgets, held, strict=True)]

    @staticmethod
    def _first(end: int, holds: Callable[[int], bool]) -> int:
        """The smallest number below ``end`` for which ``holds`` is true from there on; ``end`` if none is."""
        low, high = 0, end
        while low < high:
            middle = (low + high) // 2
            if holds(middle):
                high = middle
            else:
                low = middle + 1
        return low

    def _fill(
        self, room: Sequence[int], first_slot: int, n_cpu_moe: int, first_partial: int | None = None
    ) -> Split | None:
        """Fill the cards one after the other, each as far as its room goes; None if slots are left over.

        Runs are contiguous, so filling in order succeeds whenever any split does. From the card
        ``first_partial`` on, one block of each may leave some of its experts in RAM.
        """
        ends = self.costs.ends(first_slot, n_cpu_moe)
        n_slots = len(ends) - 1
        if self.fixed_counts is not None:
            split = Split(first_slot, self.fixed_counts(first_slot), n_cpu_moe)
            sizes = split.card_bytes(self.costs)
            return split if all(size <= space for size, space in zip(sizes, room, strict=True)) else None
        counts: list[int] = []
        partials: list[PartialBlock] = []
        start = 0
        for card, space in enumerate(room):
            stop = max(start, bisect_right(ends, ends[start] + space) - 1)
            if first_partial is not None and card >= first_partial and space > 0 and stop < n_slots:
                target = n_slots if card == len(room) - 1 else stop + 1
                heavy = range(max(first_slot + start, n_cpu_moe), first_slot + target)
                way = self._partial_block(heavy, ends[target] - ends[start] - space)
                if way is not None:
                    partials.append(way)
                    stop = bisect_right(ends, ends[start] + space + way.ram_bytes) - 1
            counts.append(stop - start)
            start = stop
        return Split(first_slot, tuple(counts), n_cpu_moe, tuple(partials)) if start == n_slots else None

    def _partial_block(self, blocks: range, need_bytes: int) -> PartialBlock | None:
        """Of the first of these blocks, the fewest experts whose absence makes room for one more slot."""
        ways = (way for block in blocks[:WAYS_TRIED] for way in self.costs.partials[block])
        enough = (way for way in ways if way.ram_bytes >= need_bytes)
        return min(enough, key=lambda way: (way.ram_bytes, way.block), default=None)
