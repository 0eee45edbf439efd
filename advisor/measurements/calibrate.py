"""From the measurements that are kept to the calibration of one machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.measurements.store import Kept, MeasurementStore
from llmfit.advisor.speed.calibration.factors import PREFILL, Subject, is_on_gpu
from llmfit.advisor.speed.calibration.fit import Calibration, Observation, fit_calibration
from llmfit.advisor.speed.calibration.machine_speeds import MachineSpeeds
from llmfit.advisor.speed.calibration.measurement import (
    Measurement,
    machine_key,
    of_one_configuration,
    planned_backend,
    usual_threads,
    why_not_used,
)
from llmfit.advisor.speed.calibration.repeats import compare_repeats, middle_of
from llmfit.advisor.speed.terms import StepTime

MAX_READ = 1000
"""The newest so many of a machine count: drivers change."""
MAX_FITTED = 300
"""The newest so many configurations of these are fitted, in some tens of milliseconds."""

StepOf = Callable[[Measurement], StepTime | str]
"""The uncalibrated step of a measurement (one token, or the whole prompt), or a clause why there is none."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A measurement with what the formula says of it, and why it is not used, if it is not.

    ``noise_share``: of the middle of all runs of the same, by how far they differ; see ``Repeats``.
    """

    kept: Kept
    step: StepTime | None
    why_not: str | None
    noise_share: float = 0.0

    @property
    def measurement(self) -> Measurement:
        return self.kept.measurement


def judge_measurements(machine: Machine, kept: Iterable[Kept], step_of: StepOf) -> tuple[Judged, ...]:
    """Each of them, used on this machine or not: by itself, then beside the other runs of the same."""
    key = machine_key(machine)
    judged = [_judged(one, machine, key, step_of) for one in kept]
    place = {id(one.measurement): i for i, one in enumerate(judged)}
    for group in of_one_configuration([one.measurement for one in judged if one.why_not is None]):
        repeats = compare_repeats([one.tok_s for one in group])
        for one, why in zip(group, repeats.why_not, strict=True):
            i = place[id(one)]
            judged[i] = replace(judged[i], why_not=why, noise_share=repeats.noise_share)
    return tuple(judged)


def fit_judged(judged: Sequence[Judged]) -> Calibration | None:
    """The calibration that those which are used give; ``None`` without any."""
    used = {id(one.measurement): one for one in judged if one.why_not is None and one.step is not None}
    groups = of_one_configuration([one.measurement for one in used.values()])
    observations = [_observation([used[id(one)] for one in group]) for group in groups[-MAX_FITTED:]]
    return fit_calibration(observations) if observations else None


def _observation(group: Sequence[Judged]) -> Observation:
    """One of all runs of the same, at the terms of the newest."""
    newest = group[-1]
    if newest.step is None:
        raise ValueError("nothing of it is estimated")
    measured_s = middle_of([one.measurement.measured_s for one in group])
    return Observation(newest.step, measured_s, subject_of(newest.measurement), newest.noise_share)


def speeds_of(machine: Machine, store: MeasurementStore, step_of: StepOf) -> MachineSpeeds:
    """What was measured on this machine, fitted. Raises LlmfitError where the file cannot be read."""
    if not store.exists:
        return MachineSpeeds()
    judged = judge_measurements(machine, store.all(machine_key(machine))[-MAX_READ:], step_of)
    used = tuple(one.measurement for one in judged if one.why_not is None)
    return MachineSpeeds(fit_judged(judged), used)


def subject_of(measurement: Measurement) -> Subject:
    return Subject(measurement.kind, measurement.quantization, measurement.family)


def _judged(kept: Kept, machine: Machine, key: str, step_of: StepOf) -> Judged:
    one = kept.measurement
    why = _why_not_of_here(one, machine, key) or why_not_used(one, None)
    if why is not None:
        return Judged(kept, None, why)
    step = step_of(one)
    if isinstance(step, str):
        return Judged(kept, None, step)
    if not any(term.time_s > 0 for term in step.terms):
        return Judged(kept, None, "nothing of it is estimated")
    on_cpu = any(not is_on_gpu(term.where) for term in step.terms)
    steps_per_s = 1 / step.bound_s if step.bound_s > 0 else None
    bound = steps_per_s and steps_per_s * (one.prompt_tokens if one.kind == PREFILL else 1)
    return Judged(kept, step, why_not_used(one, bound, usual_threads(machine) if on_cpu else None))


def _why_not_of_here(one: Measurement, machine: Machine, key: str) -> str | None:
    if one.machine_key != key:
        return "of another machine, or of this one before its parts changed"
    planned = planned_backend(machine, one.settings)
    if one.backend != planned:
        return f"through {one.backend}; {planned} is planned here"
    return None
