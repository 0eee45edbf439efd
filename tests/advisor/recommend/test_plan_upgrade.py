"""An upgrade says what is bought, from which speed to which, and never proposes what changes nothing."""

from __future__ import annotations

from functools import cache

from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.hardware.simulate import simulate_machine
from llmfit.advisor.recommend.judgement import FITS_GPU, FITS_OFFLOAD
from llmfit.advisor.recommend.plan.search import cautions_of
from llmfit.advisor.recommend.plan.upgrade import (
    ADD,
    ADD_BOTH,
    ADD_RAM,
    ADD_SAME,
    NOTICEABLE_GAIN,
    REPLACE,
    Upgrade,
    decode_tok_s,
    plan_upgrade,
)
from llmfit.advisor.recommend.plan.values import Question
from llmfit.advisor.recommend.request import Request
from llmfit.advisor.recommend.search import judge
from llmfit.catalog.build import build_model
from llmfit.catalog.gpus import lookup_gpu
from llmfit.catalog.models import find_model
from llmfit.catalog.prices import list_boxes, list_cards

GIB = 2**30


@cache
def upgrade(name: str, quant: str, gpu: str, ram: str, tok_s: float) -> Upgrade:
    model = build_model(find_model(name), quant)
    machine = simulate_machine([gpu], ram if gpu != "M4 Max 36GB" else None, "50", None, lookup_gpu)
    request = Request(context_tokens=16384)
    asked = Question(model, request, tok_s, list_cards(), list_boxes(), lookup_gpu)
    return plan_upgrade(asked, machine, judge(model, machine, request, remedies=False))


LLAMA = ("Llama-3.3-70B-Instruct", "Q4_K_M", "RTX 3090", "64GiB", 12.0)


def test_a_second_card_of_the_same_kind_takes_a_70b_off_the_ram() -> None:
    found = upgrade(*LLAMA)
    assert found.now.verdict == FITS_OFFLOAD
    second = next(gain for gain in found.gains if gain.change.kind == ADD_SAME)
    assert second.change.text == "add a second RTX 3090"
    assert second.change.price_usd == 1499
    assert second.change.watts_more == 350
    assert [gpu.catalog_id for gpu in second.change.machine.gpus] == ["nvidia-geforce-rtx-3090"] * 2
    assert second.after.verdict == FITS_GPU
    assert second.tok_s > 5 * (decode_tok_s(found.now) or 0)


def test_every_gain_is_what_judge_says_of_the_changed_machine() -> None:
    for gain in upgrade(*LLAMA).gains:
        again = judge(gain.before.model, gain.change.machine, Request(context_tokens=16384), remedies=False)
        assert (again.verdict, again.speed) == (gain.after.verdict, gain.after.speed)
        assert gain.reaches_target
        assert gain.tok_s >= 12
        assert gain.before is upgrade(*LLAMA).now


def test_gains_are_in_the_order_of_price_and_none_is_needless() -> None:
    gains = upgrade(*LLAMA).gains
    prices = [gain.change.price_usd for gain in gains if gain.change.price_usd is not None]
    assert prices == sorted(prices)
    for gain in gains:
        for other in gains:
            same_kind = other is not gain and other.change.kind == gain.change.kind
            cheaper = (other.change.price_usd or 1e9) <= (gain.change.price_usd or 1e9)
            assert not (same_kind and cheaper and other.tok_s >= gain.tok_s)


def test_cards_of_one_maker_stay_together() -> None:
    for gain in upgrade(*LLAMA).gains:
        if gain.change.kind in (ADD, ADD_SAME):
            assert {gpu.vendor for gpu in gain.change.machine.gpus} == {"nvidia"}
        assert [gpu.index for gpu in gain.change.machine.gpus] == list(range(len(gain.change.machine.gpus)))


def test_replacing_counts_the_watts_of_what_goes() -> None:
    for gain in upgrade(*LLAMA).gains:
        if gain.change.kind == REPLACE and gain.change.card and gain.change.watts_more is not None:
            new = (gain.change.card.facts.power_limit_w or 0) * gain.change.n_added
            assert gain.change.watts_more == new - 350


