"""What the screens ask. LiveAdvice answers from probes and catalogue, tests answer from fixtures."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from llmfit.advisor.hardware.bandwidth.measure import BandwidthMeasurement, OnRound, Stop
    from llmfit.advisor.hardware.machine import Machine
    from llmfit.advisor.recommend.article.comparison import Comparison
    from llmfit.advisor.recommend.article.values import Article
    from llmfit.advisor.speed.calibration.machine_speeds import MachineSpeeds
    from llmfit.catalog.local.local_model import LocalModels
    from llmfit.tui.goal_choice import GoalChoice
    from llmfit.tui.messages import NotModelled, Pick
    from llmfit.tui.pick_answers import NewHardware, UpgradeHere
    from llmfit.tui.question import Question


class Advice(Protocol):
    """Every method may take seconds and is called in background threads, several at the same time."""

    def machine(self) -> Machine:
        """Probed anew at each call."""
        ...

    def speeds(self) -> MachineSpeeds | None:
        """What was measured on the machine that was probed last. Never waits."""
        ...

    def notes(self) -> tuple[str, ...]:
        """What could not be read of the user's own catalogue rows and measurements."""
        ...

    def picks(self, machine: Machine, use_case: str, context_tokens: int | None) -> tuple[Pick, ...]: ...

    def foresee(self, machine: Machine, question: Question, still_wanted: Callable[[], bool]) -> None:
        """Prepares what may be asked next: the same for other contexts. Nobody waits for it."""
        ...

    def search(
        self, machine: Machine, text: str, context_tokens: int | None
    ) -> Iterable[Pick | NotModelled]: ...

    def with_help(self, pick: Pick, context_tokens: int | None) -> Pick: ...

    def article(self, pick: Pick) -> Article:
        """What ``llmfit show`` says of the pick's model."""
        ...

    def best_for_goal(self, pick: Pick, goal: str, context_tokens: int | None) -> GoalChoice:
        """What ``llmfit estimate --goal`` says; the context is open where it is ``None``."""
        ...

    def new_hardware(self, pick: Pick, target_tok_s: float | None) -> NewHardware:
        """What ``llmfit plan`` says; ``None`` stands for a speed that is enough to read."""
        ...

    def upgrade_here(self, pick: Pick, target_tok_s: float | None) -> UpgradeHere:
        """What ``llmfit plan --upgrade`` says of the pick's machine."""
        ...

    def side_by_side(self, picks: tuple[Pick, ...], machine: Machine) -> Comparison:
        """What ``llmfit compare`` says of two to four picks."""
        ...

    def local_models(self) -> LocalModels:
        """What lies on this computer's disks now."""
        ...

    def disk_progress(self) -> tuple[int, int] | None:
        """Of the look at the disks that is under way: files read, and found so far. Never waits."""
        ...

    def local_picks(self, machine: Machine, context_tokens: int | None) -> Iterable[Pick | NotModelled]:
        """Every model on this disk that can chat, judged from its own file; the rest with the reason."""
        ...

    def measure_bandwidth(
        self, machine: Machine, on_round: OnRound, stop: Stop
    ) -> BandwidthMeasurement | None:
        """Measures this computer's RAM and keeps a good figure; None where ``stop()`` ended it."""
        ...
