"""Tries placements, from the one that runs fastest to the one that needs the least of the cards."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from llmfit.advisor.errors import LlmfitError
from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.memory.assignment import assign_layers
from llmfit.advisor.memory.breakdown import MemoryEstimate
from llmfit.advisor.memory.fitting_budget import Budgets, CardBudget, machine_budgets
from llmfit.advisor.memory.fitting_cards import allowed_cards, driver_bytes, fastest_first, least_bytes
from llmfit.advisor.memory.fitting_costs import slot_costs
from llmfit.advisor.memory.fitting_split import Split, SplitSearch
from llmfit.advisor.memory.known_placements import placement_memory, without_context
from llmfit.advisor.memory.prepared import PreparedMemory, prepare_memory
from llmfit.advisor.memory.settings import ALL_LAYERS, LaunchSettings
from llmfit.advisor.memory.weights import WeightTable
from llmfit.advisor.model.shape import ModelShape
from llmfit.advisor.same import Same

MAX_ROUNDS = 6
"""Estimates that the search of one split may ask for; two are usual."""


_OPEN: Mapping[str, Any] = MappingProxyType(
    {
        "devices": (),
        "gpu_layers": ALL_LAYERS,
        "n_cpu_moe": 0,
        "override_tensor": (),
        "tensor_split": None,
    }
)
"""What the search decides, with the values it starts from."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One placement, estimated."""

    settings: LaunchSettings
    memory: MemoryEstimate
    shortfall_bytes: int

    @property
    def fits(self) -> bool:
        return self.shortfall_bytes == 0

    @property
    def gpu_weights_bytes(self) -> int:
        return sum(device.weights_bytes for device in self.memory.gpus)


@dataclass(frozen=True, slots=True)
class Reference:
    """A split of a model, and what it takes whatever the context."""

    split: Split
    prepared: PreparedMemory


Solver = Callable[[SplitSearch, Sequence[int]], Split | None]
EXPERTS, LAYERS = "experts", "layers"
"""What goes to RAM."""


