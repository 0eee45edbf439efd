"""The first screen: this machine, what to run on it, why, where the bytes go, and the command."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.events import ScreenResume
from textual.widgets import DataTable, Static

from llmfit.tui.asking import Asking
from llmfit.tui.disk_look import DiskLook
from llmfit.tui.messages import HelpFound, LocalFound, PicksReady
from llmfit.tui.on_disk import here_first, mark_of, marked
from llmfit.tui.question import Question
from llmfit.tui.screens.machine import MachineScreen
from llmfit.tui.screens.marking import MarkingScreen
from llmfit.tui.widgets.answer_panels import AnswerPanels
from llmfit.tui.widgets.command_preview import CommandPreview
from llmfit.tui.widgets.heading import question_line, question_text
from llmfit.tui.widgets.keys_footer import KeysFooter
from llmfit.tui.widgets.machine_panel import MachinePanel
from llmfit.tui.widgets.picks_table import PicksTable
from llmfit.tui.widgets.search_field import SearchField
from llmfit.tui.widgets.title_line import TitleLine
from llmfit.tui.widgets.too_small import TooSmall
from llmfit.tui.widgets.why_panel import WhyPanel

if TYPE_CHECKING:
    from llmfit.advisor.hardware.machine import Machine
    from llmfit.advisor.speed.calibration.machine_speeds import MachineSpeeds
    from llmfit.tui.advice import Advice
    from llmfit.tui.known_machine import KnownMachine

MAX_LEFT_OUT = 20
"""So many models without a number are named, each with its reason."""


class AdvisorScreen(MarkingScreen):
    """One question (use case, context, search) and its answer; every change asks again in the background."""

    home = PicksTable
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "copy", "copy"),
        Binding("c", "context", "context"),
        Binding("u", "use_case", "use"),
        Binding("slash", "search", "search", key_display="/"),
        Binding("escape", "back", "back"),
        Binding("d", "on_disk", "on disk"),
        Binding("p", "plan", "plan"),
        Binding("space", "mark", "mark"),
        Binding("v", "compare", "compare"),
        Binding("m", "machine", "machine"),
        Binding("r", "app.probe", "probe again"),
        Binding("f5", "app.probe", "probe again", show=False),
    ]

    def __init__(self, advice: Advice) -> None:
        super().__init__()
        self.advice = advice
        self.machine: Machine | None = None
        self.speeds: MachineSpeeds | None = None  # what had been measured on it then
        self.question = Question()
        self._asking = Asking(self, advice)
        self._answer = PicksReady(0, (), finished=False)
        self._disks = DiskLook(self, advice)

    def compose(self) -> ComposeResult:
        with Vertical(id="main"):
            yield TitleLine(id="title")
            yield MachinePanel(id="machine")
            yield Static("", id="question")
            yield SearchField(id="search")
            yield PicksTable(id="picks")
            yield AnswerPanels(id="answer")
            yield CommandPreview(id="command")
        yield TooSmall()
        yield KeysFooter()

    def on_mount(self) -> None:
        self.query_one(SearchField).display = False
        self._draw_heading()
        self.query_one(WhyPanel).problem = "Working out what fits here, tensor by tensor…"
        self.query_one(PicksTable).focus()
        self.watch(self.app, "known", self._machine_known, init=False)
        self.watch(self.app, "probe_problem", self._machine_unknown, init=False)
        # The first paint goes before the imports and probes, which would share its processor.
        self.call_after_refresh(self.llmfit.action_probe)
        self._asking.while_thinking(self._draw_heading)

    @property
    def is_settled(self) -> bool:
        """Whether everything that was asked has been answered."""
        return not self.llmfit.probing and self._asking.is_settled and self._disks.is_settled

    # ---------------------------------------------------------------- the machine

    def _machine_known(self, known: KnownMachine) -> None:
        """Draws the machine; asks anew only where it is another one and nobody is looking at it closely."""
        self._disks.due_after(known.n_probes)
        self._plan_for(known)

    def _plan_for(self, known: KnownMachine) -> None:
        planned = known.planned
        # the title says what is closed, the note about it would only take room
        self.query_one(MachinePanel).machine = replace(planned, notes=known.probed.notes)
        self._draw_heading()
        if planned == self.machine and known.speeds == self.speeds:
            self._disks.look_if_due()
        elif not any(isinstance(screen, MachineScreen) for screen in self.app.screen_stack):
            self.machine, self.speeds = planned, known.speeds
            self.ask()

    @on(ScreenResume)
    def _looked_at_again(self) -> None:
        """Back from the machine's screen: programs may be ticked as closed now."""
        known = self.llmfit.known
        if known is not None:
            self._plan_for(known)

    def _machine_unknown(self, problem: str) -> None:
        self.query_one(MachinePanel).problem = problem
        if problem and self.machine is None:
            self.query_one(WhyPanel).problem = "Without a machine there is nothing to fit. r tries again."
            self._asking.thinking = False
        self._draw_heading()

    # ---------------------------------------------------------------- asking

    def change(self, **changes: Any) -> None:
        """Another question, by fields of ``Question``. What is recommended must not seem to be on disk."""
        before, self.question = self.question, replace(self.question, **changes)
        if self.question.is_about_disk and not before.is_about_disk:
            self._answer = PicksReady(0, (), finished=False)
            self._show_answer()
        self.ask()

    def ask(self) -> None:
        """Answers the current question anew; an answer to an older one is dropped when it comes."""
        if self.machine is None:
            return
        self._asking.ask(self.machine, self.question)
        self._draw_heading()
        self.refresh_bindings()

    @on(PicksReady)
    def _picks_ready(self, message: PicksReady) -> None:
        if not self._asking.is_current(message.ticket):
            return
        self._asking.thinking = not message.finished
        self._answer = message
        if message.picks or message.finished:
            self._show_answer()
        self._draw_heading()
        if message.finished:
            self._disks.look_if_due()

    def _show_answer(self) -> None:
        """The rows with their marks, and what was left out."""
        picks = self.with_marks(tuple(marked(pick, self._disks.found) for pick in self._answer.picks))
        table, is_search = self.query_one(PicksTable), bool(self.question.search_text)
        # what is here moves to the top while a search goes on: a cursor that nobody has moved stays there
        table.show(here_first(picks) if is_search else picks, not is_search or table.cursor_row > 0)
        self.query_one(WhyPanel).left_out = _left_out_lines(self._answer)
        self._show_pick(_problem_text(self._answer, self.question))

    def on_resize(self) -> None:
        self._draw_heading()

    def _draw_heading(self) -> None:
        """The line that says what is asked, and what the marks of the rows mean."""
        answer = self._answer
        found = len(answer.picks) if answer.ticket > 0 and self._asking.is_current(answer.ticket) else None
        text = question_text(self.question, found, len(answer.not_modelled), self.n_marked)
        marks = {mark_of(pick) for pick in self.query_one(PicksTable).picks}
        busy = self._disks.busy_text(self.question.is_about_disk) if self._asking.thinking else ""
        self.query_one("#question", Static).update(question_line(text, busy, marks, self.app.size.width))

    @on(LocalFound)
    def _local_found(self, message: LocalFound) -> None:
        self._disks.ended(message.found)
        if self._answer.picks:
            self._show_answer()
            self._draw_heading()

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
        self._asking.look_for_help_soon(pick, self.question.context_tokens)

    @on(HelpFound)
    def _help_found(self, message: HelpFound) -> None:
        if self._asking.is_current(message.ticket):
            self._answer.add_help(message.pick)
            self._show_answer()

    # ---------------------------------------------------------------- keys

    def marks_changed(self) -> None:
        self._show_answer()
        self._draw_heading()

    def action_machine(self) -> None:
        if self.llmfit.known is not None:
            self.open(MachineScreen(self.advice))

    def action_copy(self) -> None:
        self.query_one(CommandPreview).copy()

    def action_context(self) -> None:
        from llmfit.tui.screens.choose import CHOSEN_FOR_ME, choose_context

        def chosen(tokens: int | None) -> None:
            if tokens is not None:
                self.change(context_tokens=None if tokens == CHOSEN_FOR_ME else tokens)

        self.open(choose_context(self.question.context_tokens), chosen)

    def action_use_case(self) -> None:
        from llmfit.tui.screens.choose import choose_use_case

        def chosen(use_case: str | None) -> None:
            if use_case is not None:
                self._close_search()
                self.change(use_case=use_case, search_text="", on_disk=False)

        self.open(choose_use_case(self.question.use_case), chosen)

    def action_on_disk(self) -> None:
        """Only models that are on this disk; the same key goes back."""
        self._close_search()
        self.change(search_text="", on_disk=not self.question.on_disk or bool(self.question.search_text))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Shows and takes only the keys that mean something now."""
        search = self.query_one(SearchField)
        if action == "search":
            return not search.has_focus
        if action == "back":
            return bool(search.display) or self.question.on_disk
        return super().check_action(action, parameters)

    def action_search(self) -> None:
        self.query_one(SearchField).open()
        self.refresh_bindings()

    def action_back(self) -> None:
        """From a search to what was there before, then to the recommendations; it cannot leave the app."""
        if self._close_search():
            if self.question.search_text:
                self.change(search_text="")
        elif self.question.on_disk:
            self.change(on_disk=False)

    def _close_search(self) -> bool:
        """False where no search was open."""
        search = self.query_one(SearchField)
        was_open = bool(search.display)
        search.close()
        self.query_one(PicksTable).focus()
        self.refresh_bindings()
        return was_open

    @on(SearchField.Typed)
    def _search_typed(self, message: SearchField.Typed) -> None:
        if message.text != self.question.search_text:
            self.change(search_text=message.text)
        if message.entered:
            self.action_leave_search()

    def action_leave_search(self) -> None:
        """From the field to what it found."""
        self.query_one(PicksTable).focus()


def _left_out_lines(answer: PicksReady) -> tuple[str, ...]:
    """Of many the first few and how many more."""
    lines = [f"{found.model_id}: {found.why.rstrip('.')}." for found in answer.not_modelled[:MAX_LEFT_OUT]]
    more = len(answer.not_modelled) - len(lines)
    return (*lines, f"and {more} more.") if more else tuple(lines)


def _problem_text(answer: PicksReady, question: Question) -> str:
    """What stands where no row is."""
    if answer.problem or answer.picks:
        return answer.problem
    if question.search_text:
        return "No model has that in its name."
    if question.on_disk and not answer.finished:
        return _READING
    return _NO_FILES if question.on_disk else _NOTHING_FITS


_NOTHING_FITS = "Nothing fits at this context: c chooses a shorter one, / searches the whole catalogue."
_READING = "Reading the headers of the model files on this disk…"
_NO_FILES = (
    "No chat model was found on this disk. llmfit models lists what was looked through; model_folders in "
    "the configuration names more folders."
)
