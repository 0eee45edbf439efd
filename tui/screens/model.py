"""One model from near: why, where its bytes go, then the article that ``llmfit show`` prints, by sections."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Static

from llmfit.advisor.errors import LlmfitError
from llmfit.advisor.text import printable
from llmfit.tui.background import in_background
from llmfit.tui.in_turn import in_turn
from llmfit.tui.keys import HELP_KEYS
from llmfit.tui.messages import ArticleReady, GoalFound, Pick
from llmfit.tui.screens.base import FullScreen
from llmfit.tui.widgets import goals_section
from llmfit.tui.widgets.article_blocks import GOALS, SECTIONS, WHY, blocks_of
from llmfit.tui.widgets.blocks_view import Block, BlocksView
from llmfit.tui.widgets.goals_section import GoalsSection
from llmfit.tui.widgets.heading import pick_heading
from llmfit.tui.widgets.keys_footer import KeysFooter
from llmfit.tui.widgets.section_bar import SectionBar
from llmfit.tui.widgets.section_page import SectionPage
from llmfit.tui.widgets.title_line import TitleLine
from llmfit.tui.widgets.too_small import TooSmall
from llmfit.tui.widgets.why_section import WhySection

if TYPE_CHECKING:
    from llmfit.advisor.recommend.article.values import Article
    from llmfit.tui.advice import Advice

PROGRESS_EVERY_S = 0.25


class ModelScreen(FullScreen):
    """Draws a pick at once; the article about it comes from the background. Escape goes back."""

    home = SectionPage
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "back"),
        Binding("q", "close", show=False),
        Binding("y", "copy", "copy"),
        Binding("p", "plan", "plan"),
        *[Binding(str(n), f"section({n - 1})", show=False) for n in range(1, len(SECTIONS) + 1)],
        *HELP_KEYS,
    ]

    def __init__(self, pick: Pick, advice: Advice, context_tokens: int | None = None) -> None:
        super().__init__()
        self.pick = pick
        self.advice = advice
        self.context_tokens = context_tokens  # that the user has chosen: goals must keep to it
        self.article: Article | None = None
        self.problem = ""
        self._asked_at_s = time.monotonic()
        self._goals_asked = False

    def compose(self) -> ComposeResult:
        with Vertical(id="main"):
            yield TitleLine(id="title")
            yield Static(pick_heading(self.pick), id="model-heading")
            yield SectionBar(SECTIONS, id="sections")
            with SectionPage(id="page"):
                yield WhySection(self.pick)
                yield GoalsSection(self.pick)
                yield BlocksView(id="article")
        yield TooSmall()
        yield KeysFooter()

    def on_mount(self) -> None:
        self.action_section(0)
        self.set_interval(PROGRESS_EVERY_S, self._show_progress)
        self.call_after_refresh(self._ask)

    @property
    def is_settled(self) -> bool:
        """Whether everything that was asked has been answered."""
        goals = not self._goals_asked or self.query_one(GoalsSection).is_complete
        return goals and self._has_article

    @property
    def _has_article(self) -> bool:
        return self.article is not None or bool(self.problem)

    @property
    def section(self) -> str:
        return SECTIONS[self.query_one(SectionBar).current]

    # ---------------------------------------------------------------- the article

    def _ask(self) -> None:
        def job() -> Iterator[Message]:
            article = in_turn(lambda: self.is_attached, lambda: self.advice.article(self.pick))
            if article is not None:
                yield ArticleReady(article)

        in_background(self, job, lambda error: ArticleReady(None, str(error)))

    @on(ArticleReady)
    def _article_ready(self, message: ArticleReady) -> None:
        self.article, self.problem = message.article, message.problem
        if message.article is not None:
            self.query_one(WhySection).article = message.article
        self._draw()

    def _show_progress(self) -> None:
        if not self._has_article:
            self._draw()

    def _draw(self) -> None:
        """The open section: blocks, or the sentence that stands for what is not there yet."""
        section = self.section
        goals, view = self.query_one(GoalsSection), self.query_one("#article", BlocksView)
        self.query_one(WhySection).display = section == WHY
        goals.display = section == GOALS
        view.display = section not in (WHY, GOALS)
        if not view.display:
            return
        if self.article is not None:
            view.show(*blocks_of(section, self.article))
        else:
            view.show([Block("", (printable(self.problem) or self._progress_text(),))])

    def _progress_text(self) -> str:
        seconds = time.monotonic() - self._asked_at_s
        waited = f" {seconds:.0f} s" if seconds >= 1 else ""
        return f"Judging every file type, context and number of cards…{waited}"

    # ---------------------------------------------------------------- goals

    def _ask_for_goals(self) -> None:
        """Once, when they are looked at for the first time; one after the other."""
        if self._goals_asked:
            return
        self._goals_asked = True
        search = partial(self.advice.best_for_goal, self.pick, context_tokens=self.context_tokens)

        def job() -> Iterator[Message]:
            for goal in goals_section.GOALS:
                try:
                    choice = in_turn(lambda: self.is_attached, partial(search, goal=goal))
                except LlmfitError as error:
                    yield GoalFound(goal, None, str(error))
                    continue
                if choice is None:
                    return
                yield GoalFound(goal, choice)

        in_background(self, job, lambda error: GoalFound("", None, str(error)))

    @on(GoalFound)
    def _goal_found(self, message: GoalFound) -> None:
        goals = self.query_one(GoalsSection)
        missing = [goal for goal in goals_section.GOALS if goal not in goals.found]
        for goal in [message.goal] if message.goal else missing:
            goals.add(goal, message.choice, message.problem)

    @on(GoalsSection.Moved)
    def _goal_chosen(self) -> None:
        self.query_one(SectionPage).scroll_home(animate=False)

    # ---------------------------------------------------------------- keys

    def action_section(self, number: int) -> None:
        self.query_one(SectionBar).current = number
        self._draw()
        page = self.query_one(SectionPage)
        page.scroll_home(animate=False)
        if self.section == GOALS:
            self._ask_for_goals()
        (self.query_one(GoalsSection) if self.section == GOALS else page).focus()

    def action_turn(self, step: int) -> None:
        """The next section; after the last the first."""
        self.action_section((self.query_one(SectionBar).current + step) % len(SECTIONS))

    def action_copy(self) -> None:
        """The command of the goal that is explained; everywhere else that of Why."""
        if self.section == GOALS:
            self.query_one(GoalsSection).copy()
            return
        if self.section != WHY:
            self.action_section(SECTIONS.index(WHY))
        self.query_one(WhySection).copy()

    def action_plan(self) -> None:
        from llmfit.tui.screens.plan import PlanScreen

        self.open(PlanScreen(self.pick, self.advice))
