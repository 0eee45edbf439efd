"""The fit: what several runs tell, what one cannot, and what no measurement can do."""

from __future__ import annotations

import random
from math import exp, isfinite, log
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmfit.advisor.speed.calibration.factors import PREFILL, USUAL_SPREAD, Subject, knobs_of
from llmfit.advisor.speed.calibration.fit import (
    MAX_FACTOR,
    MIN_FACTOR,
    Calibration,
    Observation,
    apply,
    fit_calibration,
)
from llmfit.advisor.speed.calibration.least_squares import inverse, solve
from llmfit.advisor.speed.terms import Cause, StepTime, Term

MS = 1e-3
MEMORY, LAUNCH, RAM = ("gpu_memory", ""), ("launch", ""), ("system_memory", "")


def step(
    dense_ms: float = 8.0,
    *,
    cache_ms: float = 0.5,
    launch_ms: float = 1.5,
    ram_ms: float = 0.0,
    bound_ms: float = 1.0,
) -> StepTime:
    terms = [
        Term("dense weights", "GPU 0", Cause.GPU_MEMORY, dense_ms * MS, dense_ms * 1e9, 1e12),
        Term("KV cache", "GPU 0", Cause.GPU_MEMORY, cache_ms * MS, cache_ms * 1e9, 1e12),
        Term("layers", "GPU 0", Cause.LAUNCH, launch_ms * MS, 32, 32 / (launch_ms * MS), "layers"),
    ]
    if ram_ms:
        terms.append(Term("dense weights", "RAM", Cause.SYSTEM_MEMORY, ram_ms * MS, ram_ms * 1e8, 1e11))
    return StepTime(tuple(terms), bound_ms * MS)


def subject(file_type: str = "Q4_K_M", family: str = "llama") -> Subject:
    return Subject(file_type=file_type, family=family)


def truth(one: StepTime, memory: float = 1.0, launch: float = 1.0) -> float:
    factor = {Cause.GPU_MEMORY: memory, Cause.LAUNCH: launch}
    return sum(term.time_s * factor.get(term.cause, 1.0) for term in one.terms)


SHAPES = [(16, 2.5), (8, 1.5), (4, 1.2), (2, 0.8), (12, 4.0), (1, 1.0), (6, 0.5), (10, 1.0)]
"""Milliseconds of weights and of launches of eight models."""


def test_nothing_measured_changes_nothing() -> None:
    calibration = fit_calibration([])
    assert apply(step(), calibration, subject()) == step()
    assert calibration.n_used == 0 and not calibration.concerns(step(), subject())


def test_several_runs_find_what_is_slow() -> None:
    chance = random.Random(3)
    steps = [step(dense, launch_ms=launch) for dense, launch in SHAPES]
    kinds = [subject(quant, family) for quant in ("Q4_K_M", "Q8_0") for family in ("llama", "qwen3")] * 2
    seen = [
        Observation(one, truth(one, 1.2, 1.6) * exp(chance.gauss(0, 0.02)), kind)
        for one, kind in zip(steps[:6], kinds, strict=False)
    ]
    calibration = fit_calibration(seen)
    errors = [
        abs(apply(one, calibration, kind).total_s / truth(one, 1.2, 1.6) - 1)
        for one, kind in zip(steps[6:], kinds[6:], strict=True)
    ]
    before = [abs(one.total_s / truth(one, 1.2, 1.6) - 1) for one in steps[6:]]
    assert max(errors) < 0.05 < min(before)
    assert calibration.factor(MEMORY) > 1.05 and calibration.factor(LAUNCH) > 1.15


def test_one_run_moves_its_like_most_and_others_less() -> None:
    slow = fit_calibration([Observation(step(), 1.3 * step().total_s, subject("Q4_K_M", "llama"))])
    same = apply(step(), slow, subject("Q4_K_M", "llama")).total_s / step().total_s
    other = apply(step(), slow, subject("IQ2_XS", "gemma3")).total_s / step().total_s
    assert 1.0 < other < 1 + 0.3 * 0.8
    assert other < same < 1.3


@pytest.mark.parametrize("slower", [0.6, 1.2, 1.5, 3.0])
def test_one_row_alone_moves_ram_and_prompts_by_half_at_most(slower: float) -> None:
    ram = step(0.001, cache_ms=0.001, launch_ms=0.001, ram_ms=50)
    prompt = StepTime((Term("dense weights", "GPU 0", Cause.COMPUTE, 0.2),), 0.01)
    for one, kind in ((ram, subject()), (prompt, Subject(PREFILL, "Q4_K_M", "llama"))):
        alone = fit_calibration([Observation(one, slower * one.total_s, kind)])
        several = fit_calibration([Observation(one, slower * one.total_s, kind)] * 5)
        moved, more = (log(apply(one, c, kind).total_s / one.total_s) / log(slower) for c in (alone, several))
        assert 0 < moved <= 0.52
        assert more > 0.8 or slower == 3.0


