"""The fit of a machine's measurements, remembered until anything that it follows from changes.

A small JSON file in llmfit's cache folder, replaced as a whole: laying out every measured model again would
cost each command a tenth of a second. What is broken, or of another llmfit, is fitted anew, never an error.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from math import log
from pathlib import Path

from llmfit import __version__
from llmfit.advisor.files import read_start
from llmfit.advisor.folders import cache_folder
from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.measurements.record import from_document, to_document
from llmfit.advisor.measurements.store import MeasurementStore
from llmfit.advisor.speed.calibration.fit import MAX_FACTOR, MIN_FACTOR, Calibration
from llmfit.advisor.speed.calibration.machine_speeds import MachineSpeeds
from llmfit.advisor.speed.calibration.measurement import machine_key
from llmfit.advisor.units import MIB

FILE_NAME = "calibrations.json"
MAX_FILE_BYTES = 16 * MIB
MAX_FITS = 8
"""Of different machines or states of one; the oldest go first."""
MAX_FIGURE = 1e6
"""No doubt and no count of a fit comes near it."""
_FOLDERS = (
    "speed",
    "speed/calibration",
    "speed/decode",
    "speed/prefill",
    "memory",
    "memory/compute",
    "model",
    "measurements",
)
"""Rooms of the advisor whose code decides what a measurement says."""


def fit_key(machine: Machine, store: MeasurementStore) -> str | None:
    """What the fit follows from: the file of measurements, the machine, and llmfit's own code.

    ``None`` where the file cannot be looked at.
    """
    try:
        file = store.path.stat()
    except (OSError, ValueError):
        return None
    gpus = [
        (
            gpu.index,
            gpu.backend,
            gpu.bandwidth_bytes_per_s,
            gpu.fp16_flops,
            gpu.architecture,
            gpu.usable_bytes,
        )
        for gpu in machine.gpus
    ]
    links = [(gpu.pcie_generation, gpu.pcie_width) for gpu in machine.gpus]
    stamps = (str(store.path), file.st_size, file.st_mtime_ns, file.st_ino)
    facts = (
        stamps,
        machine_key(machine),
        gpus,
        links,
        machine.cpu.features,
        _ram(machine),
        _code(),
    )
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _ram(machine: Machine) -> tuple[object, ...]:
    ram, cpu = machine.memory, machine.cpu
    return (
        ram.bandwidth_bytes_per_s,
        ram.bandwidth_source,
        ram.peak_bandwidth_bytes_per_s,
        cpu.performance_cores,
    )


def _code() -> tuple[object, ...]:
    """The version, and for those who work on llmfit, when its code was last changed."""
    root = Path(__file__).parents[1]
    newest = 0
    for name in _FOLDERS:
        with contextlib.suppress(OSError), os.scandir(root / name) as entries:
            newest = max([newest, *(one.stat().st_mtime_ns for one in entries if one.name.endswith(".py"))])
    return __version__, newest


class FitCache:
    """Fits by ``fit_key``. Never raises."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or cache_folder() / FILE_NAME

    def find(self, key: str) -> MachineSpeeds | None:
        """The fit of this key; ``None`` where it is not known or cannot be read."""
        try:
            found = self._read().get(key)
            return None if found is None else _speeds(found)
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
            return None

    def remember(self, key: str, speeds: MachineSpeeds) -> None:
        """Keeps a fit, if that is possible."""
        fits = {old: fit for old, fit in self._read().items() if old != key}
        kept = dict([*fits.items()][1 - MAX_FITS :])
        part = self._path.with_name(f"{self._path.name}.{os.getpid()}.part")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("w", encoding="utf-8") as file:
                json.dump({**kept, key: _document(speeds)}, file)
            part.replace(self._path)
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink()

    def _read(self) -> dict[str, object]:
        try:
            found = json.loads(read_start(self._path, MAX_FILE_BYTES))
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


def _document(speeds: MachineSpeeds) -> dict[str, object]:
    fitted = speeds.calibration
    return {
        "used": [to_document(one) for one in speeds.used],
        "calibration": fitted
        and {
            "knobs": fitted.knobs,
            "log_factors": fitted.log_factors,
            "covariance": fitted.covariance,
            "residual_shares": fitted.residual_shares,
            "n_used": fitted.n_used,
            "n_effective": fitted.n_effective,
        },
    }


def _speeds(document: object) -> MachineSpeeds:
    """Raises TypeError, ValueError, KeyError, AttributeError or OverflowError for what is no fit."""
    if not isinstance(document, dict):
        raise TypeError("not an object")
    used = tuple(from_document(text) for text in document["used"])
    told = document["calibration"]
    if told is None:
        return MachineSpeeds(None, used)
    size = len(told["knobs"])
    calibration = Calibration(
        knobs=tuple((str(scope), str(name)) for scope, name in told["knobs"]),
        log_factors=tuple(map(float, told["log_factors"])),
        covariance=tuple(tuple(map(float, row)) for row in told["covariance"]),
        residual_shares=tuple(map(float, told["residual_shares"])),
        n_used=int(told["n_used"]),
        n_effective=float(told["n_effective"]),
    )
    rows = [len(row) for row in calibration.covariance]
    if len(calibration.log_factors) != size or rows != [size] * size or len(calibration.residual_shares) != 3:
        raise ValueError("of different lengths")
    if not all(log(MIN_FACTOR) <= one <= log(MAX_FACTOR) for one in calibration.log_factors):
        raise ValueError("factors that no fit gives")
    shares = (*calibration.residual_shares, calibration.n_effective, calibration.n_used)
    variances = [abs(one) for row in calibration.covariance for one in row]
    if not all(0 <= one <= MAX_FIGURE for one in (*shares, *variances)):
        raise ValueError("doubts that no fit gives")
    return MachineSpeeds(calibration, used)
