"""Speeds in words: two figures, seconds, what a speed rests on, sums as rows."""

from __future__ import annotations

import pytest

from llmfit.advisor.speed.speed_range import SpeedRange
from llmfit.advisor.speed.terms import Cause, StepTime, Term
from llmfit.tui.speed_words import (
    causes_text,
    rate_text,
    scaled_text,
    seconds_text,
    speed_text,
    term_rows,
    two_figures,
)


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0.834, "0.83"),
        (9.96, "10.0"),
        (17.6, "18"),
        (1290.0, "1300"),
        (12345.0, "12000"),
        (99_500.0, "100000"),
    ],
)
def test_two_figures(number: float, shown: str) -> None:
    assert two_figures(number) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.0042, "4.2 ms"), (0.099, "99 ms"), (0.51, "0.51 s"), (36.4, "36 s"), (130.0, "2 min 10 s"),
     (3599.0, "60 min 0 s")],
)  # fmt: skip
def test_seconds(seconds: float, shown: str) -> None:
    assert seconds_text(seconds) == shown


@pytest.mark.parametrize(
    ("number", "unit", "shown"),
    [(4.611e9, "B", "4.61 GB"), (41.2e6, "B", "41.2 MB"), (1.79e12, "B", "1,790 GB"), (812.0, "B", "812 B"),
     (54.3e12, "FLOP", "54.3 TFLOP"), (161e9, "FLOP", "161 GFLOP")],
)  # fmt: skip
def test_amounts(number: float, unit: str, shown: str) -> None:
    assert scaled_text(number, unit) == shown


def test_a_speed_with_its_range() -> None:
    assert speed_text(SpeedRange(15.2, 18.3, 20.9)) == "18 (15-21)"


STEP = StepTime(
    (
        Term("dense weights", "GPU 0", Cause.GPU_MEMORY, 0.030, 20e9, 20e9 / 0.030),
        Term("kernels", "GPU 0", Cause.LAUNCH, 0.0099, 1000, 101_010, "kernels"),
        Term("hop", "GPU 0 to GPU 1", Cause.LAUNCH, 0.0001),
    ),
    0.02,
)


def test_a_sum_as_rows() -> None:
    weights, kernels, hop, total = (row.cells for row in term_rows(STEP))
    assert weights == ("dense weights", "GPU0", "20.0 GB", "667 GB/s", "30.000", "75 %")
    assert kernels == ("kernels", "GPU0", "1000 kernels", "101,000/s", "9.900", "25 %")
    assert hop == ("hop", "GPU0 to GPU1", "", "", "0.100", "<1 %")
    assert total == ("together", "", "", "", "40.000", "100 %")
    assert rate_text(STEP.terms[2]) == ""
    assert causes_text(STEP) == "gpu memory 75 %, launch overhead 25 %"


def test_a_sum_below_the_bound_says_so() -> None:
    held = StepTime(STEP.terms, 0.05)
    *_, missing, total = term_rows(held)
    assert missing.cells == ("up to the bound", "", "", "", "10.000", "20 %")
    assert total.milliseconds == "50.000"
