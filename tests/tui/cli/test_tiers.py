"""``llmfit recommend --tiers``: one table of classes, each cell the first row of that machine's own list."""

from __future__ import annotations

import pytest

from llmfit.advisor.recommend.tiers import TIER_RAM, TIERS
from llmfit.tui.cli import tiers
from llmfit.tui.cli.options import USE_CASES
from tests.tui.cli.conftest import Run

FEW = (TIERS[2], TIERS[-1])


@pytest.fixture(autouse=True)
def few_tiers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiers, "TIERS", FEW)


def test_each_first_choice_is_that_of_the_machines_own_list(run: Run) -> None:
    document = run("recommend", "--tiers", "--json").document
    assert [tier["memory_gb"] for tier in document["tiers"]] == [24, 128]
    assert [tier["ram"] for tier in document["tiers"]] == [TIER_RAM, None]
    for tier, described in zip(document["tiers"], FEW, strict=True):
        assert [use["use_case"] for use in tier["uses"]] == list(USE_CASES)
        options = [part for gpu in described.described["gpu"] for part in ("--gpu", gpu)]  # type: ignore[attr-defined]
        for name in ("ram", "ram_bandwidth"):
            if name in described.described:
                options += [f"--{name.replace('_', '-')}", str(described.described[name])]
        own = run("recommend", "--use-case", "coding", *options, "--limit", "1", "--json").document
        coding = next(use for use in tier["uses"] if use["use_case"] == "coding")
        assert coding["recommendation"] == own["recommendations"][0]


def test_the_table_names_every_use_once_a_class_in_eighty_columns(run: Run) -> None:
    out = run("recommend", "--tiers").out
    assert max(len(line) for line in out.splitlines()) <= 80
    rows = out.split("What stands for each class")[0].replace(",", " ").split()
    for use in USE_CASES:
        assert rows.count(use) == len(FEW)


def test_nothing_is_promised_where_nothing_is_fast_enough(run: Run) -> None:
    out = run("recommend", "--tiers", "--min-tps", "100000").out
    assert out.count("nothing runs well") == len(FEW)


@pytest.mark.parametrize(
    "contradicting", [("--gpu", "RTX 3090"), ("--ram", "64GiB"), ("--use-case", "coding"), ("--limit", "3")]
)
def test_what_contradicts_it_is_said(run: Run, contradicting: tuple[str, ...]) -> None:
    answer = run("recommend", "--tiers", *contradicting)
    assert answer.code == 2 and answer.out == "" and answer.err.count("\n") == 1
    assert "--tiers" in answer.err and contradicting[0] in answer.err
