"""The largest context that still gets a verdict."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.memory.fitting_costs import slot_costs
from llmfit.advisor.memory.fitting_layout import FITS_GPU, find_layout
from llmfit.advisor.memory.fitting_search import LayoutSearch
from llmfit.advisor.memory.kv_cache import CONTEXT_PADDING_TOKENS
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.memory.weights import WeightTable
from llmfit.advisor.model.shape import ModelShape

MAX_GUESSES = 5
"""After so many steps along the line the search halves the interval instead."""


def largest_context(
    shape: ModelShape,
    weights: WeightTable,
    machine: Machine,
    base: LaunchSettings,
    fixed: frozenset[str] = frozenset(),
    verdicts: Collection[str] = (FITS_GPU,),
) -> int:
    """The largest ``-c`` (a multiple of 256 tokens, at most the trained context) with one of these verdicts.

    0 if even 256 tokens do not get it. ``base.context_tokens`` is not looked at.
    """
    question = _Question(shape, weights, machine, base, fixed, frozenset(verdicts))
    low, high = 0, max(1, shape.context_train_tokens // CONTEXT_PADDING_TOKENS) + 1
    guess = high - 1
    for round_number in range(64):
        if high - low < 2:
            break
        if question.holds(guess):
            low = guess
        else:
            high = guess
        line = question.next_guess() if round_number < MAX_GUESSES else None
        guess = (low + high) // 2 if line is None else min(max(line, low + 1), high - 1)
    return low * CONTEXT_PADDING_TOKENS


@dataclass(slots=True)
class _Question:
    shape: ModelShape
    weights: WeightTable
    machine: Machine
    base: LaunchSettings
    fixed: frozenset[str]
    verdicts: frozenset[str]
    points: list[tuple[int, int, int]] = field(default_factory=list)
    """Steps of context, bytes needed on the cards and bytes left there, of each full placement estimated."""

    def settings(self, steps: int) -> LaunchSettings:
        return replace(self.base, context_tokens=steps * CONTEXT_PADDING_TOKENS)

    def holds(self, steps: int) -> bool:
        args = (self.shape, self.weights, self.machine, self.settings(steps), self.fixed)
        if self.verdicts != {FITS_GPU}:
            return find_layout(*args).verdict in self.verdicts
        search = LayoutSearch(*args)
        found = search.one_card() or search.several_cards()
        for attempt in list(search.attempts.values())[-1:]:
            needed = sum(device.required_bytes for device in attempt.memory.gpus)
            budgets = search.budgets.by_index
            room = sum(budgets[index].budget_bytes for index in attempt.settings.devices)
            self.points.append((steps, needed, room - needed))
        return found is not None and found.memory.everything_on_gpus

    def next_guess(self) -> int | None:
        """Where the line through the last two placements (or the growth of the cache) meets what is free."""
        if not self.points:
            return None
        steps, needed, left = self.points[-1]
        slope = self._cache_bytes_per_step(steps)
        if len(self.points) > 1 and self.points[-2][0] != steps:
            earlier_steps, earlier_needed, _ = self.points[-2]
            slope = max(slope, (needed - earlier_needed) / (steps - earlier_steps))
        return int(steps + left / slope) if slope > 0 else None

    def _cache_bytes_per_step(self, steps: int) -> float:
        half = max(1, steps // 2)
        if half == steps:
            return 0.0
        sizes = [slot_costs(self.shape, self.weights, self.settings(n)).ends(0, 0)[-1] for n in (half, steps)]
        return (sizes[1] - sizes[0]) / (steps - half)
