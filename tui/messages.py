"""What the app's parts tell each other."""

from __future__ import annotations

from dataclasses import dataclass

from textual.message import Message

from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.recommend.judgement import Judgement


@dataclass(frozen=True, slots=True)
class Pick:
    """One row of the list: a judged configuration and why it is here."""

    purpose: str
    why: tuple[str, ...]
    judgement: Judgement


class MachineKnown(Message):
    """The probes have answered."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self.machine = machine


class PicksReady(Message):
    """An answer to question ``ticket``; an older ticket than the last asked is out of date."""

    def __init__(self, ticket: int, picks: tuple[Pick, ...], problem: str = "") -> None:
        super().__init__()
        self.ticket = ticket
        self.picks = picks
        self.problem = problem
