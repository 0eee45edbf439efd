"""The first screen: this machine, what to run on it, why, where the bytes go, and the command."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Protocol

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import DataTable, Footer, Input, Static

from llmfit.advisor.errors import UsageError
from llmfit.tui.background import in_background
from llmfit.tui.messages import HelpFound, MachineKnown, MachineUnknown, NotModelled, Pick, PicksReady
from llmfit.tui.widgets.answer_panels import AnswerPanels
from llmfit.tui.widgets.command_preview import CommandPreview
from llmfit.tui.widgets.heading import question_line, recommendation_question, search_question, title_text
from llmfit.tui.widgets.machine_panel import MachinePanel
from llmfit.tui.widgets.picks_table import PicksTable
from llmfit.tui.widgets.search_field import SearchField
from llmfit.tui.widgets.why_panel import WhyPanel

if TYPE_CHECKING:
    from llmfit.advisor.hardware.machine import Machine

TYPING_PAUSE_S = 0.2
"""A search waits for this long after the last key, so that each letter does not start one."""
RESTING_PAUSE_S = 0.25
"""What would help is looked for when the cursor has stayed on a row for this long."""
PART_EVERY_S = 0.15
"""A search shows what it has found so far no more often than this."""


class Advice(Protocol):
    """What the screen asks; LiveAdvice answers from probes and catalogue, tests answer from fixtures."""

    def machine(self) -> Machine: ...

    def notes(self) -> tuple[str, ...]: ...

    def picks(self, machine: Machine, use_case: str, context_tokens: int | None) -> tuple[Pick, ...]: ...

    def search(
        self, machine: Machine, text: str, context_tokens: int | None
    ) -> Iterable[Pick | NotModelled]: ...

    def with_help(self, pick: Pick, context_tokens: int | None) -> Pick: ...


class AdvisorScreen(Screen[None]):
    """One question (use case, context, search) and its answer; every change asks again in the background."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "copy", "copy"),
        Binding("c", "context", "context"),
        Binding("u", "use_case", "use"),
        Binding("slash", "search", "search", key_display="/"),
        Binding("escape", "clear_search", "back"),
        Binding("f5", "look_again", "read the machine again", show=False),
    ]

    def __init__(self, advice: Advice) -> None:
        super().__init__()
        self.advice = advice
        self.machine: Machine | None = None
        self.use_case = "general"
        self.context_tokens: int | None = None
        self.search_text = ""
        self.thinking = True
        self._looking_for_help = False
        self._ticket = 0
        self._typing: Timer | None = None
        self._resting: Timer | None = None

    def compose(self) -> ComposeResult:
        with Vertical(id="main"):
            yield Static("", id="title")
            yield MachinePanel(id="machine")
            yield Static("", id="question")
            yield SearchField(id="search")
            yield PicksTable(id="picks")
            yield AnswerPanels(id="answer")
            yield CommandPreview(id="command")
        yield Static("llmfit needs a terminal of at least 60 columns and 18 rows. q quits.", id="too-small")
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        self.query_one(SearchField).display = False
        self._draw_heading()
        self.query_one(WhyPanel).problem = "Working out what fits here, tensor by tensor…"
        self.query_one(PicksTable).focus()
        # The first paint goes before the imports and probes, which would share its processor.
        self.call_after_refresh(self.action_look_again)

    @property
    def is_settled(self) -> bool:
        """Whether everything that was asked has been answered."""
        return not self.thinking and not self._looking_for_help

    def on_resize(self) -> None:
        """A terminal that was too small has taken the focus from the list."""
        if self.focused is None:
            self.call_after_refresh(self.query_one(PicksTable).focus)

    # ---------------------------------------------------------------- asking

    def action_look_again(self) -> None:
        """Reads the machine (again), because programs come and go."""

        def job() -> Iterator[Message]:
            yield MachineKnown(self.advice.machine(), self.advice.notes())

        in_background(self, job, MachineUnknown)

    @on(MachineKnown)
    def _machine_known(self, message: MachineKnown) -> None:
        self.machine = message.machine
        self.query_one(MachinePanel).machine = message.machine
        self.ask()

    @on(MachineUnknown)
    def _machine_unknown(self, message: MachineUnknown) -> None:
        if isinstance(message.error, UsageError):
            self.app.exit(message.error)  # the command line was wrong: say so where it was typed
        else:
            self.query_one(MachinePanel).problem = str(message.error)
            self.query_one(WhyPanel).problem = "Without a machine there is nothing to fit. F5 tries again."
            self.thinking = False
            self._draw_heading()

    def ask(self) -> None:
        """Answers the current question anew; an answer to an older one is dropped when it comes."""
        if self.machine is None:
            return
        self._ticket += 1
        self.thinking = True
        self._draw_heading()
        ticket, machine, text = self._ticket, self.machine, self.search_text
        use_case, context_tokens = self.use_case, self.context_tokens

        def job() -> Iterator[Message]:
            if text:
                found = self.advice.search(machine, text, context_tokens)
                yield from _in_parts(ticket, found, lambda: self._ticket == ticket)
            else:
                yield PicksReady(ticket, self.advice.picks(machine, use_case, context_tokens))

        in_background(self, job, lambda error: PicksReady(ticket, (), str(error)))

    @on(PicksReady)
    def _picks_ready(self, message: PicksReady) -> None:
        if message.ticket != self._ticket:
            return
        self.thinking = not message.finished
        if message.picks or message.finished:
            self.query_one(PicksTable).show(message.picks)
            self._show_pick(_problem_text(message, bool(self.search_text)))
        self._draw_heading(len(message.picks), len(message.not_modelled))

    def _draw_heading(self, found: int | None = None, not_modelled: int = 0) -> None:
        """The title with the machine, and the line that says what is asked."""
        self.query_one("#title", Static).update(title_text(self.machine))
        if self.search_text:
            question = search_question(self.search_text, self.context_tokens, found, not_modelled)
        else:
            question = recommendation_question(self.use_case, self.context_tokens)
        shown = question_line(question, self.thinking, self.app.size.width)
        self.query_one("#question", Static).update(shown)

    # ---------------------------------------------------------------- the pick under the cursor

    @on(DataTable.RowHighlighted)
    def _row_highlighted(self, _event: DataTable.RowHighlighted) -> None:
        self._show_pick()

    @on(DataTable.RowSelected)
    def _row_selected(self, _event: DataTable.RowSelected) -> None:
        self.action_details()

    def _show_pick(self, problem: str | None = None) -> None:
        """Draws all panels for the selected row; ``problem`` stands where no row is."""
        pick = self.query_one(PicksTable).selected
        why = self.query_one(WhyPanel)
        if problem is not None:
            why.problem = problem
        if pick is why.pick:
            return
        self.query_one(AnswerPanels).show(pick)
        self.query_one(CommandPreview).pick = pick
        self._look_for_help_soon(pick)

    def _look_for_help_soon(self, pick: Pick | None) -> None:
        if self._resting is not None:
            self._resting.stop()
        self._looking_for_help = pick is not None and not pick.looked_for_help and not _is_all_on_gpus(pick)
        if pick is not None and self._looking_for_help:
            self._resting = self.set_timer(RESTING_PAUSE_S, lambda: self._look_for_help(pick))

    def _look_for_help(self, pick: Pick) -> None:
        ticket, context_tokens = self._ticket, self.context_tokens

        def job() -> Iterator[Message]:
            yield HelpFound(ticket, self.advice.with_help(pick, context_tokens))

        in_background(self, job, lambda _: HelpFound(ticket, replace(pick, looked_for_help=True)))

    @on(HelpFound)
    def _help_found(self, message: HelpFound) -> None:
        if message.ticket == self._ticket:
            self.query_one(PicksTable).replace(message.pick)
            self._show_pick()

    # ---------------------------------------------------------------- keys

    def action_details(self) -> None:
        pick = self.query_one(PicksTable).selected
        if pick is not None:
            from llmfit.tui.screens.details import DetailsScreen

            self.app.push_screen(DetailsScreen(pick))

    def action_copy(self) -> None:
        self.query_one(CommandPreview).copy()

    def action_context(self) -> None:
        from llmfit.tui.screens.choose import CHOSEN_FOR_ME, choose_context

        def chosen(tokens: int | None) -> None:
            if tokens is not None:
                self.context_tokens = None if tokens == CHOSEN_FOR_ME else tokens
                self.ask()

        self.app.push_screen(choose_context(self.context_tokens), chosen)

    def action_use_case(self) -> None:
        from llmfit.tui.screens.choose import choose_use_case

        def chosen(use_case: str | None) -> None:
            if use_case is not None:
                self.use_case = use_case
                self._end_search()
                self.ask()

        self.app.push_screen(choose_use_case(self.use_case), chosen)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Shows and takes only the keys that mean something now."""
        search = self.query_one(SearchField)
        if action == "search":
            return not search.has_focus
        return action != "clear_search" or bool(search.display)

    def action_search(self) -> None:
        search = self.query_one(SearchField)
        search.display = True
        search.focus()
        self.refresh_bindings()

    def action_clear_search(self) -> None:
        """Back to the recommendations; never further, so that Escape cannot leave the app."""
        if self._end_search():
            self.ask()

    def _end_search(self) -> bool:
        """Closes the search; True when the answer on the screen is the search's."""
        if self._typing is not None:
            self._typing.stop()
        had_text, self.search_text = bool(self.search_text), ""
        search = self.query_one(SearchField)
        with search.prevent(Input.Changed):
            search.value = ""
        search.display = False
        self.query_one(PicksTable).focus()
        self.refresh_bindings()
        return had_text

    @on(Input.Changed, "#search")
    def _search_changed(self) -> None:
        if self._typing is not None:
            self._typing.stop()
        self._typing = self.set_timer(TYPING_PAUSE_S, self._search_typed)

    def _search_typed(self) -> None:
        text = self.query_one(SearchField).value.strip()
        if text != self.search_text:
            self.search_text = text
            self.ask()

    @on(Input.Submitted, "#search")
    def _search_submitted(self) -> None:
        if self._typing is not None:
            self._typing.stop()
        self._search_typed()
        self.action_leave_search()

    def action_leave_search(self) -> None:
        """From the field to what it found."""
        self.query_one(PicksTable).focus()


