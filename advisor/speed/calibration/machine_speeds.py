"""What is known of a machine by measuring: its calibration, and the measurements that are good."""

from __future__ import annotations

from dataclasses import dataclass

from llmfit.advisor.speed.calibration.fit import Calibration
from llmfit.advisor.speed.calibration.measurement import MeasuredSpeed, Measurement, Wanted, find_measured


@dataclass(frozen=True, slots=True)
class MachineSpeeds:
    """Both are empty where nothing was measured; see advisor/measurements for where they are kept."""

    calibration: Calibration | None = None
    used: tuple[Measurement, ...] = ()

    def measured(self, wanted: Wanted) -> MeasuredSpeed | None:
        """Exactly what is wanted, as it was measured."""
        return find_measured(self.used, wanted)
