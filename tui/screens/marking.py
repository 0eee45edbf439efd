"""What can be done with the row under the cursor: looked at from near, planned for, marked and compared."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING

from llmfit.tui.cli.options_advice import MAX_COMPARED
from llmfit.tui.screens.base import FullScreen
from llmfit.tui.widgets.picks_table import PicksTable

if TYPE_CHECKING:
    from llmfit.advisor.hardware.machine import Machine
    from llmfit.tui.advice import Advice
    from llmfit.tui.messages import Pick
    from llmfit.tui.question import Question


class MarkingScreen(FullScreen):
    """Marks stay when the question changes: a search may add to them."""

    advice: Advice
    machine: Machine | None
    """That the last question was about."""
    question: Question

    def __init__(self) -> None:
        super().__init__()
        self._marked: dict[str, Pick] = {}

    @property
    def chosen(self) -> Pick | None:
        """The pick under the cursor."""
        return self.query_one(PicksTable).selected

    @abstractmethod
    def marks_changed(self) -> None:
        """Draws the rows anew."""

    @property
    def n_marked(self) -> int:
        return len(self._marked)

    def with_marks(self, picks: tuple[Pick, ...]) -> tuple[Pick, ...]:
        """``picks`` as they are to be shown; what is marked is compared as it was shown last."""
        shown = tuple(replace(pick, is_marked=pick.key in self._marked) for pick in picks)
        self._marked |= {pick.key: pick for pick in shown if pick.is_marked}
        return shown

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Comparing takes two."""
        return action != "compare" or self.n_marked > 1

    def action_mark(self) -> None:
        """The row under the cursor is to be compared, or no longer."""
        pick = self.chosen
        if pick is None:
            return
        if pick.key in self._marked:
            del self._marked[pick.key]
        elif len(self._marked) < MAX_COMPARED:
            self._marked[pick.key] = pick
        else:
            self.notify(f"{MAX_COMPARED} can be compared: space on a marked row unmarks it.", timeout=4)
            return
        self.marks_changed()
        self.refresh_bindings()

    def action_compare(self) -> None:
        if self.machine is not None and self.n_marked > 1:
            from llmfit.tui.screens.compare import CompareScreen

            self.open(CompareScreen(tuple(self._marked.values()), self.machine, self.advice))

    def action_plan(self) -> None:
        if self.chosen is not None:
            from llmfit.tui.screens.plan import PlanScreen

            self.open(PlanScreen(self.chosen, self.advice))

    def action_details(self) -> None:
        if self.chosen is not None:
            from llmfit.tui.screens.model import ModelScreen

            self.open(ModelScreen(self.chosen, self.advice, self.question.context_tokens))
