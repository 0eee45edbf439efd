"""Judgement: one model, one machine, one complete configuration, and what physics says about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.memory.breakdown import MemoryEstimate
from llmfit.advisor.memory.fitting import DOES_NOT_FIT, FITS_CPU, FITS_GPU, FITS_OFFLOAD
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.model.model import Model
from llmfit.advisor.recommend.command import launch_environment, shell_command
from llmfit.advisor.speed.decode.host import usual_cores
from llmfit.advisor.speed.estimate import SpeedEstimate, SpeedPlan
from llmfit.advisor.speed.prefill.constants import Placement

__all__ = [
    "DOES_NOT_FIT",
    "FITS_CPU",
    "FITS_GPU",
    "FITS_OFFLOAD",
    "VERDICT_ORDER",
    "VERDICT_PHRASE",
    "Judgement",
    "Remedy",
    "Warning",
]

VERDICT_ORDER = {FITS_GPU: 0, FITS_OFFLOAD: 1, FITS_CPU: 2, DOES_NOT_FIT: 3}
"""Better verdicts first."""
VERDICT_PHRASE = {
    FITS_GPU: "fits on the GPU",
    FITS_OFFLOAD: "runs with weights in system RAM",
    FITS_CPU: "runs on the CPU only",
    DOES_NOT_FIT: "does not fit",
}
"""What a model does with that verdict, in words for people; screens put their glyphs in front."""


@dataclass(frozen=True, slots=True)
class Warning:
    """Something the user should know before starting; ``code`` is stable for other programs."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Remedy:
    """A change that would help, with what it saves. ``change`` holds only the settings that differ."""

    text: str
    change: tuple[tuple[str, object], ...]
    saves_bytes: int
    verdict: str
    decode_tok_s: float | None
    shortfall_bytes: int = 0
    """What would still be missing after the change."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """``speed`` and ``argv`` are ``None`` with the verdict ``does_not_fit``: no speed for what cannot run."""

    model: Model
    machine: Machine
    settings: LaunchSettings
    memory: MemoryEstimate
    verdict: str
    shortfall_bytes: int
    speed: SpeedEstimate | None
    reasons: tuple[str, ...]
    warnings: tuple[Warning, ...]
    remedies: tuple[Remedy, ...]
    argv: tuple[str, ...] | None
    speed_plan: SpeedPlan | None = field(default=None, compare=False, repr=False)
    """What ``speed`` was asked of: answers for other depths and prompts of the same placement."""

    @property
    def fits(self) -> bool:
        return self.verdict != DOES_NOT_FIT

    @property
    def assumed(self) -> tuple[str, ...]:
        """What nobody told of the machine and was assumed, a sentence each."""
        notes = self.machine.notes if self.machine.simulated else ()
        return (*notes, *self._assumed_cores())

    def _assumed_cores(self) -> Iterator[str]:
        plan, cpu = self.speed_plan, self.machine.cpu
        if plan is None or not plan.reads.host.is_used or cpu.physical_cores or cpu.performance_cores:
            return
        prompts = ""
        if plan.prefill is not None and plan.prefill.placement is Placement.UNKNOWN_CPU:
            prompts = ", prompts by the RAM's bandwidth"
        n = usual_cores(self.machine.memory)
        yield f"How many cores the CPU has is not known: decode is calculated for {n}{prompts}."

    @property
    def environment(self) -> tuple[tuple[str, str], ...]:
        """Variables that belong to ``argv``, as (name, value); most commands need none."""
        return launch_environment(self.settings, self.machine)

    @property
    def shell_line(self) -> str | None:
        """``argv`` with its variables as one line for a shell; ``None`` where nothing can run."""
        return None if self.argv is None else shell_command(self.argv, self.environment)
