"""What the app's parts tell each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message

if TYPE_CHECKING:
    from llmfit.advisor.errors import LlmfitError
    from llmfit.advisor.hardware.machine import Machine
    from llmfit.advisor.recommend.judgement import Judgement
    from llmfit.advisor.recommend.ranking import Quality


@dataclass(frozen=True, slots=True)
class Pick:
    """One row of the list: a judged configuration and why it is here.

    ``purpose`` is empty for what a search found. ``quality`` is ``None`` where nothing is known of it.
    ``looked_for_help`` says that the judgement's remedies are complete, not merely not looked for.
    """

    purpose: str
    why: tuple[str, ...]
    judgement: Judgement
    quality: Quality | None = None
    looked_for_help: bool = False

    @property
    def key(self) -> str:
        """What the cursor stays on when the list is computed anew."""
        return self.judgement.model.id


@dataclass(frozen=True, slots=True)
class NotModelled:
    """A model that a search found, whose memory rules or tensors are not known: no number is shown for it."""

    model_id: str
    why: str


class MachineKnown(Message):
    """The probes have answered; ``notes`` name rows of the user's own that could not be read."""

    def __init__(self, machine: Machine, notes: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.machine = machine
        self.notes = notes


class MachineUnknown(Message):
    """The machine could not be read, or what describes it could not be understood."""

    def __init__(self, error: LlmfitError) -> None:
        super().__init__()
        self.error = error


class PicksReady(Message):
    """An answer to question ``ticket``; an older ticket than the last asked is out of date.

    A search answers in parts, each holding all that was found so far; the last is ``finished``.
    """

    def __init__(
        self,
        ticket: int,
        picks: tuple[Pick, ...],
        problem: str = "",
        not_modelled: tuple[NotModelled, ...] = (),
        finished: bool = True,
    ) -> None:
        super().__init__()
        self.ticket = ticket
        self.picks = picks
        self.problem = problem
        self.not_modelled = not_modelled
        self.finished = finished


class HelpFound(Message):
    """What would help one pick, looked for after it was shown."""

    def __init__(self, ticket: int, pick: Pick) -> None:
        super().__init__()
        self.ticket = ticket
        self.pick = pick
