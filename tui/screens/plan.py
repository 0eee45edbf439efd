"""Which hardware runs a pick at a speed: new, or added to this machine; what ``llmfit plan`` prints."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Static

from llmfit.advisor.errors import LlmfitError
from llmfit.advisor.text import printable
from llmfit.tui.background import in_background
from llmfit.tui.in_turn import in_turn
from llmfit.tui.messages import HardwareFound, Pick
from llmfit.tui.pick_answers import MAX_OPTIONS, NewHardware, UpgradeHere
from llmfit.tui.screens.answer import AnswerScreen
from llmfit.tui.widgets.heading import pick_heading
from llmfit.tui.widgets.section_bar import SectionBar
from llmfit.tui.widgets.section_page import SectionPage

if TYPE_CHECKING:
    from llmfit.tui.advice import Advice

SECTIONS = ("New hardware", "Added to this machine")
NEW, UPGRADE = range(2)
_DOING = ("Judging cards, whole computers and their prices", "Judging what could be added to this machine")


class TargetField(Input):
    """The decode speed to reach. Escape and the arrow keys go back to the answer."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,down,tab", "screen.leave_field", "to the answer")
    ]


class PlanScreen(AnswerScreen):
    """Asks anew when the speed is changed; an answer to an older question is dropped."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "target", "speed"),
        *[Binding(str(n + 1), f"section({n})", show=False) for n in range(len(SECTIONS))],
    ]

    def __init__(self, pick: Pick, advice: Advice) -> None:
        super().__init__(pick_heading(pick))
        self.pick = pick
        self.advice = advice
        self.target_tok_s: float | None = None
        self.answers: dict[int, NewHardware | UpgradeHere | str] = {}
        self._ticket = 0

    def compose_question(self) -> ComposeResult:
        with Horizontal(id="target-line"):
            yield Static("Decode, at least ", classes="label")
            yield TargetField(placeholder="enough to read", id="target", compact=True)
            yield Static("tok/s", id="target-unit", markup=False)
        yield SectionBar(SECTIONS, id="sections")

    def on_mount(self) -> None:
        super().on_mount()
        self.call_after_refresh(self._ask)

    @property
    def is_settled(self) -> bool:
        return len(self.answers) == len(SECTIONS)

    @property
    def section(self) -> int:
        return self.query_one(SectionBar).current

    # ---------------------------------------------------------------- asking

    def _ask(self) -> None:
        self._ticket += 1
        self.answers = {}
        self.asked()
        ticket, target_tok_s = self._ticket, self.target_tok_s
        questions: tuple[Callable[[], NewHardware | UpgradeHere], ...] = (
            lambda: self.advice.new_hardware(self.pick, target_tok_s),
            lambda: self.advice.upgrade_here(self.pick, target_tok_s),
        )

        def job() -> Iterator[Message]:
            for number, question in enumerate(questions):
                try:
                    answer = in_turn(lambda: self.is_attached and ticket == self._ticket, question)
                except LlmfitError as error:
                    yield HardwareFound(ticket, number, None, str(error))
                    continue
                if answer is None:
                    return
                yield HardwareFound(ticket, number, answer)

        in_background(self, job, lambda error: HardwareFound(ticket, None, None, str(error)))
        self.draw()

    @on(HardwareFound)
    def _found(self, message: HardwareFound) -> None:
        if message.ticket != self._ticket:
            return
        missing = [number for number in range(len(SECTIONS)) if number not in self.answers]
        for number in missing if message.section is None else [message.section]:
            self.answers[number] = message.answer or message.problem
        self.draw()

    def draw(self) -> None:
        answer = self.answers.get(self.section)
        if answer is None:
            self.show_waiting(_DOING[self.section])
        elif isinstance(answer, str):
            self.show_sentence(answer)
        else:
            self.show_lines(lines_of(answer))

    # ---------------------------------------------------------------- keys

    def action_section(self, number: int) -> None:
        self.query_one(SectionBar).current = number
        self.draw()
        self.query_one(SectionPage).scroll_home(animate=False)

    def action_turn(self, step: int) -> None:
        self.action_section((self.section + step) % len(SECTIONS))

    def action_target(self) -> None:
        self.query_one(TargetField).focus()

    def action_leave_field(self) -> None:
        """What was typed and not entered is forgotten."""
        field = self.query_one(TargetField)
        field.value = "" if self.target_tok_s is None else f"{self.target_tok_s:g}"
        self._say_unit("tok/s")
        self.query_one(SectionPage).focus()

    @on(Input.Submitted, "#target")
    def _entered(self, event: Input.Submitted) -> None:
        from llmfit.tui.cli.option_groups import positive_float

        text = event.value.strip()
        try:
            target_tok_s = positive_float(text) if text else None
        except argparse.ArgumentTypeError as error:
            self._say_unit(f"tok/s: {error}")
            return
        self.target_tok_s = target_tok_s
        self.action_leave_field()
        self._ask()

    def _say_unit(self, text: str) -> None:
        self.query_one("#target-unit", Static).update(printable(text))


def lines_of(answer: NewHardware | UpgradeHere) -> list[str]:
    """What ``llmfit plan`` prints of it."""
    if isinstance(answer, UpgradeHere):
        from llmfit.tui.cli.render_upgrade import upgrade_lines

        return list(
            upgrade_lines(
                answer.question, answer.upgrade, answer.instead, answer.target_is_given, MAX_OPTIONS
            )
        )
    from llmfit.tui.cli.render_plan import plan_lines

    return list(plan_lines(answer.plan, answer.target_is_given, answer.cheaper))
