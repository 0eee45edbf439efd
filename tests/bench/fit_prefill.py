"""Fits the constants of ``advisor/speed/prefill/constants.py`` on the measured prompts of tests/data.

Run from the top of the repository: ``python tests/bench/fit_prefill.py``. Prints the constants as they stand
in that module. Every constant is a factor on its value in START, whose logarithm is held near zero by a prior
(what one source alone tells of is held tighter), so that what no row decides stays where the
shared value is. Errors are logarithms, robust (large ones count less than squared), and a device weighs as
the number of its rows to the power DEVICE_POWER. Gauss-Newton steps with numerical derivatives.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import fields, replace
from math import exp, log
from pathlib import Path
from typing import Any

try:
    import numpy as np
except ImportError:
    sys.exit("Fitting needs numpy: install llmfit with the extra bench.")

sys.path.insert(0, str(Path(__file__).parents[2]))

from llmfit.advisor.speed.prefill.constants import Kernels, PrefillConstants
from tests.bench.prefill_samples import Sample, samples

START = PrefillConstants(
    kernels={
        "cuda": Kernels(0.90, 0.75, 1.0, 0.80, 0.8, 20.0, 0.7, 150e-6),
        "cuda shader": Kernels(1.0, 0.6, 0.95, 0.90, 0.8, 20.0, 0.4, 80e-6),
        "rocm": Kernels(0.30, 1.2, 0.95, 0.90, 0.6, 20.0, 0.12, 80e-6),
        "vulkan nvidia": Kernels(0.75, 0.9, 0.95, 0.90, 0.6, 20.0, 0.5, 80e-6),
        "vulkan": Kernels(0.25, 0.8, 0.95, 0.90, 0.6, 20.0, 0.12, 80e-6),
        "sycl": Kernels(0.25, 0.8, 0.95, 0.90, 0.6, 20.0, 0.12, 80e-6),
        "metal": Kernels(0.60, 1.0, 0.95, 0.90, 0.7, 10.0, 0.5, 80e-6),
    },
    class_factor={("Apple M5", "metal"): 2.3, ("Turing", "cuda"): 0.7, ("Hopper", "cuda"): 0.45},
    mobile_factor=1.25,
    weight_read_share=0.7,
    state_share=0.1,
    expert_layers=1.0,
    state_layers=2.0,
    pipeline_share=0.8,
    odd_head_factor=0.65,
    pcie_share=0.68,
    copy_ram_share=0.26,
    vulkan_copy_factor=0.7,
    core_flops=45e9,
    wide_core_factor=2.5,
    host_ram_flops_per_byte=7.0,
)
"""What each constant is held near: shares read off the tables of llama-bench by hand (tests/data/speed.md),
that of Hopper off tables of 2024 (H100: 0.16 to 0.22 of its FP16 rate)."""
SCALE = 0.2
"""Errors up to this are noise of clocks, builds and drivers."""
PRIOR = 0.4
"""Standard deviation of the logarithm of a constant that several users' rows decide."""
ONE_USER_PRIOR = 0.15
LOOSE_PRIOR = 0.6
"""Of what no data sheet bounds: the cost of layers, tiles and attention."""
LOOSE = ("expert_factor", "pad_tokens", "attention_share", "layer_s", "state_share")
DEVICE_POWER = 0.4
N_STEPS = 12
STEP = 0.02
HARD_TO_TELL = ("weight_read_share", "pcie_share", "copy_ram_share")

Array = Any
"""Of numpy, which the project does not depend on."""
Name = tuple[str, ...]
"""("kernels", "cuda", "pad_tokens"), ("class_factor", "Turing", "cuda") or ("pcie_share",)."""


class Fit:
    """The constants as a vector of logarithms over START, and the rows that each of them moves."""

    def __init__(self, data: Sequence[Sample]) -> None:
        self.data = data
        self.names = _names(data)
        self.measured = np.array([log(one.row.tok_s) for one in data])
        rows_of_device = Counter(one.row.device for one in data)
        self.weights = np.array([rows_of_device[one.row.device] ** (DEVICE_POWER - 1) for one in data])
        self.prior = np.array([_prior(name, data) for name in self.names])
        self.moved = [[i for i, one in enumerate(data) if _moves(name, one)] for name in self.names]
        self.jacobian: Array = None

    def errors(self, theta: Array) -> Array:
        constants = self.constants(theta)
        return np.array([log(one.predicted(constants)) for one in self.data]) - self.measured

    def constants(self, theta: Array) -> PrefillConstants:
        found = START
        for name, value in zip(self.names, theta, strict=True):
            found = _scaled(found, name, exp(value))
        return found

    def solve(self, theta: Array, keep: Array, n_steps: int = N_STEPS, *, derive: bool = True) -> Array:
        """The best vector for the rows of ``keep`` (0 or 1 each), from ``theta`` on; without ``derive`` with
        the derivatives of the last call."""
        for _ in range(n_steps):
            errors = self.errors(theta)
            if derive:
                self.jacobian = self._derivatives(theta, errors)
            robust = 1 / np.sqrt(1 + (errors / SCALE) ** 2)
            weights = self.weights * keep * robust / SCALE**2
            left = self.jacobian.T @ (weights[:, None] * self.jacobian) + np.diag(self.prior**-2)
            right = self.jacobian.T @ (weights * errors) + theta * self.prior**-2
            step = np.linalg.solve(left, right)
            theta = theta - np.clip(step, -0.4, 0.4)
            if float(np.abs(step).max()) < 0.003:
                break
        return theta

    def _derivatives(self, theta: Array, errors: Array) -> Array:
        jacobian = np.zeros((len(self.data), len(self.names)))
        base = self.constants(theta)
        for column, (name, rows) in enumerate(zip(self.names, self.moved, strict=True)):
            moved = _scaled(base, name, exp(STEP))
            for i in rows:
                error = log(self.data[i].predicted(moved)) - self.measured[i]
                jacobian[i, column] = (error - errors[i]) / STEP
        return jacobian


