"""The first screen: this machine, what to run on it, why, where the bytes go, and the command."""

from __future__ import annotations

from typing import ClassVar, Protocol

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import DataTable, Footer, Input, Static

from llmfit.advisor.errors import LlmfitError
from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.recommend.command import shell_command
from llmfit.advisor.text import printable
from llmfit.advisor.units import format_context
from llmfit.tui.cli.render import machine_line
from llmfit.tui.messages import MachineKnown, Pick, PicksReady
from llmfit.tui.widgets.command_preview import CommandPreview
from llmfit.tui.widgets.machine_panel import MachinePanel
from llmfit.tui.widgets.memory_view import MemoryView
from llmfit.tui.widgets.picks_table import PicksTable
from llmfit.tui.widgets.why_panel import WhyPanel

TYPING_PAUSE_S = 0.2
"""A search waits for this long after the last key, so that each letter does not start one."""


class Advice(Protocol):
    """What the screen asks; LiveAdvice answers from probes and catalogue, tests answer from fixtures."""

    def machine(self) -> Machine: ...

    def picks(self, machine: Machine, use_case: str, context_tokens: int | None) -> tuple[Pick, ...]: ...

    def search(self, machine: Machine, text: str, context_tokens: int | None) -> tuple[Pick, ...]: ...