def _in_parts(
    ticket: int, found: Iterable[Pick | NotModelled], still_wanted: Callable[[], bool]
) -> Iterator[PicksReady]:
    """All that was found so far, again and again, then all; stops when nobody wants it any more."""
    picks: list[Pick] = []
    not_modelled: list[NotModelled] = []
    shown_at_s = 0.0
    for one in found:
        if not still_wanted():
            return
        if isinstance(one, Pick):
            picks.append(one)
        else:
            not_modelled.append(one)
        if time.monotonic() - shown_at_s > PART_EVERY_S:
            yield PicksReady(ticket, tuple(picks), "", tuple(not_modelled), finished=False)
            shown_at_s = time.monotonic()
    yield PicksReady(ticket, tuple(picks), "", tuple(not_modelled))


def _is_all_on_gpus(pick: Pick) -> bool:
    from llmfit.advisor.recommend.judgement import FITS_GPU

    return pick.judgement.verdict == FITS_GPU


def _problem_text(message: PicksReady, searching: bool) -> str:
    if message.problem:
        return message.problem
    lines = [] if message.picks else ["No model has that in its name." if searching else _NOTHING_FITS]
    return "\n".join(lines + [f"{found.model_id}: {found.why}." for found in message.not_modelled])


_NOTHING_FITS = "Nothing fits at this context: c chooses a shorter one, / searches the whole catalogue."
