"""A plan lists what runs: every option judged like any other machine, in order, none of them needless."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmfit.advisor.errors import LlmfitError, UsageError
from llmfit.advisor.hardware.offers import CardOffer
from llmfit.advisor.hardware.simulate import simulate_machine
from llmfit.advisor.model.model import Model
from llmfit.advisor.recommend.judgement import FITS_GPU
from llmfit.advisor.recommend.plan.bounds import ModelBytes, bound_tok_s
from llmfit.advisor.recommend.plan.candidates import candidates_of, machine_of, worthwhile
from llmfit.advisor.recommend.plan.hosts import DESKTOP, HOSTS, SERVER
from llmfit.advisor.recommend.plan.search import NOTICEABLY_FASTER, cheapest_option, plan_hardware
from llmfit.advisor.recommend.plan.values import (
    BOX,
    CARDS,
    CARDS_AND_RAM,
    CARDS_ONLY,
    RAM_ONLY,
    WHOLE_MACHINE,
    HostCosts,
    Option,
    Plan,
    Question,
)
from llmfit.advisor.recommend.request import Request
from llmfit.advisor.recommend.search import judge
from llmfit.catalog.build import build_model
from llmfit.catalog.gpus import lookup_gpu
from llmfit.catalog.models import find_model
from llmfit.catalog.prices import list_boxes, list_cards

GIB = 2**30
GB = 10**9
MODELS = (("Qwen3-8B", "Q4_K_M"), ("Qwen3-32B", "Q4_K_M"), ("gpt-oss-120b", "MXFP4_MOE"))


@cache
def model(name: str, quant: str) -> Model:
    return build_model(find_model(name), quant)


def question(name: str = "Qwen3-32B", quant: str = "Q4_K_M", tok_s: float = 20.0) -> Question:
    """Of the large one with every fifth card: its weights in RAM are what takes time to place."""
    every = 5 if name == MODELS[2][0] else 1
    return Question(
        model=model(name, quant),
        request=Request(context_tokens=16384),
        target_tok_s=tok_s,
        cards=tuple(worthwhile(list_cards())[::every]),
        boxes=list_boxes(),
        lookup=lookup_gpu,
    )


@cache
def plan(name: str = "Qwen3-32B", quant: str = "Q4_K_M", tok_s: float = 20.0) -> Plan:
    return plan_hardware(question(name, quant, tok_s))


@pytest.mark.parametrize("named", MODELS)
def test_every_option_is_what_judge_says_of_that_machine(named: tuple[str, str]) -> None:
    """The cheapest and the dearest of each kind."""
    asked = question(*named)
    by_group: dict[str, list[Option]] = {}
    for option in plan(*named).options:
        by_group.setdefault(option.candidate.group, []).append(option)
    for option in (option for found in by_group.values() for option in (found[0], found[-1])[: len(found)]):
        again = judge(asked.model, machine_of(option.candidate, asked), asked.request, remedies=False)
        assert again.fits
        assert again.verdict == option.judgement.verdict
        assert again.memory == option.judgement.memory
        assert again.speed == option.judgement.speed


@pytest.mark.parametrize(
    ("named", "tok_s"), [(MODELS[0], 20.0), (MODELS[0], 60.0), (MODELS[1], 20.0), (MODELS[2], 20.0)]
)
def test_every_option_reaches_the_target_and_stays_below_its_bound(
    named: tuple[str, str], tok_s: float
) -> None:
    size = ModelBytes.of(model(*named))
    found = plan(*named, tok_s)
    assert found.options
    for option in found.options:
        assert option.reaches_target
        assert tok_s <= option.decode_tok_s
        if option.judgement.verdict == FITS_GPU:
            assert option.decode_tok_s <= bound_tok_s(option.candidate, size)


@pytest.mark.parametrize("named", MODELS)
def test_the_cheapest_is_first_and_unknown_prices_are_last(named: tuple[str, str]) -> None:
    prices = [option.candidate.price_usd for option in plan(*named).options]
    known = [price for price in prices if price is not None]
    assert known == sorted(known)
    assert prices == [*known, *[None] * (len(prices) - len(known))]


@pytest.mark.parametrize("named", MODELS)
def test_nothing_dearer_and_slower_is_listed(named: tuple[str, str]) -> None:
    options = plan(*named).options
    for option in options:
        for other in options:
            assert not _dominates(other, option), (other.candidate.name, option.candidate.name)


def _dominates(other: Option, option: Option) -> bool:
    """Of one kind, no dearer, with no more cards: faster at both, or not noticeably slower at either."""
    theirs, mine = other.candidate, option.candidate
    if other is option or theirs.group != mine.group or theirs.price_usd is None or mine.price_usd is None:
        return False
    if theirs.price_usd > mine.price_usd or theirs.n_cards > mine.n_cards:
        return False
    prompts_as_fast = (other.prefill_tok_s or 0) >= (option.prefill_tok_s or 0)
    worse = option.judgement.verdict == FITS_GPU != other.judgement.verdict
    at_least = option.decode_tok_s if worse else option.decode_tok_s / NOTICEABLY_FASTER
    return prompts_as_fast and other.decode_tok_s > at_least


def test_a_whole_computer_that_costs_less_than_slower_cards_leaves_them_out() -> None:
    """A price of more that is lower: everybody is better off."""
    for named in MODELS:
        options = plan(*named).options
        for box in (one for one in options if one.candidate.kind == BOX):
            if box.candidate.box is None or box.candidate.box.withdrawn or box.candidate.price_usd is None:
                continue
            for option in options:
                price = option.candidate.price_usd
                assert (
                    option.candidate.kind == BOX
                    or price is None
                    or price < box.candidate.price_usd
                    or option.decode_tok_s > box.decode_tok_s
                    or (option.prefill_tok_s or 0) > (box.prefill_tok_s or 0)
                )


@settings(max_examples=5, deadline=None)
@given(st.sampled_from(MODELS), st.floats(1, 120), st.floats(1, 120))
def test_asking_for_less_never_costs_more(named: tuple[str, str], one: float, two: float) -> None:
    low, high = sorted((round(one), round(two)))
    for kind in (CARDS, BOX):
        more = cheapest_option(question(*named, tok_s=high), kind)
        if more is None:
            continue
        less = cheapest_option(question(*named, tok_s=low), kind)
        assert less is not None
        assert (less.candidate.price_usd or 0) <= (more.candidate.price_usd or 0)


@settings(max_examples=3, deadline=None)
@given(st.sampled_from(MODELS[:1]), st.integers(200, 20_000), st.integers(200, 20_000))
def test_more_money_never_loses_an_option(named: tuple[str, str], one: int, two: int) -> None:
    low, high = sorted((one, two))
    asked = question(*named)
    poor = plan_hardware(replace(asked, budget_usd=float(low)))
    rich = plan_hardware(replace(asked, budget_usd=float(high)))
    names = {(option.candidate.group, option.candidate.name) for option in rich.options}
    for option in poor.options:
        assert (option.candidate.price_usd or 0) <= low
        assert (option.candidate.group, option.candidate.name) in names


def test_a_budget_leaves_out_what_has_no_price() -> None:
    found = plan_hardware(replace(question(), budget_usd=3000.0))
    assert found.options
    assert all(option.candidate.price_usd is not None for option in found.options)


def test_where_nothing_is_fast_enough_the_nearest_are_flagged() -> None:
    found = plan(*MODELS[0], 5000.0)
    assert found.options == ()
    assert found.nearest
    assert not any(option.reaches_target for option in found.nearest)
    speeds = [option.decode_tok_s for option in found.nearest]
    assert speeds == sorted(speeds, reverse=True)


def test_misses_beside_options_are_cheaper_and_slower() -> None:
    found = plan(*MODELS[2])
    assert found.nearest
    for miss in found.nearest:
        of_group = [one for one in found.options if one.candidate.group == miss.candidate.group]
        assert miss.decode_tok_s < 20
        assert (miss.candidate.price_usd or 0) < min(one.candidate.price_usd or 0 for one in of_group)


def test_every_number_of_cards_is_thought_of() -> None:
    """Of a card whose six would be listed where five do, nobody would buy the sixth."""
    asked = replace(question(*MODELS[1]), boxes=(), cards=tuple(list_cards()))
    wanted = ModelBytes.of(asked.model)
    counts = {one.n_cards for one in candidates_of(asked, wanted)[CARDS]}
    assert counts == set(range(1, 9))


def test_a_server_with_cards_is_beaten_by_cheaper_cards_that_it_takes_as_well() -> None:
    """Its board has the slots: more cards of a lower price are no effort beside it."""
    options = plan(*MODELS[2]).options
    for option in options:
        host, price = option.candidate.host, option.candidate.price_usd
        if option.candidate.kind != CARDS_AND_RAM or host is None or price is None:
            continue
        for other in (one for one in options if one.candidate.kind == CARDS):
            cheaper = (other.candidate.price_usd or float("inf")) <= price
            slower = other.decode_tok_s < option.decode_tok_s
            slower_prompts = (other.prefill_tok_s or 0) < (option.prefill_tok_s or 0)
            assert not cheaper or slower or slower_prompts or other.candidate.n_cards > host.max_cards


def test_arithmetic_spares_most_of_the_judging() -> None:
    found = plan(*MODELS[2])
    candidates = candidates_of(found.question, ModelBytes.of(found.question.model))
    assert found.n_judged < sum(len(group) for group in candidates.values()) / 2


@pytest.mark.parametrize("named", MODELS)
def test_no_candidate_that_was_passed_over_is_better(named: tuple[str, str]) -> None:
    """Every fifth candidate judged in full: none is cheaper than the cheapest option of its group."""
    asked, found = question(*named), plan(*named)
    for group, candidates in candidates_of(asked, ModelBytes.of(asked.model)).items():
        options = [one for one in found.options if one.candidate.group == group]
        if not options or group.startswith(CARDS_AND_RAM):
            continue
        cheapest = options[0].candidate.price_usd
        for candidate in candidates[::5]:
            if candidate.price_usd is None or cheapest is None or candidate.price_usd >= cheapest:
                break
            judgement = judge(asked.model, machine_of(candidate, asked), asked.request, remedies=False)
            speed = judgement.speed
            wholly = candidate.kind == BOX or judgement.verdict == FITS_GPU
            assert not wholly or speed is None or speed.decode_tok_s.expected < 20


# ---------------------------------------------------------------- prices


def test_a_price_says_what_it_is_of() -> None:
    for option in plan(*MODELS[2]).options:
        candidate = option.candidate
        if candidate.kind == BOX:
            assert candidate.price_of == WHOLE_MACHINE
        elif candidate.kind == CARDS:
            assert candidate.price_of == CARDS_ONLY
            assert candidate.card is not None
            each = candidate.card.price
            assert candidate.price_usd == (None if each is None else each.usd * candidate.n_cards)
        elif candidate.card is None:
            assert candidate.price_of == RAM_ONLY


def test_ram_above_64_gib_costs_what_was_said() -> None:
    costs = HostCosts(ram_usd_per_gb=10.0)
    assert costs.ram_usd(64 * GIB) == 0
    assert costs.ram_usd(32 * GIB) == 0
    assert costs.ram_usd(192 * GIB) == 1280


def test_with_a_host_every_price_is_of_a_whole_machine() -> None:
    without = {one.candidate.name: one.candidate.price_usd for one in plan(*MODELS[1]).options}
    found = plan_hardware(replace(question(*MODELS[1]), costs=HostCosts(host_usd=1000.0)))
    assert {one.candidate.price_of for one in found.options} == {WHOLE_MACHINE}
    for option in found.options:
        before = without.get(option.candidate.name)
        if option.candidate.kind == CARDS and before is not None:
            assert option.candidate.price_usd == before + 1000


def test_worthwhile_cards_are_beaten_by_none_of_their_maker() -> None:
    kept = worthwhile(list_cards())
    assert len(kept) < len(list_cards()) / 2
    for card in list_cards():
        if card in kept or (card.released or "") < "2020":
            continue
        assert any(_beats(other, card) for other in kept), card.facts.name


def _beats(other: CardOffer, card: CardOffer) -> bool:
    if (other.price is None) != (card.price is None) or other.facts.vendor != card.facts.vendor:
        return False
    return (
        (other.price is None or card.price is None or other.price.usd <= card.price.usd)
        and other.memory_bytes >= card.memory_bytes
        and (other.facts.bandwidth_bytes_per_s or 0) >= (card.facts.bandwidth_bytes_per_s or 0)
    )


# ---------------------------------------------------------------- hosts


def test_the_hosts_give_what_their_channels_give() -> None:
    two, four = DESKTOP.ram_at_least(128 * GIB), DESKTOP.ram_at_least(200 * GIB)
    assert two is not None
    assert four is not None
    assert DESKTOP.bytes_per_s(two) == 2 * 8 * 5600 * 10**6  # 89.6 GB/s
    assert DESKTOP.bytes_per_s(four) == 2 * 8 * 3600 * 10**6
    assert SERVER.bytes_per_s(SERVER.ram_fits[0]) == 460_800_000_000
    assert DESKTOP.ram_at_least(300 * GIB) is None


@pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.id)
def test_what_is_offloaded_has_room_in_the_ram_of_its_host(host: object) -> None:
    options = [one for one in plan(*MODELS[2]).options if one.candidate.host is host]
    for option in options:
        if option.candidate.kind != CARDS_AND_RAM:
            continue
        ram = option.candidate.ram
        assert ram is not None
        assert option.judgement.memory.host.required_bytes < ram.size_bytes
        assert option.judgement.machine.memory.total_bytes == ram.size_bytes


def test_stated_ram_replaces_the_hosts() -> None:
    host = replace(DESKTOP, stated_bytes_per_s=200 * GB)
    found = plan_hardware(replace(question(*MODELS[2]), hosts=(host,)))
    hosted = [one.judgement.machine.memory for one in found.options if one.candidate.host]
    assert {memory.bandwidth_bytes_per_s for memory in hosted} == {200 * GB}


# ---------------------------------------------------------------- bad input


def test_an_impossible_setting_is_said_not_swallowed() -> None:
    """--tensor-split for two cards fits no machine with another number of them."""
    asked = replace(
        question(*MODELS[0]),
        request=Request(context_tokens=4096, cache_type_k="no-such-type"),
        cards=tuple(worthwhile(list_cards())[:3]),
    )
    with pytest.raises(LlmfitError):
        plan_hardware(asked)


def test_no_hardware_at_all_is_an_empty_plan() -> None:
    found = plan_hardware(replace(question(), cards=(), boxes=(), hosts=()))
    assert found.options == found.nearest == ()


def test_the_name_of_a_row_can_be_given_to_gpu_again() -> None:
    for option in plan(*MODELS[1]).options:
        if option.candidate.kind != CARDS:
            continue
        machine = simulate_machine([option.candidate.name], "64GiB", None, None, lookup_gpu)
        expected = [gpu.catalog_id for gpu in option.judgement.machine.gpus]
        assert [gpu.catalog_id for gpu in machine.gpus] == expected


def test_an_unknown_card_raises_where_it_is_named() -> None:
    with pytest.raises(UsageError):
        lookup_gpu("RTX 9999")
