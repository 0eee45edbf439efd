"""Runs of one configuration that agree, and those that do not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfit.advisor.speed.calibration.repeats import compare_repeats, middle_of


def test_runs_that_agree_all_count() -> None:
    for speeds in ([16.3], [100.0, 114.0], [100.0, 110.0, 114.0]):
        assert set(compare_repeats(speeds).why_not) == {None}
    assert compare_repeats([16.3]).noise_share == 0


def test_of_two_that_differ_neither_counts() -> None:
    why = "two runs of the same differ by 575%; measure once more"
    assert compare_repeats([16.3, 110.0]).why_not == (why, why)
    assert compare_repeats([100.0, 116.0]).why_not[0] is not None


def test_of_three_the_far_one_does_not_count() -> None:
    found = compare_repeats([16.3, 110.0, 110.0])
    assert found.why_not == ("0.15 times as fast as the other runs of the same", None, None)
    assert found.noise_share == pytest.approx(0, abs=1e-12)


def test_three_that_all_differ_leave_the_middle_and_doubt() -> None:
    found = compare_repeats([100.0, 130.0, 170.0])
    assert [why is None for why in found.why_not] == [False, True, False]
    assert found.noise_share > 0.2


def test_where_none_is_near_the_middle_none_counts() -> None:
    assert compare_repeats([16.0, 16.0, 110.0, 110.0]).why_not[0] == (
        "4 runs of the same differ by 588%; measure once more"
    )


def test_the_middle_of_two_is_geometric() -> None:
    assert middle_of([4.0, 9.0]) == pytest.approx(6.0)


@given(st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=12))
def test_a_middle_is_between_and_reasons_are_for_each(speeds: list[float]) -> None:
    found = compare_repeats(speeds)
    assert len(found.why_not) == len(speeds) and found.noise_share >= 0
    assert min(speeds) * 0.999 <= middle_of(speeds) <= max(speeds) * 1.001
