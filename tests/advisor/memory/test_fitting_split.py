"""The split search, against trying everything."""

from __future__ import annotations

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from llmfit.advisor.memory.fitting_split import PartialBlock, SlotCosts, Split, SplitSearch


@st.composite
def split_problems(draw: st.DrawFn) -> tuple[SlotCosts, tuple[int, ...], tuple[int, ...]]:
    n_slots = draw(st.integers(1, 6))
    experts = [draw(st.integers(0, 20)) for _ in range(n_slots)]
    rest = [draw(st.integers(0, 10)) for _ in range(n_slots)]
    partials = tuple(
        (PartialBlock(block, size // 2, f"half {block}"),) if size >= 2 else ()
        for block, size in enumerate(experts)
    )
    costs = SlotCosts(tuple(a + b for a, b in zip(experts, rest, strict=True)), tuple(experts), partials)
    n_cards = draw(st.integers(1, 3))
    budgets = tuple(draw(st.integers(0, 60)) for _ in range(n_cards))
    held = tuple(draw(st.integers(0, 10)) for _ in range(n_cards))
    return costs, budgets, held


def all_counts(n_slots: int, n_cards: int) -> list[tuple[int, ...]]:
    return [counts for counts in product(range(n_slots + 1), repeat=n_cards) if sum(counts) == n_slots]


def fits(split: Split, costs: SlotCosts, budgets: tuple[int, ...], held: tuple[int, ...]) -> bool:
    sizes = split.card_bytes(costs)
    return all(
        size + taken <= budget or (count == 0 and size == 0)
        for size, taken, budget, count in zip(sizes, held, budgets, split.counts, strict=True)
    )


@given(split_problems())
@settings(deadline=None)
def test_a_split_is_found_whenever_there_is_one(
    problem: tuple[SlotCosts, tuple[int, ...], tuple[int, ...]],
) -> None:
    costs, budgets, held = problem
    possible = [
        counts
        for counts in all_counts(costs.n_slots, len(budgets))
        if fits(Split(0, counts), costs, budgets, held)
    ]
    found = SplitSearch(costs, budgets).balanced(held)
    assert (found is not None) == bool(possible)
    if found is not None:
        assert sum(found.counts) == costs.n_slots
        assert fits(found, costs, budgets, held)


@given(split_problems())
@settings(deadline=None)
def test_no_split_leaves_fewer_experts_in_ram_by_whole_blocks(
    problem: tuple[SlotCosts, tuple[int, ...], tuple[int, ...]],
) -> None:
    costs, budgets, held = problem
    best = min(
        (
            sum(costs.expert_bytes[:n])
            for n in range(costs.n_slots + 1)
            for counts in all_counts(costs.n_slots, len(budgets))
            if fits(Split(0, counts, n), costs, budgets, held)
        ),
        default=None,
    )
    found = SplitSearch(costs, budgets).least_experts_in_ram(held)
    if best is not None:
        assert found is not None
        assert found.expert_ram_bytes(costs) <= best
    if found is not None:
        assert fits(found, costs, budgets, held)
        assert len({partial.block for partial in found.partials}) == len(found.partials)
        assert all(partial.block >= found.n_cpu_moe for partial in found.partials)


@given(split_problems())
@settings(deadline=None)
def test_no_split_keeps_more_layers_on_the_cards(
    problem: tuple[SlotCosts, tuple[int, ...], tuple[int, ...]],
) -> None:
    costs, budgets, held = problem
    firsts = [
        first
        for first in range(costs.n_slots)
        for counts in all_counts(costs.n_slots - first, len(budgets))
        if fits(Split(first, counts), costs, budgets, held)
    ]
    found = SplitSearch(costs, budgets).most_layers(held)
    assert (found.first_slot if found else None) == min(firsts, default=None)


def test_equal_cards_share_evenly() -> None:
    costs = SlotCosts((10,) * 32, (0,) * 32, ((),) * 32)
    found = SplitSearch(costs, (1000, 1000)).balanced((50, 50))
    assert found is not None
    assert found.counts == (16, 16)


def test_unequal_cards_share_by_what_is_free() -> None:
    costs = SlotCosts((10,) * 30, (0,) * 30, ((),) * 30)
    found = SplitSearch(costs, (600, 300)).balanced((0, 0))
    assert found is not None
    assert found.counts == (20, 10)