class AdvisorScreen(Screen[None]):
    """One question (use case, context, filter) and its answer; every change asks again in the background."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "details", "details", priority=False),
        Binding("y", "copy", "copy command"),
        Binding("c", "context", "context"),
        Binding("u", "use_case", "use case"),
        Binding("slash", "search", "search", key_display="/"),
        Binding("escape", "clear_search", "back", show=False),
        Binding("home,g", "first", "top", show=False),
    ]

    def __init__(self, advice: Advice) -> None:
        super().__init__()
        self.advice = advice
        self.machine: Machine | None = None
        self.use_case = "general"
        self.context_tokens: int | None = None
        self._picks: tuple[Pick, ...] = ()
        self._ticket = 0
        self._typing: Timer | None = None

    def compose(self) -> ComposeResult:
        yield Static("", id="title")
        yield MachinePanel(id="machine")
        yield Static("", id="question")
        yield Input(placeholder="part of a model's name", id="search", compact=True)
        yield PicksTable(id="picks")
        with Horizontal(id="answer"):
            with VerticalScroll(id="why-box", can_focus=False):
                yield WhyPanel(id="why")
            with VerticalScroll(id="bytes-box", can_focus=False):
                yield MemoryView(id="bytes")
        yield CommandPreview(id="command")
        yield Static("llmfit needs at least 60 columns and 18 rows.", id="too-small")
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        self.query_one("#why-box").border_title = "Why"
        self.query_one("#bytes-box").border_title = "Where the bytes go (GiB)"
        self.query_one("#search", Input).display = False
        self._draw_question("Asking the hardware…")
        self.query_one(MachinePanel).machine = None
        self.query_one(PicksTable).focus()
        self._probe()

    @work(thread=True, exclusive=True, group="probe")
    def _probe(self) -> None:
        try:
            self.post_message(MachineKnown(self.advice.machine()))
        except LlmfitError as error:
            self.post_message(PicksReady(self._ticket, (), str(error)))

    @on(MachineKnown)
    def _machine_known(self, message: MachineKnown) -> None:
        self.machine = message.machine
        self.query_one(MachinePanel).machine = message.machine
        self.ask()

    def ask(self) -> None:
        """Answers the current question anew; an answer to an older one is dropped when it comes."""
        if self.machine is None:
            return
        self._ticket += 1
        self._draw_question("Thinking…")
        text = self.query_one("#search", Input).value.strip()
        self._answer(self._ticket, self.machine, text, self.use_case, self.context_tokens)

    @work(thread=True, exclusive=True, group="answer")
    def _answer(
        self, ticket: int, machine: Machine, text: str, use_case: str, context_tokens: int | None
    ) -> None:
        try:
            if text:
                picks = self.advice.search(machine, text, context_tokens)
            else:
                picks = self.advice.picks(machine, use_case, context_tokens)
        except LlmfitError as error:
            self.post_message(PicksReady(ticket, (), str(error)))
        else:
            self.post_message(PicksReady(ticket, picks))

    @on(PicksReady)
    def _picks_ready(self, message: PicksReady) -> None:
        if message.ticket != self._ticket:
            return
        self._picks = message.picks
        self.query_one(PicksTable).show(message.picks)
        nothing = "" if message.picks else "nothing fits: try a shorter context (c) or a search (/)"
        self._draw_question(message.problem or nothing)
        self._show_pick(self._selected())

    def _draw_question(self, state: str) -> None:
        title = Text("llmfit", "bold")
        if self.machine is not None:
            title.append(f"   {machine_line(self.machine)}", "dim")
            if self.machine.simulated:
                title.append("   simulated", "italic yellow")
        self.query_one("#title", Static).update(title)
        context = (
            "context chosen"
            if self.context_tokens is None
            else f"{format_context(self.context_tokens)} context"
        )
        question = Text(
            f"What to run: {self.use_case} use · {context}", "bold", no_wrap=True, overflow="ellipsis"
        )
        if state:
            question.append(f"   {printable(state)}", "dim italic")
        self.query_one("#question", Static).update(question)

    def _selected(self) -> Pick | None:
        row = self.query_one(PicksTable).cursor_row
        return self._picks[row] if 0 <= row < len(self._picks) else None

    @on(DataTable.RowHighlighted)
    def _row_highlighted(self, _event: DataTable.RowHighlighted) -> None:
        self._show_pick(self._selected())

    @on(DataTable.RowSelected)
    def _row_selected(self, _event: DataTable.RowSelected) -> None:
        self.action_details()

    def _show_pick(self, pick: Pick | None) -> None:
        self.query_one(WhyPanel).pick = pick
        self.query_one(MemoryView).memory = pick.judgement.memory if pick else None
        self.query_one(CommandPreview).pick = pick
        self.query_one("#why-box").scroll_home(animate=False)
        self.query_one("#bytes-box").scroll_home(animate=False)

    def action_details(self) -> None:
        pick = self._selected()
        if pick is not None:
            from llmfit.tui.screens.details import DetailsScreen

            self.app.push_screen(DetailsScreen(pick.judgement))

    def action_copy(self) -> None:
        pick = self._selected()
        if pick is None or pick.judgement.argv is None:
            self.notify("Nothing to copy: this does not fit.", severity="warning")
            return
        self.app.copy_to_clipboard(shell_command(pick.judgement.argv))
        self.notify(
            "Sent to the terminal's clipboard. If it did not arrive, select the text below.", timeout=4
        )

    def action_context(self) -> None:
        from llmfit.tui.screens.choose import choose_context

        def chosen(tokens: int | None) -> None:
            if tokens is not None:
                self.context_tokens = tokens or None
                self.ask()

        self.app.push_screen(choose_context(self.context_tokens), chosen)

    def action_use_case(self) -> None:
        from llmfit.tui.screens.choose import choose_use_case

        def chosen(use_case: str | None) -> None:
            if use_case is not None:
                self.use_case = use_case
                self.ask()

        self.app.push_screen(choose_use_case(self.use_case), chosen)

    def action_search(self) -> None:
        search = self.query_one("#search", Input)
        search.display = True
        search.focus()

    def action_clear_search(self) -> None:
        search = self.query_one("#search", Input)
        had_text = bool(search.value)
        with search.prevent(Input.Changed):
            search.value = ""
        search.display = False
        self.query_one(PicksTable).focus()
        if had_text:
            self.ask()

    @on(Input.Changed, "#search")
    def _search_changed(self) -> None:
        if self._typing is not None:
            self._typing.stop()
        self._typing = self.set_timer(TYPING_PAUSE_S, self.ask)

    @on(Input.Submitted, "#search")
    def _search_submitted(self) -> None:
        self.query_one(PicksTable).focus()

    def action_first(self) -> None:
        self.query_one(PicksTable).move_cursor(row=0)