def test_a_run_that_is_far_off_alone_is_hardly_believed() -> None:
    calibration = fit_calibration([Observation(step(), 6 * step().total_s, subject())])
    assert apply(step(), calibration, subject("Q8_0", "qwen3")).total_s < 1.15 * step().total_s


def test_an_outlier_does_not_drag_the_others() -> None:
    steps = [step(dense, launch_ms=launch) for dense, launch in SHAPES]
    good = [Observation(one, 1.1 * one.total_s, subject()) for one in steps]
    alone, disturbed = (
        fit_calibration([*good, *more])
        for more in ([], [Observation(steps[0], 5 * steps[0].total_s, subject())])
    )
    for one in steps:
        ratio = apply(one, disturbed, subject()).total_s / apply(one, alone, subject()).total_s
        assert abs(ratio - 1) < 0.015


def test_a_cause_that_was_not_measured_stays() -> None:
    calibration = fit_calibration([Observation(step(), 1.2 * step().total_s, subject())] * 3)
    assert calibration.factor(RAM) == 1.0
    spilled = apply(step(ram_ms=20), calibration, subject())
    assert spilled.terms[-1] == step(ram_ms=20).terms[-1]
    assert calibration.concerns(step(), subject()) and not calibration.concerns(step(ram_ms=20), subject())


def test_prompts_say_nothing_of_decode() -> None:
    prompt = StepTime((Term("dense weights", "GPU 0", Cause.COMPUTE, 0.2),), 0.01)
    calibration = fit_calibration([Observation(prompt, 0.3, Subject(PREFILL, "Q4_K_M", "llama"))] * 4)
    assert apply(step(), calibration, subject()) == step()
    assert apply(prompt, calibration, Subject(PREFILL, "Q4_K_M", "llama")).total_s == pytest.approx(
        0.3, rel=0.05
    )


def test_a_scaled_term_still_explains_itself() -> None:
    calibration = fit_calibration([Observation(step(), 1.3 * step().total_s, subject())] * 4)
    for term in apply(step(), calibration, subject()).terms:
        assert term.amount is not None and term.rate_per_s is not None
        assert term.amount / term.rate_per_s == pytest.approx(term.time_s)


def test_the_doubt_falls_with_what_is_known() -> None:
    steps = [step(dense, launch_ms=launch) for dense, launch in SHAPES]
    doubts = [
        fit_calibration([Observation(one, 1.1 * one.total_s, subject()) for one in steps[:n]]).doubt_share(
            steps[-1], subject()
        )
        for n in (0, 1, 3, 7)
    ]
    assert doubts == sorted(doubts, reverse=True)
    assert doubts[-1] < 0.07 < 0.12 < doubts[0]


def test_the_doubt_of_what_was_never_measured_is_that_of_the_class() -> None:
    calibration = fit_calibration([Observation(step(), step().total_s, subject())] * 8)
    assert calibration.doubt_share(step(ram_ms=90), subject()) > 0.9 * USUAL_SPREAD.system_memory_share


def test_rows_that_disagree_widen_the_doubt() -> None:
    steps = [step(dense, launch_ms=launch) for dense, launch in SHAPES]
    agreed, torn = (
        fit_calibration(
            [Observation(one, one.total_s * (1 + (-1) ** i * off), subject()) for i, one in enumerate(steps)]
        )
        for off in (0.0, 0.25)
    )
    assert agreed.residual_share(step(), subject()) < 0.06 < torn.residual_share(step(), subject())


