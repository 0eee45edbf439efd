"""Fits the constants of advisor/speed/decode/constants.py to the measured rows that lie wholly on GPUs.

Run from the top of the repository: ``python tests/bench/fit_decode.py``. Needs numpy (the extra ``bench``).
Prints the fitted values as they stand in the module; nobody writes them there but a person.

The fit is the mode of a posterior. The model is a sum of times whose parts are products of constants, so the
logarithms of the constants are its parameters. Residuals of log(time) count less and less beyond NOISE;
devices with many rows count less a row; every factor of a backend or class has a prior around 1, which is
what leaves a card that nobody measured at the common value.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import log
from pathlib import Path
from types import MappingProxyType
from typing import Any

try:
    import numpy as np
except ImportError:
    sys.exit("This fit needs numpy: install llmfit with the extra bench.")

sys.path.insert(0, str(Path(__file__).parents[2]))

from llmfit.advisor.speed.decode.constants import (
    DECODE,
    INTEGRATED,
    TYPE_GROUPS,
    CardFactor,
    DecodeConstants,
    class_of,
    has_stacked_memory,
)
from llmfit.advisor.speed.reads import Role
from tests.bench.decode_samples import DecodeSample, read_samples

Array = Any
"""Of numpy, which the project does not depend on."""

NOISE = 0.08
"""Of log(time): one user repeats a run within 0.04, two users with one card differ by more."""
DEVICE_POWER = 0.35
"""A row counts as the rows of its device to minus this: three machines made half of them."""
COMMON = {
    "weights_share": (0.8, 0.2),
    "cache_share": (0.75, 0.3),
    "latent_cache_factor": (1.35, 0.5),
    "kernel_s": (2.5e-6, 0.7),
    "step_s": (200e-6, 0.7),
    "hop_s": (150e-6, 0.7),
    "bf16_experts_factor": (1.35, 0.5),
}
"""Value and standard deviation of the logarithm before any row is seen."""
TYPE_SPREAD = 0.15
BACKEND_SPREAD = {"bandwidth": 0.2, "launch": 0.4, "cache": 0.25}
CLASS_SPREAD = {"bandwidth": 0.15, "launch": 0.30}
"""What cards of one backend differ by; the cache's share differs by backend only."""
INTEGRATED_SPREAD = 0.4
"""A GPU beside a CPU differs from a card more than cards from each other."""
OF_OTHERS = {
    "ollama": (0.08, 0.1),
    "lmstudio": (0.05, 0.1),
    "prompt timed": (0.03, 0.03),
    "server": (0.05, 0.1),
    "windows": (0.04, 0.06),
}
"""What a row's time is longer by, in the logarithm, for reasons that are no constants of llama.cpp."""


@dataclass(frozen=True, slots=True)
class Part:
    """One product in one row's sum: ``value`` times the constants in ``powers`` to their power (1 or -1)."""

    row: int
    value: float
    powers: tuple[tuple[str, int], ...]


