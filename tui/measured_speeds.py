"""What was measured on a machine, for everything that estimates speeds: quick where nothing ever was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmfit.advisor.errors import LlmfitError
from llmfit.advisor.measurements.place import has_measurements

if TYPE_CHECKING:
    from llmfit.advisor.hardware.machine import Machine
    from llmfit.advisor.measurements.store import MeasurementStore
    from llmfit.advisor.speed.calibration.machine_speeds import MachineSpeeds


def speeds_here(machine: Machine) -> tuple[MachineSpeeds | None, str | None]:
    """The calibration of ``machine`` and its good measurements, and a note where they cannot be read.

    Never raises. ``None`` where nothing was measured on it; 3 ms where it was fitted before.
    """
    if not has_measurements():
        return None, None
    from llmfit.advisor.measurements.fit_cache import FitCache, fit_key
    from llmfit.advisor.measurements.store import MeasurementStore

    store, cache = MeasurementStore(), FitCache()
    try:
        if not store.exists:
            return None, None
        key = fit_key(machine, store)
        speeds = cache.find(key) if key is not None else None
        if speeds is None:
            speeds = _fitted(machine, store)
            if key is not None:
                cache.remember(key, speeds)
    except LlmfitError as error:
        return None, str(error)
    return (speeds if speeds.used else None), None


def _fitted(machine: Machine, store: MeasurementStore) -> MachineSpeeds:
    from llmfit.advisor.measurements.calibrate import speeds_of
    from llmfit.tui.measured_models import steps_on

    return speeds_of(machine, store, steps_on(machine))
