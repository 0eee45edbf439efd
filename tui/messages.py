"""What the app's parts tell each other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from textual.message import Message

if TYPE_CHECKING:
    from llmfit.advisor.errors import LlmfitError
    from llmfit.advisor.hardware.bandwidth.measure import BandwidthMeasurement
    from llmfit.advisor.hardware.machine import Machine
    from llmfit.advisor.recommend.article.comparison import Comparison
    from llmfit.advisor.recommend.article.values import Article
    from llmfit.advisor.recommend.judgement import Judgement
    from llmfit.advisor.recommend.quality import Quality
    from llmfit.advisor.speed.calibration.machine_speeds import MachineSpeeds
    from llmfit.catalog.local.local_model import LocalModel, LocalModels
    from llmfit.tui.goal_choice import GoalChoice
    from llmfit.tui.pick_answers import NewHardware, UpgradeHere


@dataclass(frozen=True, slots=True)
class Pick:
    """One row of the list: a judged configuration and why it is here.

    ``purpose`` is empty for what a search found. ``quality`` is ``None`` where nothing is known of it.
    ``looked_for_help`` says that the judgement's remedies are complete, not merely not looked for.
    ``file`` is the file that was judged, where it was one on this disk and not a row of the catalogue.
    ``local`` is this model in this file type on this disk, ``local_others`` are its other files there.
    """

    purpose: str
    why: tuple[str, ...]
    judgement: Judgement
    quality: Quality | None = None
    looked_for_help: bool = False
    file: str = ""
    local: LocalModel | None = None
    local_others: tuple[LocalModel, ...] = ()
    is_marked: bool = False
    """Whether it is to be compared."""

    @property
    def key(self) -> str:
        """What the cursor stays on when the list is computed anew; two files may hold the same model."""
        return f"{self.judgement.model.id} {self.file}".rstrip()


@dataclass(frozen=True, slots=True)
class NotModelled:
    """A model without a number: its memory rules or tensors are not known, or its file cannot be used."""

    model_id: str
    why: str


class MachineKnown(Message):
    """The probes have answered; ``speeds`` were measured on the machine, ``notes`` name what of the user's
    own could not be read."""

    def __init__(
        self, machine: Machine, notes: tuple[str, ...] = (), speeds: MachineSpeeds | None = None
    ) -> None:
        super().__init__()
        self.machine = machine
        self.speeds = speeds
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

    def add_help(self, helped: Pick) -> None:
        """What would help one of the picks; the rest of it stays as it was found."""
        judgement = helped.judgement
        self.picks = tuple(
            replace(
                pick, judgement=replace(pick.judgement, remedies=judgement.remedies), looked_for_help=True
            )
            if pick.key == helped.key
            else pick
            for pick in self.picks
        )


class HelpFound(Message):
    """What would help one pick, looked for after it was shown."""

    def __init__(self, ticket: int, pick: Pick) -> None:
        super().__init__()
        self.ticket = ticket
        self.pick = pick


class ArticleReady(Message):
    """Everything about one model; ``problem`` says why there is none."""

    def __init__(self, article: Article | None, problem: str = "") -> None:
        super().__init__()
        self.article = article
        self.problem = problem


class GoalFound(Message):
    """The best configuration of a model for one goal; ``problem`` says why there is none."""

    def __init__(self, goal: str, choice: GoalChoice | None, problem: str = "") -> None:
        super().__init__()
        self.goal = goal
        self.choice = choice
        self.problem = problem


class HardwareFound(Message):
    """Which hardware runs a model, to question ``ticket``; ``section`` is ``None`` where all failed."""

    def __init__(
        self,
        ticket: int,
        section: int | None,
        answer: NewHardware | UpgradeHere | None,
        problem: str = "",
    ) -> None:
        super().__init__()
        self.ticket = ticket
        self.section = section
        self.answer = answer
        self.problem = problem


class Compared(Message):
    """Picks side by side; ``problem`` says why they cannot be."""

    def __init__(self, comparison: Comparison | None, problem: str = "") -> None:
        super().__init__()
        self.comparison = comparison
        self.problem = problem


class LocalFound(Message):
    """A look at this computer's disks has ended."""

    def __init__(self, found: LocalModels) -> None:
        super().__init__()
        self.found = found


class BandwidthRound(Message):
    """One round of the measurement of the RAM's bandwidth; ``number`` counts from 1."""

    def __init__(self, number: int, total: int, bytes_per_s: int) -> None:
        super().__init__()
        self.number = number
        self.total = total
        self.bytes_per_s = bytes_per_s


class BandwidthMeasured(Message):
    """The measurement has ended; ``measured`` is ``None`` where it was stopped or failed with ``problem``."""

    def __init__(self, measured: BandwidthMeasurement | None, problem: str = "") -> None:
        super().__init__()
        self.measured = measured
        self.problem = problem