class DecodeFit:
    """The rows as sums of products, and the search for the most probable constants."""

    def __init__(self, samples: Sequence[DecodeSample]) -> None:
        self.samples = samples
        parts = [part for row, sample in enumerate(samples) for part in _parts(row, sample)]
        self.names = sorted({name for part in parts for name, _ in part.powers}) + list(OF_OTHERS)
        at = {name: i for i, name in enumerate(self.names)}
        nowhere = len(self.names)
        self._rows = np.array([part.row for part in parts])
        self._values = np.array([part.value for part in parts])
        width = max(len(part.powers) for part in parts)
        self._slots = np.full((len(parts), width), nowhere)
        self._signs = np.zeros((len(parts), width))
        for i, part in enumerate(parts):
            for slot, (name, sign) in enumerate(part.powers):
                self._slots[i, slot], self._signs[i, slot] = at[name], sign
        self._others = np.array([[_holds(name, sample) for name in OF_OTHERS] for sample in samples])
        self._bound = np.array([log(sample.bound_s) for sample in samples])
        self.measured = np.array([log(sample.measured_s) for sample in samples])
        priors = [_prior(name) for name in self.names]
        self._prior = np.array([value for value, _ in priors])
        self._precision = np.array([spread**-2 for _, spread in priors])
        self.possible = self.measured > self._bound - 0.03

    @cached_property
    def weights(self) -> Array:
        devices = Counter(sample.row.device for sample in self.samples)
        return np.array([devices[sample.row.device] ** -DEVICE_POWER for sample in self.samples])

    def log_times(self, theta: Array) -> Array:
        """Of a token as this row was measured; never under the bound."""
        return np.maximum(self._evaluate(theta)[0], self._bound)

    def solve(self, keep: Array, theta: Array | None = None, n_steps: int = 40) -> Array:
        """The most probable parameters for the rows in ``keep`` (booleans), from ``theta`` on."""
        theta = self._prior.copy() if theta is None else theta.copy()
        weights = self.weights * (keep & self.possible)
        damping, cost = 1e-3, None
        times, slopes = self._evaluate(theta)
        for _ in range(n_steps):
            cost = self._cost(theta, times, weights)
            robust = weights / np.sqrt(1 + ((times - self.measured) / NOISE) ** 2) / NOISE**2
            left = (slopes * robust[:, None]).T @ slopes + np.diag(self._precision)
            right = slopes.T @ (robust * (times - self.measured)) + (theta - self._prior) * self._precision
            while True:
                tried = theta - np.linalg.solve(left + damping * np.diag(np.diag(left)), right)
                new_times, new_slopes = self._evaluate(tried)
                new_cost = self._cost(tried, new_times, weights)
                if new_cost <= cost or damping > 1e6:
                    break
                damping *= 10
            theta, times, slopes = tried, new_times, new_slopes
            damping = max(damping / 10, 1e-9)
            if cost - new_cost < 1e-5 * cost:
                break
        return theta

    def constants(self, theta: Array) -> DecodeConstants:
        """The parameters as the module has them."""
        value = {name: float(np.exp(one)) for name, one in zip(self.names, theta, strict=True)}
        types = {name.split()[1]: one for name, one in value.items() if name.startswith("type ")}
        return replace(
            DECODE,
            **{name: value.get(name, start) for name, (start, _) in COMMON.items()},
            type_factor=MappingProxyType(types),
            by_backend=_factors("backend", value),
            stacked_memory=_factors("memory", value).get("HBM", CardFactor()),
            by_class=_factors("class", value),
        )

    def _evaluate(self, theta: Array) -> tuple[Array, Array]:
        """(log of the sums, their derivatives by every parameter)."""
        n_rows, n_names = len(self.samples), len(self.names)
        padded = np.append(theta, 0.0)
        parts = self._values * np.exp((padded[self._slots] * self._signs).sum(1))
        times = np.bincount(self._rows, parts, n_rows)
        flat = self._rows[:, None] * (n_names + 1) + self._slots
        slopes = np.bincount(flat.ravel(), (parts[:, None] * self._signs).ravel(), n_rows * (n_names + 1))
        slopes = slopes.reshape(n_rows, n_names + 1)[:, :-1] / times[:, None]
        others = slice(n_names - len(OF_OTHERS), n_names)
        slopes[:, others] += self._others
        return np.log(times) + self._others @ theta[others], slopes

    def _cost(self, theta: Array, times: Array, weights: Array) -> float:
        residuals = (times - self.measured) / NOISE
        prior = ((theta - self._prior) ** 2 * self._precision).sum()
        return float((weights * 2 * (np.sqrt(1 + residuals**2) - 1)).sum() + prior)


def leave_out(fit: DecodeFit, start: Array, key: Callable[[DecodeSample], str]) -> Array:
    """Log times of every row as fitted without the rows that share its ``key``."""
    keys = np.array([key(sample) for sample in fit.samples])
    times = np.zeros(len(keys))
    for one in np.unique(keys):
        out = keys == one
        times[out] = fit.log_times(fit.solve(~out, start))[out]
    return times


