"""Fits the constants of advisor/speed/decode/host_constants.py to the measured rows with weights in RAM.

Run from the top of the repository: ``python tests/bench/fit_host.py``. Needs numpy and scipy (the extra
``bench``). Prints the fitted values; nobody writes them into the constants but a person.

The fit is the mode of a posterior: residuals of log(time) with heavy tails, each device counting as one
whatever its number of rows (up to twice as much for several models), and a prior for every constant.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import exp, log, sqrt
from pathlib import Path
from types import MappingProxyType

sys.path.insert(0, str(Path(__file__).parents[2]))

from llmfit.advisor.speed.decode.host_constants import (
    HOST,
    I_QUANT,
    IQ4,
    K_QUANT,
    SIMPLE,
    HostConstants,
)
from tests.bench.host_samples import HostSample, by_device, read_samples
from tests.bench.speed_rows import INTEGRATED

NOISE = 0.15
"""Of log(time) between installations of one device, beyond which a row counts less and less."""
MODELS_COUNTED = 4


@dataclass(frozen=True, slots=True)
class Prior:
    """``spread`` is the standard deviation of the logarithm."""

    name: str
    value: float
    spread: float


PRIORS = (
    Prior("read_share", 0.68, 0.10),
    Prior("core_bytes_per_s", 18e9, 0.15),
    Prior(SIMPLE, 0.040e-9, 0.2),
    Prior(K_QUANT, 0.050e-9, 0.2),
    Prior(IQ4, 0.065e-9, 0.2),
    Prior(I_QUANT, 0.115e-9, 0.2),
    Prior("operation_s", 1.6e-6, 0.7),
    Prior("crossing_s", 50e-6, 0.7),
)
"""What is known without the rows: threads stream 60 to 75 % of the peak; what one core reads and what the
types cost was measured with llama-bench on one thread (EPYC, Zen 4); the rest is wide. ``measured_share``,
``old_cpu_factor`` and ``remote_share`` are not fitted: one machine each would decide them."""
_GROUPS = (SIMPLE, K_QUANT, IQ4, I_QUANT)


def main() -> None:
    samples = fit_samples(read_samples(Counter()))
    fitted = fit(samples)
    if fitted is None:
        print("This fit needs numpy and scipy: install llmfit with the extra bench.")
        raise SystemExit(2)
    print(f"{len(samples)} different runs of {len(by_device(samples))} devices")
    for prior in PRIORS:
        print(f"{prior.name:18s} now {_value(HOST, prior.name):.4g}  fitted {_value(fitted, prior.name):.4g}")


def fit_samples(samples: Sequence[HostSample]) -> list[HostSample]:
    """Those that tell of the CPU: an integrated GPU takes its share of the same RAM."""
    return [sample for sample in samples if sample.row.group != INTEGRATED]


def fit(samples: Sequence[HostSample], near: HostConstants = HOST) -> HostConstants | None:
    """``None`` without scipy. ``near`` is where the search begins."""
    try:
        from scipy.optimize import least_squares
    except ImportError:
        return None
    weights = device_weights(samples)
    begin = [log(_value(near, prior.name) / prior.value) for prior in PRIORS]
    found = least_squares(_residuals(samples, weights), begin, diff_step=1e-3, xtol=1e-3, ftol=1e-4)
    return constants(found.x)


def constants(steps: Sequence[float]) -> HostConstants:
    """The priors' values moved by ``steps`` in the logarithm."""
    values = {prior.name: prior.value * exp(step) for prior, step in zip(PRIORS, steps, strict=True)}
    types = {group: values.pop(group) for group in _GROUPS}
    return replace(HOST, s_per_parameter=MappingProxyType(types), **values)


def device_weights(samples: Sequence[HostSample]) -> list[float]:
    """A device counts as one, with several models up to twice; of a device each model counts the same."""
    models = {device: {one.model for one in found} for device, found in by_device(samples).items()}
    rows: dict[tuple[str, str], int] = defaultdict(int)
    for sample in samples:
        rows[sample.row.device, sample.model] += 1
    weights = []
    for sample in samples:
        n_models = len(models[sample.row.device])
        weights.append(sqrt(min(n_models, MODELS_COUNTED)) / n_models / rows[sample.row.device, sample.model])
    return weights


def _residuals(
    samples: Sequence[HostSample], weights: Sequence[float]
) -> Callable[[Sequence[float]], list[float]]:
    def residuals(steps: Sequence[float]) -> list[float]:
        now = constants(steps)
        rows = [
            sqrt(weight) * _tamed(log(sample.step_s(now) / sample.measured_s) / NOISE)
            for sample, weight in zip(samples, weights, strict=True)
        ]
        return rows + [float(step) / prior.spread for step, prior in zip(steps, PRIORS, strict=True)]

    return residuals


def _tamed(residual: float) -> float:
    """Its square grows like the residual itself where that is large (Huber's loss, smooth)."""
    size = sqrt(2 * (sqrt(1 + residual**2) - 1))
    return size if residual >= 0 else -size


def _value(of: HostConstants, name: str) -> float:
    return of.s_per_parameter[name] if name in _GROUPS else float(getattr(of, name))


if __name__ == "__main__":
    main()
