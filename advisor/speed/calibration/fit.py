"""What measurements of one machine say about its terms: a robust fit of few factors, each held near 1.

A predicted time is a sum of terms; a calibration multiplies each by the factors that apply to it. One factor
for the GPU's memory, one for launches, one for the RAM …, and small ones for experts, the KV cache, a file
type or a family of models, because a card's kernels for one of them are better or worse than the constants
say. Every factor has a prior: as far as machines of one class differ (``PriorSpread``). One run moves them
little and mostly together, several runs tell them apart, and a cause that was never measured stays as it is.

The fit is the maximum of the posterior in the logarithms: residuals of log(time) with Student-t noise, by
iteratively reweighted Gauss-Newton steps (Gelman et al., Bayesian Data Analysis, 3rd ed., chapters 13, 17).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, isfinite, log, sqrt
from types import MappingProxyType

from llmfit.advisor.speed.calibration.factors import (
    OF_PROMPTS,
    ON_GPUS,
    USUAL_SPREAD,
    WITH_RAM,
    Agreement,
    Knob,
    PriorSpread,
    Subject,
    agreement_of,
    knobs_of,
)
from llmfit.advisor.speed.calibration.least_squares import Matrix, inverse, solve
from llmfit.advisor.speed.terms import StepTime, Term

STUDENT_T_FREEDOM = 4.0
"""Of the noise: a residual of several times the usual counts little, and less the larger it is."""
MIN_FACTOR = 0.4
MAX_FACTOR = 2.5
"""No term is scaled beyond: a machine that is further off is not what it is taken for."""
MAX_ROUNDS = 60
CONVERGED = 1e-6
MAX_STEP = 0.5
"""Of one round, in the logarithm."""
CLASS_ROWS = 5.0
"""The class's unexplained spread counts like so many rows of this machine."""
MOST = 0.5
_AGREEMENTS = (ON_GPUS, WITH_RAM, OF_PROMPTS)
_OF_CLASS = tuple(kind.unexplained_share for kind in _AGREEMENTS)