def _names(data: Sequence[Sample]) -> list[Name]:
    names: list[Name] = []
    for kernels in sorted(set().union(*(one.kernels for one in data))):
        names += [("kernels", kernels, field.name) for field in fields(Kernels)]
    names += [("class_factor", *key) for key in sorted(set().union(*(one.classes for one in data)))]
    kinds = {"kernels", "class_factor"}
    names += [(field.name,) for field in fields(PrefillConstants) if field.name not in kinds]
    return names


def _prior(name: Name, data: Sequence[Sample]) -> float:
    if name[0] in HARD_TO_TELL:
        return ONE_USER_PRIOR
    users: dict[str, set[str]] = defaultdict(set)
    for one in data:
        if _moves(name, one):
            users[one.row.user].add(one.row.device)
    if len(users) == 1:
        return ONE_USER_PRIOR
    return LOOSE_PRIOR if name[-1] in LOOSE else PRIOR


def _moves(name: Name, one: Sample) -> bool:
    if name[0] == "kernels":
        return name[1] in one.kernels
    if name[0] == "class_factor":
        return (name[1], name[2]) in one.classes
    if name[0] == "mobile_factor":
        return any("Mobile" in gpu.name for gpu in one.gpus)
    if name[0] == "pipeline_share":
        return len(one.gpus) > 1
    if name[0] in ("core_flops", "wide_core_factor", "host_ram_flops_per_byte"):
        return not one.gpus
    if name[0] == "vulkan_copy_factor":
        return one.reads.host.is_used and any(gpu.backend == "vulkan" for gpu in one.gpus)
    if name[0] in ("pcie_share", "copy_ram_share"):
        return one.reads.host.is_used and bool(one.gpus)
    return bool(one.gpus)


def _scaled(constants: PrefillConstants, name: Name, factor: float) -> PrefillConstants:
    if name[0] == "kernels":
        old = constants.kernels[name[1]]
        new = replace(old, **{name[2]: getattr(old, name[2]) * factor})
        return replace(constants, kernels={**constants.kernels, name[1]: new})
    if name[0] == "class_factor":
        key = (name[1], name[2])
        factors = {**constants.class_factor, key: constants.class_factor.get(key, 1.0) * factor}
        return replace(constants, class_factor=factors)
    return replace(constants, **{name[0]: getattr(constants, name[0]) * factor})


def _literal(constants: PrefillConstants, data: Sequence[Sample]) -> str:
    lines = ["PrefillConstants(", "    kernels={"]
    for name, kernels in constants.kernels.items():
        figures = ", ".join(f"{getattr(kernels, field.name):.3g}" for field in fields(Kernels))
        lines.append(f'        "{name}": Kernels({figures}),')
    lines += ["    },", "    class_factor={"]
    for (a, b), factor in constants.class_factor.items():
        rows = [one.row for one in data if (a, b) in one.classes]
        n_devices, n_sources = len({row.device for row in rows}), len({row.user for row in rows})
        evidence = f"{len(rows)} rows, {n_devices} devices, {n_sources} sources"
        lines.append(f'        ("{a}", "{b}"): {factor:.3g},  # {evidence}')
    lines.append("    },")
    for field in fields(PrefillConstants)[2:]:
        lines.append(f"    {field.name}={getattr(constants, field.name):.3g},")
    return "\n".join([*lines, ")"])


def main() -> None:
    left_out: Counter[str] = Counter()
    fit = Fit(samples(left_out))
    theta = fit.solve(np.zeros(len(fit.names)), np.ones(len(fit.data)))
    print(_literal(fit.constants(theta), fit.data))
    print("left out:", ", ".join(f"{count} {reason}" for reason, count in left_out.most_common()))


if __name__ == "__main__":
    main()