def test_a_machine_that_does_it_already_needs_nothing() -> None:
    found = upgrade("Qwen3-8B", "Q4_K_M", "RTX 4090", "64GiB", 30.0)
    assert found.is_enough
    assert found.gains == found.nearest == ()


def test_without_a_gpu_cards_of_every_maker_are_proposed_and_none_is_replaced() -> None:
    found = upgrade("Qwen3-32B", "Q4_K_M", "none", "64GiB", 15.0)
    assert found.gains
    assert not [gain for gain in found.gains if gain.change.kind in (REPLACE, ADD_SAME)]


def test_a_mac_takes_no_card() -> None:
    found = upgrade("Llama-3.3-70B-Instruct", "Q4_K_M", "M4 Max 36GB", "", 12.0)
    assert not found.is_enough
    assert found.gains == found.nearest == ()


def test_what_needs_both_ram_and_a_card_is_found() -> None:
    """With a few cards to choose from: all of them are tried with each size of RAM."""
    model = build_model(find_model("Qwen3-30B-A3B"), "Q4_K_M")
    machine = simulate_machine(["RTX 3060 8GB"], "8GiB", "50", None, lookup_gpu)
    request = Request(context_tokens=16384)
    few = tuple(card for card in list_cards() if card.facts.name in ("GeForce RTX 3060", "GeForce RTX 5060"))
    asked = Question(model, request, 10.0, few, (), lookup_gpu)
    found = plan_upgrade(asked, machine, judge(model, machine, request, remedies=False))
    assert not found.now.fits
    ram = [gain for gain in (*found.gains, *found.nearest) if gain.change.kind in (ADD_RAM, ADD_BOTH)]
    assert ram
    for gain in ram:
        assert gain.change.ram_bytes is not None
        assert gain.change.machine.memory.total_bytes == gain.change.ram_bytes > 8 * GIB
        assert (gain.change.price_usd or 0) >= gain.change.ram_bytes / GIB * 14


def test_where_no_change_is_enough_the_nearest_still_gain() -> None:
    found = upgrade("Qwen3-32B", "Q4_K_M", "RTX 3090", "64GiB", 900.0)
    assert found.gains == ()
    for gain in found.nearest:
        assert not gain.reaches_target
        assert gain.tok_s >= NOTICEABLE_GAIN * (decode_tok_s(found.now) or 0)


def test_the_nearest_are_judged_by_their_speed_and_not_by_their_bandwidth() -> None:
    """An H100 PCIe has more bandwidth than an RTX 5090, decodes slower and costs fifteen times as much."""
    found = upgrade("Qwen3-8B", "Q4_K_M", "RTX 3060", "64GiB", 900.0)
    cards = {gain.change.card.facts.id for gain in found.nearest if gain.change.card is not None}
    assert "nvidia-geforce-rtx-5090" in cards
    assert not any("h100" in card for card in cards)


def test_a_budget_holds_for_upgrades() -> None:
    model = build_model(find_model("Qwen3-8B"), "Q4_K_M")
    machine = simulate_machine(["RTX 3060"], "64GiB", "50", None, lookup_gpu)
    request = Request(context_tokens=16384)
    asked = Question(model, request, 70.0, list_cards(), list_boxes(), lookup_gpu, budget_usd=800.0)
    found = plan_upgrade(asked, machine, judge(model, machine, request, remedies=False))
    assert found.gains
    assert all(gain.change.price_usd is not None and gain.change.price_usd <= 800 for gain in found.gains)


def test_a_changed_machine_does_not_pass_for_the_probed_one() -> None:
    """Measurements of the old machine belong to it alone: ``described_by`` says that nobody looked."""
    for gain in upgrade(*LLAMA).gains:
        machine: Machine = gain.change.machine
        assert machine.simulated
        assert machine.described_by is not None


def test_too_many_cards_and_watts_are_cautioned() -> None:
    assert list(cautions_of(4, 1400.0)) == []
    assert len(list(cautions_of(5, 1400.0))) == 1
    assert len(list(cautions_of(6, 2100.0))) == 2
    assert list(cautions_of(1, None)) == []
