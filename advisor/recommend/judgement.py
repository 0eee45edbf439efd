"""Judgement: one model, one machine, one complete configuration, and what physics says about it."""

from __future__ import annotations

from dataclasses import dataclass

from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.memory.breakdown import MemoryEstimate
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.model.model import Model
from llmfit.advisor.speed.estimate import SpeedEstimate

FITS_GPU = "fits_gpu"
FITS_OFFLOAD = "fits_offload"
FITS_CPU = "fits_cpu"
DOES_NOT_FIT = "does_not_fit"


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


@dataclass(frozen=True, slots=True)
class Judgement:
    """``speed`` and ``argv`` are ``None`` when ``verdict`` is ``does_not_fit``: no speed for what cannot run."""

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

    @property
    def fits(self) -> bool:
        return self.verdict != DOES_NOT_FIT