class LayoutSearch:
    """Every placement tried is kept in ``attempts``, so that the nearest miss can be shown."""

    def __init__(
        self,
        shape: ModelShape,
        weights: WeightTable,
        machine: Machine,
        base: LaunchSettings,
        fixed: frozenset[str],
    ) -> None:
        self.shape = shape
        self.weights = weights
        self.machine = machine
        self.base = replace(base, **{name: open_ for name, open_ in _OPEN.items() if name not in fixed})
        self.fixed = fixed
        self.budgets: Budgets = machine_budgets(machine)
        self.costs = slot_costs(shape, weights, self.base)
        self.cards = allowed_cards(self.budgets.cards, self.base, fixed)
        self.attempts: dict[LaunchSettings, Attempt] = {}
        self._overfull: set[LaunchSettings] = set()
        self.ram_is_short = False
        """A placement that fills the cards lacks RAM: one that uses them less would lack more."""
        self._held_bytes: int | None = None
        """What one card holds besides its slots with everything on it, once that was estimated."""

    @property
    def n_slots(self) -> int:
        return self.costs.n_slots

    @property
    def first_slot(self) -> int:
        """The first slot on a card where the user fixed ``-ngl``, else 0."""
        return max(0, self.n_slots - self.base.gpu_layers) if "gpu_layers" in self.fixed else 0

    @property
    def shares(self) -> tuple[float, ...] | None:
        return self.base.tensor_split if "tensor_split" in self.fixed else None

    @property
    def may_move_experts(self) -> bool:
        free = not self.fixed & {"n_cpu_moe", "override_tensor"}
        return free and self.first_slot == 0 and any(self.weights.expert_gpu_bytes)

    @property
    def may_move_layers(self) -> bool:
        return "gpu_layers" not in self.fixed

    def attempt(self, **changes: Any) -> Attempt:
        settings = replace(self.base, **changes)
        known = self.attempts.get(settings)
        if known is None:
            memory = placement_memory(self.shape, self.weights, settings, self.machine)
            known = Attempt(settings, memory, self.budgets.shortfall_bytes(memory))
            self.attempts[settings] = known
        return known

    def one_card(self) -> Attempt | None:
        """Everything (or the ``-ngl`` the user fixed) on one card; the fastest, and of equals the fullest."""
        if len(self.shares or ()) > 1 or ("split_mode" in self.fixed and self.base.split_mode == "layer"):
            return None
        slots_bytes = self.costs.ends(self.first_slot, self.base.n_cpu_moe)[-1]
        needed_bytes = slots_bytes
        for card in fastest_first(self.cards):
            if card.budget_bytes < needed_bytes + driver_bytes(card):
                continue
            attempt = self.attempt(**self._on(card))
            if attempt.fits:
                return attempt
            self._held_bytes = attempt.memory.gpus[0].required_bytes - slots_bytes
            needed_bytes = attempt.memory.gpus[0].required_bytes - driver_bytes(card)
        return None

    def several_cards(self) -> Attempt | None:
        """Everything on as few cards as hold it, the ones with the most free memory."""
        first_slot, n_cpu_moe = self.first_slot, min(self.base.n_cpu_moe, self.n_slots)

        def solve(search: SplitSearch, held: Sequence[int]) -> Split | None:
            return search.balanced(held, first_slot, n_cpu_moe)

        for cards in self._card_sets(smallest=2):
            within = self._refine(cards, solve, self._first_guess(cards), first_will_do=True)
            if within is not None:
                return within if within.fits else None
        return None

    def experts_in_ram(self) -> Attempt | None:
        """All layers on the cards, as many experts as they hold, the others in RAM."""
        if not self.may_move_experts:
            return None
        return self._best_of_card_sets(EXPERTS)

    def layers_in_ram(self) -> Attempt | None:
        """As many layers on the cards as they hold; of those the experts stay in RAM."""
        if not self.may_move_layers or self.ram_is_short:
            return None
        return self._best_of_card_sets(LAYERS)

    def no_card(self) -> Attempt | None:
        if self.ram_is_short or (self.cards and "gpu_layers" in self.fixed):
            return None
        attempt = self.attempt(devices=(), gpu_layers=0, tensor_split=None)
        return attempt if attempt.fits else None

    def nearest(self) -> Attempt:
        """The attempt that misses the least; with nothing tried yet, what the user fixed on all cards."""
        if not self.attempts:
            self._all_cards()
        shown = [attempt for attempt in self.attempts.values() if attempt.settings not in self._overfull]
        return min(shown or self.attempts.values(), key=lambda attempt: attempt.shortfall_bytes)

    def on_freed_card(self, card: CardBudget) -> Attempt | None:
        """Everything on this card, if it would fit there with all other programs closed."""
        if self.costs.ends(0, 0)[-1] > card.budget_bytes + card.held_bytes or self.first_slot:
            return None
        attempt = self.attempt(**self._on(card))
        needed = attempt.memory.gpus[0].required_bytes
        return attempt if needed <= card.budget_bytes + card.held_bytes else None

    def _on(self, card: CardBudget) -> dict[str, Any]:
        return {"devices": (card.index,), "gpu_layers": self._ngl(self.first_slot), "tensor_split": None}

    def _all_cards(self) -> Attempt:
        if not self.cards:
            return self.attempt(devices=(), gpu_layers=0, tensor_split=None)
        devices = tuple(card.index for card in self.cards)
        return self.attempt(devices=devices, gpu_layers=self._ngl(self.first_slot))

    def _ngl(self, first_slot: int) -> int:
        return ALL_LAYERS if first_slot == 0 else self.n_slots - first_slot

    def _card_sets(self, smallest: int) -> Iterator[tuple[CardBudget, ...]]:
        """Sets of cards, small ones first; of each size the one with the most free memory."""
        if self.base.split_mode == "none":
            smallest, most = 1, 1
        elif self.shares is not None or "split_mode" in self.fixed or "devices" in self.fixed:
            smallest = most = len(self.cards)
        else:
            most = len(self.cards)
        by_room = sorted(self.cards, key=lambda card: (-card.budget_bytes, card.index))
        for n_cards in range(smallest, most + 1):
            if n_cards:
                yield tuple(sorted(by_room[:n_cards], key=lambda card: card.index))

    def _best_of_card_sets(self, in_ram: str) -> Attempt | None:
        """The most weights on the cards; a card that cannot hold a part of them is left out."""
        best: Attempt | None = None
        for cards in reversed(list(self._card_sets(smallest=1))):
            found = self._refine(cards, self._solver(in_ram), self._informed_guess(cards, in_ram))
            if found is not None and not found.fits:
                self.ram_is_short = self.ram_is_short or self._weights_lack_ram(found)
                found = None
            if self.ram_is_short:
                break
            if best is not None and (found is None or found.gpu_weights_bytes < best.gpu_weights_bytes):
                break
            best = found
            if best is not None and all(device.weights_bytes for device in best.memory.gpus):
                break
        return best

    def _weights_lack_ram(self, attempt: Attempt) -> bool:
        """RAM does not even hold the weights and cache that are left over for it."""
        host = attempt.memory.host
        ram_bytes = self.budgets.ram_bytes
        return ram_bytes is not None and host.weights_bytes + host.kv_cache_bytes > ram_bytes

    def _first_guess(self, cards: Sequence[CardBudget], staging: bool = False) -> list[int]:
        """What each card will hold besides its slots, before any estimate with these cards.

        With weights in RAM a batch stages the largest of them on the card.
        """
        staged = max(self.weights.largest_tensor_bytes, default=0) if staging else 0
        return [max(self._held_bytes or 0, driver_bytes(card)) + staged for card in cards]

    def _informed_guess(self, cards: Sequence[CardBudget], in_ram: str) -> list[int]:
        """The same from a split that was estimated, whatever the context: mostly right to the byte."""
        base = without_context(self.base)
        known = _reference(
            *(Same(self.shape), Same(self.weights), Same(self.machine), base, self.fixed),
            *(tuple(card.index for card in cards), in_ram),
        )
        if known is None:
            return self._first_guess(cards, staging=True)
        launch = (self.base.context_tokens, self.base.cache_type_k, self.base.cache_type_v)
        required = known.prepared.required_bytes(*launch)
        return [
            total - mine for total, mine in zip(required, known.split.card_bytes(self.costs), strict=False)
        ]

    def reference(self, devices: Collection[int], in_ram: str) -> Reference | None:
        """The first split over these cards that would be tried, prepared."""
        cards = [card for card in self.cards if card.index in devices]
        search, solve = self._split_search(cards), self._solver(in_ram)
        split = solve(search, self._first_guess(cards, staging=True)) or solve(search, least_bytes(cards))
        if split is None:
            return None
        settings = replace(self.base, **self._settings_of(split, cards))
        return Reference(split, prepare_memory(self.shape, self.weights, settings, self.machine, sketch=True))

    def _solver(self, in_ram: str) -> Solver:
        if in_ram == EXPERTS:
            return SplitSearch.least_experts_in_ram
        n_cpu_moe = self.n_slots if self.may_move_experts else min(self.base.n_cpu_moe, self.n_slots)
        return lambda search, held: search.most_layers(held, n_cpu_moe)

    def _split_search(self, cards: Sequence[CardBudget]) -> SplitSearch:
        budgets = tuple(card.budget_bytes for card in cards)
        return SplitSearch(self.costs, budgets, self._shared_counts if self.shares else None)

    def _refine(
        self,
        cards: tuple[CardBudget, ...],
        solve: Solver,
        held: list[int],
        first_will_do: bool = False,
    ) -> Attempt | None:
        """Solve with what the cards hold besides their slots, learn that from the estimate, solve again.

        The attempt with the most weights on the cards that stays within them; RAM may be short.
        """
        search = self._split_search(cards)
        budgets = search.budgets
        tried: dict[Split, Attempt] = {}
        within: list[Attempt] = []
        least = least_bytes(cards)
        for _ in range(MAX_ROUNDS):
            split = solve(search, held)
            if split is None and held != least and not tried:
                split = solve(search, least)
            if split is None or split in tried:
                break
            attempt = tried[split] = self.attempt(**self._settings_of(split, cards))
            required = [device.required_bytes for device in attempt.memory.gpus]
            slots = split.card_bytes(self.costs)
            held = [total - mine for total, mine in zip(required, slots, strict=True)]
            if all(total <= budget for total, budget in zip(required, budgets, strict=True)):
                within.append(attempt)
                if first_will_do or attempt.shortfall_bytes > sum(budgets) - sum(required):
                    break
        if within:
            self._overfull.update(one.settings for one in tried.values() if one not in within)
        return max(within, key=lambda attempt: attempt.gpu_weights_bytes, default=None)

    def _shared_counts(self, first_slot: int) -> tuple[int, ...]:
        """Slots of each card for the user's own ``-ts``."""
        settings = replace(
            self.base,
            devices=tuple(card.index for card in self.cards),
            gpu_layers=self.n_slots - first_slot,
            n_cpu_moe=0,
            override_tensor=(),
        )
        where = assign_layers(self.shape, settings, ())
        placed = (*where.layer_device, where.output_device)
        return tuple(placed.count(card) for card in range(len(self.cards)))

    def _settings_of(self, split: Split, cards: Sequence[CardBudget]) -> dict[str, Any]:
        counts = tuple(float(count) for count in split.counts)
        changes: dict[str, Any] = {
            "devices": tuple(card.index for card in cards),
            "gpu_layers": self._ngl(split.first_slot),
            "tensor_split": self.shares or (counts if len(cards) > 1 else None),
        }
        if self.may_move_experts:
            everything = split.n_cpu_moe > 0 and not any(self.costs.expert_bytes[split.n_cpu_moe :])
            changes["n_cpu_moe"] = ALL_LAYERS if everything else split.n_cpu_moe
            changes["override_tensor"] = tuple(partial.override for partial in split.partials)
        return changes


@lru_cache(maxsize=128)
def _reference(
    shape: Same[ModelShape],
    weights: Same[WeightTable],
    machine: Same[Machine],
    base: LaunchSettings,
    fixed: frozenset[str],
    devices: tuple[int, ...],
    in_ram: str,
) -> Reference | None:
    """Of one context for all, so that what is found does not depend on what was asked before."""
    try:
        return LayoutSearch(shape.it, weights.it, machine.it, base, fixed).reference(devices, in_ram)
    except LlmfitError:  # this context is refused; the one that is asked for may not be
        return None
