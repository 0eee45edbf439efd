"""What the screens know of the machine: as it was probed, and what the user pretends to close."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmfit.advisor.hardware.machine import Machine
    from llmfit.advisor.speed.calibration.machine_speeds import MachineSpeeds


@dataclass(frozen=True, slots=True)
class KnownMachine:
    """``closed`` holds process ids; every one of them runs on ``probed``. ``n_probes`` counts the looks."""

    probed: Machine
    closed: frozenset[int] = frozenset()
    n_probes: int = 1
    speeds: MachineSpeeds | None = None
    """What was measured on it, as it was read at the last look."""

    @property
    def planned(self) -> Machine:
        """What the advice is for: the machine without the closed programs."""
        from llmfit.advisor.hardware.what_if import without_programs

        return without_programs(self.probed, self.closed)

    @property
    def closing(self) -> str:
        """``after closing firefox (1.5 GiB)``; empty where nothing is closed."""
        from llmfit.advisor.hardware.what_if import closing_text

        return closing_text(self.probed, self.closed)

    def toggled(self, pid: int) -> KnownMachine:
        return replace(self, closed=self.closed ^ {pid})

    def probed_again(self, machine: Machine, speeds: MachineSpeeds | None = None) -> KnownMachine:
        """``machine`` with those programs closed that still run; a number that was given away is another."""
        before, now = _names(self.probed), _names(machine)
        still = (pid for pid in self.closed if pid in now and now[pid] == before.get(pid))
        return KnownMachine(machine, frozenset(still), self.n_probes + 1, speeds)


def _names(machine: Machine) -> dict[int, str]:
    return {process.pid: process.name for gpu in machine.gpus for process in gpu.processes}
