"""What a probe hands back, and the one shape every probe has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from llmfit.advisor.hardware.machine import Cpu, Gpu, Memory


@dataclass(frozen=True, slots=True)
class Findings:
    """What one probe read; ``None`` and empty mean that it has nothing to say about that part.

    ``notes`` are plain sentences for people: what could not be read, and why.
    """

    cpu: Cpu | None = None
    memory: Memory | None = None
    gpus: tuple[Gpu, ...] = ()
    notes: tuple[str, ...] = ()
    unseen_gpus: tuple[str, ...] = ()
    """As ``notes``, of GPUs that are or may be there and are missing from ``gpus``."""


class Probe(Protocol):
    """One source of facts about this computer.

    ``read`` does not raise for a computer that lacks the hardware or the driver: that is a note, or nothing
    where nobody would expect the hardware. ``subject`` completes "could not be read" in the note about a
    probe that fails.
    """

    @property
    def subject(self) -> str: ...

    @property
    def finds_gpus(self) -> bool: ...

    def read(self) -> Findings: ...