def _parts(row: int, sample: DecodeSample) -> list[Part]:
    parts = [Part(row, 1.0, (("step_s", 1),))]
    used = 0
    for gpu, place in zip(sample.gpus, sample.reads.gpus, strict=True):
        used += place.is_used
        peak, kind = float(gpu.bandwidth_bytes_per_s or 0), class_of(gpu)
        where = ((f"backend {gpu.backend} bandwidth", -1), (f"class {kind} bandwidth", -1))
        launch = (("kernel_s", 1), (f"backend {gpu.backend} launch", 1), (f"class {kind} launch", 1))
        if has_stacked_memory(gpu):
            where, launch = (*where, ("memory HBM bandwidth", -1)), (*launch, ("memory HBM launch", 1))
        for read in place.weights:
            group = TYPE_GROUPS[read.type_name]
            powers = [("weights_share", -1), *where]
            if group != "Q4_K":
                powers.append((f"type {group}", -1))
            if read.type_name == "BF16" and read.role is Role.EXPERT and gpu.backend == "vulkan":
                powers.append(("bf16_experts_factor", 1))
            parts.append(Part(row, read.n_bytes * sample.row.scale / peak, tuple(powers)))
        cached = sample.cache_bytes(place)
        if cached:
            powers = [("cache_share", -1), (f"backend {gpu.backend} cache", -1)]
            if place.cache.is_latent:
                powers.append(("latent_cache_factor", 1))
            parts.append(Part(row, cached / peak, tuple(powers)))
        parts.append(Part(row, place.n_kernels, launch))
    if used > 1:
        parts.append(Part(row, used - 1, (("hop_s", 1),)))
    return parts


def _holds(name: str, sample: DecodeSample) -> float:
    row = sample.row
    return float(
        name in (row.engine, row.machine.os) or (name == "prompt timed" and row.timing == "wall_incl_prompt")
    )


def _prior(name: str) -> tuple[float, float]:
    """(mean, standard deviation) of the logarithm."""
    if name in COMMON:
        value, spread = COMMON[name]
        return log(value), spread
    if name in OF_OTHERS:
        return OF_OTHERS[name]
    kind, _, rest = name.partition(" ")
    if kind == "type":
        return 0.0, TYPE_SPREAD
    key, _, what = rest.rpartition(" ")
    if kind in ("backend", "memory"):
        return 0.0, BACKEND_SPREAD[what]
    if key.startswith(INTEGRATED):
        return 0.0, INTEGRATED_SPREAD
    return 0.0, CLASS_SPREAD[what]


def _factors(kind: str, value: dict[str, float]) -> MappingProxyType[str, CardFactor]:
    keys = {name.removeprefix(f"{kind} ").rpartition(" ")[0] for name in value if name.startswith(f"{kind} ")}
    return MappingProxyType(
        {
            key: CardFactor(
                value.get(f"{kind} {key} bandwidth", 1.0),
                value.get(f"{kind} {key} launch", 1.0),
                value.get(f"{kind} {key} cache", 1.0),
            )
            for key in sorted(keys)
        }
    )


def main() -> None:
    samples = read_samples(Counter())
    fit = DecodeFit(samples)
    theta = fit.solve(np.full(len(samples), True))
    found = fit.constants(theta)
    devices = {sample.row.device for sample in samples}
    models = {sample.row.model.id for sample in samples}
    users = {sample.row.user for sample in samples}
    print(f"{fit.possible.sum()} rows of {len(devices)} devices, {len(models)} models, {len(users)} users;")
    print(f"{(~fit.possible).sum()} more are above what bandwidth allows")
    for name in COMMON:
        print(f"    {name}={getattr(found, name):.4g},")
    print(f"    stacked_memory={_text(found.stacked_memory)},")
    for name in ("type_factor", "by_backend", "by_class"):
        print(f"    {name}:")
        for key, one in sorted(getattr(found, name).items()):
            print(f'        "{key}": {_text(one)},{_evidence(samples, key) if name == "by_class" else ""}')
    for name, one in zip(fit.names, theta, strict=True):
        if name in OF_OTHERS:
            print(f"# {name}: {np.exp(one):.3f} times as long")


def _evidence(samples: Sequence[DecodeSample], key: str) -> str:
    rows = [sample.row for sample in samples if key in map(class_of, sample.gpus)]
    devices, users = {row.device for row in rows}, {row.user for row in rows}
    return f"  # {len(rows)} rows, {len(devices)} devices, {len(users)} users"


def _text(value: float | CardFactor) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    factors = (value.bandwidth_factor, value.launch_factor, value.cache_factor)
    return f"CardFactor({', '.join(f'{one:.3f}' for one in factors)})"


if __name__ == "__main__":
    main()
