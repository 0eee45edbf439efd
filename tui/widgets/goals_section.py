"""The best configuration of a model for each goal: one is chosen, and it is explained, with its command."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.message import Message
from textual.widgets import Static

from llmfit.advisor.text import printable
from llmfit.tui.widgets.blocks_view import Block, blocks_text
from llmfit.tui.widgets.command_preview import CommandPreview

if TYPE_CHECKING:
    from llmfit.tui.goal_choice import GoalChoice
    from llmfit.tui.messages import Pick

GOALS = ("quality", "speed", "context", "balance")
"""In the order of advisor/recommend/goals/values.py, which this must not wait for."""
_CURSOR = "▸"
_HEAD = ["", "goal", "type", "KV", "context", "fits", "decode", "prefill", "ability left"]
_RIGHT = (4, 6, 7)


class GoalsSection(Container, can_focus=True):
    """Up and down choose a goal; the page scrolls by page up and page down."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", "goal", key_display="↑ ↓"),
    ]

    class Moved(Message):
        """Another goal is explained now."""

    def __init__(self, pick: Pick) -> None:
        super().__init__(id="goals-section")
        self.pick = pick
        self.cursor = 0
        self.found: dict[str, GoalChoice] = {}
        self.problems: dict[str, str] = {}

    def compose(self) -> ComposeResult:
        with Vertical(classes="column"):
            yield Static(id="goals", classes="blocks")
            yield CommandPreview(id="goal-command")
        yield Static(id="choices", classes="blocks")

    def on_mount(self) -> None:
        self.draw()

    @property
    def goal(self) -> str:
        return GOALS[self.cursor]

    @property
    def is_complete(self) -> bool:
        return len(self.found) + len(self.problems) == len(GOALS)

    def add(self, goal: str, choice: GoalChoice | None, problem: str) -> None:
        if choice is None:
            self.problems[goal] = problem
        else:
            self.found[goal] = choice
        self.draw()

    def draw(self) -> None:
        """The table with its cursor, and everything about the goal under it."""
        self.query_one("#goals", Static).update(self._table())
        choice = self.found.get(self.goal)
        command = self.query_one(CommandPreview)
        command.subject = f"the best for {self.goal}"
        command.pick = None if choice is None else replace(self.pick, judgement=choice.judgement)
        self.query_one("#choices", Static).update(self._choices())

    def action_move(self, step: int) -> None:
        self.cursor = max(0, min(len(GOALS) - 1, self.cursor + step))
        self.draw()
        self.post_message(self.Moved())

    def copy(self) -> None:
        self.query_one(CommandPreview).copy()

    def _table(self) -> Text:
        from llmfit.tui.cli.render import table

        rows = [_HEAD, *(self._cells(goal) for goal in GOALS)]
        block = Block("What suits a goal best here", tuple(table(rows, right=_RIGHT)))
        text = blocks_text([block])
        start = text.plain.find(f"{_CURSOR} ")
        text.stylize("bold", start, text.plain.find("\n", start) if "\n" in text.plain[start:] else len(text))
        return text

    def _cells(self, goal: str) -> list[str]:
        from llmfit.advisor.units import format_context
        from llmfit.tui.article_words import verdict_words
        from llmfit.tui.cli.render import VERDICT_GLYPH
        from llmfit.tui.widgets.pick_columns import prefill_text, speed_text

        cursor = _CURSOR if goal == self.goal else ""
        choice = self.found.get(goal)
        if choice is None:
            state = "not found" if goal in self.problems else "searching…"
            return [cursor, goal, state, "", "", "", "", "", ""]
        judgement = choice.judgement
        ranked, shown = choice.search.ranked, replace(self.pick, judgement=judgement)
        left = ranked[0].quality if ranked else None
        return [
            cursor,
            goal,
            printable(judgement.model.quantization),
            judgement.settings.cache_type_k,
            format_context(judgement.settings.context_tokens),
            f"{VERDICT_GLYPH[judgement.verdict]} {verdict_words(judgement)}",
            speed_text(shown),
            prefill_text(shown),
            "?" if left is None else f"{left.score:.0f} ({left.low:.0f}-{left.high:.0f})",
        ]

    def _choices(self) -> Text:
        choice = self.found.get(self.goal)
        if choice is None:
            return Text(printable(self.problems.get(self.goal, "")))
        from llmfit.tui.cli.choices import choice_lines

        head, *lines = choice_lines(choice)
        return blocks_text([Block.of(head, lines)])