@pytest.mark.parametrize("measured_s", [0.0, -1.0, float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused(measured_s: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        fit_calibration([Observation(step(), measured_s, subject())])
    with pytest.raises(ValueError, match="above 0"):
        fit_calibration([Observation(StepTime((), 1.0), 1.0, subject())])


SECONDS = st.floats(1e-5, 10.0)
STEPS = st.builds(
    step,
    st.floats(0.01, 500),
    cache_ms=st.floats(0.01, 100),
    launch_ms=st.floats(0.01, 50),
    ram_ms=st.one_of(st.just(0.0), st.floats(0.001, 500)),
    bound_ms=st.floats(0.001, 600),
)
SUBJECTS = st.builds(
    Subject,
    st.sampled_from(["decode", "prefill"]),
    st.sampled_from(["Q4_K_M", "Q8_0"]),
    st.sampled_from(["a", "b"]),
)
CALIBRATIONS = st.lists(st.builds(Observation, STEPS, SECONDS, SUBJECTS), max_size=6).map(fit_calibration)


@settings(max_examples=60, deadline=None)
@given(CALIBRATIONS, STEPS, SUBJECTS)
def test_whatever_was_measured_physics_holds(calibration: Calibration, one: StepTime, kind: Subject) -> None:
    """Not below the bound, no factor beyond its limits, every figure finite."""
    known = apply(one, calibration, kind)
    assert known.bound_s == one.bound_s and known.total_s >= one.bound_s
    for old, new in zip(one.terms, known.terms, strict=True):
        assert MIN_FACTOR * 0.999 <= new.time_s / old.time_s <= MAX_FACTOR * 1.001
    assert isfinite(calibration.doubt_share(one, kind)) and calibration.doubt_share(one, kind) > 0
    assert -1e-6 <= calibration.n_effective <= max(calibration.n_used * 5 / 4, len(calibration.knobs)) + 1e-6


@settings(max_examples=40, deadline=None)
@given(CALIBRATIONS, STEPS, st.floats(1.0, 5.0), SUBJECTS)
def test_more_to_read_is_never_faster(
    calibration: Calibration, one: StepTime, more: float, kind: Subject
) -> None:
    longer = StepTime(
        tuple(Term(t.what, t.where, t.cause, t.time_s * more) for t in one.terms), one.bound_s * more
    )
    assert apply(longer, calibration, kind).total_s >= apply(one, calibration, kind).total_s * (1 - 1e-9)


def test_every_factor_has_a_prior() -> None:
    for kind in (Subject("decode", "Q4_K_M", "llama"), Subject(PREFILL, "Q4_K_M", "llama")):
        for cause in Cause:
            for what in ("dense weights", "experts", "KV cache", "layers", "hop", "attention"):
                for where in ("GPU 0", "RAM", "GPU 0 to GPU 1", "RAM to GPU 0"):
                    for knob in knobs_of(cause, what, where, kind):
                        assert 0 < USUAL_SPREAD.of(knob) < 1


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.lists(st.floats(-3, 3), min_size=4, max_size=4), min_size=4, max_size=4),
    st.lists(st.floats(-9, 9), min_size=4, max_size=4),
)
def test_linear_equations(root: list[list[float]], right: list[float]) -> None:
    """Of root × rootᵀ + 1, which is positive definite."""
    matrix = tuple(
        tuple(sum(a * b for a, b in zip(root[i], root[j], strict=True)) + (i == j) for j in range(4))
        for i in range(4)
    )
    solution = solve(matrix, right)
    for row, value in zip(matrix, right, strict=True):
        assert sum(a * x for a, x in zip(row, solution, strict=True)) == pytest.approx(value, abs=1e-6)
    for i, column in enumerate(inverse(matrix)):
        assert sum(a * x for a, x in zip(matrix[i], column, strict=True)) == pytest.approx(1, abs=1e-6)


def test_equations_without_one_solution_are_refused() -> None:
    with pytest.raises(ValueError, match="positive definite"):
        solve(((1.0, 1.0), (1.0, 1.0)), [1.0, 1.0])


def test_ten_machines_of_a_class_are_predicted_better_than_by_the_formula() -> None:
    """Drawn from the priors: the fit on five rows beats the formula on the others, on every one or nearly."""
    chance = random.Random(7)
    gains = []
    for _ in range(10):
        memory, launch = exp(chance.gauss(0, 0.12)), exp(chance.gauss(0, 0.4))
        steps = [step(exp(chance.uniform(0, log(20))), launch_ms=chance.uniform(0.5, 4)) for _ in range(15)]
        times = [truth(one, memory, launch) * exp(chance.gauss(0, 0.03)) for one in steps]
        fitted = fit_calibration(
            [Observation(o, t, subject()) for o, t in zip(steps[:5], times[:5], strict=True)]
        )
        rest = list(zip(steps[5:], times[5:], strict=True))
        before = median(abs(one.total_s / time_s - 1) for one, time_s in rest)
        after = median(abs(apply(one, fitted, subject()).total_s / time_s - 1) for one, time_s in rest)
        gains.append(before / after)
    assert median(gains) > 2