@dataclass(frozen=True, slots=True)
class Observation:
    """A predicted step, uncalibrated, and how long it took.

    ``noise_share``: standard deviation of log(measured), where runs of it differ by more than is usual.
    """

    step: StepTime
    measured_s: float
    subject: Subject
    noise_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Calibration:
    """Factors of one machine's terms and how sure they are.

    ``knobs`` were fitted; ``covariance`` is of their logarithms, in the same order. Those not fitted are 1,
    with the doubt of ``spread``. ``residual_shares`` are the robust spreads of log(time) that the fit leaves
    on GPUs, with weights in RAM and of prompts, each shrunk towards that of the class.
    """

    knobs: tuple[Knob, ...] = ()
    log_factors: tuple[float, ...] = ()
    covariance: Matrix = ()
    residual_shares: tuple[float, ...] = _OF_CLASS
    n_used: int = 0
    n_effective: float = 0.0
    """Parameters that the observations decided rather than the prior."""
    spread: PriorSpread = USUAL_SPREAD
    _by_knob: Mapping[Knob, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_knob", MappingProxyType({k: i for i, k in enumerate(self.knobs)}))

    def factor(self, knob: Knob) -> float:
        """What times of this scope are multiplied by; 1 where nothing was measured of it."""
        position = self._by_knob.get(knob)
        return 1.0 if position is None else exp(self.log_factors[position])

    def factor_of(self, term: Term, subject: Subject) -> float:
        """What one term is multiplied by: MIN_FACTOR to MAX_FACTOR."""
        known = self._by_knob
        total = sum(
            self.log_factors[known[knob]]
            for knob in knobs_of(term.cause, term.what, term.where, subject)
            if knob in known
        )
        return _bounded(total)

    def concerns(self, step: StepTime, subject: Subject) -> bool:
        """Whether most of a step's time is of kinds that were measured; else the formula says it alone."""
        scaled = self._scaled(step, subject)
        known = sum(time_s for time_s, mine in scaled if mine[0] in self._by_knob)
        return known > MOST * sum(time_s for time_s, _ in scaled)

    def residual_share(self, step: StepTime, subject: Subject) -> float:
        """Of ``residual_shares`` that of this kind of step."""
        return self.residual_shares[_AGREEMENTS.index(agreement_of(step, subject))]

    def doubt_share(self, step: StepTime, subject: Subject) -> float:
        """Standard deviation of log(measured / applied) that is to be expected of an uncalibrated ``step``.

        Of the factors, as far as the step depends on them, of those never measured, and of what stays
        unexplained.
        """
        slopes = _slopes(self._scaled(step, subject))
        variance = self.residual_share(step, subject) ** 2
        fitted = [(self._by_knob[knob], slope) for knob, slope in slopes.items() if knob in self._by_knob]
        for i, one in fitted:
            variance += sum(one * other * self.covariance[i][j] for j, other in fitted)
        for knob, slope in slopes.items():
            if knob not in self._by_knob:
                variance += (slope * self.spread.of(knob)) ** 2
        return sqrt(variance)

    def _scaled(self, step: StepTime, subject: Subject) -> list[tuple[float, tuple[Knob, ...]]]:
        return [
            (
                term.time_s * self.factor_of(term, subject),
                knobs_of(term.cause, term.what, term.where, subject),
            )
            for term in step.terms
        ]


def apply(step: StepTime, calibration: Calibration, subject: Subject) -> StepTime:
    """``step`` with every term scaled, its rate with it. The bound stays: nothing goes below it."""
    return StepTime(
        tuple(term.scaled(calibration.factor_of(term, subject)) for term in step.terms), step.bound_s
    )


def fit_calibration(
    observations: Sequence[Observation],
    spread: PriorSpread = USUAL_SPREAD,
) -> Calibration:
    """The factors that explain the observations best and stray least.

    Observations that repeat one configuration should be one: see ``measurement.of_one_configuration``. One
    whose terms or measured time are not above 0 raises ValueError.
    """
    kinds = Counter(agreement_of(one.step, one.subject) for one in observations)
    rows = [_Row.of(one, kinds[agreement_of(one.step, one.subject)]) for one in observations]
    knobs = tuple(dict.fromkeys(knob for row in rows for _, mine in row.parts for knob in mine))
    if not knobs:
        return Calibration(spread=spread)
    precisions = [1 / spread.of(knob) ** 2 for knob in knobs]
    logs = _most_probable(rows, knobs, precisions)
    equations = _equations(rows, knobs, logs, precisions)
    covariance = inverse(equations.matrix)
    n_effective = sum(
        row.weight * one * other * covariance[i][j]
        for row in equations.rows
        for i, one in row.slopes.items()
        for j, other in row.slopes.items()
    )
    return Calibration(
        knobs=knobs,
        log_factors=tuple(logs),
        covariance=covariance,
        residual_shares=tuple(_residual_share(kind, equations.rows, n_effective) for kind in _AGREEMENTS),
        n_used=len(rows),
        n_effective=n_effective,
        spread=spread,
    )


# ---------------------------------------------------------------- the fit


@dataclass(frozen=True, slots=True)
class _Row:
    """An observation: seconds that share their factors, together."""

    kind: Agreement
    log_measured: float
    noise_share: float
    parts: tuple[tuple[float, tuple[Knob, ...]], ...]

    @staticmethod
    def of(observation: Observation, n_of_kind: int) -> _Row:
        """Raises ValueError where there is no logarithm of it."""
        sums: dict[tuple[Knob, ...], float] = {}
        for term in observation.step.terms:
            mine = knobs_of(term.cause, term.what, term.where, observation.subject)
            sums[mine] = sums.get(mine, 0.0) + term.time_s
        parts = tuple((time_s, mine) for mine, time_s in sums.items() if time_s > 0)
        if not parts or not isfinite(observation.measured_s) or observation.measured_s <= 0:
            raise ValueError("an observation needs a predicted and a measured time above 0")
        kind = agreement_of(observation.step, observation.subject)
        noise_share = max(kind.noise_of(n_of_kind), observation.noise_share)
        return _Row(kind, log(observation.measured_s), noise_share, parts)


@dataclass(frozen=True, slots=True)
class _Linear:
    """A row at the present factors: d log(predicted) / d log(factor) by position, residual and weight."""

    kind: Agreement
    slopes: Mapping[int, float]
    residual: float
    weight: float


@dataclass(frozen=True, slots=True)
class _Equations:
    """Of one Gauss-Newton step: ``matrix`` × step = ``right``."""

    matrix: Matrix
    right: list[float]
    rows: tuple[_Linear, ...]


def _most_probable(rows: Sequence[_Row], knobs: Sequence[Knob], precisions: Sequence[float]) -> list[float]:
    """The logarithms of the factors, by steps until they move no more."""
    limits = (log(MIN_FACTOR), log(MAX_FACTOR))
    logs = [0.0] * len(knobs)
    for _ in range(MAX_ROUNDS):
        equations = _equations(rows, knobs, logs, precisions)
        steps = [max(-MAX_STEP, min(MAX_STEP, step)) for step in solve(equations.matrix, equations.right)]
        new = [max(limits[0], min(limits[1], old + step)) for old, step in zip(logs, steps, strict=True)]
        moved = max(abs(one - other) for one, other in zip(logs, new, strict=True))
        logs = new
        if moved < CONVERGED:
            break
    return logs


def _equations(
    rows: Sequence[_Row], knobs: Sequence[Knob], logs: Sequence[float], precisions: Sequence[float]
) -> _Equations:
    position = {knob: i for i, knob in enumerate(knobs)}
    matrix = [[precisions[i] if i == j else 0.0 for j in range(len(knobs))] for i in range(len(knobs))]
    right = [-precision * value for precision, value in zip(precisions, logs, strict=True)]
    linear = tuple(_linear(row, position, logs) for row in rows)
    for row in linear:
        for i, slope in row.slopes.items():
            right[i] += row.weight * slope * row.residual
            for j, other in row.slopes.items():
                matrix[i][j] += row.weight * slope * other
    return _Equations(tuple(map(tuple, matrix)), right, linear)


def _linear(row: _Row, position: Mapping[Knob, int], logs: Sequence[float]) -> _Linear:
    scaled = [(time_s * _bounded(sum(logs[position[k]] for k in mine)), mine) for time_s, mine in row.parts]
    residual = row.log_measured - log(sum(time_s for time_s, _ in scaled))
    slopes = {position[knob]: slope for knob, slope in _slopes(scaled).items()}
    return _Linear(row.kind, slopes, residual, _weight(residual, row.noise_share))


def _weight(residual: float, noise_share: float) -> float:
    """Of a row, in units of the priors' precisions: Student-t noise as reweighted normal noise."""
    in_noise = residual / noise_share
    return (STUDENT_T_FREEDOM + 1) / (STUDENT_T_FREEDOM + in_noise**2) / noise_share**2


def _slopes(scaled: Iterable[tuple[float, tuple[Knob, ...]]]) -> dict[Knob, float]:
    """By how much the logarithm of the sum changes with that of each factor: the share it scales."""
    shares: dict[Knob, float] = {}
    total = 0.0
    for time_s, mine in scaled:
        total += time_s
        for knob in mine:
            shares[knob] = shares.get(knob, 0.0) + time_s
    return {knob: share / total for knob, share in shares.items()} if total > 0 else {}


def _residual_share(kind: Agreement, rows: Sequence[_Linear], n_effective: float) -> float:
    """Spread of the residuals, each cut at three times the class's, with the class's as CLASS_ROWS rows."""
    usual = kind.unexplained_share
    squares = [min(abs(row.residual), 3 * usual) ** 2 for row in rows if row.kind is kind]
    freedom = max(0.0, len(squares) * (1 - n_effective / len(rows)))
    return sqrt((sum(squares) + CLASS_ROWS * usual**2) / (freedom + CLASS_ROWS))


def _bounded(log_factor: float) -> float:
    return max(MIN_FACTOR, min(MAX_FACTOR, exp(log_factor)))
