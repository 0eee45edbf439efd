"""Two to four picks side by side; what ``llmfit compare`` prints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.text import Text
from textual import on
from textual.message import Message

from llmfit.tui.background import in_background
from llmfit.tui.in_turn import in_turn
from llmfit.tui.messages import Compared, Pick
from llmfit.tui.screens.answer import AnswerScreen

if TYPE_CHECKING:
    from llmfit.advisor.hardware.machine import Machine
    from llmfit.advisor.recommend.article.comparison import Comparison
    from llmfit.tui.advice import Advice


class CompareScreen(AnswerScreen):
    """All picks are judged on the machine as it is planned for now."""

    def __init__(self, picks: tuple[Pick, ...], machine: Machine, advice: Advice) -> None:
        super().__init__(Text(f"{len(picks)} configurations side by side", "bold"))
        self.picks = picks
        self.machine = machine
        self.advice = advice
        self.comparison: Comparison | None = None
        self.problem = ""

    def on_mount(self) -> None:
        super().on_mount()
        self.call_after_refresh(self._ask)

    @property
    def is_settled(self) -> bool:
        return self.comparison is not None or bool(self.problem)

    def _ask(self) -> None:
        def job() -> Iterator[Message]:
            found = in_turn(
                lambda: self.is_attached, lambda: self.advice.side_by_side(self.picks, self.machine)
            )
            if found is not None:
                yield Compared(found)

        in_background(self, job, lambda error: Compared(None, str(error)))

    @on(Compared)
    def _compared(self, message: Compared) -> None:
        self.comparison, self.problem = message.comparison, message.problem
        self.draw()

    def draw(self) -> None:
        if self.comparison is not None:
            from llmfit.tui.cli.render_compare import comparison_lines

            self.show_lines(list(comparison_lines(self.comparison)))
        elif self.problem:
            self.show_sentence(self.problem)
        else:
            self.show_waiting("Judging them one by one")
