"""Small dialogs that ask for one value: the context, the use case."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Generic, TypeVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from llmfit.advisor.errors import UsageError
from llmfit.advisor.recommend.ladders import CONTEXT_LADDER
from llmfit.advisor.text import printable
from llmfit.advisor.units import format_context, parse_context
from llmfit.tui.cli.options import USE_CASES
from llmfit.tui.keys import HELP_KEYS

T = TypeVar("T")
CHOSEN_FOR_ME = 0
"""The value of "let the advisor choose" in the context dialog."""


class ChooseScreen(ModalScreen[T | None], Generic[T]):
    """A list of values; Enter takes one, Escape changes nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "back"),
        *HELP_KEYS,
        Binding("j", "down", show=False),
        Binding("k", "up", show=False),
    ]

    def __init__(self, title: str, values: Sequence[tuple[str, T]], current: T | None) -> None:
        super().__init__()
        self.heading = title
        self.values = values
        self.current = current
        self._is_answered = False

    def compose(self) -> ComposeResult:
        with Vertical(id="choose") as box:
            box.border_title = self.heading
            yield OptionList(*(Option(label) for label, _ in self.values))
            yield from self.compose_extra()

    def compose_extra(self) -> ComposeResult:
        """Further widgets below the list."""
        return iter(())

    def on_mount(self) -> None:
        options = self.query_one(OptionList)
        options.highlighted = next(
            (n for n, (_, value) in enumerate(self.values) if value == self.current), 0
        )
        options.focus()

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self.answer(self.values[event.option_index][1])

    def action_cancel(self) -> None:
        self.answer(None)

    def answer(self, value: T | None) -> None:
        """Closes the dialog; of two keys at once the second finds it answered."""
        if not self._is_answered:
            self._is_answered = True
            self.dismiss(value)

    def action_down(self) -> None:
        self.query_one(OptionList).action_cursor_down()

    def action_up(self) -> None:
        self.query_one(OptionList).action_cursor_up()


class ChooseContextScreen(ChooseScreen[int]):
    """The ladder, and a field for any other length."""

    def compose_extra(self) -> ComposeResult:
        yield Input(placeholder="or type it: tab, 48k, enter", id="other", compact=True)
        yield Static("", id="problem", markup=False)

    @on(Input.Submitted, "#other")
    def _typed(self, event: Input.Submitted) -> None:
        try:
            self.answer(parse_context(event.value))
        except UsageError as error:
            self.query_one("#problem", Static).update(printable(str(error)))


def choose_context(current: int | None) -> ChooseContextScreen:
    """Tokens, 0 for "let the advisor choose", or None when nothing changes."""
    values = [("automatic", CHOSEN_FOR_ME)]
    values += [(f"{format_context(tokens):>5} tokens", tokens) for tokens in CONTEXT_LADDER]
    return ChooseContextScreen("Context", values, current or CHOSEN_FOR_ME)


def choose_use_case(current: str) -> ChooseScreen[str]:
    return ChooseScreen("Use case", [(use_case, use_case) for use_case in USE_CASES], current)
