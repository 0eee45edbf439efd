"""What the pages have in common that show one answer as the command line prints it."""

from __future__ import annotations

import time
from abc import abstractmethod
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Static

from llmfit.advisor.text import printable
from llmfit.tui.keys import HELP_KEYS
from llmfit.tui.screens.base import FullScreen
from llmfit.tui.widgets.blocks_view import Block, BlocksView
from llmfit.tui.widgets.keys_footer import KeysFooter
from llmfit.tui.widgets.section_page import SectionPage
from llmfit.tui.widgets.title_line import TitleLine
from llmfit.tui.widgets.too_small import TooSmall

PROGRESS_EVERY_S = 0.25
COLUMN_LINES = 34
"""More go into the second column, where the terminal has room for one."""


class AnswerScreen(FullScreen):
    """A heading, what a subclass puts below it, and a page that scrolls. Escape goes back."""

    home = SectionPage
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "back"),
        Binding("q", "close", show=False),
        *HELP_KEYS,
    ]

    def __init__(self, heading: Text) -> None:
        super().__init__()
        self._heading = heading
        self._asked_at_s = time.monotonic()

    def compose(self) -> ComposeResult:
        with Vertical(id="main"):
            yield TitleLine(id="title")
            yield Static(self._heading, id="model-heading")
            yield from self.compose_question()
            with SectionPage(id="page"):
                yield BlocksView(id="answer-lines")
        yield TooSmall()
        yield KeysFooter()

    def compose_question(self) -> ComposeResult:
        """Widgets between the heading and the page."""
        return iter(())

    def on_mount(self) -> None:
        self.query_one(SectionPage).focus()
        self.set_interval(PROGRESS_EVERY_S, self._show_progress)
        self.draw()

    @property
    @abstractmethod
    def is_settled(self) -> bool:
        """Whether everything that was asked has been answered."""

    @abstractmethod
    def draw(self) -> None:
        """Shows what is known now."""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Left and right mean nothing on a page without sections."""
        return action != "turn" or hasattr(self, "action_turn")

    def show_lines(self, lines: list[str]) -> None:
        """As they stand without what is above the first empty line: the heading of the page says it. In two
        columns where they are many."""
        start = lines.index("") + 1 if "" in lines else 0
        block = Block("", tuple(lines[start:]))
        columns = [[half] for half in block.halves()] if len(lines) > COLUMN_LINES else [[block], []]
        self.query_one("#answer-lines", BlocksView).show(*columns)

    def show_sentence(self, sentence: str) -> None:
        self.query_one("#answer-lines", BlocksView).show([Block("", tuple(printable(sentence).splitlines()))])

    def show_waiting(self, doing: str) -> None:
        seconds = time.monotonic() - self._asked_at_s
        self.show_sentence(f"{doing}…{f' {seconds:.0f} s' if seconds >= 1 else ''}")

    def asked(self) -> None:
        """The time that is shown while an answer is awaited starts anew."""
        self._asked_at_s = time.monotonic()

    def _show_progress(self) -> None:
        if not self.is_settled:
            self.draw()
