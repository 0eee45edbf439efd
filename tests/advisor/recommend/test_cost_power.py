"""What a computer draws: the figures against the readings they were taken from, and the reckoning itself."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfit.advisor.hardware.machine import Cpu, Gpu, Machine, Memory
from llmfit.advisor.recommend.cost.boxes import whole_box
from llmfit.advisor.recommend.cost.energy import Spread
from llmfit.advisor.recommend.cost.power import (
    DECODE,
    DECODE_SHARE,
    PREFILL,
    PREFILL_SHARE,
    RATED,
    REST_W,
    STATED,
    SUPPLY_SHARE,
    WAITING_SHARE,
    NoPower,
    PowerReading,
    rated_power,
    stated_power,
)
from llmfit.advisor.speed.terms import Cause, StepTime, Term
from llmfit.catalog.gpus import list_gpus

READINGS = list(csv.DictReader((Path(__file__).parents[2] / "data/power.csv").read_text().splitlines()))


def of_kind(kind: str) -> list[dict[str, str]]:
    found = [row for row in READINGS if row["kind"] == kind]
    assert found
    return found


def card(index: int = 0, limit_w: float | None = 350.0, **more: object) -> Gpu:
    return replace(Gpu(index, "RTX 3090", "nvidia", "cuda", power_limit_w=limit_w), **more)  # type: ignore[arg-type]


def machine(*gpus: Gpu) -> Machine:
    return Machine("linux", Cpu(None, None, None), Memory(None, None), gpus)


def step(**seconds: float) -> StepTime:
    """``GPU_0=0.01`` and the like."""
    terms = (Term("weights", where.replace("_", " "), Cause.GPU_MEMORY, s) for where, s in seconds.items())
    return StepTime(tuple(terms), 0.0)


def draws(gpus: tuple[Gpu, ...], one: StepTime, all_gpus: tuple[Gpu, ...] = ()) -> PowerReading:
    found = rated_power(machine(*(all_gpus or gpus)), gpus, one, DECODE)
    assert isinstance(found, PowerReading)
    return found


@pytest.mark.parametrize(("kind", "share"), [("decode", DECODE_SHARE), ("prefill", PREFILL_SHARE)])
def test_shares_are_the_least_middle_and_most_of_the_readings(kind: str, share: Spread) -> None:
    shares = [float(row["watts"]) / float(row["limit_w"]) for row in of_kind(kind)]
    assert (share.low, share.expected, share.high) == pytest.approx(
        (min(shares), median(shares), max(shares)), abs=0.006
    )


def test_every_reading_is_of_a_known_card_and_has_its_source() -> None:
    known = {facts.id for facts in list_gpus()}
    assert {row["device"] for row in READINGS} <= known
    assert all(row["source"] and row["what"] for row in READINGS)


def test_computers_read_at_the_socket_are_within_the_range() -> None:
    """One desktop with seven cards. Peaks over prompt and answer: a model of 3B is done before an RTX 4090 is
    warm, and the RTX A4000's peak with it is twice the card's limit."""
    inside, ratios = 0, []
    for row in of_kind("computer"):
        reckoned = draws((card(limit_w=float(row["limit_w"])),), step(GPU_0=0.02)).watts
        watts = float(row["watts"])
        inside += reckoned.low <= watts <= reckoned.high
        ratios.append(reckoned.expected / watts)
    assert (inside, len(ratios)) == (16, 18)
    assert sum(abs(ratio - 1) <= 0.2 for ratio in ratios) == 15
    assert median(ratios) == pytest.approx(1.06, abs=0.005)


@pytest.mark.parametrize("device", sorted({row["device"] for row in of_kind("box")}))
def test_boxes_are_what_was_read_of_them(device: str) -> None:
    readings = [float(row["watts"]) for row in of_kind("box") if row["device"] == device]
    box = whole_box(device)
    assert box is not None
    assert box.watts.low == pytest.approx(min(readings), abs=1.5)
    assert box.watts.high == pytest.approx(max(readings), abs=1.5)
    assert box.watts.low <= box.watts.expected <= box.watts.high


@pytest.mark.parametrize("row", of_kind("maximum"), ids=lambda row: row["device"])
def test_what_apple_states_is_the_most(row: dict[str, str]) -> None:
    box = whole_box(row["device"])
    assert box is not None and box.watts.high == float(row["watts"]) and box.watts.expected < box.watts.high


def test_one_card_that_is_always_busy() -> None:
    found = draws((card(),), step(GPU_0=0.02))
    expected = (350 * DECODE_SHARE.expected + REST_W.expected) / SUPPLY_SHARE.expected
    assert found.watts.expected == pytest.approx(expected)
    assert found.basis == RATED
    assert found.watts.low < found.watts.expected < found.watts.high
    for end in ("low", "expected", "high"):
        total = sum(getattr(part.draw_w, end) for part in found.parts)
        assert total == pytest.approx(getattr(found.watts, end))


def test_cards_of_a_layer_split_take_turns() -> None:
    one = draws((card(),), step(GPU_0=0.02))
    two = draws((card(0), card(1)), step(GPU_0=0.01, GPU_1=0.01))
    half = 350 * (DECODE_SHARE.expected + WAITING_SHARE.expected) / 2
    assert [part.draw_w.expected for part in two.parts[:2]] == pytest.approx([half, half])
    assert one.watts.expected < two.watts.expected < 2 * one.watts.expected
    assert "take turns" in " ".join(two.assumptions)


def test_a_cpu_at_work_is_counted_for_its_share_of_the_time() -> None:
    half = draws((card(),), step(GPU_0=0.01, RAM=0.01))
    whole = draws((card(),), step(GPU_0=0.02))
    names = [part.what for part in half.parts]
    assert "CPU at work" in names and "CPU at work" not in [part.what for part in whole.parts]
    assert any("50%" in said for said in half.assumptions)


def test_a_card_that_holds_nothing_idles() -> None:
    alone, beside = card(), card(1)
    assert (
        draws((alone,), step(GPU_0=1.0), (alone, beside)).watts.expected
        > draws((alone,), step(GPU_0=1.0)).watts.expected
    )


def test_a_limit_that_was_read_is_not_said_to_be_of_the_catalogue() -> None:
    read = card(limit_w=280.0, sources={"power_limit_w": "nvml"})
    assert "280 W, as set now" in draws((read,), step(GPU_0=1.0)).assumptions[0]
    assert "350 W, from the catalogue" in draws((card(),), step(GPU_0=1.0)).assumptions[0]


@pytest.mark.parametrize(
    ("gpus", "word"),
    [
        ((), "CPU"),
        ((card(limit_w=None),), "GPU 0"),
        ((card(unified_memory=True, catalog_id="apple-m4-max-40-core-gpu"),), "such a computer"),
        ((card(unified_memory=True, catalog_id="amd-radeon-890m", limit_w=15.0),), "such a computer"),
    ],
)
def test_what_is_not_known_is_not_guessed(gpus: tuple[Gpu, ...], word: str) -> None:
    found = rated_power(machine(*gpus), gpus, step(GPU_0=1.0, RAM=1.0), PREFILL)
    assert isinstance(found, NoPower)
    assert word in found.why and "--watts" in found.why


def test_what_is_stated_has_no_range() -> None:
    said = stated_power(400)
    assert (said.watts, said.basis) == (Spread.exactly(400), STATED)
    for wrong in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="above 0"):
            stated_power(wrong)


@given(limit_w=st.floats(15, 1000), busy=st.floats(0, 1), host=st.floats(0, 1))
def test_no_range_is_inside_out_and_nothing_exceeds_all_parts_at_their_most(
    limit_w: float, busy: float, host: float
) -> None:
    one = step(GPU_0=busy, GPU_1=1 - busy, RAM=host)
    watts = draws((card(0, limit_w), card(1, limit_w)), one).watts
    assert 0 < watts.low <= watts.expected <= watts.high
    assert watts.high <= (2 * limit_w + 80 + 250) / 0.85 + 1e-6


def test_cards_of_one_limit_are_counted() -> None:
    def said(*limits_w: float) -> str:
        cards = tuple(card(number, limit) for number, limit in enumerate(limits_w))
        return draws(cards, step(GPU_0=0.01)).assumptions[0]

    assert "of its limit (700 W, from the catalogue)" in said(700)
    assert "of its limit (8 x 700 W, from the catalogue)" in said(*[700] * 8)
    assert "of its limit (2 x 350 W + 450 W, from the catalogue)" in said(350, 450, 350)
