"""Prices: each with its date and source, of things that are really sold by that name."""

from __future__ import annotations

import re

import pytest
from pydantic import ValidationError

from llmfit.advisor.hardware.simulate import simulate_machine
from llmfit.catalog import loader
from llmfit.catalog.gpus import list_gpus, lookup_gpu
from llmfit.catalog.machine_schema import MachineRow
from llmfit.catalog.prices import MACHINES, is_sold_as_card, list_boxes, list_cards

GIB = 2**30
DATE = re.compile(r"20\d\d(-\d\d(-\d\d)?)?")


def test_every_machine_row_is_valid_and_its_chip_has_that_memory() -> None:
    gpus = {facts.id: facts for facts in list_gpus()}
    for line in loader.bundled_lines(MACHINES).values():
        row = MachineRow.model_validate_json(line)
        facts = gpus[row.gpu]
        assert facts.unified_memory, row.id
        assert not facts.memory_bytes_options or row.memory_bytes in facts.memory_bytes_options, row.id
        assert f"{row.memory_bytes // GIB} GB" in row.name
        assert row.withdrawn is None or row.withdrawn >= row.date[:7], row.id


def test_a_machine_row_with_a_word_too_many_is_refused() -> None:
    line = next(iter(loader.bundled_lines(MACHINES).values()))
    with pytest.raises(ValidationError):
        MachineRow.model_validate_json(line.replace('"usd":', '"eur":1,"usd":'))


def test_every_price_is_dated_sourced_and_not_before_its_card() -> None:
    for offer in (*list_cards(), *list_boxes()):
        if offer.price is None:
            continue
        assert DATE.fullmatch(offer.price.date), offer
        assert len(offer.price.source) > 10, offer
        assert 50 < offer.price.usd < 100_000, offer
        released = getattr(offer, "released", None)
        assert released is None or offer.price.date >= released[:4], offer


@pytest.mark.parametrize(
    ("name", "usd"),
    [
        ("RTX 3090", 1499),  # NVIDIA's announcements of these four
        ("RTX 4090", 1599),
        ("RTX 5090", 1999),
        ("RTX 5060 Ti 8 GB", 379),
        ("RX 7900 XTX", 999),  # AMD's
        ("RX 9060 XT 16GB", 349),
        ("Arc B580", 249),  # Intel's
    ],
)
def test_launch_prices_that_everybody_remembers(name: str, usd: int) -> None:
    row_id = simulate_machine([name], None, None, None, lookup_gpu).gpus[0].catalog_id
    assert [card.price.usd for card in list_cards() if card.facts.id == row_id and card.price] == [usd]


def test_the_two_sizes_of_a_card_do_not_share_a_price_that_names_neither() -> None:
    known = {card.facts.id: card.price for card in list_cards()}
    assert known["nvidia-rtx-pro-5000-72-gb-blackwell"] is None
    assert known["nvidia-rtx-pro-5000-blackwell"] is not None
    assert known["amd-radeon-pro-w7800-48-gb"] is None


@pytest.mark.parametrize(
    "name", ["RTX 4090 Mobile", "H100 SXM5 80 GB", "Radeon 890M", "Apple M4", "RX 7900M", "GB10", "Arc A770M"]
)
def test_what_no_slot_takes_is_no_card(name: str) -> None:
    for facts in lookup_gpu(name):
        assert not is_sold_as_card(facts)
        assert facts.id not in {card.facts.id for card in list_cards()}


@pytest.mark.parametrize(
    "name", ["RTX PRO 6000 Blackwell Max-Q", "RTX 3090", "A100 PCIe 80 GB", "RX 7900 XTX"]
)
def test_what_a_slot_takes_is_one(name: str) -> None:
    assert any(is_sold_as_card(facts) for facts in lookup_gpu(name))


def test_integrated_and_laptop_gpus_have_no_price_of_their_own() -> None:
    priced = [row_id for row_id, row in loader.bundled_rows(loader.GPUS).items() if row["price"]]
    assert not [row_id for row_id in priced if "mobile" in row_id]
    assert not [facts.id for facts in list_gpus() if facts.unified_memory and facts.id in priced]


def test_boxes_are_every_mac_once_priced_or_not() -> None:
    boxes = list_boxes()
    keys = [(box.facts.id, box.memory_bytes) for box in boxes]
    assert len(keys) == len(set(keys))
    macs = {(f.id, size) for f in list_gpus() if f.vendor == "apple" for size in f.memory_bytes_options}
    assert macs <= set(keys)
    assert any(box.price is None for box in boxes), "nobody states a price for every Mac"


def test_every_offer_can_be_simulated_by_its_id() -> None:
    for box in list_boxes():
        spec = f"{box.facts.id} {box.memory_bytes // GIB}GB"
        machine = simulate_machine([spec], None, None, None, lookup_gpu)
        assert machine.gpus[0].catalog_id == box.facts.id
    for card in list_cards():
        machine = simulate_machine([card.facts.id], "64GiB", None, None, lookup_gpu)
        assert machine.gpus[0].catalog_id == card.facts.id
