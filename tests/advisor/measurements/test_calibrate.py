"""From kept measurements to the calibration of a machine, and the fit that is remembered."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from llmfit.advisor.hardware.machine import Cpu, Gpu, Machine, Memory
from llmfit.advisor.measurements.calibrate import (
    MachineSpeeds,
    fit_judged,
    judge_measurements,
    speeds_of,
    subject_of,
)
from llmfit.advisor.measurements.fit_cache import MAX_FITS, FitCache, fit_key
from llmfit.advisor.measurements.store import Kept, MeasurementStore
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.speed.calibration.fit import apply
from llmfit.advisor.speed.calibration.measurement import Measurement, Wanted, machine_key
from llmfit.advisor.speed.terms import Cause, StepTime, Term
from llmfit.advisor.units import GB, GIB

CARD = Gpu(0, "NVIDIA GeForce RTX 3090", "nvidia", "cuda", bandwidth_bytes_per_s=936 * GB)
MACHINE = Machine("linux", Cpu("AMD Ryzen 9 7950X", 16, 32), Memory(64 * GIB, 60 * GIB), (CARD,))
KEY = machine_key(MACHINE)
BASE = Measurement(
    KEY, "cuda", "m", "Q4_K_M", 5 * GB, "llama", LaunchSettings(4096, devices=(0,)), "decode", 64, 0, 80.0,
    "2026-11-22", "llama-bench", n_repeats=5, spread_share=0.01, n_threads=1,
)  # fmt: skip


def step_of(measurement: Measurement) -> StepTime:
    """10 ms at depth 0, 1 ms more every 1000 tokens; on the CPU ten times that."""
    time_s = 0.01 + measurement.depth_tokens * 1e-6
    where, cause, factor = (
        ("GPU 0", Cause.GPU_MEMORY, 1) if measurement.settings.devices else ("RAM", Cause.SYSTEM_MEMORY, 10)
    )
    return StepTime((Term("dense weights", where, cause, time_s * factor),), 0.8 * time_s * factor)


def kept(*measurements: Measurement) -> list[Kept]:
    return [Kept(i, one) for i, one in enumerate(measurements, 1)]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, None),
        ({"machine_key": "there"}, "of another machine"),
        ({"backend": "vulkan"}, "through vulkan; cuda is planned here"),
        ({"speculative": True}, "with speculation"),
        ({"tok_s": 130.0}, "faster than this machine's memory allows (124"),
        (
            {"settings": LaunchSettings(4096), "backend": "cpu", "tok_s": 9.0},
            "with 1 threads; llama.cpp takes 16",
        ),
        ({"settings": LaunchSettings(4096), "backend": "cpu", "tok_s": 9.0, "n_threads": 16}, None),
    ],
)
def test_each_is_judged_with_its_reason(change: dict[str, object], why: str | None) -> None:
    (judged,) = judge_measurements(MACHINE, kept(replace(BASE, **change)), step_of)  # type: ignore[arg-type]
    assert (judged.why_not is None) if why is None else (judged.why_not or "").startswith(why)


def test_what_the_formula_cannot_say_is_not_used() -> None:
    for answer in ("its model is not known here", StepTime((), 0.0)):
        (judged,) = judge_measurements(MACHINE, kept(BASE), lambda _, answer=answer: answer)
        assert judged.why_not and judged.step is None
    assert fit_judged([judged]) is None


def test_the_bound_of_a_prompt_counts_its_tokens() -> None:
    fast = replace(BASE, kind="prefill", prompt_tokens=512, tok_s=40_000.0)
    (judged,) = judge_measurements(MACHINE, kept(fast), step_of)
    assert judged.why_not is None
    (judged,) = judge_measurements(MACHINE, kept(replace(fast, tok_s=70_000.0)), step_of)
    assert judged.why_not is not None


def test_repeats_of_one_run_count_once() -> None:
    repeats = [replace(BASE, tok_s=80.0 + i, measured_at=str(i)) for i in range(10)]
    many = fit_judged(judge_measurements(MACHINE, kept(*repeats), step_of))
    single = fit_judged(judge_measurements(MACHINE, kept(replace(BASE, tok_s=84.5)), step_of))
    assert many is not None and single is not None
    assert many.n_used == 1
    assert many.factor(("gpu_memory", "")) == pytest.approx(single.factor(("gpu_memory", "")), rel=0.01)


@pytest.mark.parametrize(
    ("speeds", "used"),
    [
        ((16.3,), [True]),
        ((110.0,), [True]),
        ((16.3, 110.0), [False, False]),
        ((16.3, 110.0, 110.0), [False, True, True]),
        ((110.0, 16.3, 111.0, 40.0, 109.0), [True, False, True, False, True]),
    ],
)
def test_runs_of_the_same_that_differ(speeds: tuple[float, ...], used: list[bool]) -> None:
    """The formula says 99 tok/s: an estimate stays between it and what was measured."""
    runs = [replace(BASE, tok_s=tok_s, measured_at=str(i)) for i, tok_s in enumerate(speeds)]
    judged = judge_measurements(MACHINE, kept(*runs), step_of)
    assert [one.why_not is None for one in judged] == used
    calibration = fit_judged(judged)
    assert (calibration is not None) is any(used)
    good = [tok_s for tok_s, counts in zip(speeds, used, strict=True) if counts]
    step = step_of(BASE)
    ends = [1 / step.total_s, *good]
    if calibration is not None:
        now = 1 / apply(step, calibration, subject_of(BASE)).total_s
        assert min(ends) * 0.999 <= now <= max(ends) * 1.001


def test_the_middle_of_three_that_differ_weighs_little() -> None:
    agreed, torn = (
        fit_judged(
            judge_measurements(
                MACHINE,
                kept(*(replace(BASE, tok_s=one, measured_at=str(i)) for i, one in enumerate(speeds))),
                step_of,
            )
        )
        for speeds in ((80.0, 80.0, 80.0), (60.0, 80.0, 105.0))
    )
    assert agreed is not None and torn is not None
    assert 1 < torn.factor(("gpu_memory", "")) < 1 + (agreed.factor(("gpu_memory", "")) - 1) / 2


def test_from_the_store_to_a_calibration(tmp_path: Path) -> None:
    store = MeasurementStore(tmp_path / "m.sqlite3")
    assert speeds_of(MACHINE, store, step_of) == MachineSpeeds()
    slow = [
        replace(BASE, depth_tokens=depth, tok_s=0.8 / (0.01 + depth * 1e-6)) for depth in (0, 4000, 16000)
    ]
    store.add([*slow, replace(BASE, machine_key="there", tok_s=1.0), replace(BASE, other_load=True)])
    speeds = speeds_of(MACHINE, store, step_of)
    assert speeds.used == tuple(slow)
    assert speeds.calibration is not None and speeds.calibration.n_used == 3
    assert speeds.calibration.factor(("gpu_memory", "")) > 1.1
    wanted = Wanted(KEY, "cuda", "m", "Q4_K_M", 5 * GB, "llama", BASE.settings)
    measured = speeds.measured(wanted)
    assert measured is not None and measured.tok_s == slow[0].tok_s


@pytest.fixture
def fitted(tmp_path: Path) -> tuple[MeasurementStore, MachineSpeeds]:
    store = MeasurementStore(tmp_path / "m.sqlite3")
    store.add([BASE, replace(BASE, depth_tokens=9000, tok_s=45.0)])
    return store, speeds_of(MACHINE, store, step_of)


def test_a_fit_is_remembered_whole(tmp_path: Path, fitted: tuple[MeasurementStore, MachineSpeeds]) -> None:
    store, speeds = fitted
    key, cache = fit_key(MACHINE, store), FitCache(tmp_path / "cache" / "c.json")
    assert key is not None and cache.find(key) is None
    cache.remember(key, speeds)
    assert FitCache(tmp_path / "cache" / "c.json").find(key) == speeds
    cache.remember("empty", MachineSpeeds())
    assert cache.find("empty") == MachineSpeeds() and cache.find(key) == speeds


def test_the_key_follows_the_file_and_the_machine(fitted: tuple[MeasurementStore, MachineSpeeds]) -> None:
    store, _ = fitted
    key = fit_key(MACHINE, store)
    assert fit_key(MACHINE, store) == key
    faster = replace(MACHINE, memory=replace(MACHINE.memory, bandwidth_bytes_per_s=80 * GB))
    vulkan = replace(MACHINE, gpus=(replace(CARD, backend="vulkan"),))
    assert len({key, fit_key(faster, store), fit_key(vulkan, store)}) == 3
    store.add([replace(BASE, tok_s=70.0)])
    assert fit_key(MACHINE, store) != key
    assert fit_key(MACHINE, MeasurementStore(store.path.with_name("none"))) is None


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", '{"key": 3}', '{"key": {"used": [], "calibration": {}}}', "[" * 99_999],
    ids=["empty", "list", "cut", "number", "no fit", "brackets"],
)
def test_a_broken_cache_is_no_cache(
    tmp_path: Path, content: str, fitted: tuple[MeasurementStore, MachineSpeeds]
) -> None:
    path = tmp_path / "c.json"
    path.write_text(content)
    assert FitCache(path).find("key") is None
    FitCache(path).remember("key", fitted[1])
    assert FitCache(path).find("key") == fitted[1]


def test_figures_of_different_length_are_no_fit(
    tmp_path: Path, fitted: tuple[MeasurementStore, MachineSpeeds]
) -> None:
    path = tmp_path / "c.json"
    FitCache(path).remember("key", fitted[1])
    document = json.loads(path.read_text())
    document["key"]["calibration"]["log_factors"].append(1.0)
    path.write_text(json.dumps(document))
    assert FitCache(path).find("key") is None


@pytest.mark.parametrize("field", ["log_factors", "residual_shares", "n_effective", "covariance", "n_used"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400, 1e300, "x", None])
def test_figures_that_no_fit_gives_are_no_fit(
    tmp_path: Path, fitted: tuple[MeasurementStore, MachineSpeeds], field: str, value: object
) -> None:
    path = tmp_path / "c.json"
    FitCache(path).remember("key", fitted[1])
    document = json.loads(path.read_text())
    told = document["key"]["calibration"]
    if field in ("n_effective", "n_used"):
        told[field] = value
    elif field == "covariance":
        told[field][0][0] = value
    else:
        told[field][0] = value
    path.write_text(json.dumps(document))
    assert FitCache(path).find("key") is None


def test_a_cache_stays_small_and_may_be_impossible(
    tmp_path: Path, fitted: tuple[MeasurementStore, MachineSpeeds]
) -> None:
    path = tmp_path / "c.json"
    for number in range(MAX_FITS + 3):
        FitCache(path).remember(str(number), fitted[1])
    assert len(json.loads(path.read_text())) == MAX_FITS
    assert FitCache(path).find(str(MAX_FITS + 2)) == fitted[1] and FitCache(path).find("0") is None
    FitCache(path / "below").remember("x", fitted[1])
    assert list(tmp_path.glob("*.part")) == []
